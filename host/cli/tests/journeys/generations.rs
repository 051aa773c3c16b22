//! Nothing moves backwards: a server does nothing for whoever knows an older state than it, or has another cloud.

#![expect(clippy::disallowed_methods, reason = "the tests look at what JeCloud leaves, and lose the state")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use jecloud_testkit::{Output, Project, normalise};

use crate::{answers, app, world};

/// What is told to the server from this generation of the app's state.
#[track_caller]
fn told(project: &Project, generation: u64, args: &[&str]) -> Output {
    let state = project.jecloud(&["state", "show"]).ok().json();
    let basis = format!("{}:{generation}", state["cloud_id"].as_str().expect("an id"));
    project.jecloud(&[&["update-server"], args, &["--basis", &basis]].concat())
}

fn generation(project: &Project) -> u64 {
    project.jecloud(&["state", "show"]).ok().json()["generation"].as_u64().expect("a number")
}

/// The documents of the app on the server.
fn documents(project: &Project) -> BTreeMap<String, Vec<u8>> {
    let names = ["app/production/app.json", "app/production/processes.json", "sys/routes/app.production.json"];
    let read = |name: &str| std::fs::read(project.world().server().join(name)).expect("readable");
    names.into_iter().map(|name| (name.to_owned(), read(name))).collect()
}

/// What another laptop made its plan from is older than what this one has done meanwhile: whatever it tells the server is
/// refused, and nothing changed. The same from the newest generation is done.
///
/// Fails without the check: the stale command to destroy destroys.
#[test]
fn a_plan_from_an_older_state_is_refused() {
    let world = world();
    let project = app(&world, "app", "one");
    project.jecloud(&["deploy"]).ok();
    let stale = generation(&project);
    project.write("server.js", &answers("two"));
    project.jecloud(&["deploy"]).ok();
    let (newest, before, pid) = (generation(&project), documents(&project), project.pid("web.1"));
    assert!(newest > stale);
    let commands: [&[&str]; 3] = [
        &["destroy", "app", "production"],
        &["abort", "app", "production", "2"],
        &["commit", "app", "production", "2"],
    ];
    for command in commands {
        let refused = told(&project, stale, command).code(3);
        assert!(
            refused.stdout.contains(&format!("generation {stale} of the cloud state of app")),
            "{}",
            refused.said()
        );
        assert!(refused.stdout.contains("Nothing was changed."), "{}", refused.said());
    }
    // Killed after it was noted and before anything was done: what is noted is noted.
    let basis = format!("{}:{}", "0".repeat(32), newest + 7);
    project.jecloud(&["update-server", "destroy", "app", "production", "--basis", &basis]).code(3);
    assert_eq!((documents(&project), project.pid("web.1")), (before, pid));
    told(&project, newest, &["destroy", "app", "production"]).ok();
    assert!(!world.server().join("app").exists());
    // What was destroyed is not brought back by an old plan either.
    told(&project, stale, &["destroy", "app", "production"]).code(3);
}

/// It is noted before anything is done: whoever is killed in between has made older plans stale.
///
/// Fails when the server notes it after it has done what it was told.
#[test]
fn what_it_is_based_on_is_noted_before_anything_is_done() {
    let world = world();
    let project = app(&world, "app", "one");
    project.jecloud(&["deploy"]).ok();
    let (newest, before) = (generation(&project), documents(&project));
    let state = project.jecloud(&["state", "show"]).ok().json();
    let basis = format!("{}:{}", state["cloud_id"].as_str().expect("an id"), newest + 1);
    let killed = project.jecloud_with(
        &[("JECLOUD_FAULT", "basis.noted#1=crash")],
        &["update-server", "destroy", "app", "production", "--basis", &basis],
    );
    assert_ne!(killed.status, 0, "{}", killed.said());
    assert_eq!(documents(&project), before);
    told(&project, newest, &["destroy", "app", "production"]).code(3);
    told(&project, newest + 1, &["destroy", "app", "production"]).ok();
}

/// Who lost the state and begins a new one is refused by the server that belongs to the old one, with the way out; which
/// works.
///
/// Fails without the comparison of clouds in `observe.rs`: the first release of the new cloud is taken for the first one
/// of the old, which serves.
#[test]
fn a_server_of_another_cloud_is_left_alone() {
    let world = world();
    let project = app(&world, "app", "one");
    project.jecloud(&["deploy"]).ok();
    let lost = project.jecloud(&["state", "show"]).ok().json();
    let pid = project.pid("web.1");
    std::fs::remove_dir_all(world.home().join("clouds/app")).expect("it was there");
    project.write("server.js", &answers("two"));
    let refused = project.jecloud(&["deploy"]).code(3);
    let said = normalise(&refused.stderr);
    for part in [
        "server app-1 is not told anything",
        "it belongs to another cloud of app",
        "What serves there serves on",
        "state edit",
    ] {
        assert!(said.contains(part), "{part:?} is missing: {said}");
    }
    let id = lost["cloud_id"].as_str().expect("an id");
    assert!(refused.stderr.contains(id), "{said}");
    assert_eq!(project.get(), (200, "one".to_owned()));
    assert_eq!(project.jecloud(&["ps"]).ok().stdout.matches("web.1").count(), 1);

    // The way out, as the hint has it.
    let editor = world.directory().join("editor");
    let script = format!(
        "#!/bin/sh\nsed -i -e 's/\"cloud_id\": \"[0-9a-f]*\"/\"cloud_id\": \"{id}\"/' -e 's/\"generation\": [0-9]*/\"generation\": 100/' \
         -e 's/\"next_release\": [0-9]*/\"next_release\": 10/' \"$1\"\n"
    );
    std::fs::write(&editor, script).expect("written");
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    project.jecloud_with(&[("EDITOR", &editor.display().to_string())], &["state", "edit"]).ok();
    project.jecloud(&["deploy", "--force"]).ok();
    assert_eq!(project.get(), (200, "two".to_owned()));
    assert_ne!(project.pid("web.1"), pid);
}
