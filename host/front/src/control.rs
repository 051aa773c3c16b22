//! The control socket `sys/run/front.sock`: one JSON document per line, one answer per line.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use jecloud_model::ids::{AppName, EnvironmentName, ReleaseNumber};
use jecloud_model::routes::BackendStatus;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

/// The name of the socket in `sys/run`.
pub(crate) const SOCKET: &str = "front.sock";

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// What the front can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Command {
    /// Read the tables again and use them for all requests from now on.
    Reload,
    /// Tell about every backend.
    Status,
    /// Finish the requests in flight, and end.
    Stop,
    /// The same, for one that another front is about to replace: with more time, because nobody waits for its end.
    Retire,
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// To `reload`.
    Reloaded(Reloaded),
    /// To `status`.
    Status(Vec<BackendStatus>),
    /// To `stop` and `retire`: it has begun to.
    Stopping,
    /// To what is not a command.
    NotUnderstood(String),
}

/// What the front uses after it has read the tables again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Every table in use.
    pub serving: Vec<Serving>,
    /// What could not be used, for people: tables that cannot be read (the last good one of that app and environment
    /// stays in use), host names that two environments claim.
    pub problems: Vec<String>,
}

/// A table in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// Whose.
    pub app: AppName,
    /// In which environment.
    pub environment: EnvironmentName,
    /// The release that the table says it serves.
    pub release: ReleaseNumber,
}

impl Reloaded {
    /// Whether requests for this app and environment now go to this release.
    pub fn serves(&self, app: &AppName, environment: &EnvironmentName, release: ReleaseNumber) -> bool {
        self.serving.iter().any(|one| one.app == *app && one.environment == *environment && one.release == release)
    }
}

/// A directory, opened so that a socket in it has a short name however long the directory's own is: the kernel
/// takes 107 bytes.
pub(crate) struct SocketDirectory(OwnedFd);

impl SocketDirectory {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// The socket of the front that accepts. Usable while this exists.
    pub(crate) fn socket(&self) -> PathBuf {
        self.at(SOCKET)
    }

    fn at(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }

    /// Leaves the name of the socket to the next front. Whoever asks for all fronts still finds this one.
    pub(crate) fn step_aside(&self) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, SOCKET, &self.0, aside(std::process::id()))?)
    }

    /// Removes the socket of a front that stepped aside, when it ends.
    pub(crate) fn leave(&self) {
        let _ = rustix::fs::unlinkat(&self.0, aside(std::process::id()), AtFlags::empty());
    }

    /// Connections to the fronts that have stepped aside and still finish what is in flight. What one left behind that
    /// was killed is removed.
    pub(crate) fn others(&self, path: &Path) -> Vec<UnixStream> {
        let names = jecloud_disk::tree::list(path).unwrap_or_default();
        let aside = |name: &std::ffi::OsString| Some(name.to_str()?.to_owned()).filter(|name| is_aside(name));
        let connect = |name: String| match UnixStream::connect(self.at(&name)) {
            Ok(stream) => Some(stream),
            Err(error) => {
                // Nobody listens there any more, and nobody ever will: the name is that of one process.
                if error.kind() == io::ErrorKind::ConnectionRefused {
                    let _ = rustix::fs::unlinkat(&self.0, name, AtFlags::empty());
                }
                None
            }
        };
        names.iter().filter_map(aside).filter_map(connect).collect()
    }
}

/// The name of the socket of a front that has stepped aside.
fn aside(pid: u32) -> String {
    format!("front-{pid}.sock")
}

fn is_aside(name: &str) -> bool {
    let pid = name.strip_prefix("front-").and_then(|rest| rest.strip_suffix(".sock"));
    pid.is_some_and(|pid| pid.parse::<u32>().is_ok())
}

/// Binds the control socket. Nothing must have its name any more.
pub(crate) fn bind(directory: &SocketDirectory) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Before it has a name: so there is no instant in which somebody else could connect.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(directory.socket())?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}
