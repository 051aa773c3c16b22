//! Packages of Debian start the services that they bring, and have them started at boot. What JeCloud installs is started
//! by JeCloud alone, as the app needs it: a second database beside that would take its port, or stand open to everybody.
//!
//! Debian asks `policy-rc.d` before a service is started (invoke-rc.d(8)). While packages are installed there is one that
//! says no to services that were not there before, and notes them; afterwards these are taken out of what is started at
//! boot, and the file is removed. Who is not installing for JeCloud is told by it what no file says, so that one which a
//! killed installation left does no harm; the next installation finishes with what it notes. What was there before is
//! never stopped or kept from being started again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jecloud_disk::lock::Lock;
use jecloud_disk::{durable, tree};
use jecloud_launch::Launch;

use super::distribution::look_up;
use crate::error::ServerError;

/// Where Debian looks.
const POLICY: &str = "usr/sbin/policy-rc.d";

/// Held by whoever has the policy there.
const LOCK: &str = "run/jecloud-installs.pid";

/// How long another installation may take: somewhat more than one may.
const PATIENCE: Duration = Duration::from_secs(35 * 60);

/// Where units lie, and what the system is started with that has none.
const UNITS: [&str; 4] = ["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system", "etc/init.d"];

/// Its second line, by which ours is known.
const MARK: &str = "# JeCloud's while it installs packages.";

/// What a line begins with that notes a service.
const NOTE: &str = "# not started: ";

/// Says yes to whoever does not install for us, and where the service was there before. 101 is no; 0 is what is done
/// where there is no such file.
const SCRIPT: &str = r##"
[ -n "$JECLOUD_KNOWN_SERVICES" ] || exit 0
service=${1%.service}
case "$JECLOUD_KNOWN_SERVICES" in *" $service "*) exit 0;; esac
echo "# not started: $service" >>"$0"
exit 101
"##;

/// The policy is there while this is.
pub(super) struct NotStarted {
    root: PathBuf,
    known: String,
    _lock: Lock,
}

impl NotStarted {
    /// Puts it there; none where the machine has a policy of its own, which is left alone.
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub(super) fn begin(root: &Path) -> Result<Option<Self>, ServerError> {
        for path in [POLICY, LOCK] {
            if let Some(directory) = root.join(path).parent() {
                durable::create_dirs(directory, 0o755)?;
            }
        }
        let lock = Lock::acquire(&root.join(LOCK), Instant::now() + PATIENCE)?;
        finish(root)?;
        let policy = root.join(POLICY);
        if tree::exists(&policy)? {
            return Ok(None);
        }
        durable::replace(&policy, format!("#!/bin/sh\n{MARK}{SCRIPT}").as_bytes(), 0o755)?;
        Ok(Some(Self { root: root.to_owned(), known: known(root), _lock: lock }))
    }

    /// A command under this policy.
    pub(super) fn around(&self, launch: Launch) -> Launch {
        launch.variable("JECLOUD_KNOWN_SERVICES", &self.known)
    }

    /// Takes it away; the services that were not started, which are not started at boot either.
    ///
    /// # Errors
    ///
    /// Where it cannot be removed.
    pub(super) fn end(self) -> Result<Vec<String>, ServerError> {
        finish(&self.root)
    }
}

/// Whether an installation that was killed has left something to be finished.
pub(super) fn is_left(root: &Path) -> bool {
    noted(root).is_ok_and(|noted| noted.is_some())
}

/// Finishes what is left of an installation, this one or one that was killed.
fn finish(root: &Path) -> Result<Vec<String>, ServerError> {
    let Some(services) = noted(root)? else { return Ok(Vec::new()) };
    for service in &services {
        // What is not started at boot anyway cannot be taken out, and need not be.
        let _ = look_up(disable(root, service));
    }
    durable::remove(&root.join(POLICY))?;
    Ok(services)
}

/// The services that our policy notes; none where there is no policy, or another one.
fn noted(root: &Path) -> Result<Option<Vec<String>>, ServerError> {
    let Some(text) = durable::read_text(&root.join(POLICY))? else { return Ok(None) };
    if text.lines().nth(1) != Some(MARK) {
        return Ok(None);
    }
    let is_name = |name: &&str| !name.is_empty() && !name.starts_with('-') && !name.contains('/');
    let services: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix(NOTE)).filter(is_name).collect();
    Ok(Some(services.into_iter().map(str::to_owned).collect()))
}

fn disable(root: &Path, service: &str) -> Launch {
    let unit = format!("{service}.service");
    if root != Path::new("/") {
        super::apt::command("systemctl").arg(format!("--root={}", root.display())).args(["disable", &unit])
    } else if runs_systemd(root) {
        super::apt::command("systemctl").args(["disable", &unit])
    } else {
        super::apt::command("update-rc.d").args([service, "disable"])
    }
}

fn runs_systemd(root: &Path) -> bool {
    tree::is_dir(&root.join("run/systemd/system")).unwrap_or(false)
}

/// The services that there are, between blanks.
fn known(root: &Path) -> String {
    // A script of a package that was removed stays; a unit does not.
    let places = if runs_systemd(root) { &UNITS[..3] } else { &UNITS[..] };
    let names: BTreeSet<String> = places
        .iter()
        .flat_map(|place| tree::list(&root.join(place)).unwrap_or_default())
        .filter_map(|name| name.into_string().ok())
        .map(|name| name.strip_suffix(".service").map(str::to_owned).unwrap_or(name))
        .collect();
    names.iter().fold(" ".to_owned(), |text, name| text + name + " ")
}

#[cfg(test)]
mod tests {
    use jecloud_launch::RunLimits;

    use super::*;

    fn says(policy: &Path, known: Option<&str>, arguments: &[&str]) -> i32 {
        let launch = super::super::apt::command(&policy.display().to_string()).args(arguments);
        let launch = known.iter().fold(launch, |launch, known| launch.variable("JECLOUD_KNOWN_SERVICES", known));
        let limits = RunLimits { timeout: Duration::from_secs(10), keep_bytes: 1024 };
        jecloud_launch::run(launch, limits, &|| false, &mut |_, _| {}).expect("it runs").status.code()
    }

    /// Fails where the policy holds for everybody, where it stops what was there, and where one that an installation
    /// left which was killed is taken for the machine's own.
    #[test]
    fn only_what_is_new_is_not_started_and_only_by_us() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        durable::create_dirs(&root.join("etc/init.d"), 0o755).expect("a directory");
        durable::replace(&root.join("etc/init.d/old"), b"", 0o755).expect("a file");
        let policy = root.join(POLICY);
        let held = NotStarted::begin(root).expect("it can be written").expect("there was none");
        assert_eq!(held.known, " old ");
        for (known, arguments, code) in [
            (None, ["new", "start"], 0),
            (Some(" old "), ["old", "start"], 0),
            (Some(" old "), ["old.service", "restart"], 0),
            (Some(" old "), ["new.service", "start"], 101),
            (Some(" old "), ["new", "start"], 101),
            (Some(" "), ["o", "start"], 101),
        ] {
            assert_eq!(says(&policy, known, &arguments), code, "{known:?} {arguments:?}");
        }
        assert_eq!(noted(root).expect("it can be read"), Some(vec!["new".to_owned(), "o".to_owned()]));
        // Killed: the lock is gone, the file is not.
        drop(held);
        assert!(is_left(root));
        let next = NotStarted::begin(root).expect("it can be written").expect("the one that was left is ours");
        assert_eq!(noted(root).expect("it can be read"), Some(Vec::new()));
        assert_eq!(next.end().expect("it can be removed"), Vec::<String>::new());
        assert!(!tree::exists(&policy).expect("it can be looked for") && !is_left(root));
    }

    #[test]
    fn a_policy_of_the_machine_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let policy = directory.path().join(POLICY);
        durable::create_dirs(policy.parent().expect("a parent"), 0o755).expect("a directory");
        durable::replace(&policy, b"#!/bin/sh\nexit 101\n", 0o755).expect("a file");
        assert!(NotStarted::begin(directory.path()).expect("it can be looked at").is_none());
        assert!(!is_left(directory.path()));
        assert_eq!(durable::read_text(&policy).expect("it is there").as_deref(), Some("#!/bin/sh\nexit 101\n"));
    }
}
