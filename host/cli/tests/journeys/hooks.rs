//! Hooks that people add.

#![expect(clippy::disallowed_methods, reason = "a test makes a component")]

use jecloud_testkit::normalise;

use crate::{app, world};

/// The node hook, as if somebody had written it for a service of his own.
const HOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../hooks/dist/node.wasm");

#[test]
fn a_hook_is_shown_approved_used_and_taken_out() {
    let world = world();
    let project = app(&world, "app", "good");
    project.jecloud(&["hook", "ls"]).ok().says("built in");
    project.jecloud(&["hook", "inspect", HOOK]).ok().says("It may").says("run node as the app's user");
    assert!(project.jecloud(&["hook", "inspect", "node", "--json"]).ok().json()["description"].is_object());

    // Without a terminal nobody can approve anything.
    let refused = project.jecloud(&["hook", "add", "--name", "mine", HOOK]).code(2);
    insta::assert_snapshot!(normalise(&refused.said()), @"
    --- stdout
    node [version]: Node.js apps: dependencies, build, processes
    [hash] of [size]
    It needs to:
      - install the package nodejs of the distribution
      - install the package npm of the distribution
      - fetch archives from https://nodejs.org/dist
      - run node as the app's user
      - run npm as the app's user
      - run yarn as the app's user
      - run pnpm as the app's user
      - run sh as the app's user
      - run {package:node}/bin/node as the app's user

    --- stderr
    error: the powers were not approved

    Nothing was changed.

    hint: `jecloud hook add -y FILE` approves them without a question.
    ");
    assert_eq!(project.read("jecloud.lock"), None);
    project.write("jecloud.toml", "app = \"app\"\n[services.mine]\n");
    project.jecloud(&["deploy"]).code(2).says("no built-in hook is called mine");

    project.write("jecloud.toml", "app = \"app\"\n");
    project.jecloud(&["hook", "add", "-y", "--name", "mine", HOOK]).ok().says("Recorded in jecloud.lock");
    let lock = project.read("jecloud.lock").expect("a lock file");
    assert!(lock.contains("[services.mine]") && lock.contains("digest = \"sha256:"), "{lock}");
    project.jecloud(&["hook", "ls"]).ok().says("mine").says("jecloud.lock");
    project.jecloud(&["hook", "inspect", "mine"]).ok().says("It may");
    // The same powers again: nobody is asked.
    project.jecloud(&["hook", "add", "--name", "mine", HOOK]).ok();
    project.jecloud(&["deploy"]).ok();
    assert_eq!(project.get(), (200, "good".to_owned()));
    assert_eq!(project.status()["processes"][0]["service"], "mine");

    // A lock file that says something else than what was approved is noticed.
    project.replace("jecloud.lock", "    { program = \"node\", run-as = \"app\" },\n", "");
    let denied = project.jecloud(&["deploy", "--force"]).code(1);
    denied.says("asks for what it may not do").says("jecloud hook add").says("still serves");
    project.jecloud(&["hook", "rm", "mine"]).ok().says("Take [services.mine] out of jecloud.toml, too.");
    project.jecloud(&["deploy", "--force"]).code(2).says("was not approved in jecloud.lock");
    project.jecloud(&["hook", "rm", "mine"]).code(2);
    assert_eq!(project.get(), (200, "good".to_owned()));
}

/// The node hook as another JeCloud would have brought it: the same, but for a section with a name and nothing in it.
fn of_another_jecloud() -> Vec<u8> {
    let mut wasm = std::fs::read(HOOK).expect("the component");
    wasm.extend([0, 8, 7]);
    wasm.extend(b"another");
    wasm
}

/// Fails where a deployment takes the hook that its JeCloud brings, whatever jecloud.lock holds.
#[test]
fn a_newer_jecloud_moves_no_hook_by_itself() {
    let world = world();
    let project = app(&world, "app", "good");
    project.jecloud(&["deploy"]).ok();
    let lock = project.read("jecloud.lock").expect("a lock file");
    assert!(lock.contains("builtin = true"), "{lock}");
    let own = lock.lines().find(|line| line.starts_with("digest")).expect("the hook is recorded").to_owned();
    project.jecloud(&["upgrade", "--check"]).ok();

    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("another.wasm");
    std::fs::write(&path, of_another_jecloud()).expect("a new file");
    let toml = project.read("jecloud.toml").expect("a configuration");
    project.jecloud(&["hook", "add", "-y", "--name", "node", &path.display().to_string()]).ok();
    project.write("jecloud.toml", &toml);
    let added = project.read("jecloud.lock").expect("a lock file");
    let other = added.lines().find(|line| line.starts_with("digest")).expect("the hook is recorded").to_owned();
    assert_ne!(own, other);
    // What somebody approved is used where jecloud.toml names it, and nowhere else; and it stays approved.
    project.jecloud(&["deploy"]).ok().says("nothing changed");
    assert_eq!(project.read("jecloud.lock").as_ref(), Some(&added));

    let pinned = added.replace(&other, &format!("{other}\nbuiltin = true"));
    project.write("jecloud.lock", &pinned);
    project.jecloud(&["plan"]).ok().says("`jecloud upgrade node` moves to it");
    project.jecloud(&["deploy"]).ok().says("`jecloud upgrade node` moves to it").says("r2 ");
    let digest = other.split(['"', ':']).nth(2).expect("a digest");
    project.jecloud(&["state", "show"]).ok().says(digest);
    assert_eq!(project.read("jecloud.lock").as_ref(), Some(&pinned));
    project.jecloud(&["upgrade", "--check"]).code(10).says("hook").says(&digest[..12]);
    // Where it is nowhere to be had, nothing else is taken in its place.
    project.write("jecloud.lock", &pinned.replace(digest, &"0".repeat(64)));
    project.jecloud(&["deploy"]).code(2).says("is not to be had here").says("`jecloud upgrade node`");
    project.jecloud(&["upgrade", "node", "--yes"]).ok();
    assert_eq!(project.read("jecloud.lock"), Some(pinned.replace(&other, &own)));
    project.jecloud(&["deploy"]).ok().says("r3 ").does_not_say("note: service node uses");
    assert_eq!(project.get(), (200, "good".to_owned()));
}

#[test]
fn what_is_no_component_is_refused() {
    let world = world();
    let project = app(&world, "app", "good");
    for command in ["add", "inspect"] {
        project
            .jecloud(&["hook", command, "./package.json"])
            .code(2)
            .says("this is not a hook component: it is not WebAssembly");
        project.jecloud(&["hook", command, "./nothing.wasm"]).code(2).says("nothing.wasm");
    }
    assert_eq!(project.read("jecloud.lock"), None);
}
