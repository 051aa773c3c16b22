//! The other package managers, from the lock file to what serves.

use jecloud_testkit::{Project, World};

use crate::{commands_of, serves, world};

/// A package of three kilobytes without dependencies, which hardly changes.
const PACKAGE: &str = r#"{"name": "app", "version": "1.0.0", "private": true,
  "scripts": {"start": "node server.js"}, "dependencies": {"ms": "2.1.3"}}"#;

/// Of that package, as every registry gives it.
const INTEGRITY: &str =
    "sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==";

/// Deploys an app that uses the package, twice; the second time nothing is installed.
#[track_caller]
fn deploys(world: &World, name: &str, lock_file: &str, lock: &str) -> Project {
    let server = |word: &str| serves(&format!("response.end('{word} ' + require('ms')(60000))"));
    let config = format!("app = \"{name}\"\n");
    let files = [
        ("package.json", PACKAGE),
        ("jecloud.toml", &config),
        (lock_file, &lock.replace("INTEGRITY", INTEGRITY)),
        ("server.js", &server("first")),
    ];
    let project = world.project_called(name, &files);
    let installs = |title: &String| title.contains("install dependencies");
    let first = project.jecloud(&["deploy"]).ok();
    assert_eq!(project.get(), (200, "first 1m".to_owned()), "{}", first.said());
    let commands = commands_of(&project, 1);
    assert!(commands.iter().any(installs), "{commands:?}");
    project.write("server.js", &server("second"));
    let second = project.jecloud(&["deploy"]).ok();
    assert_eq!(project.get(), (200, "second 1m".to_owned()), "{}", second.said());
    let commands = commands_of(&project, 2);
    assert!(!commands.iter().any(installs), "{commands:?}");
    project
}

/// The package manager itself is installed into the service's own directory, as a user without rights.
#[test]
fn yarn_classic() {
    let lock = "# yarn lockfile v1\n\n\nms@2.1.3:\n  version \"2.1.3\"\n  integrity INTEGRITY\n";
    deploys(&world(), "yarned", "yarn.lock", lock);
}

/// As [`yarn_classic`].
#[test]
fn pnpm() {
    let lock = "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\n\
                importers:\n\n  .:\n    dependencies:\n      ms:\n        specifier: 2.1.3\n        version: 2.1.3\n\n\
                packages:\n\n  ms@2.1.3:\n    resolution: {integrity: INTEGRITY}\n\nsnapshots:\n\n  ms@2.1.3: {}\n";
    deploys(&world(), "pnpmed", "pnpm-lock.yaml", lock);
}
