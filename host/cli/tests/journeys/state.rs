//! The cloud state, for those who have to look inside.

#![expect(clippy::disallowed_methods, reason = "an editor is a program, which has to be executable")]

use std::os::unix::fs::PermissionsExt as _;

use jecloud_testkit::{Project, normalise};

use crate::{app, world};

/// An editor that runs this command on the file `$1`.
#[track_caller]
fn editor(project: &Project, command: &str) -> String {
    let path = project.world().directory().join("editor");
    std::fs::write(&path, format!("#!/bin/sh\n{command}\n")).expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    path.display().to_string()
}

#[test]
fn the_state_can_be_read_and_mended_by_hand() {
    let world = world();
    let project = app(&world, "app", "good");
    project.jecloud(&["state", "show"]).code(1).says("app is not deployed to production");
    project.jecloud(&["deploy"]).ok();

    let state = project.jecloud(&["state", "show"]).ok().json();
    assert_eq!(state["app"], "app");
    assert_eq!(state["environments"]["production"]["serving"], 1);
    let history = project.jecloud(&["state", "history", "--json"]).ok().json();
    let oldest = history.as_array().and_then(|all| all.last()).expect("an earlier state");
    let id = oldest["id"].as_str().expect("an id");
    project.jecloud(&["state", "history"]).ok().says("GENERATION").says(id);
    let past = project.jecloud(&["state", "show", id]).ok().json();
    assert_eq!(past["generation"], oldest["generation"]);
    project.jecloud(&["state", "show", "nonsense"]).code(2).says("there is no earlier state nonsense");

    let edit = |command: &str| project.jecloud_with(&[("EDITOR", &editor(&project, command))], &["state", "edit"]);
    edit("true").ok().says("Nothing was changed.");
    edit("exit 3").code(1).says("the editor exited with status 3");
    let editing = world.home().join("editing");
    assert_eq!(std::fs::read_dir(&editing).expect("a directory").count(), 0, "nothing worth keeping is kept");
    edit(r#"sed -i 's/"production": {/"production": { "x-note": "by hand",/' "$1""#).ok().says("Wrote generation");
    let edited = project.jecloud(&["state", "show"]).ok().json();
    assert!(edited["generation"].as_u64() > state["generation"].as_u64());
    // VISUAL goes before EDITOR.
    project.jecloud_with(&[("VISUAL", "true"), ("EDITOR", "false")], &["state", "edit"]).ok();
    assert_eq!(project.get(), (200, "good".to_owned()));
}

#[test]
fn damaged_text_is_refused_and_kept() {
    let world = world();
    let project = app(&world, "app", "good");
    project.jecloud(&["deploy"]).ok();
    let before = project.jecloud(&["state", "show"]).ok().stdout;
    let refused = project
        .jecloud_with(&[("EDITOR", &editor(&project, r#"echo "two hours of work" >"$1""#))], &["state", "edit"])
        .code(2);
    insta::assert_snapshot!(normalise(&refused.stderr), @"
    error: what you wrote is no cloud state: it is damaged: expected ident at line 1 column 2

    The state is as it was; what you wrote is in [world]/home/editing/app-[n].json.

    hint: Type `jecloud state edit` again.
    ");
    assert_eq!(project.jecloud(&["state", "show"]).ok().stdout, before);
    let kept = refused
        .stderr
        .split_once("what you wrote is in ")
        .and_then(|(_, rest)| rest.split_once(".\n"))
        .expect("a path");
    assert_eq!(std::fs::read_to_string(kept.0).expect("what was written"), "two hours of work\n");
}
