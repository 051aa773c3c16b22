//! Deleting an environment, and nothing else.

#![expect(clippy::disallowed_methods, reason = "what is left on the disk is the point")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jecloud_testkit::eventually;

use crate::{SOON, answers, app, world};

/// All files below a directory.
fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_directory {
                left.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    found
}

/// After asking for the name of the app.
#[test]
fn removes_exactly_its_own() {
    let world = world();
    let (one, two) = (app(&world, "one", "one"), app(&world, "two", "two"));
    one.jecloud(&["deploy"]).ok();
    two.jecloud(&["deploy"]).ok();
    let others = [world.server().join("one/production"), world.server().join("two")];
    let before: Vec<_> = others.iter().map(|path| files(path)).collect();
    one.write("server.js", &answers("staged"));
    one.jecloud(&["deploy", "-e", "staging"]).ok();
    let url = one.url_of("staging");
    assert!(world.server().join("one/staging").exists());

    // Without a terminal nobody can be asked.
    one.jecloud(&["destroy", "-e", "staging"]).code(2).says("nobody can be asked").says("-y");
    one.jecloud_reading("one\n", &["destroy", "-e", "staging"]).code(2);
    // `script` is a terminal.
    let destroy = format!("{} destroy -e staging", world.jecloud_path().display());
    let on_terminal = |answer: &str| one.run_reading(answer, "script", &["-qec", &destroy, "/dev/null"]);
    on_terminal("two\n").code(2).says("that is not the app's name");
    assert_eq!(world.get(&url).1, "staged");
    on_terminal("one\n").ok().says("all its versions and all the data").says("Destroyed staging of one.");

    assert!(!world.server().join("one/staging").exists());
    // The front learns of it a moment later.
    eventually(SOON, "nothing answers for staging", || (world.get(&url).0 == 404).then_some(()));
    one.jecloud(&["status"]).ok().does_not_say("staging");
    one.jecloud(&["destroy", "-e", "staging", "-y"]).code(1).says("one is not deployed to staging");
    assert_eq!(others.iter().map(|path| files(path)).collect::<Vec<_>>(), before, "the others are untouched");
    assert_eq!((one.get().1, two.get().1), ("one".to_owned(), "two".to_owned()));
}

#[test]
fn nothing_runs_and_nothing_of_the_app_is_left_after_the_last_one() {
    let world = world();
    let project = app(&world, "app", "good");
    project.jecloud(&["deploy"]).ok();
    assert!(!world.processes().is_empty());
    project.jecloud(&["destroy", "-y"]).ok();
    assert!(!world.server().join("app").exists());
    project.jecloud(&["status"]).code(1).says("app is not deployed to production");
    // The process manager would end by itself a minute later; a person who wants to see it end now can.
    world.shut_down();
    assert_eq!(world.processes(), Vec::<u32>::new());

    project.jecloud(&["deploy"]).ok();
    assert_eq!(project.get(), (200, "good".to_owned()));
}
