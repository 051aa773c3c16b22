//! apt, by its commands. Runs without questions; other users of apt are waited for.

use std::time::Duration;

use jecloud_launch::{DEFAULT_PATH, Environment, Finished, Launch, LaunchError, RunLimits, Stream};
use jecloud_model::app::Failure;

use super::Requirement;
use crate::error::{ServerError, chain};

/// How long looking something up may take; it reads local lists.
const LOOK_UP_DEADLINE: Duration = Duration::from_secs(60);

/// How long an update or an installation may take, the wait for another apt included.
const INSTALL_DEADLINE: Duration = Duration::from_secs(30 * 60);

/// How many seconds apt waits for another apt: `DPkg::Lock::Timeout`.
const LOCK_TIMEOUT: &str = "DPkg::Lock::Timeout=600";

/// How much of apt's output is kept for a failure.
const KEPT_OUTPUT: usize = 16 * 1024;

/// Where apt keeps the lists of packages that it knows.
const LISTS: &str = "/var/lib/apt/lists";

fn command(program: &str) -> Launch {
    Launch::new(program).cwd("/").env(Environment::exactly([
        ("PATH", DEFAULT_PATH),
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
        ("DEBIAN_FRONTEND", "noninteractive"),
    ]))
}

fn look_up(launch: Launch) -> Option<String> {
    let limits = RunLimits { timeout: LOOK_UP_DEADLINE, keep_bytes: 1024 * 1024 };
    let finished = jecloud_launch::run(launch, limits, &|| false, &mut |_, _| {}).ok()?;
    finished.status.success().then(|| String::from_utf8_lossy(&finished.stdout).into_owned())
}

/// Whether a text can be the name of a package, and not an option or a path: Debian Policy 5.6.1.
fn is_package_name(name: &str) -> bool {
    name.len() >= 2
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'))
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

/// Whether JeCloud could install packages with apt, but apt knows none yet: on a fresh machine, or in a container, nobody
/// has fetched its lists.
pub fn lacks_lists() -> bool {
    let is_list = |name: &std::ffi::OsString| name.to_string_lossy().contains("_Packages");
    jecloud_launch::is_root()
        && super::PackageManager::of_this_machine() == Some(super::PackageManager::Apt)
        && !jecloud_disk::tree::list(LISTS.as_ref()).is_ok_and(|names| names.iter().any(is_list))
}

/// Fetches the lists of packages.
///
/// # Errors
///
/// A [`Failure`] with the last lines of what apt said.
pub fn update(cancel: &dyn Fn() -> bool, on_line: &mut dyn FnMut(&str)) -> Result<(), ServerError> {
    run(&["update"], cancel, on_line).map(|_| ())
}

/// The version that apt would install.
pub fn candidate(package: &str) -> Option<String> {
    if !is_package_name(package) {
        return None;
    }
    candidate_in(&look_up(command("apt-cache").args(["policy", "--", package]))?)
}

fn candidate_in(policy: &str) -> Option<String> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:"))?.trim();
    (version != "(none)" && !version.is_empty()).then(|| version.to_owned())
}

/// The versions that apt knows.
fn known_versions(package: &str) -> Vec<String> {
    let text = look_up(command("apt-cache").args(["madison", "--", package])).unwrap_or_default();
    text.lines().filter_map(|line| Some(line.split('|').nth(1)?.trim().to_owned())).collect()
}

/// The version that is installed.
pub fn installed(package: &str) -> Option<String> {
    if !is_package_name(package) {
        return None;
    }
    let format = "--showformat=${db:Status-Status} ${Version}";
    let text = look_up(command("dpkg-query").args(["--show", format, "--", package]))?;
    let (status, version) = text.split_once(' ')?;
    (status == "installed").then(|| version.trim().to_owned())
}

/// Debian versions may have an epoch in front, which no person writes: `1:2.3-4`.
fn without_epoch(version: &str) -> &str {
    version.split_once(':').map_or(version, |(_, rest)| rest)
}

/// Makes sure that packages are installed, each in a version that its requirement accepts. Returns the exact
/// versions, in the same order.
pub fn install(
    wanted: &[(String, Requirement)],
    cancel: &dyn Fn() -> bool,
    on_line: &mut dyn FnMut(&str),
) -> Result<Vec<String>, ServerError> {
    let satisfied = |package: &str, requirement: &Requirement| {
        installed(package).filter(|version| requirement.accepts(without_epoch(version)))
    };
    let missing: Vec<&(String, Requirement)> =
        wanted.iter().filter(|(package, requirement)| satisfied(package, requirement).is_none()).collect();
    if !missing.is_empty() {
        if !jecloud_launch::is_root() {
            let names: Vec<&str> = missing.iter().map(|(package, _)| package.as_str()).collect();
            return Err(Failure::because(format!(
                "{} must be installed on this machine, and JeCloud does not run as root here",
                names.join(", ")
            ))
            .hint(format!("Type `sudo apt-get install {}`, then deploy again.", names.join(" ")))
            .into());
        }
        let mut exact = choose(&missing);
        if exact.is_err() {
            update(cancel, on_line)?;
            exact = choose(&missing);
        }
        let exact = exact?;
        let mut arguments = vec!["install", "-y", "--no-install-recommends", "--allow-downgrades"];
        arguments.extend(exact.iter().map(String::as_str));
        jecloud_disk::fault::point("packages.install")
            .map_err(|source| ServerError::Io { action: "install packages", source })?;
        if run(&arguments, cancel, on_line).is_err() {
            // The lists may be older than what the mirror still has.
            update(cancel, on_line)?;
            run(&arguments, cancel, on_line)?;
        }
    }
    wanted
        .iter()
        .map(|(package, requirement)| {
            satisfied(package, requirement).ok_or_else(|| {
                Failure::because(format!("apt installed {package}, but not in {}", requirement.in_words())).into()
            })
        })
        .collect()
}

/// `name=version` for each, as apt takes it.
fn choose(missing: &[&(String, Requirement)]) -> Result<Vec<String>, ServerError> {
    missing
        .iter()
        .map(|(package, requirement)| {
            if !is_package_name(package) {
                return Err(Failure::because(format!("{package:?} is not the name of a package")).into());
            }
            let known = known_versions(package);
            let fitting = known.iter().find(|version| requirement.accepts(without_epoch(version)));
            match fitting {
                Some(version) => Ok(format!("{package}={version}")),
                None if known.is_empty() => Err(Failure::because(format!("apt knows no package {package}"))
                    .hint("Check the server's /etc/apt/sources.list, then type `apt-get update`.")
                    .into()),
                None => Err(Failure::because(format!(
                    "apt has {package} only in {}, and {} is needed",
                    known.join(", "),
                    requirement.in_words()
                ))
                .into()),
            }
        })
        .collect()
}

fn run(arguments: &[&str], cancel: &dyn Fn() -> bool, on_line: &mut dyn FnMut(&str)) -> Result<Finished, ServerError> {
    let launch = command("apt-get").args(["-q", "-o", LOCK_TIMEOUT]).args(arguments);
    let limits = RunLimits { timeout: INSTALL_DEADLINE, keep_bytes: KEPT_OUTPUT };
    let finished = jecloud_launch::run(launch, limits, cancel, &mut |_: Stream, line| on_line(line))
        .map_err(|error: LaunchError| Failure::because(format!("apt cannot be used: {}", chain(&error))))?;
    if finished.status.success() {
        return Ok(finished);
    }
    let text = String::from_utf8_lossy(&finished.stderr).into_owned();
    let details = text.lines().rev().take(10).map(str::to_owned).collect::<Vec<_>>().into_iter().rev().collect();
    Err(Failure::because(format!("apt-get {} {}", arguments.first().unwrap_or(&""), finished.status))
        .details(details)
        .hint("Try the same command on the server by hand.")
        .into())
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
            assert!(!is_package_name(bad), "{bad}");
        }
        assert!(is_package_name("libc6") && is_package_name("g++"));
    }

    #[test]
    fn what_is_installed_here() {
        let version = installed("libc6").expect("every Debian has a C library");
        assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{version}");
        assert_eq!(installed("no-such-package-anywhere"), None);
        assert_eq!(without_epoch("1:2.3-4"), "2.3-4");
    }
}
