//! Hooks that people add.

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
