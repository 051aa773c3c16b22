//! An app with dependencies from the registry and a worker.

#![expect(clippy::disallowed_methods, reason = "whether a directory is still the same one is seen on the disk")]

use std::os::unix::fs::MetadataExt as _;

use crate::{commands_of, production, world};

/// Fails without the `once` key of the installation (it would run at every deployment), and without the lock file in
/// that key (it would never run again).
#[test]
fn dependencies_are_installed_again_only_when_the_lock_file_changes() {
    let world = world();
    let project = world.copy_example("express-worker");
    let is_installation = |title: &String| title.contains("install dependencies");

    project.jecloud(&["deploy"]).ok().says("started: web.1 worker.1");
    assert_eq!(project.get(), (200, "Hello from Express in production\n".to_owned()));
    project.jecloud(&["logs", "-p", "worker"]).ok().says("waiting for jobs").does_not_say("listening");
    project.pid("worker.1");
    let first = commands_of(&project, 1);
    assert!(first.iter().any(is_installation), "{first:?}");

    project.replace("web.js", "Hello from", "Greetings from");
    project.jecloud(&["deploy"]).ok();
    assert_eq!(project.get().1, "Greetings from Express in production\n");
    let changed_code = commands_of(&project, 2);
    assert!(!changed_code.iter().any(is_installation), "{changed_code:?}");

    let lock = project.read("package-lock.json").expect("a lock file");
    project.write("package-lock.json", &format!("{lock}\n"));
    project.jecloud(&["deploy"]).ok();
    let changed_lock = commands_of(&project, 3);
    assert!(changed_lock.iter().any(is_installation), "{changed_lock:?}");
    assert_eq!(project.get().1, "Greetings from Express in production\n");
}

/// A new release of the version that serves is not prepared under running processes, which load modules when they need
/// them: fails where what was installed is taken away and put back.
#[test]
fn what_serves_is_not_touched_by_a_new_release_of_the_same_version() {
    let world = world();
    let project = world.copy_example("express-worker");
    project.jecloud(&["deploy"]).ok();
    let version = project.status()["current_version"].as_str().expect("a version").to_owned();
    let installed = production(&project).join("source/versions").join(version).join("node_modules/express");
    let inode = || std::fs::metadata(&installed).map(|found| found.ino()).expect("what was installed");
    let before = inode();
    project.jecloud(&["env", "set", "COLOUR=blue"]).ok();
    assert_eq!(inode(), before, "{} is another directory", installed.display());
}
