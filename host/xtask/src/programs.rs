//! Programs of the machine that a task needs, and the Debian packages that bring them.

#![expect(clippy::disallowed_methods, reason = "a development task looks for programs and installs packages")]

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// A program, and the package that brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Program {
    /// As it is looked for in the `PATH`.
    pub(crate) name: &'static str,
    /// Debian's name for the package.
    pub(crate) package: &'static str,
}

/// Where Debian's packages put what they bring; the `PATH` of a user who is not root often lacks the second.
const PLACES: [&str; 4] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];

/// Forbids that services are started by installing them: the tests need programs, not a web server on port 80.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Where a program is.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(PLACES.iter().map(PathBuf::from));
    places.map(|place| place.join(name)).find(|file| file.is_file())
}

/// Installs what is missing, where that can be done: as root, where there is apt.
///
/// Returns what is missing still, in words for whoever can do something about it.
///
/// # Errors
///
/// When apt does not succeed.
pub(crate) fn install(programs: &[Program]) -> Result<Option<String>> {
    let missing: Vec<Program> = programs.iter().copied().filter(|program| find(program.name).is_none()).collect();
    if missing.is_empty() {
        eprintln!("nothing is missing");
        return Ok(None);
    }
    let names: Vec<&str> = missing.iter().map(|program| program.name).collect();
    let mut packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
    packages.sort_unstable();
    packages.dedup();
    let command = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    let has_apt = find("apt-get").is_some();
    if !has_apt || !rustix::process::geteuid().is_root() {
        let way = if has_apt { format!("run `sudo {command}`") } else { "install them".to_owned() };
        let left_out =
            format!("Left out, because these programs are missing: {}. To have them, {way}.", names.join(", "));
        eprintln!("{left_out}");
        return Ok(Some(left_out));
    }
    eprintln!("missing: {}; installing {}", names.join(", "), packages.join(" "));
    let _policy = NoServices::new()?;
    // A list that cannot be updated (of somebody else's repository) is no reason to give up.
    let _ = apt(&["update", "-qq"]);
    apt(&[&["install", "-qq", "--yes", "--no-install-recommends"], packages.as_slice()].concat())
        .with_context(|| format!("cannot install what is missing by `{command}`"))?;
    match missing.iter().find(|program| find(program.name).is_none()) {
        Some(program) => bail!("the package {} does not bring the program {}", program.package, program.name),
        None => Ok(None),
    }
}

fn apt(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    let status = command.status().context("cannot start apt-get")?;
    if !status.success() {
        bail!("apt-get ended with {status}");
    }
    Ok(())
}

/// While it lives, installing a package starts no service.
struct NoServices {
    is_ours: bool,
}

impl NoServices {
    fn new() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        if Path::new(POLICY).exists() {
            return Ok(Self { is_ours: false });
        }
        let result = std::fs::write(POLICY, "#!/bin/sh\nexit 101\n")
            .and_then(|()| std::fs::set_permissions(POLICY, std::fs::Permissions::from_mode(0o755)));
        result.with_context(|| format!("cannot write {POLICY}"))?;
        Ok(Self { is_ours: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.is_ours {
            let _ = std::fs::remove_file(POLICY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails without the places beside the PATH only where /usr/sbin is not in it.
    #[test]
    fn programs_are_found() {
        assert!(find("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(find("no-such-program-anywhere"), None);
    }

    #[test]
    fn nothing_is_done_where_nothing_is_missing() {
        assert_eq!(install(&[Program { name: "sh", package: "no-such-package" }]).unwrap(), None);
    }
}
