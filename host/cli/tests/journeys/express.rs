//! An app with dependencies from the registry and a worker.

use crate::{commands_of, world};

/// Fails without the `once` key of the installation (it would run at every deployment), and without the lock file in
/// that key (it would never run again).
#[test]
fn dependencies_are_installed_again_only_when_the_lock_file_changes() {
    let world = world();
    let project = world.copy_example("express-worker");
    let is_installation = |title: &String| title.contains("npm ci");

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
