//! Facts about the server that hooks may ask for: see `context.facts` in `wit/types.wit`.
//!
//! They are looked at anew for each deployment: what people install by hand is part of the world.

use std::collections::BTreeMap;
use std::time::Duration;

use jecloud_disk::durable;
use jecloud_launch::{DEFAULT_PATH, Environment, Launch, RunLimits, find_program};

use jecloud_model::ids::ServiceName;
use jecloud_model::layout::ServerRoot;
use jecloud_model::topology::Topology;
use serde::{Deserialize, Serialize};

use crate::packages;

/// A program that does not print its version in this time is as good as absent.
const VERSION_DEADLINE: Duration = Duration::from_secs(10);

/// How much of what `--version` prints is read.
const VERSION_BYTES: usize = 4096;

/// Finds out about the facts with these names. Unknown names, and facts that cannot be found out, are left out.
///
/// What takes a process to find out is remembered in `sys/facts.json` with what it depends on (the program's file, the
/// lists of packages), and found out anew once that has changed. The memory is only that: losing it costs time.
pub(crate) fn collect<'a>(root: &ServerRoot, names: impl IntoIterator<Item = &'a String>) -> BTreeMap<String, String> {
    let path = root.sys().join("facts.json");
    let before: BTreeMap<String, Remembered> = durable::read_json(&path).ok().flatten().unwrap_or_default();
    let mut memory = before.clone();
    let mut facts = BTreeMap::new();
    for name in names {
        let value = match depends_on(name) {
            None => fact(name),
            Some(stamp) => match memory.get(name).filter(|remembered| remembered.stamp == stamp) {
                Some(remembered) => remembered.value.clone(),
                None => {
                    let value = fact(name);
                    memory.insert(name.clone(), Remembered { stamp, value: value.clone() });
                    value
                }
            },
        };
        facts.extend(value.map(|value| (name.clone(), value)));
    }
    if memory != before {
        let _ = durable::write_json(&path, &memory, 0o644);
    }
    facts
}

/// A fact that was found out, and what it depended on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    stamp: String,
    value: Option<String>,
}

/// Files whose change may change what would be installed, and what is installed: of apt, then of dnf.
const PACKAGE_LISTS: [&str; 10] = [
    "/var/lib/dpkg/status",
    "/var/lib/apt/lists",
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d",
    "/etc/apt/preferences",
    "/etc/apt/preferences.d",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/cache/dnf",
    "/etc/yum.repos.d",
];

/// Names the state of what a fact depends on; none where it is found out without a process, and always anew.
fn depends_on(name: &str) -> Option<String> {
    let stamp = |path: &std::path::Path| jecloud_disk::tree::stamp(path).ok().flatten().unwrap_or_default();
    match name.split_once(':')? {
        ("program", program) if !program.contains('/') => {
            let path = find_program(program, std::ffi::OsStr::new(DEFAULT_PATH));
            Some(path.map_or_else(String::new, |path| format!("{} {}", path.display(), stamp(&path))))
        }
        ("candidate" | "installed", _) => Some(PACKAGE_LISTS.map(|path| stamp(path.as_ref())).join(" ")),
        _ => None,
    }
}

fn fact(name: &str) -> Option<String> {
    match name.split_once(':') {
        Some(("program", program)) => program_version(program),
        Some(("candidate", package)) => packages::of_this_machine()?.candidate(package),
        Some(("installed", package)) => packages::of_this_machine()?.installed(package),
        Some(_) => None,
        None => match name {
            "os" => Some(std::env::consts::OS.to_owned()),
            "arch" => Some(std::env::consts::ARCH.to_owned()),
            "distribution" => distribution(&os_release()?),
            "package-manager" => Some(packages::of_this_machine().map_or("none", |manager| manager.name()).to_owned()),
            "can-install" => Some((packages::of_this_machine().is_some() && jecloud_launch::is_root()).to_string()),
            _ => None,
        },
    }
}

/// What a service may know of the servers that it runs on.
pub(crate) fn of_topology(topology: &Topology, service: &ServiceName) -> BTreeMap<String, String> {
    let host = topology.host().to_owned();
    let hosts = topology.members.get(service).map_or_else(|| host.clone(), |members| members.join(" "));
    let shared = topology.shared.to_string();
    let mut facts =
        BTreeMap::from([("host".to_owned(), host), ("hosts".to_owned(), hosts), ("shared".to_owned(), shared)]);
    if let Some(server) = &topology.server {
        facts.insert("server".to_owned(), server.to_string());
        facts.insert("group".to_owned(), server.group.to_string());
    }
    facts
}

fn os_release() -> Option<String> {
    let bytes = durable::read("/etc/os-release".as_ref()).ok()??;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// `debian 12` from the text of os-release.
fn distribution(os_release: &str) -> Option<String> {
    let value = |key: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
    };
    let id = value("ID")?;
    Some(match value("VERSION_ID") {
        Some(version) => format!("{id} {version}"),
        None => id,
    })
}

/// The path of a program and the first line of what it says about its version.
fn program_version(name: &str) -> Option<String> {
    if name.is_empty() || name.contains('/') {
        return None;
    }
    let path = find_program(name, std::ffi::OsStr::new(DEFAULT_PATH))?;
    let launch = Launch::new(&path).arg("--version").cwd("/").env(Environment::exactly([
        ("PATH", DEFAULT_PATH),
        ("HOME", "/nonexistent"),
        ("LANG", "C.UTF-8"),
    ]));
    let limits = RunLimits { timeout: VERSION_DEADLINE, keep_bytes: VERSION_BYTES };
    let finished = jecloud_launch::run(launch, limits, &|| false, &mut |_, _| {}).ok()?;
    if !finished.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&finished.stdout).into_owned();
    let line = text.lines().next().unwrap_or_default().trim();
    Some(format!("{} {line}", path.display()).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when the memory is believed whatever happened to the program.
    #[test]
    fn a_program_that_is_replaced_is_asked_again() {
        let name = "program:sh".to_owned();
        let home = tempfile::tempdir().expect("a directory");
        let root = ServerRoot::new(home.path());
        durable::create_dirs(&root.sys(), 0o755).expect("a directory");
        let wrong = Remembered { stamp: "another file".to_owned(), value: Some("wrong".to_owned()) };
        let memory = BTreeMap::from([(name.clone(), wrong)]);
        durable::write_json(&root.sys().join("facts.json"), &memory, 0o644).expect("written");
        assert_ne!(collect(&root, [&name]).get(&name).map(String::as_str), Some("wrong"));
        let right = Remembered { stamp: depends_on(&name).expect("a stamp"), value: Some("remembered".to_owned()) };
        let memory = BTreeMap::from([(name.clone(), right)]);
        durable::write_json(&root.sys().join("facts.json"), &memory, 0o644).expect("written");
        assert_eq!(collect(&root, [&name]).get(&name).map(String::as_str), Some("remembered"));
    }

    #[test]
    fn distributions() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n";
        assert_eq!(distribution(debian).as_deref(), Some("debian 12"));
        assert_eq!(distribution("ID=arch\n").as_deref(), Some("arch"));
        assert_eq!(distribution("").as_deref(), None);
    }

    /// Facts of the machine that runs the test, asked as a hook does.
    #[test]
    fn of_this_machine() {
        let names = ["os", "arch", "program:sh", "program:tar", "program:../../bin/tar", "program:no-such", "nonsense"]
            .map(str::to_owned);
        let home = tempfile::tempdir().expect("a directory");
        let root = ServerRoot::new(home.path());
        durable::create_dirs(&root.sys(), 0o755).expect("a directory");
        let facts = collect(&root, &names);
        assert_eq!(collect(&root, &names), facts, "what is remembered is what was found");
        assert_eq!(facts.get("os").map(String::as_str), Some("linux"));
        assert!(facts.contains_key("arch"));
        let tar = facts.get("program:tar").expect("there is a tar");
        assert!(tar.starts_with('/') && tar.contains("tar"), "{tar}");
        for absent in ["program:../../bin/tar", "program:no-such", "nonsense"] {
            assert!(!facts.contains_key(absent), "{absent}");
        }
    }
}
