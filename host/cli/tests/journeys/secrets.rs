//! Secrets: set without being shown, seen by the processes they are meant for and by nobody else.

#![expect(clippy::disallowed_methods, reason = "the modes of what JeCloud writes are the point")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use jecloud_testkit::Project;

use crate::users::holding;
use crate::{app, production, serves, world};

const CANARY: &str = "hunter2-correct-horse";

/// The files of JeCloud that hold a text, below its home.
fn files_with(project: &Project, text: &str) -> Vec<PathBuf> {
    let mut files = holding(&project.world().home(), text);
    files.sort();
    files
}

/// From `env set --secret` to `destroy`.
///
/// Fails where the value gets into a release, a log, an event, a process table, an answer of a command or an argument; where
/// a changed value is taken for no change; and where `destroy` leaves it behind.
#[test]
fn a_secret_is_seen_by_its_processes_alone() {
    let world = world();
    let project = app(&world, "app", "");
    project.write("server.js", &serves("response.end(`${process.env.TOKEN}`)"));
    project.write(
        "package.json",
        r#"{"name": "app", "scripts": {"build": "test -n \"$TOKEN\"", "start": "node server.js"}}"#,
    );
    let mut said = Vec::new();
    let set = project.jecloud_reading(&format!("{CANARY}\n"), &["env", "set", "--secret", "TOKEN"]).ok();
    said.push(set.says("The next deployment uses it").said());
    said.push(project.jecloud(&["deploy"]).ok().said());
    assert_eq!(project.get().1, CANARY);

    for words in [
        &["env"][..],
        &["env", "--json"],
        &["status", "--json"],
        &["plan", "--json"],
        &["ps"],
        &["logs"],
        &["releases"],
        &["state", "show"],
        &["state", "history"],
    ] {
        said.push(project.jecloud(words).ok().said());
    }
    assert!(said.iter().all(|text| !text.contains(CANARY)), "{said:?}");
    project.jecloud(&["env"]).ok().says("TOKEN").says("(secret)");
    project.jecloud(&["run", "--", "sh", "-c", "test ${#TOKEN} = 21"]).ok();

    // Where it lies: in the app's store and on the server, for its owner alone.
    let on_server = production(&project).join("secrets.json");
    let in_store = world.home().join("clouds/app/secrets/production.json");
    let mut expected = vec![in_store.clone(), on_server];
    expected.sort();
    assert_eq!(files_with(&project, CANARY), expected);
    for file in &expected {
        let mode = std::fs::metadata(file).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    for pid in world.processes() {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&arguments).contains(CANARY));
    }

    // The same again is nothing new; another value is a release of its own.
    project.jecloud(&["deploy"]).ok().says("nothing changed");
    project.jecloud_reading("another value", &["env", "set", "--secret", "TOKEN"]).ok().says("serves");
    assert_eq!(project.get().1, "another value");
    assert_eq!(files_with(&project, CANARY), Vec::<PathBuf>::new());
    // A secret does not come back with a rollback: it was changed for a reason.
    project.jecloud(&["rollback"]).ok();
    assert_eq!(project.get().1, "another value");

    project.jecloud(&["env", "unset", "TOKEN"]).ok();
    assert_eq!(project.get().1, "undefined");
    project.jecloud_reading("for destroy", &["env", "set", "--secret", "TOKEN"]).ok();
    project.jecloud(&["destroy", "--yes"]).ok();
    assert!(!in_store.exists());
    assert_eq!(files_with(&project, "for destroy"), Vec::<PathBuf>::new());
}

/// Each refusal says what to type, and changes nothing.
#[test]
fn what_is_no_secret_is_refused() {
    let world = world();
    let project = app(&world, "app", "");
    let refused = |input: &str, words: &[&str]| {
        project.jecloud_reading(input, &[&["env", "set"], words].concat()).code(2).says("Nothing was changed.")
    };
    refused("", &["--secret", &format!("TOKEN={CANARY}")]).says("jecloud env set --secret TOKEN").does_not_say(CANARY);
    refused("", &["--secret", "TOKEN"]).says("it is empty");
    refused("a\0b", &["--secret", "TOKEN"]).says("NUL");
    refused(&"a".repeat(70_000), &["--secret", "TOKEN"]).says("longer than 64 KiB");
    refused("x", &["--secret", "PO RT"]);
    project.jecloud_reading("x", &["env", "set", "--secret", "TOKEN"]).ok();
    refused("", &["TOKEN=plain"]).says("TOKEN is a secret");
    project.jecloud(&["env", "set", "PLAIN=1"]).ok();
    refused("x", &["--secret", "PLAIN"]).says("jecloud env unset PLAIN");
}
