//! The package manager of a distribution, whichever it is.

use std::time::Duration;

use jecloud_launch::{DEFAULT_PATH, Finished, Launch, LaunchError, RunLimits, Stream, find_program};
use jecloud_model::app::Failure;
use jecloud_model::repository::Repository;

use super::apt::Apt;
use super::dnf::Dnf;
use super::versions::Requirement;
use crate::error::{ServerError, chain};

/// How long looking something up may take; most of it reads local lists.
const LOOK_UP_DEADLINE: Duration = Duration::from_secs(60);

/// How long an update or an installation may take, the wait for somebody else's included.
const INSTALL_DEADLINE: Duration = Duration::from_secs(30 * 60);

/// How much of what a package manager says is kept for a failure.
const KEPT_OUTPUT: usize = 16 * 1024;

/// A package manager, used without questions. Others who use it at the same time are waited for.
///
/// Versions are whole: `1:2.3-4`, as the package manager itself writes them. A requirement is met without the epoch (the
/// number before the colon), which no person writes.
pub trait Distribution {
    /// As in the fact `package-manager` in `wit/types.wit`.
    fn name(&self) -> &'static str;

    /// What a person types to install these packages.
    fn by_hand(&self, packages: &[&str]) -> String;

    /// Whether a text can be the name of a package, and not an option or a path.
    fn is_package_name(&self, name: &str) -> bool;

    /// The version that is installed of a package.
    fn installed(&self, package: &str) -> Option<String>;

    /// The version that would be installed.
    fn candidate(&self, package: &str) -> Option<String>;

    /// All versions that can be installed, in any order.
    fn known(&self, package: &str) -> Vec<String>;

    /// The highest of several known versions of a package.
    fn highest(&self, package: &str, versions: Vec<String>) -> Option<String>;

    /// Whether an installed package has brought this file.
    fn brings(&self, package: &str, path: &str) -> bool;

    /// Whether packages could be installed, but none is known yet: on a fresh machine, or in a container, nobody has
    /// fetched the lists.
    fn lacks_lists(&self) -> bool;

    /// Makes a repository known, with its key for nothing but that repository; whether it was not known before. It stays
    /// known when the app is destroyed, as packages stay installed.
    ///
    /// # Errors
    ///
    /// A [`Failure`] where its key cannot be fetched, or is not what its sum says.
    fn add_repository(&self, repository: &Repository, cancel: &dyn Fn() -> bool) -> Result<bool, ServerError>;

    /// Fetches the lists of packages.
    ///
    /// # Errors
    ///
    /// A [`Failure`] with the last lines of what was said.
    fn refresh(&self, cancel: &dyn Fn() -> bool, on_line: &mut dyn FnMut(&str)) -> Result<(), ServerError>;

    /// Finishes what an installation has left that was killed.
    ///
    /// # Errors
    ///
    /// Where that cannot be done.
    fn finish(&self) -> Result<(), ServerError> {
        Ok(())
    }

    /// Installs exactly these versions, a lower one in place of a higher one too.
    ///
    /// # Errors
    ///
    /// A [`Failure`] with the last lines of what was said.
    fn install_exactly(
        &self,
        packages: &[(String, String)],
        cancel: &dyn Fn() -> bool,
        on_line: &mut dyn FnMut(&str),
    ) -> Result<(), ServerError>;
}

/// A package that is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// In which version.
    pub version: Requirement,
    /// Where it is found, if not among those of the distribution.
    pub repository: Option<Repository>,
}

/// The package manager of this machine; none where it is none that JeCloud can drive.
pub fn of_this_machine() -> Option<Box<dyn Distribution>> {
    let is_here = |program: &str| find_program(program, std::ffi::OsStr::new(DEFAULT_PATH)).is_some();
    // Debian has a dnf as well, for those who build packages of others.
    if is_here("apt-get") {
        Some(Box::new(Apt::default()))
    } else if is_here("dnf") {
        Some(Box::new(Dnf::default()))
    } else {
        None
    }
}

/// Makes sure that packages are installed, each in a version that its requirement accepts. Returns the exact
/// versions, in the same order.
///
/// # Errors
///
/// A [`Failure`] that says which package cannot be had, and what a person can do.
pub fn install(
    manager: &dyn Distribution,
    wanted: &[Wanted],
    cancel: &dyn Fn() -> bool,
    on_line: &mut dyn FnMut(&str),
) -> Result<Vec<String>, ServerError> {
    if jecloud_launch::is_root() {
        manager.finish()?;
    }
    let satisfied = |package: &Wanted| {
        manager.installed(&package.name).filter(|version| package.version.accepts(without_epoch(version)))
    };
    let missing: Vec<&Wanted> = wanted.iter().filter(|package| satisfied(package).is_none()).collect();
    if !missing.is_empty() {
        if !jecloud_launch::is_root() {
            let names: Vec<&str> = missing.iter().map(|package| package.name.as_str()).collect();
            return Err(Failure::because(format!(
                "{} must be installed on this machine, and JeCloud does not run as root here",
                names.join(", ")
            ))
            .hint(format!("Type `{}`, then deploy again.", manager.by_hand(&names)))
            .into());
        }
        let mut is_new = false;
        for repository in missing.iter().filter_map(|package| package.repository.as_ref()) {
            is_new |= manager.add_repository(repository, cancel)?;
        }
        if is_new {
            manager.refresh(cancel, on_line)?;
        }
        let mut exact = choose(manager, &missing);
        if exact.is_err() {
            manager.refresh(cancel, on_line)?;
            exact = choose(manager, &missing);
        }
        let exact = exact?;
        jecloud_disk::fault::point("packages.install")
            .map_err(|source| ServerError::Io { action: "install packages", source })?;
        if manager.install_exactly(&exact, cancel, on_line).is_err() {
            // The lists may be older than what the mirror still has.
            manager.refresh(cancel, on_line)?;
            manager.install_exactly(&exact, cancel, on_line)?;
        }
    }
    wanted
        .iter()
        .map(|package| {
            satisfied(package).ok_or_else(|| {
                let (manager, name, version) = (manager.name(), &package.name, package.version.in_words());
                Failure::because(format!("{manager} installed {name}, but not in {version}")).into()
            })
        })
        .collect()
}

/// The version that would be installed of a package, where none is.
///
/// # Errors
///
/// A [`Failure`] that says that it cannot be had.
pub(crate) fn exact(manager: &dyn Distribution, wanted: &Wanted) -> Result<String, ServerError> {
    let chosen = choose(manager, &[wanted])?;
    Ok(chosen.into_iter().map(|(_, version)| version).next().unwrap_or_default())
}

/// The name and exact version of each.
fn choose(manager: &dyn Distribution, missing: &[&Wanted]) -> Result<Vec<(String, String)>, ServerError> {
    let name = manager.name();
    missing
        .iter()
        .map(|Wanted { name: package, version: requirement, .. }| {
            if !manager.is_package_name(package) {
                return Err(Failure::because(format!("{package:?} is not the name of a package")).into());
            }
            let known = manager.known(package);
            let fitting = known.iter().filter(|version| requirement.accepts(without_epoch(version))).cloned().collect();
            match manager.highest(package, fitting) {
                Some(version) => Ok((package.clone(), version)),
                None if known.is_empty() => Err(Failure::because(format!("{name} knows no package {package}"))
                    .hint(format!(
                        "Check which repositories the server has, then type `{}`.",
                        manager.by_hand(&[package])
                    ))
                    .into()),
                None => Err(Failure::because(format!(
                    "{name} has {package} only in {}, and {} is needed",
                    known.join(", "),
                    requirement.in_words()
                ))
                .hint("Where jecloud.lock holds that version, `jecloud upgrade` moves on to one that there is.")
                .into()),
            }
        })
        .collect()
}

/// Versions may have an epoch in front, which no person writes: `1:2.3-4`.
pub(crate) fn without_epoch(version: &str) -> &str {
    version.split_once(':').map_or(version, |(_, rest)| rest)
}

/// What a command says that looks something up; none where it fails.
pub(super) fn look_up(launch: Launch) -> Option<String> {
    let limits = RunLimits { timeout: LOOK_UP_DEADLINE, keep_bytes: 1024 * 1024 };
    let finished = jecloud_launch::run(launch, limits, &|| false, &mut |_, _| {}).ok()?;
    finished.status.success().then(|| String::from_utf8_lossy(&finished.stdout).into_owned())
}

/// Runs a command that changes something; `title` names it to people.
pub(super) fn run(
    title: &str,
    launch: Launch,
    cancel: &dyn Fn() -> bool,
    on_line: &mut dyn FnMut(&str),
) -> Result<Finished, ServerError> {
    let limits = RunLimits { timeout: INSTALL_DEADLINE, keep_bytes: KEPT_OUTPUT };
    let finished = jecloud_launch::run(launch, limits, cancel, &mut |_: Stream, line| on_line(line))
        .map_err(|error: LaunchError| Failure::because(format!("{title} cannot be used: {}", chain(&error))))?;
    if finished.status.success() {
        return Ok(finished);
    }
    let text = String::from_utf8_lossy(&finished.stderr).into_owned();
    let details = text.lines().rev().take(10).map(str::to_owned).collect::<Vec<_>>().into_iter().rev().collect();
    Err(Failure::because(format!("{title} {}", finished.status))
        .details(details)
        .hint("Try the same command on the server by hand.")
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs() {
        assert_eq!(without_epoch("1:2.3-4"), "2.3-4");
        assert_eq!(without_epoch("2.3-4"), "2.3-4");
    }

    /// Fails where dnf is looked for first.
    #[test]
    fn a_debian_is_driven_by_apt() {
        if find_program("apt-get", std::ffi::OsStr::new(DEFAULT_PATH)).is_some() {
            assert_eq!(of_this_machine().map(|manager| manager.name()), Some("apt"));
        }
    }
}
