//! What machines that boot systemd begin as: a small Debian under `target/tools`, made once in a minute. 300 MB.

#![expect(clippy::disallowed_methods, reason = "a development task installs what the tests need")]

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Below the repository, where the tests look for it.
const PLACE: &str = "target/tools/debian";

/// What a server has that somebody rents, as far as the tests need it.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,libpam-systemd,openssh-server,ca-certificates,sudo,iproute2,cron";

/// Which Debian: that of the servers on EC2.
const SUITE: &str = "bookworm";

/// Makes it where it is missing; returns what is missing still, in words.
///
/// # Errors
///
/// When debootstrap does not succeed.
pub(super) fn install(root: &Path) -> Result<Option<String>> {
    let place = root.join(PLACE);
    if place.exists() {
        eprintln!("{PLACE} is there");
        return Ok(None);
    }
    let reason = if !rustix::process::geteuid().is_root() {
        "this is not done by root"
    } else if crate::programs::find("debootstrap").is_none() {
        "debootstrap is missing"
    } else {
        // Under its name only when it is complete.
        let new = root.join(format!("{PLACE}.new"));
        if new.exists() {
            std::fs::remove_dir_all(&new).with_context(|| format!("cannot remove {}", new.display()))?;
        }
        std::fs::create_dir_all(&new).with_context(|| format!("cannot make {}", new.display()))?;
        let mut command = Command::new("debootstrap");
        command.args(["--variant=minbase", &format!("--include={PACKAGES}"), SUITE]).arg(&new);
        if !command.status().context("cannot start debootstrap")?.success() {
            bail!("debootstrap could not make a Debian; what it said is above");
        }
        std::fs::rename(&new, &place).with_context(|| format!("cannot make {}", place.display()))?;
        return Ok(None);
    };
    let left_out = format!("Left out, because {reason}: the tests with servers that boot systemd.");
    eprintln!("{left_out}");
    Ok(Some(left_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_done_where_it_is_there() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join(PLACE)).unwrap();
        assert_eq!(install(root.path()).unwrap(), None);
    }
}
