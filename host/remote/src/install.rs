//! JeCloud installs itself: the right binary is copied to the server, tried, and only then called `jecloud` there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jecloud_cloud::{Machine as _, MachineError, check};
use jecloud_disk::durable;
use jecloud_model::ids::Digest;

use crate::error::RemoteError;
use crate::machine::{RemoteMachine, text};
use crate::upload::{Upload, sha256_of};

/// How long an answer may take that needs no work.
const ANSWER: Duration = Duration::from_secs(60);

/// How long `init` may take: systemd is told, a user is made.
const INIT: Duration = Duration::from_secs(300);

/// Says what kind of machine it is, and in the second line as whom one works.
const PROBE_SCRIPT: &str = "uname -sm && id -u";

/// Gives the binary $1 the name $2, in one step.
const SWITCH_SCRIPT: &str = r#"
set -u
if [ "$(readlink -- "$2")" = "$1" ]; then exit; fi
mkdir -p -- "$(dirname -- "$2")" && ln -s -- "$1" "$2.new.$$" && mv -fT -- "$2.new.$$" "$2"
"#;

/// What the header of an executable for Linux says at byte 18, by the name that `uname -m` has for the architecture:
/// the ELF specification, e_machine.
const ARCHITECTURES: [(&str, u16); 3] = [("x86_64", 62), ("aarch64", 183), ("riscv64", 243)];

/// Which binary goes to which server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The one that runs here; it is used where it fits.
    pub own: PathBuf,
    /// For other architectures, by the names that `uname -m` has for them: what the configuration says.
    pub others: BTreeMap<String, PathBuf>,
}

impl Default for Binaries {
    /// `/proc/self/exe`, and no others.
    fn default() -> Self {
        Self { own: PathBuf::from("/proc/self/exe"), others: BTreeMap::new() }
    }
}

/// What is installed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The SHA-256 of the binary.
    pub sha256: Digest,
    /// What it says to `version`.
    pub version: String,
}

impl RemoteMachine {
    /// Has the server have this JeCloud and be one: [`RemoteMachine::install`], then [`RemoteMachine::init`].
    ///
    /// # Errors
    ///
    /// As these two.
    pub fn set_up(&self, binaries: &Binaries, listen: &[SocketAddr]) -> Result<(), MachineError> {
        self.install(binaries, &mut |_| {})?;
        self.init(listen)
    }

    /// Has the server have this JeCloud. Done again it changes nothing; a newer one takes the place of an older in one
    /// step. The older stays where it was, for the processes that run it.
    ///
    /// # Errors
    ///
    /// Among others [`MachineError::Refused`] where there is no binary that fits, or where it does not run there; then
    /// the one that was there before is still the one that is called.
    pub fn install(&self, binaries: &Binaries, progress: &mut dyn FnMut(u64)) -> Result<Installed, MachineError> {
        let file = self.fitting(binaries)?;
        let unreadable = |source: std::io::Error| {
            self.failed(RemoteError::Local { doing: format!("read {}", file.display()), source: source.into() })
        };
        let disk = |source| self.failed(RemoteError::Disk { target: String::new(), source });
        let mut open =
            durable::open(&file).map_err(disk)?.ok_or_else(|| unreadable(std::io::ErrorKind::NotFound.into()))?;
        let sha256 = sha256_of(&mut open).map_err(unreadable)?;
        let to = text(&self.places().versions.join(sha256.as_str()).join("jecloud"));
        // The app's users run it too.
        let open_script = "umask 022 && mkdir -p -- \"$1\"";
        let directory = text(&self.places().versions.join(sha256.as_str()));
        self.tell("make a directory", &["sh", "-c", open_script, "sh", &directory])?;
        let upload = Upload { file: &file, sha256: &sha256, to: &to, mode: 0o755, before: self.before() };
        self.upload(&upload, progress)?;
        let tried = self.run(&[&to, "version"], b"", ANSWER)?;
        if !tried.is_success() {
            return Err(MachineError::Refused {
                error: format!("the binary for the server does not run there: {}", tried.said()),
                hint: "Build JeCloud on a system as old as the server's, or name such a binary in jecloud.toml."
                    .to_owned(),
            });
        }
        self.tell("switch to it", &["sh", "-c", SWITCH_SCRIPT, "sh", &to, &text(&self.places().program)])?;
        let version = String::from_utf8_lossy(&tried.stdout).trim().to_owned();
        Ok(Installed { sha256, version })
    }

    /// Has the server be one: directories, users, and what brings JeCloud back at boot. Done again it changes nothing.
    ///
    /// # Errors
    ///
    /// What `update-server init` says.
    pub fn init(&self, listen: &[SocketAddr]) -> Result<(), MachineError> {
        let listen: Vec<String> =
            listen.iter().flat_map(|address| ["--listen".to_owned(), address.to_string()]).collect();
        let args: Vec<&str> = std::iter::once("init").chain(listen.iter().map(String::as_str)).collect();
        check("init", &self.call(&args, None, INIT)?)
    }

    /// The binary for the server, as a file of this machine.
    fn fitting(&self, binaries: &Binaries) -> Result<PathBuf, MachineError> {
        let doing = "say what kind of machine it is";
        let asked = self.run(&["sh", "-c", PROBE_SCRIPT], b"", ANSWER)?;
        let answer = String::from_utf8_lossy(&asked.stdout).into_owned();
        let lines: Vec<&str> = answer.lines().collect();
        // What a login script writes may come before it.
        let (true, [.., kind, user]) = (asked.is_success(), lines.as_slice()) else {
            return Err(self.refused(doing, &asked));
        };
        if user.trim() != "0" {
            return Err(MachineError::Refused {
                error: format!("JeCloud cannot be installed: `sudo` on the server makes one user {user}, not root"),
                hint: "Log in as root, or let the user run everything as root without a password.".to_owned(),
            });
        }
        let (system, architecture) = kind.trim().split_once(' ').unwrap_or((kind.trim(), ""));
        if system != "Linux" {
            return Err(MachineError::Refused {
                error: format!("the server runs {system}, and JeCloud runs on Linux"),
                hint: String::new(),
            });
        }
        let chosen = binaries.others.get(architecture).unwrap_or(&binaries.own);
        let fits = architecture_of(chosen)
            .map_err(|source| self.failed(RemoteError::Disk { target: String::new(), source }))?;
        if fits.as_deref() == Some(architecture) {
            return Ok(chosen.clone());
        }
        let what = fits.map_or("no program for Linux".to_owned(), |fits| format!("for {fits}"));
        Err(MachineError::Refused {
            error: format!("the server needs a JeCloud for {architecture}, and {} is {what}", chosen.display()),
            hint: format!(
                "Build one with `cargo build --release --target {architecture}-unknown-linux-gnu`, and name it in jecloud.toml."
            ),
        })
    }

    fn tell(&self, doing: &str, argv: &[&str]) -> Result<(), MachineError> {
        let told = self.run(argv, b"", ANSWER)?;
        if told.is_success() { Ok(()) } else { Err(self.refused(doing, &told)) }
    }
}

/// For which architecture a file is a program for Linux; none where it is no such thing.
fn architecture_of(path: &Path) -> Result<Option<String>, jecloud_disk::DiskError> {
    use std::io::Read as _;
    let Some(mut file) = durable::open(path)? else { return Ok(None) };
    let mut header = [0; 20];
    // 64 bits, little-endian: all that there is.
    if file.read_exact(&mut header).is_err() || header[..6] != *b"\x7fELF\x02\x01" {
        return Ok(None);
    }
    let machine = u16::from_le_bytes([header[18], header[19]]);
    let known = ARCHITECTURES.iter().find(|(_, number)| *number == machine);
    Ok(known.map(|(name, _)| (*name).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_apart() {
        assert_eq!(
            architecture_of(&Binaries::default().own).expect("readable").as_deref(),
            Some(std::env::consts::ARCH)
        );
        assert_eq!(architecture_of(Path::new("/etc/passwd")).expect("readable"), None);
        assert_eq!(architecture_of(Path::new("/nowhere")).expect("no error"), None);
    }
}
