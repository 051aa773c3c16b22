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

/// What somebody did to state.json by hand.
struct Damage {
    what: &'static str,
    /// What becomes of the text; none where it is deleted.
    make: fn(&str) -> Option<String>,
    /// What is said about it.
    said: &'static [&'static str],
    /// Whether an earlier one may take its place.
    is_restored: bool,
}

const DAMAGES: [Damage; 4] = [
    Damage {
        what: "deleted",
        make: |_| None,
        said: &[
            "has been deleted from",
            "Nothing was changed; what runs on the servers goes on.",
            "`jecloud state restore`",
        ],
        is_restored: true,
    },
    Damage {
        what: "truncated",
        make: |text| Some(text[..text.len() / 2].to_owned()),
        said: &[
            "it is damaged: EOF while parsing",
            "at line ",
            "what runs on the servers goes on",
            "`jecloud state restore`",
        ],
        is_restored: true,
    },
    Damage {
        what: "edited wrongly",
        make: |text| Some(text.replace("\"serving\": 1", "\"serving\": 7")),
        said: &["it contradicts itself: serving of production is 7, which is not among its releases", "state restore"],
        is_restored: true,
    },
    Damage {
        what: "written by a newer JeCloud",
        make: |text| Some(text.replace("\"min_writer\": 1", "\"min_writer\": 99")),
        said: &["it was written by a newer JeCloud (format 99)", "Use the JeCloud that wrote it, or a newer one"],
        is_restored: false,
    },
];

/// Whatever happened to state.json, it is said in one message, nothing is changed, what serves goes on serving, and one
/// command brings back what was recorded, down to the last write.
///
/// Fails where a state that cannot be used counts as none (release 1 would be deployed a second time), and where the
/// newest state is not in the history.
#[test]
fn a_damaged_state_is_no_loss() {
    let world = world();
    let project = app(&world, "app", "good");
    project.jecloud(&["deploy"]).ok();
    let url = project.url();
    let file = world.home().join("clouds/app/state.json");
    for Damage { what, make, said, is_restored } in DAMAGES {
        let before = std::fs::read_to_string(&file).expect("a state");
        match make(&before) {
            Some(text) => {
                assert_ne!(text, before, "{what}");
                std::fs::write(&file, text).expect("the state");
            }
            None => std::fs::remove_file(&file).expect("the state"),
        }
        let damaged = std::fs::read(&file).ok();
        for command in [&["deploy"][..], &["status"], &["scale", "web=2"], &["fwd"], &["destroy", "-y"]] {
            let refused = project.jecloud(command).code(1);
            said.iter().for_each(|said| assert!(refused.stderr.contains(said), "{what}: {}", refused.said()));
        }
        assert_eq!(std::fs::read(&file).ok(), damaged, "{what}: it is left as it is");
        assert_eq!(world.get(&url), (200, "good".to_owned()), "{what}");
        if !is_restored {
            project.jecloud(&["state", "restore"]).code(1).says("newer JeCloud");
            assert_eq!(std::fs::read(&file).ok(), damaged, "{what}");
            std::fs::write(&file, before).expect("the state");
            continue;
        }
        project.jecloud(&["state", "restore"]).ok().says("Restored").says("jecloud fwd -e production");
        let restored = project.jecloud(&["state", "show"]).ok().json();
        let before: serde_json::Value = serde_json::from_str(&before).expect("JSON");
        assert_eq!(restored["environments"], before["environments"], "{what}");
        assert!(restored["generation"].as_u64() > before["generation"].as_u64(), "{what}");
        project.jecloud(&["fwd"]).ok();
    }
    project.jecloud(&["state", "restore"]).code(1).says("can be used as it is").says("jecloud state restore ID");
    project.jecloud(&["state", "restore", "nonsense"]).code(2).says("there is no earlier state nonsense");
    // A valid edit, in the file itself, is honoured.
    let edited = std::fs::read_to_string(&file).expect("a state").replace("\"env\": {}", "\"env\": {\"BY\": \"hand\"}");
    assert!(edited.contains("hand"));
    std::fs::write(&file, edited).expect("the state");
    project.write("server.js", &crate::serves("response.end(process.env.BY)"));
    project.jecloud(&["deploy"]).ok().says("r2");
    assert_eq!(project.get(), (200, "hand".to_owned()));
}
