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
        Self::lookup_with_comment(name).map(|(user, _)| user)
    }

    /// The same with its comment (the GECOS field), by which whoever made it can know it again.
    pub fn lookup_with_comment(name: &str) -> Option<(Self, String)> {
        if !is_name(name) {
            return None;
        }
        list("/etc/passwd").and_then(|passwd| find(&passwd, name)).or_else(|| find(&getent("passwd", name)?, name))
    }
}

/// A group of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// The group's number.
    pub gid: u32,
    /// Whether it is more than the main group of somebody.
    pub has_members: bool,
}

/// The group of this name, from where users are found, too.
pub fn group(name: &str) -> Option<Group> {
    if !is_name(name) {
        return None;
    }
    list("/etc/group")
        .and_then(|groups| find_group(&groups, name))
        .or_else(|| find_group(&getent("group", name)?, name))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains([':', '\n', '\0'])
}

/// What the machine's own way of finding users says.
fn getent(database: &str, name: &str) -> Option<String> {
    let limits = RunLimits { timeout: std::time::Duration::from_secs(10), keep_bytes: 4096 };
    let launch =
        Launch::new("getent").args([database, "--", name]).env(Environment::exactly([("PATH", crate::DEFAULT_PATH)]));
    let finished = run(launch, limits, &|| false, &mut |_, _| {}).ok()?;
    Some(String::from_utf8_lossy(&finished.stdout).into_owned())
}

/// A list of users or groups, if it can be read.
fn list(path: &str) -> Option<String> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut bytes = Vec::new();
    // A descriptor is read through the standard library's pipe type: it reads any descriptor, and the file type
    // is fenced off.
    std::io::PipeReader::from(file).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The line `NAME:PASSWORD:UID:GID:COMMENT:…` of a user.
fn find(passwd: &str, name: &str) -> Option<(User, String)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let mut rest = fields.skip(1);
        let user = User { uid: rest.next()?.parse().ok()?, gid: rest.next()?.parse().ok()? };
        Some((user, rest.next().unwrap_or_default().to_owned()))
    })
}

/// The line `NAME:PASSWORD:GID:MEMBERS` of a group.
fn find_group(groups: &str, name: &str) -> Option<Group> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let mut rest = fields.skip(1);
        Some(Group { gid: rest.next()?.parse().ok()?, has_members: rest.next().is_some_and(|all| !all.is_empty()) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nrootless:x:7:8::/:/bin/sh\nbroken:x:1\n";
        assert_eq!(find(passwd, "root"), Some((User { uid: 0, gid: 0 }, "root".to_owned())));
        assert_eq!(find(passwd, "rootless"), Some((User { uid: 7, gid: 8 }, String::new())));
        assert_eq!(find(passwd, "broken"), None);
        assert_eq!(find(passwd, "roo"), None);
        assert_eq!(User::lookup("root"), Some(User { uid: 0, gid: 0 }));
        assert_eq!(User::lookup("no-such-user-here"), None);
        assert_eq!(User::lookup("root:x"), None);
        assert_eq!(group("root").map(|group| group.gid), Some(0));
        let groups = "one:x:7:\nother:x:8:one,two\n";
        assert_eq!(find_group(groups, "one"), Some(Group { gid: 7, has_members: false }));
        assert_eq!(find_group(groups, "other"), Some(Group { gid: 8, has_members: true }));
    }
}
