//! As whom a process can run.

use std::io::Read as _;

use rustix::fs::{Mode, OFlags};

use crate::{Environment, Launch, RunLimits, run};

/// A user of this machine, as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The number of its main group.
    pub gid: u32,
}

/// Whether this process may become anybody.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl User {
    /// The user of this name: from `/etc/passwd`, else from wherever the machine gets its users (`getent`).
    pub fn lookup(name: &str) -> Option<Self> {
        if name.is_empty() || name.contains([':', '\n', '\0']) {
            return None;
        }
        passwd().and_then(|passwd| find(&passwd, name)).or_else(|| {
            let limits = RunLimits { timeout: std::time::Duration::from_secs(10), keep_bytes: 4096 };
            let launch = Launch::new("getent")
                .args(["passwd", "--", name])
                .env(Environment::exactly([("PATH", crate::DEFAULT_PATH)]));
            let finished = run(launch, limits, &|| false, &mut |_, _| {}).ok()?;
            find(&String::from_utf8_lossy(&finished.stdout), name)
        })
    }
}

/// `/etc/passwd`, if it can be read.
fn passwd() -> Option<String> {
    let file = rustix::fs::open("/etc/passwd", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut bytes = Vec::new();
    // A descriptor is read through the standard library's pipe type: it reads any descriptor, and the file type
    // is fenced off.
    std::io::PipeReader::from(file).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The line `NAME:PASSWORD:UID:GID:…` of a user.
fn find(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let mut numbers = fields.skip(1);
        Some(User { uid: numbers.next()?.parse().ok()?, gid: numbers.next()?.parse().ok()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nrootless:x:7:8::/:/bin/sh\nbroken:x:1\n";
        assert_eq!(find(passwd, "root"), Some(User { uid: 0, gid: 0 }));
        assert_eq!(find(passwd, "rootless"), Some(User { uid: 7, gid: 8 }));
        assert_eq!(find(passwd, "broken"), None);
        assert_eq!(find(passwd, "roo"), None);
        assert_eq!(User::lookup("root"), Some(User { uid: 0, gid: 0 }));
        assert_eq!(User::lookup("no-such-user-here"), None);
        assert_eq!(User::lookup("root:x"), None);
    }
}
