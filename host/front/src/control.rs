//! The control socket `sys/run/front.sock`: one JSON document per line, one answer per line.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use jecloud_model::ids::{AppName, EnvironmentName, ReleaseNumber};
use jecloud_model::routes::BackendStatus;
use rustix::fs::{Mode, OFlags};
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
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// To `reload`.
    Reloaded(Reloaded),
    /// To `status`.
    Status(Vec<BackendStatus>),
    /// To `stop`: it has begun to.
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

    /// Usable while this exists.
    pub(crate) fn socket(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", self.0.as_raw_fd()))
    }
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
