//! Ctrl-C, and worse.

#![expect(clippy::disallowed_methods, reason = "files tell the release command when to go on")]

use jecloud_testkit::{Project, Signal, eventually, kill, normalise};

use crate::{SOON, answers, app, production, world};

/// An app whose release command tells that it runs and then waits until it is told to go on.
#[track_caller]
fn slow(world: &jecloud_testkit::World) -> Project {
    let project = app(world, "app", "one");
    project.jecloud(&["deploy"]).ok();
    project.write("server.js", &answers("two"));
    let go = world.directory().join("go");
    let wait = format!("release: touch $HOME/waiting; while ! test -e {}; do sleep 0.1; done", go.display());
    project.write("Procfile", &format!("web: node server.js\n{wait}\n"));
    project
}

#[track_caller]
fn wait_for_the_release_command(project: &Project) {
    let mark = production(project).join("services/node/home/waiting");
    eventually(SOON, "the release command runs", || mark.exists().then_some(()));
}

#[test]
fn after_ctrl_c_the_deployment_goes_on() {
    let world = world();
    let project = slow(&world);
    let deploy = project.spawn(&["deploy"]);
    wait_for_the_release_command(&project);
    deploy.signal_group(Signal::INT);
    let interrupted = deploy.wait().code(130);
    let said = interrupted.stderr.split_once("\nInterrupted").map_or("", |(_, rest)| rest);
    insta::assert_snapshot!(format!("Interrupted{}", normalise(said)), @"Interrupted: the deployment goes on without you. `jecloud status` shows how far it is, `jecloud fwd` follows it.");

    project.jecloud(&["status"]).ok().says("r2").says("is being deployed: preparing");
    assert_eq!(project.status()["deployment"]["state"], "preparing");
    assert_eq!(project.get(), (200, "one".to_owned()));
    // Who follows it again may lose interest again.
    let mut follow = project.spawn(&["fwd"]);
    std::fs::write(world.directory().join("go"), "").expect("a file");
    assert!(!follow.has_ended());
    follow.wait().ok();
    assert_eq!(project.get(), (200, "two".to_owned()));
    project.jecloud(&["releases"]).ok().says("serves");
}

/// A deployment is finished by `fwd` wherever its command was killed: here right after the wish was recorded.
#[test]
fn fwd_finishes_what_a_killed_command_has_recorded() {
    let world = world();
    let project = app(&world, "app", "one");
    project.jecloud(&["deploy"]).ok();
    for (release, answer) in [(2, "two"), (3, "three"), (4, "four")] {
        project.write("server.js", &answers(answer));
        let mut deploy = project.spawn(&["deploy"]);
        deploy.wait_for("recorded release");
        kill(deploy.pid());
        project.jecloud(&["fwd"]).ok();
        assert_eq!(project.get(), (200, answer.to_owned()));
        assert_eq!(project.status()["current_release"], release);
    }
    project.jecloud(&["fwd"]).ok().says("Nothing is left to do.");
}

/// The newest wish wins; whoever deployed the other one is told with an exit code of its own.
#[test]
fn a_second_deployment_takes_over_from_one_that_is_not_ready() {
    let world = world();
    let project = slow(&world);
    let first = project.spawn(&["deploy"]);
    wait_for_the_release_command(&project);
    project.write("Procfile", "web: node server.js\n");
    project.write("server.js", &answers("three"));
    project.jecloud(&["deploy"]).ok();
    first.wait().code(3).says("was given up for release r3");
    assert_eq!(project.get(), (200, "three".to_owned()));
    project.jecloud(&["releases"]).ok().says("given up for a newer one");
}
