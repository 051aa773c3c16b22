//! The front: a socket that stays open whatever happens, and a service that serves it.
//!
//! The service is a template, `jecloud-front@N.service`, and all of its instances share the socket: a new one begins
//! beside the one that runs and takes its place ([`Front::renew`]), and clients notice nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jecloud_disk::lock::{self, Lock};
use jecloud_disk::{durable, fault, tree};
use jecloud_launch::User;
use jecloud_model::layout::ServerRoot;
use jecloud_supervisor::Renewed;
use jecloud_supervisor::binary::{self, Binary};

use crate::control::{self, Shown};
use crate::error::SystemdError;
use crate::journal::{CONFIGURATION, NAMESPACE};
use crate::{UNITS, hardening, observe, pause, quote};

/// As whom the front runs. It may read what everybody may, and write where it has its control socket and its lock.
pub const FRONT_USER: &str = "jecloud-front";

const SOCKET: &str = "jecloud-front.socket";

/// The one that runs after a boot, and that the first client starts where none runs.
const FIRST: &str = "jecloud-front@1.service";

/// All of them.
const PATTERN: &str = "jecloud-front@*.service";

/// So many instances there are at most: one that serves, one that is to, and those that finish what they have in flight.
const MOST: u32 = 9;

/// Clients that wait to be accepted. The kernel lowers it to `net.core.somaxconn`, 4096 by default.
const BACKLOG: u32 = 4096;

/// Whoever changes what is written about the front may take so long.
const LOCK_DEADLINE: Duration = Duration::from_secs(60);

/// What runs after a boot.
pub(crate) fn at_boot() -> Vec<String> {
    vec![SOCKET.to_owned(), FIRST.to_owned()]
}

/// The socket, and all services that systemd knows.
pub(crate) fn units() -> Vec<String> {
    vec![SOCKET.to_owned(), PATTERN.to_owned()]
}

/// The front of one server.
pub struct Front {
    root: ServerRoot,
    exe: PathBuf,
}

/// A file that is written for it.
struct Written {
    path: PathBuf,
    text: String,
}

impl Front {
    /// `exe` is the `jecloud` binary.
    pub fn new(root: ServerRoot, exe: PathBuf) -> Self {
        Self { root, exe }
    }

    /// Writes what there is to write, and has it run, now and after every boot. Done again it changes nothing; where it
    /// is to listen elsewhere, it moves.
    ///
    /// Without addresses it listens where it did, and on a server that never did at a free port of its own addresses.
    ///
    /// # Errors
    ///
    /// Among others where somebody else listens there.
    pub fn install(&self, listen: Option<&[SocketAddr]>) -> Result<(), SystemdError> {
        let _lock = self.lock()?;
        let addresses = match listen {
            Some(addresses) => possible(addresses)?,
            None => jecloud_supervisor::own_addresses(&self.root)
                .map_err(|source| SystemdError::Io { action: "find a free port for the front", source })?,
        };
        self.give_away()?;
        jecloud_supervisor::record_addresses(&self.root, &addresses)?;
        let socket = Written { path: Path::new(UNITS).join(SOCKET), text: socket(&addresses) };
        let before = durable::read_text(&socket.path)?;
        let moves = before.is_some_and(|before| before != socket.text);
        let mut changed = socket.write()? | self.service().write()? | journal().write()?;
        if observe::target()?.is_empty() {
            changed |= boot_target().write()?;
        }
        fault::point("systemd.front").map_err(|source| SystemdError::Io { action: "install the front", source })?;
        if changed || !self.is_enabled()? {
            control::reload()?;
            control::systemctl(&["enable", "--quiet"], &["jecloud.target", SOCKET])?;
        }
        if moves {
            control::systemctl(&["stop"], &[PATTERN, SOCKET])?;
        }
        keep()
    }

    /// Has it run, where it was installed.
    ///
    /// # Errors
    ///
    /// When systemd does not start it.
    pub fn keep(&self) -> Result<(), SystemdError> {
        if tree::exists(&Path::new(UNITS).join(SOCKET))? { keep() } else { self.install(None) }
    }

    /// Has a front of this binary take the place of one of an older. The new one begins beside the old one, which accepts
    /// until the new one asks it to leave, and then finishes what it has in flight.
    ///
    /// # Errors
    ///
    /// When that has not happened before `deadline`; the one that ran before runs on then.
    pub fn renew(&self, deadline: Instant) -> Result<Renewed, SystemdError> {
        let _lock = self.lock()?;
        let lock_path = self.root.pid_file("front");
        let mut result = Renewed::Nothing;
        loop {
            let running = lock::holder(&lock_path)?.map(|pid| binary::compare(pid, &self.exe));
            match running {
                Some(Binary::Same) => return Ok(result),
                None if result == Renewed::Nothing => return Ok(result),
                Some(Binary::Newer(version)) => return Ok(Renewed::Newer(version)),
                Some(Binary::Older) if result == Renewed::Nothing => {
                    self.service().write()?;
                    fault::point("systemd.renew")
                        .map_err(|source| SystemdError::Io { action: "replace the front", source })?;
                    control::reload()?;
                    let all = control::show(&[PATTERN])?;
                    let is_free = |name: &String| all.get(name).is_none_or(Shown::has_ended);
                    let free = (1..=MOST).map(instance).find(is_free);
                    let free = free.ok_or(SystemdError::TooSlow { what: "earlier fronts have not ended" })?;
                    control::systemctl(&["start", "--no-block"], &[&free])?;
                    result = Renewed::Replaced;
                }
                None | Some(Binary::Older | Binary::Unknown) => {}
            }
            if Instant::now() >= deadline {
                return Err(SystemdError::TooSlow { what: "the new front has not taken over" });
            }
            pause();
        }
    }

    fn lock(&self) -> Result<Lock, SystemdError> {
        Ok(Lock::acquire(&self.root.pid_file("systemd-front"), Instant::now() + LOCK_DEADLINE)?)
    }

    fn is_enabled(&self) -> Result<bool, SystemdError> {
        let wants = [("sockets.target.wants", SOCKET), ("multi-user.target.wants", "jecloud.target")];
        let is_there = |(directory, unit): &(&str, &str)| tree::exists(&Path::new(UNITS).join(directory).join(unit));
        Ok(wants.iter().map(is_there).collect::<Result<Vec<_>, _>>()?.into_iter().all(|is_there| is_there))
    }

    /// As whom it runs: as its own user, where that one can reach the binary. A person's own directory is nobody else's.
    fn user(&self) -> Option<User> {
        let is_private = ["/root", "/home"].iter().any(|home| self.exe.starts_with(home));
        User::lookup(FRONT_USER).filter(|_| !is_private)
    }

    /// Lets it write where it has to.
    fn give_away(&self) -> Result<(), SystemdError> {
        let Some(user) = self.user() else { return Ok(()) };
        let owner = (user.uid, user.gid);
        durable::create_dirs(&self.root.run(), 0o700)?;
        tree::chown(&self.root.run(), owner)?;
        let lock = self.root.pid_file("front");
        if !tree::exists(&lock)? {
            durable::replace(&lock, b"", 0o644)?;
        }
        Ok(tree::chown(&lock, owner)?)
    }

    fn service(&self) -> Written {
        let user = self.user().map(|_| FRONT_USER);
        let text = service(&self.root, &self.exe, user);
        Written { path: Path::new(UNITS).join("jecloud-front@.service"), text }
    }
}

impl Written {
    /// Whether it had to be written.
    fn write(&self) -> Result<bool, SystemdError> {
        if durable::read_text(&self.path)?.as_deref() == Some(self.text.as_str()) {
            return Ok(false);
        }
        durable::replace(&self.path, self.text.as_bytes(), 0o644)?;
        Ok(true)
    }
}

/// Starts what does not run.
fn keep() -> Result<(), SystemdError> {
    let all = control::show(&[SOCKET, FIRST, PATTERN])?;
    if runs(&all, SOCKET) && all.keys().any(|unit| unit != SOCKET && runs(&all, unit)) {
        return Ok(());
    }
    control::systemctl(&["start"], &[SOCKET, FIRST])
}

fn runs(all: &BTreeMap<String, Shown>, unit: &str) -> bool {
    all.get(unit).is_some_and(|shown| ["active", "activating"].contains(&shown.active.as_str()))
}

fn instance(number: u32) -> String {
    format!("jecloud-front@{number}.service")
}

/// Those at which this machine can listen: without IPv6, those of IPv6 are left out, unless there are no others.
fn possible(addresses: &[SocketAddr]) -> Result<Vec<SocketAddr>, SystemdError> {
    let has_ipv6 = tree::exists(Path::new("/proc/net/if_inet6"))?;
    let possible: Vec<SocketAddr> = addresses.iter().copied().filter(|address| has_ipv6 || address.is_ipv4()).collect();
    Ok(if possible.is_empty() { addresses.to_vec() } else { possible })
}

fn socket(addresses: &[SocketAddr]) -> String {
    let mut text = "# Written by JeCloud, from `listen` in sys/server.json.\n\
                    [Unit]\nDescription=JeCloud: where clients of the front arrive\n\n[Socket]\n"
        .to_owned();
    for address in addresses {
        let _ = writeln!(text, "ListenStream={address}");
    }
    // An address may be there only later.
    let _ = write!(
        text,
        "BindIPv6Only=ipv6-only\nFreeBind=yes\nBacklog={BACKLOG}\nService={FIRST}\n\n[Install]\nWantedBy=sockets.target\n"
    );
    text
}

/// Without `NonBlocking` systemd has the sockets block when a front begins, and those of the one that runs are the same:
/// it would hang in the next connection that another one of its threads has taken.
fn service(root: &ServerRoot, exe: &Path, user: Option<&str>) -> String {
    let (program, path) = (quote::word(&exe.display().to_string()), quote::word(&root.path().display().to_string()));
    let writable = [root.run(), root.sys().join("pids")].map(|path| quote::word(&path.display().to_string()));
    let user_lines = match user {
        Some(user) => format!("User={user}\nGroup={user}\nProtectHome=yes\nMemoryDenyWriteExecute=yes\n"),
        None => "ProtectHome=read-only\n".to_owned(),
    };
    format!(
        "# Written by JeCloud, and written anew: changes belong into a drop-in.\n\
         [Unit]\n\
         Description=JeCloud: the front\n\
         Requires={SOCKET}\n\
         After={SOCKET} network.target\n\
         StartLimitIntervalSec=0\n\n\
         [Service]\n\
         Type=exec\n\
         Sockets={SOCKET}\n\
         NonBlocking=yes\n\
         ExecStart=:{program} \"front\" \"--root\" {path} \"--replace\"\n\
         Restart=on-failure\n\
         RestartSec=100ms\n\
         TimeoutStopSec=45s\n\
         LimitNOFILE=524288\n\
         Slice=jecloud.slice\n\
         LogNamespace={NAMESPACE}\n\
         SyslogIdentifier=front\n\
         {user_lines}\
         ReadWritePaths={}\n\
         {}",
        writable.join(" "),
        hardening::lines(user.is_none()),
    )
}

fn journal() -> Written {
    let path = Path::new("/etc/systemd").join(format!("journald@{NAMESPACE}.conf"));
    Written { path, text: CONFIGURATION.to_owned() }
}

/// Before there are processes.
fn boot_target() -> Written {
    Written { path: observe::target_file(), text: crate::plan::boot_target(&BTreeMap::new()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_listened_at() {
        let addresses = ["0.0.0.0:80", "[::]:80"].map(|address| address.parse().expect("an address"));
        let text = socket(&addresses);
        assert!(text.contains("ListenStream=0.0.0.0:80\nListenStream=[::]:80\nBindIPv6Only=ipv6-only\n"), "{text}");
    }

    #[test]
    fn it_takes_the_place_of_one_that_runs_and_has_no_rights() {
        let root = ServerRoot::new("/var/cloud");
        let text = service(&root, Path::new("/usr/local/lib/jecloud/1f/jecloud"), Some("jecloud-front"));
        let exec =
            "ExecStart=:\"/usr/local/lib/jecloud/1f/jecloud\" \"front\" \"--root\" \"/var/cloud\" \"--replace\"\n";
        assert!(text.contains(exec), "{text}");
        for line in ["User=jecloud-front", "CapabilityBoundingSet=", "Sockets=jecloud-front.socket", "NonBlocking=yes"]
        {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
