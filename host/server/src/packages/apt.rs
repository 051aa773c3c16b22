//! apt, by its commands.

use std::path::{Path, PathBuf};

use jecloud_disk::durable;
use jecloud_launch::{DEFAULT_PATH, Environment, Launch};
use jecloud_model::repository::Repository;

use super::distribution::{look_up, run};
use super::not_started::{self, NotStarted};
use super::{Distribution, repository};
use crate::error::ServerError;

/// How many seconds apt waits for another apt: `DPkg::Lock::Timeout`.
const LOCK_TIMEOUT: &str = "DPkg::Lock::Timeout=600";

/// Where apt keeps the lists of packages that it knows.
const LISTS: &str = "/var/lib/apt/lists";

/// The package manager of Debian and Ubuntu.
#[derive(Debug, Clone, Default)]
pub struct Apt {
    root: Option<PathBuf>,
}

impl Apt {
    /// One that keeps all that it knows and installs below a directory, in place of this machine.
    pub fn into_directory(root: impl Into<PathBuf>) -> Self {
        Self { root: Some(root.into()) }
    }

    /// A file or directory of the machine.
    fn path(&self, path: &str) -> PathBuf {
        self.root.as_deref().unwrap_or(Path::new("/")).join(path.trim_start_matches('/'))
    }

    fn command(&self, program: &str) -> Launch {
        let launch = command(program);
        let Some(root) = &self.root else { return launch };
        let root = root.display();
        let settings = [
            format!("Dir={root}"),
            format!("Dir::State::status={root}/var/lib/dpkg/status"),
            format!("DPkg::Options::=--root={root}"),
        ];
        launch.args(settings.iter().flat_map(|setting| ["-o", setting.as_str()]))
    }

    fn query(&self) -> Launch {
        let launch = command("dpkg-query");
        match &self.root {
            Some(_) => launch.arg("--admindir").arg(self.path("var/lib/dpkg")),
            None => launch,
        }
    }

    fn get<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Launch {
        self.command("apt-get").args(["-q", "-o", LOCK_TIMEOUT]).args(arguments)
    }
}

/// A program of Debian's, without questions.
pub(super) fn command(program: &str) -> Launch {
    Launch::new(program).cwd("/").env(Environment::exactly([
        ("PATH", DEFAULT_PATH),
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
        ("DEBIAN_FRONTEND", "noninteractive"),
    ]))
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
        let text = look_up(self.query().args(["--show", format, "--", package]))?;
        let (status, version) = text.split_once(' ')?;
        (status == "installed").then(|| version.trim().to_owned())
    }

    fn candidate(&self, package: &str) -> Option<String> {
        self.is_package_name(package).then_some(())?;
        candidate_in(&look_up(self.command("apt-cache").args(["policy", "--", package]))?)
    }

    /// The highest first.
    fn known(&self, package: &str) -> Vec<String> {
        let text = look_up(self.command("apt-cache").args(["madison", "--", package])).unwrap_or_default();
        text.lines().filter_map(|line| Some(line.split('|').nth(1)?.trim().to_owned())).collect()
    }

    fn highest(&self, _package: &str, versions: Vec<String>) -> Option<String> {
        versions.into_iter().next()
    }

    fn brings(&self, package: &str, path: &str) -> bool {
        let files = self.is_package_name(package).then(|| look_up(self.query().args(["--listfiles", "--", package])));
        files.flatten().is_some_and(|files| files.lines().any(|file| file == path))
    }

    fn lacks_lists(&self) -> bool {
        let is_list = |name: &std::ffi::OsString| name.to_string_lossy().contains("_Packages");
        jecloud_launch::is_root()
            && !jecloud_disk::tree::list(&self.path(LISTS)).is_ok_and(|names| names.iter().any(is_list))
    }

    /// The key lies where it is good for nothing but this repository: apt's `Signed-By`.
    fn add_repository(&self, repository: &Repository, cancel: &dyn Fn() -> bool) -> Result<bool, ServerError> {
        let name = repository.name();
        let path = self.path("etc/apt/keyrings").join(format!("{name}.asc"));
        let key = repository::key(repository, &path, cancel)?;
        // apt tells the two kinds of keys by their names.
        let path = if key.starts_with(b"-----BEGIN") {
            path
        } else {
            let binary = path.with_extension("gpg");
            durable::replace(&binary, &key, 0o644)?;
            binary
        };
        let Repository { url, suite, components, .. } = repository;
        let components = match components.as_slice() {
            [] => String::new(),
            all => format!("Components: {}\n", all.join(" ")),
        };
        let text = format!("Types: deb\nURIs: {url}\nSuites: {suite}\n{components}Signed-By: {}\n", path.display());
        repository::write(&self.path("etc/apt/sources.list.d").join(format!("{name}.sources")), &text)
    }

    fn refresh(&self, cancel: &dyn Fn() -> bool, on_line: &mut dyn FnMut(&str)) -> Result<(), ServerError> {
        run("apt-get update", self.get(["update"]), cancel, on_line).map(drop)
    }

    fn finish(&self) -> Result<(), ServerError> {
        let root = self.path("");
        if not_started::is_left(&root) {
            NotStarted::begin(&root)?.map(NotStarted::end).transpose()?;
        }
        Ok(())
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
        let policy = NotStarted::begin(&self.path(""))?;
        let get = self.get(arguments);
        let get = policy.iter().fold(get, |get, policy| policy.around(get));
        let installed = run("apt-get install", get, cancel, on_line).map(drop);
        let not_started = policy.map(NotStarted::end).transpose()?.unwrap_or_default();
        if !not_started.is_empty() {
            on_line(&format!("not started, now or at boot: {}", not_started.join(", ")));
        }
        installed
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
            assert!(!Apt::default().is_package_name(bad), "{bad}");
        }
        assert!(Apt::default().is_package_name("libc6") && Apt::default().is_package_name("g++"));
    }

    #[test]
    fn what_is_installed_here() {
        let version = Apt::default().installed("libc6").expect("every Debian has a C library");
        assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{version}");
        assert_eq!(Apt::default().installed("no-such-package-anywhere"), None);
        assert!(Apt::default().brings("apt", "/usr/bin/apt-get"), "every Debian has apt");
        assert!(!Apt::default().brings("libc6", "/usr/bin/apt-get"));
    }
}
