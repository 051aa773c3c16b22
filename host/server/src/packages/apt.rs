//! apt, by its commands.

use jecloud_launch::{DEFAULT_PATH, Environment, Launch};

use super::Distribution;
use super::distribution::{look_up, run};
use crate::error::ServerError;

/// How many seconds apt waits for another apt: `DPkg::Lock::Timeout`.
const LOCK_TIMEOUT: &str = "DPkg::Lock::Timeout=600";

/// Where apt keeps the lists of packages that it knows.
const LISTS: &str = "/var/lib/apt/lists";

/// The package manager of Debian and Ubuntu.
#[derive(Debug, Clone, Copy)]
pub struct Apt;

fn command(program: &str) -> Launch {
    Launch::new(program).cwd("/").env(Environment::exactly([
        ("PATH", DEFAULT_PATH),
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
        ("DEBIAN_FRONTEND", "noninteractive"),
    ]))
}

fn apt_get<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Launch {
    command("apt-get").args(["-q", "-o", LOCK_TIMEOUT]).args(arguments)
}

impl Distribution for Apt {
    fn name(&self) -> &'static str {
        "apt"
    }

    fn by_hand(&self, packages: &[&str]) -> String {
        format!("sudo apt-get install {}", packages.join(" "))
    }

    /// Debian Policy 5.6.1.
    fn is_package_name(&self, name: &str) -> bool {
        name.len() >= 2
            && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'))
            && name.starts_with(|first: char| first.is_ascii_alphanumeric())
    }

    fn installed(&self, package: &str) -> Option<String> {
        self.is_package_name(package).then_some(())?;
        let format = "--showformat=${db:Status-Status} ${Version}";
        let text = look_up(command("dpkg-query").args(["--show", format, "--", package]))?;
        let (status, version) = text.split_once(' ')?;
        (status == "installed").then(|| version.trim().to_owned())
    }

    fn candidate(&self, package: &str) -> Option<String> {
        self.is_package_name(package).then_some(())?;
        candidate_in(&look_up(command("apt-cache").args(["policy", "--", package]))?)
    }

    /// The highest first.
    fn known(&self, package: &str) -> Vec<String> {
        let text = look_up(command("apt-cache").args(["madison", "--", package])).unwrap_or_default();
        text.lines().filter_map(|line| Some(line.split('|').nth(1)?.trim().to_owned())).collect()
    }

    fn highest(&self, _package: &str, versions: Vec<String>) -> Option<String> {
        versions.into_iter().next()
    }

    fn lacks_lists(&self) -> bool {
        let is_list = |name: &std::ffi::OsString| name.to_string_lossy().contains("_Packages");
        jecloud_launch::is_root()
            && !jecloud_disk::tree::list(LISTS.as_ref()).is_ok_and(|names| names.iter().any(is_list))
    }

    fn refresh(&self, cancel: &dyn Fn() -> bool, on_line: &mut dyn FnMut(&str)) -> Result<(), ServerError> {
        run("apt-get update", apt_get(["update"]), cancel, on_line).map(drop)
    }

    fn install_exactly(
        &self,
        packages: &[(String, String)],
        cancel: &dyn Fn() -> bool,
        on_line: &mut dyn FnMut(&str),
    ) -> Result<(), ServerError> {
        let exact: Vec<String> = packages.iter().map(|(name, version)| format!("{name}={version}")).collect();
        let arguments = ["install", "-y", "--no-install-recommends", "--allow-downgrades"].into_iter();
        let arguments = arguments.chain(exact.iter().map(String::as_str));
        run("apt-get install", apt_get(arguments), cancel, on_line).map(drop)
    }
}

fn candidate_in(policy: &str) -> Option<String> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:"))?.trim();
    (version != "(none)" && !version.is_empty()).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let policy = "thing:\n  Installed: (none)\n  Candidate: 18.20.4+dfsg-1~deb12u1\n  Version table:\n";
        assert_eq!(candidate_in(policy).as_deref(), Some("18.20.4+dfsg-1~deb12u1"));
        assert_eq!(candidate_in("thing:\n  Candidate: (none)\n"), None);
        assert_eq!(candidate_in(""), None);
    }

    #[test]
    fn names_that_apt_would_take_for_something_else() {
        for bad in ["", "-y", "--reinstall", "a", "/tmp/evil.deb", "./x", "A", "a b", "a=1"] {
            assert!(!Apt.is_package_name(bad), "{bad}");
        }
        assert!(Apt.is_package_name("libc6") && Apt.is_package_name("g++"));
    }

    #[test]
    fn what_is_installed_here() {
        let version = Apt.installed("libc6").expect("every Debian has a C library");
        assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{version}");
        assert_eq!(Apt.installed("no-such-package-anywhere"), None);
    }
}
