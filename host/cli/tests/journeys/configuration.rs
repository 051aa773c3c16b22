//! `jecloud.toml`: made, missing, and wrong.

use jecloud_testkit::{Project, World, normalise};

use crate::{answers, app, world};

/// Wrong configuration is refused before anything is done: nothing is recorded, nothing runs.
#[track_caller]
fn refused(project: &Project, config: &str) -> String {
    project.write("jecloud.toml", config);
    let refused = project.jecloud(&["deploy"]).code(2).says("Nothing was changed.");
    assert_eq!(project.world().processes(), Vec::<u32>::new(), "{}", refused.said());
    assert!(!project.world().home().join("clouds/app/state.json").exists(), "{}", refused.said());
    let text = normalise(&refused.stderr);
    // Some are found only after the heading of the deployment.
    match text.find("error: ") {
        Some(at) => text[at..].to_owned(),
        None => text,
    }
}

#[test]
fn typing_errors_are_shown_with_their_place_and_the_nearest_key() {
    let world = world();
    let project = app(&world, "app", "good");
    insta::assert_snapshot!(refused(&project, "app = \"app\"\n[proceses.web]\nhealth = \"/up\"\n"), @"
    error: jecloud.toml:2:2: unknown key `proceses`; did you mean `processes`?

      |   |
      | 2 | [proceses.web]
      |   |  ^^^^^^^^

    Nothing was changed.
    ");
    insta::assert_snapshot!(refused(&project, "app = \"app\"\n[services.nod]\n"), @"
    error: jecloud.toml:2:11: no built-in hook is called nod; did you mean `node`?

      |   |
      | 2 | [services.nod]
      |   |           ^^^

    Nothing was changed.

    hint: Built in are: mongodb, node, redis. `jecloud hook add ./nod.wasm` adds one of your own.
    ");
    insta::assert_snapshot!(refused(&project, "app = \"app\"\n[services.node]\nverson = \"20\"\n"), @r#"
    error: jecloud.toml:3:1: unknown key `verson` in [services.node]; did you mean `version`?

      |   |
      | 3 | verson = "20"
      |   | ^^^^^^

    Nothing was changed.
    "#);
    insta::assert_snapshot!(refused(&project, "app = \"app\"\n[services.node]\nversion = \"20\"\nbuild = 3\n"), @r#"
    error: jecloud.toml:4:9: `build` in [services.node]: 3 is not of types "boolean", "string"

      |   |
      | 4 | build = 3
      |   |         ^

    Nothing was changed.
    "#);
    insta::assert_snapshot!(refused(&project, "app = \n"), @"
    error: jecloud.toml:1:7: not TOML: a value is missing here

      |   |
      | 1 | app =
      |   |       ^

    Nothing was changed.
    ");
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let world = world();
    let project = app(&world, "app", "good");
    let config = "app = \"My App\"\n[processes.web]\nheath = \"/up\"\ncount = \"two\"\n[env]\nPORT = \"80\"\n";
    insta::assert_snapshot!(refused(&project, config), @r#"
    error: jecloud.toml has 4 errors

      | jecloud.toml:1:7: `app` is "My App", which is not a valid app name: a lower-case letter, then up to 30 lower-case letters, digits and hyphens
      |   |
      | 1 | app = "My App"
      |   |       ^^^^^^^^
      | jecloud.toml:3:1: unknown key `heath` in [processes.web]; did you mean `health`?
      |   |
      | 3 | heath = "/up"
      |   | ^^^^^
      | jecloud.toml:4:9: `processes.web.count` must be a whole number, found a string
      |   |
      | 4 | count = "two"
      |   |         ^^^^^
      | jecloud.toml:6:1: `env.PORT` cannot be set: JeCloud chooses the port of every process, and tells it in `PORT`
      |   |
      | 6 | PORT = "80"
      |   | ^^^^

    Nothing was changed.
    "#);
}

/// What a provider needs and does not have is said with the place where it is to be written.
#[test]
fn servers_that_have_no_address_are_refused() {
    let world = world();
    let project = app(&world, "app", "good");
    insta::assert_snapshot!(refused(&project, "app = \"app\"\n[cloud]\nprovider = \"ssh\"\n"), @r#"
    error: jecloud.toml:3:12: provider = "ssh" needs `hosts` in [servers.app]

      |   |
      | 3 | provider = "ssh"
      |   |            ^^^^^

    Nothing was changed.

    hint: Name them there: hosts = ["root@192.0.2.1"]. Each becomes a server of its own.
    "#);
}

fn without_configuration(world: &World) -> Project {
    world.project_called("My_Shop", &[("server.js", &answers("made"))])
}

#[test]
fn without_configuration_deploy_says_how_to_get_one_and_writes_it_if_told_to() {
    let world = world();
    let project = without_configuration(&world);
    insta::assert_snapshot!(normalise(&project.jecloud(&["deploy"]).code(2).stderr), @"
    error: there is no jecloud.toml in [world]/projects/My_Shop or above it

    Nothing was changed.

    hint: `jecloud init` looks at the directory and writes one; `jecloud deploy -y` does, and goes on.
    ");
    assert_eq!(project.read("jecloud.toml"), None);
    project.jecloud(&["deploy", "-y"]).ok();
    assert_eq!(project.get(), (200, "made".to_owned()));
    assert!(project.url().starts_with("http://my-shop.localhost:"), "{}", project.url());
}

#[test]
fn init_writes_a_commented_file_once() {
    let world = world();
    let project = without_configuration(&world);
    let written = project.jecloud(&["init"]).ok();
    insta::assert_snapshot!(normalise(&written.stderr), @"
    Found node (server.js).
    Look at it, then type `jecloud deploy`.
    ");
    let config = project.read("jecloud.toml").expect("a configuration");
    assert!(config.contains("\napp = \"my-shop\"\n"), "{config}");
    project.jecloud(&["init"]).code(2).says("exists already");
    assert_eq!(project.read("jecloud.toml"), Some(config.clone()));
    project.jecloud(&["plan"]).ok().says("my-shop production: release r1");

    // Every line that is commented out can be used as it stands.
    let keys = config.lines().filter_map(|line| line.strip_prefix('#').filter(|line| !line.starts_with(' ')));
    let keys: Vec<&str> = keys.filter(|line| !line.starts_with("provider")).collect();
    assert!(keys.len() > 5, "{config}");
    project.write("jecloud.toml", &format!("app = \"my-shop\"\n{}\n", keys.join("\n")));
    project.jecloud(&["plan"]).ok();
}

#[test]
fn what_is_no_directory_is_refused() {
    let world = world();
    let project = app(&world, "app", "good");
    for command in ["deploy", "plan", "init"] {
        project.jecloud(&[command, "server.js"]).code(2).says("server.js is not a directory");
        project.jecloud(&[command, "no-such-directory"]).code(2).says("no-such-directory is not a directory");
    }
    let empty = world.project_called("empty", &[]);
    empty.jecloud(&["status"]).code(2).says("there is no jecloud.toml in").says("`jecloud init`");
}

/// A directory that is named is the one that is meant. Fails where one above it is looked for then: the app around it
/// is deployed instead.
#[test]
fn a_directory_that_is_named_is_the_one_that_is_meant() {
    let world = world();
    let project = app(&world, "app", "good");
    project.write("inner/server.js", &answers("inner"));
    for command in ["deploy", "plan"] {
        project.jecloud(&[command, "inner"]).code(2).says("there is no jecloud.toml in").does_not_say("above");
    }
    // Without a name it is looked for.
    project.jecloud(&["-C", "inner", "plan"]).ok().says("app production: release r1");
}

/// Fails without the file by which what JeCloud keeps is left out: the second deployment packs the first one's sockets.
#[test]
fn what_jecloud_keeps_may_lie_inside_of_the_app() {
    let world = world();
    let project = app(&world, "app", "good");
    let home = project.directory().join("kept").display().to_string();
    let variables = [("JECLOUD_HOME", home.as_str())];
    let first = project.jecloud_with(&variables, &["deploy"]).ok().says("packed 3 files");
    let again = project.jecloud_with(&variables, &["deploy"]).ok().says("nothing changed");
    let ended = project.jecloud_with(&variables, &["update-server", "shutdown"]);
    assert_eq!(ended.status, 0, "{}{}{}", first.said(), again.said(), ended.said());
    let root = project.directory().display().to_string();
    project.jecloud_with(&[("JECLOUD_HOME", &root)], &["deploy"]).code(2).says("the app's own directory");
}

/// Fails where `plan` and `deploy` come from different code: what is announced is what is done.
#[test]
fn plan_says_what_deploy_does_and_does_nothing() {
    let world = world();
    let project = app(&world, "app", "good");
    let plan = project.jecloud(&["plan"]).ok();
    assert_eq!(world.processes(), Vec::<u32>::new());
    project.jecloud(&["status"]).code(1).says("app is not deployed to production");
    let planned = plan.stdout.split_once("version ").and_then(|(_, rest)| rest.get(..12)).expect("a version");
    project.jecloud(&["deploy"]).ok().says(&format!("r1 ({planned}) serves"));
}
