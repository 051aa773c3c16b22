//! Back to an earlier release.

use serde_json::json;

use crate::{answers, app, commands_of, world};

#[test]
fn rollback_goes_to_the_previous_release_or_to_a_named_one() {
    let world = world();
    let project = app(&world, "app", "one");
    for answer in ["one", "two", "three"] {
        project.write("server.js", &answers(answer));
        project.jecloud(&["deploy"]).ok();
        assert_eq!(project.get().1, answer);
    }

    project.jecloud(&["rollback"]).ok().says("Rolling app back to r2").says("r4");
    assert_eq!(project.get(), (200, "two".to_owned()));
    project.jecloud(&["rollback", "r1"]).ok();
    assert_eq!(project.get(), (200, "one".to_owned()));
    // The one that served before, whatever its number.
    let json = project.jecloud(&["rollback", "--json"]).ok().json();
    assert_eq!((&json["release"], &json["outcome"]), (&json!(6), &json!("serving")));
    assert_eq!(project.get(), (200, "two".to_owned()));
    project.jecloud(&["releases"]).ok().says("serves (back to r");

    project.jecloud(&["rollback", "r99"]).code(2).says("there is no release r99");
    project.jecloud(&["rollback", "latest"]).code(2);
    assert_eq!(project.get(), (200, "two".to_owned()));
    // The sources were not rolled back: deploying them is the way forward.
    project.jecloud(&["deploy"]).ok();
    assert_eq!(project.get(), (200, "three".to_owned()));
}

/// Neither a build nor the network is needed: fails where a rollback runs any command at all.
#[test]
fn a_rollback_runs_no_command() {
    let world = world();
    let project = app(&world, "app", "one");
    // A lock file and a build script: two commands that a deployment runs.
    project.write(
        "package.json",
        r#"{"name": "app", "version": "1.0.0", "scripts": {"build": "echo built >built", "start": "node server.js"}}"#,
    );
    project.write(
        "package-lock.json",
        r#"{"name": "app", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": {"": {"name": "app", "version": "1.0.0"}}}"#,
    );
    for (answer, release) in [("one", 1), ("two", 2)] {
        project.write("server.js", &answers(answer));
        project.jecloud(&["deploy"]).ok();
        assert!(!commands_of(&project, release).is_empty(), "r{release} is built");
    }
    project.jecloud(&["rollback"]).ok();
    assert_eq!(project.get(), (200, "one".to_owned()));
    assert_eq!(commands_of(&project, 3), Vec::<String>::new());
}

/// The night is no time for mending a configuration. Fails where every command wants all of jecloud.toml to be right.
#[test]
fn a_broken_configuration_does_not_keep_anybody_from_going_back() {
    let world = world();
    let project = app(&world, "app", "one");
    project.jecloud(&["deploy"]).ok();
    project.write("server.js", &answers("two"));
    project.jecloud(&["deploy"]).ok();
    project.write("jecloud.toml", "app = \"app\"\n[proceses.web]\ncount = 2\n");
    for command in ["status", "ps", "logs", "releases", "fwd", "rollback"] {
        project.jecloud(&[command]).ok().says("note: jecloud.toml:2:2: unknown key `proceses`");
    }
    assert_eq!(project.get(), (200, "one".to_owned()));
    project.jecloud(&["deploy"]).code(2).says("unknown key `proceses`");
    // Whose cloud it is must be beyond doubt.
    for config in ["app = \"app\"\n[cluod]\nprovider = \"ec2\"\n", "app = \"App\"\n", "app = \"app\"\nprovider ec2\n"] {
        project.write("jecloud.toml", config);
        project.jecloud(&["status"]).code(2).says("error: jecloud.toml:");
    }
}

#[test]
fn there_is_nothing_to_go_back_to() {
    let world = world();
    let project = app(&world, "app", "one");
    project.jecloud(&["rollback"]).code(1).says("app is not deployed to production");
    project.jecloud(&["deploy"]).ok();
    project.jecloud(&["rollback"]).code(1).says("no release of production served before this one");
    assert_eq!(project.get(), (200, "one".to_owned()));
}
