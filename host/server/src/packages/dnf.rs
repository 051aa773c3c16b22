//! dnf, by its commands. It waits for another dnf by itself.

use std::path::{Path, PathBuf};

use jecloud_launch::{DEFAULT_PATH, Environment, Launch};
use jecloud_model::repository::Repository;

use super::distribution::{look_up, run};
use super::{Distribution, repository};
use crate::error::ServerError;

/// Epoch where there is one, version and release, a line each. dnf 4 ends lines by itself, dnf 5 does not.
const VERSIONS: &str = "%{evr}\\n";

/// The package manager of Fedora, RHEL and their relatives, and of Amazon Linux.
#[derive(Debug, Clone, Default)]
pub struct Dnf {
    root: Option<PathBuf>,
}

impl Dnf {
    /// One that installs into a directory, with the repositories that are configured in there, in place of this machine.
    pub fn into_directory(root: impl Into<PathBuf>) -> Self {
        Self { root: Some(root.into()) }
    }

    fn command(&self, program: &str, of_root: &str) -> Launch {
        let launch = Launch::new(program).cwd("/").env(Environment::exactly([
            ("PATH", DEFAULT_PATH),
            ("HOME", "/root"),
            ("LANG", "C.UTF-8"),
        ]));
        match &self.root {
            Some(root) => launch.arg(of_root).arg(root),
            None => launch,
        }
    }

    fn dnf(&self) -> Launch {
        self.command("dnf", "--installroot").args(["--quiet", "--assumeyes"])
    }

    fn versions<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let launch = self.dnf().args(["repoquery", "--queryformat", VERSIONS]).args(arguments);
        let text = look_up(launch).unwrap_or_default();
        let mut versions: Vec<String> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        // One for each architecture.
        versions.sort();
        versions.dedup();
        versions
    }
}

/// As dnf takes it: NEVRA without the architecture.
fn exact(name: &str, version: &str) -> String {
    format!("{name}-{version}")
}

impl Distribution for Dnf {
    fn name(&self) -> &'static str {
        "dnf"
    }

    fn by_hand(&self, packages: &[&str]) -> String {
        format!("sudo dnf install {}", packages.join(" "))
    }

    /// Without what dnf takes for an option, a path, a group, or a pattern.
    fn is_package_name(&self, name: &str) -> bool {
        name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_'))
    }

    fn installed(&self, package: &str) -> Option<String> {
        self.is_package_name(package).then_some(())?;
        let query = ["--query", "--queryformat", "%{EVR}\\n", "--", package];
        // Of what can be there in several versions (a kernel) the one that was installed last.
        look_up(self.command("rpm", "--root").args(query))?.lines().last().map(str::to_owned)
    }

    fn brings(&self, package: &str, path: &str) -> bool {
        let query = ["--query", "--list", "--", package];
        let files = self.is_package_name(package).then(|| look_up(self.command("rpm", "--root").args(query)));
        files.flatten().is_some_and(|files| files.lines().any(|file| file == path))
    }

    fn candidate(&self, package: &str) -> Option<String> {
        self.is_package_name(package).then_some(())?;
        self.versions(["--latest-limit=1", package]).pop()
    }

    fn known(&self, package: &str) -> Vec<String> {
        self.versions([package])
    }

    /// Asks dnf: who compares versions of RPM needs to know more than numbers.
    fn highest(&self, package: &str, versions: Vec<String>) -> Option<String> {
        if versions.len() < 2 {
            return versions.into_iter().next();
        }
        let all: Vec<String> = versions.iter().map(|version| exact(package, version)).collect();
        self.versions(std::iter::once("--latest-limit=1").chain(all.iter().map(String::as_str))).pop()
    }

    /// dnf fetches what it lacks.
    fn lacks_lists(&self) -> bool {
        false
    }

    /// Every package of it has to be signed with its key.
    fn add_repository(&self, repository: &Repository, cancel: &dyn Fn() -> bool) -> Result<bool, ServerError> {
        let name = repository.name();
        let root = self.root.as_deref().unwrap_or(Path::new("/"));
        let key = root.join("etc/pki/rpm-gpg").join(&name);
        repository::key(repository, &key, cancel)?;
        let text = format!(
            "[{name}]\nname={}\nbaseurl={}\nenabled=1\ngpgcheck=1\ngpgkey=file://{}\n",
            repository.url,
            repository.url,
            key.display()
        );
        repository::write(&root.join("etc/yum.repos.d").join(format!("{name}.repo")), &text)
    }

    fn refresh(&self, cancel: &dyn Fn() -> bool, on_line: &mut dyn FnMut(&str)) -> Result<(), ServerError> {
        run("dnf makecache", self.dnf().args(["makecache", "--refresh"]), cancel, on_line).map(drop)
    }

    fn install_exactly(
        &self,
        packages: &[(String, String)],
        cancel: &dyn Fn() -> bool,
        on_line: &mut dyn FnMut(&str),
    ) -> Result<(), ServerError> {
        let exact: Vec<String> = packages.iter().map(|(name, version)| exact(name, version)).collect();
        let launch = self.dnf().args(["--setopt=install_weak_deps=False", "install"]).args(exact);
        run("dnf install", launch, cancel, on_line).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_dnf_would_take_for_something_else() {
        for bad in
            ["", "-y", "--nogpgcheck", "@core", "/tmp/evil.rpm", "./x", "a b", "a*", "a[1]", "a>1", "https://x/y.rpm"]
        {
            assert!(!Dnf::default().is_package_name(bad), "{bad}");
        }
        assert!(
            ["libstdc++", "ImageMagick", "python3.11", "mod_ssl"]
                .iter()
                .all(|name| Dnf::default().is_package_name(name))
        );
    }
}
