//! JeCloud installs itself: the right binary is copied to the server, tried, and only then called `jecloud` there.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jecloud_cloud::{MachineError, check};
use jecloud_disk::fault::point;
use jecloud_model::ids::Digest;
use jecloud_model::version::Version;

use crate::binaries::{Binaries, digest_of};
use crate::error::RemoteError;
use crate::machine::{RemoteMachine, text};
use crate::upload::Upload;

/// How long an answer may take that needs no work.
const ANSWER: Duration = Duration::from_secs(60);

/// How long `init` may take: systemd is told, a user is made.
const INIT: Duration = Duration::from_secs(300);

/// Says where the link $1 leads, in the second line what kind of machine it is, and in the third as whom one works.
const PROBE_SCRIPT: &str = "readlink -- \"$1\" || echo; uname -sm && id -u";

/// Gives the binary $1 the name $2, in one step.
const SWITCH_SCRIPT: &str = r#"
set -u
if [ "$(readlink -- "$2")" = "$1" ]; then exit; fi
mkdir -p -- "$(dirname -- "$2")" && ln -s -- "$1" "$2.new.$$" && mv -fT -- "$2.new.$$" "$2"
"#;

/// Removes binaries below $1 but the newest two, $2, and those that run. Each is a directory with the SHA-256 for a name.
const PRUNE_SCRIPT: &str = r#"
set -u
cd -- "$1" || exit 0
used=$(readlink /proc/[0-9]*/exe 2>/dev/null)
kept=0
for name in $(ls -t); do
    [ ${#name} -eq 64 ] || continue
    kept=$((kept + 1))
    if [ $kept -le 2 ] || [ "$name" = "$2" ]; then continue; fi
    case "$used" in *"/$name/"*) continue ;; esac
    rm -rf -- "./$name"
done
"#;

/// What is installed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The SHA-256 of the binary.
    pub sha256: Digest,
    /// What it says to `version`.
    pub version: String,
}

impl RemoteMachine {
    /// Has the server have this JeCloud and be one: as [`RemoteMachine::install`] and [`RemoteMachine::init`], but called
    /// `jecloud` there only when what runs is renewed. So what is called `jecloud` has nothing older running.
    ///
    /// # Errors
    ///
    /// As these two.
    pub fn set_up(&self, binaries: &Binaries, listen: &[SocketAddr]) -> Result<(), MachineError> {
        let (installed, program) = self.place(binaries, &mut |_| {})?;
        point("remote.renew.init").map_err(|source| self.stopped(source))?;
        self.init_as(&program, listen)?;
        point("remote.renew.switch").map_err(|source| self.stopped(source))?;
        self.switch(&installed, &program)
    }

    /// Has the server have this JeCloud. Done again it changes nothing; a newer one takes the place of an older in one
    /// step. The newest two stay where they are, and all for the processes that run them.
    ///
    /// # Errors
    ///
    /// Among others [`MachineError::Refused`] where there is no binary that fits, or where it does not run there; then
    /// the one that was there before is still the one that is called.
    pub fn install(&self, binaries: &Binaries, progress: &mut dyn FnMut(u64)) -> Result<Installed, MachineError> {
        let (installed, program) = self.place(binaries, progress)?;
        self.switch(&installed, &program)?;
        Ok(installed)
    }

    /// Whether what is called `jecloud` on the server is another one than its client, and not a newer one.
    ///
    /// # Errors
    ///
    /// [`MachineError::Outdated`] where it is a newer one.
    pub(crate) fn is_older(&self, binaries: &Binaries) -> Result<bool, MachineError> {
        let (file, link) = self.fitting(binaries)?;
        let sha256 = digest_of(&file).map_err(|source| self.unreadable(&file, source))?;
        if link == self.path_of(&sha256) {
            return Ok(false);
        }
        let program = text(&self.places().program);
        let there = self.run(&[&program, "version"], b"", ANSWER)?;
        let there = Version::in_words(&String::from_utf8_lossy(&there.stdout)).filter(|_| there.is_success());
        let own = jecloud_disk::program::version(&file);
        let own = own.map_err(|source| self.failed(RemoteError::Disk { target: String::new(), source }))?;
        if let (Some(there), Some(own)) = (there, own)
            && there > own
        {
            return Err(MachineError::Outdated {
                error: format!("the server has JeCloud {there}, and this is the older JeCloud {own}"),
                hint: format!(
                    "Nothing was changed. Install JeCloud {there} or newer where you typed this; nothing goes back to an \
                     older version by itself."
                ),
            });
        }
        Ok(true)
    }

    /// Puts the binary for the server there, under a name of its own, and tries it. Returns where it is.
    fn place(&self, binaries: &Binaries, progress: &mut dyn FnMut(u64)) -> Result<(Installed, String), MachineError> {
        let (file, _) = self.fitting(binaries)?;
        let sha256 = digest_of(&file).map_err(|source| self.unreadable(&file, source))?;
        let to = self.path_of(&sha256);
        // The app's users run it too.
        let open_script = "umask 022 && mkdir -p -- \"$1\"";
        let directory = text(&self.places().versions.join(sha256.as_str()));
        self.tell("make a directory", &["sh", "-c", open_script, "sh", &directory])?;
        let upload = Upload { file: &file, sha256: &sha256, to: &to, mode: 0o755, before: self.before(), tidy: false };
        self.upload(&upload, progress)?;
        let tried = self.run(&[&to, "version"], b"", ANSWER)?;
        if !tried.is_success() {
            return Err(MachineError::Refused {
                error: format!("the binary for the server does not run there: {}", tried.said()),
                hint: "Build JeCloud on a system as old as the server's, or name such a binary in jecloud.toml."
                    .to_owned(),
            });
        }
        let version = String::from_utf8_lossy(&tried.stdout).trim().to_owned();
        Ok((Installed { sha256, version }, to))
    }

    /// Has this binary be called `jecloud`, and removes the oldest.
    fn switch(&self, installed: &Installed, program: &str) -> Result<(), MachineError> {
        self.tell("switch to it", &["sh", "-c", SWITCH_SCRIPT, "sh", program, &text(&self.places().program)])?;
        let versions = text(&self.places().versions);
        self.tell("remove old ones", &["sh", "-c", PRUNE_SCRIPT, "sh", &versions, installed.sha256.as_str()])
    }

    /// Where the binary with this content is.
    fn path_of(&self, sha256: &Digest) -> String {
        text(&self.places().versions.join(sha256.as_str()).join("jecloud"))
    }

    fn unreadable(&self, file: &Path, source: std::io::Error) -> MachineError {
        self.failed(RemoteError::Local { doing: format!("read {}", file.display()), source: source.into() })
    }

    fn stopped(&self, source: std::io::Error) -> MachineError {
        self.failed(RemoteError::Local { doing: "go on".to_owned(), source: source.into() })
    }

    /// Has the server be one: directories, users, and what brings JeCloud back at boot. Done again it changes nothing.
    ///
    /// # Errors
    ///
    /// What `update-server init` says.
    pub fn init(&self, listen: &[SocketAddr]) -> Result<(), MachineError> {
        self.init_as(&text(&self.places().program), listen)
    }

    fn init_as(&self, program: &str, listen: &[SocketAddr]) -> Result<(), MachineError> {
        let listen: Vec<String> =
            listen.iter().flat_map(|address| ["--listen".to_owned(), address.to_string()]).collect();
        let args: Vec<&str> = std::iter::once("init").chain(listen.iter().map(String::as_str)).collect();
        check("init", &self.call_as(program, &args, None, INIT)?)
    }

    /// The binary for the server, as a file of this machine; and what is called `jecloud` there: empty where that is no
    /// link.
    fn fitting(&self, binaries: &Binaries) -> Result<(PathBuf, String), MachineError> {
        let doing = "say what kind of machine it is";
        let asked = self.run(&["sh", "-c", PROBE_SCRIPT, "sh", &text(&self.places().program)], b"", ANSWER)?;
        let answer = String::from_utf8_lossy(&asked.stdout).into_owned();
        let lines: Vec<&str> = answer.lines().collect();
        // What a login script writes may come before it.
        let (true, [.., link, kind, user]) = (asked.is_success(), lines.as_slice()) else {
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
        Ok((binaries.for_architecture(architecture)?, (*link).to_owned()))
    }

    fn tell(&self, doing: &str, argv: &[&str]) -> Result<(), MachineError> {
        let told = self.run(argv, b"", ANSWER)?;
        if told.is_success() { Ok(()) } else { Err(self.refused(doing, &told)) }
    }
}
