//! Variables, environments and apps side by side, and commands among them.

use jecloud_testkit::get;

use crate::{answers, app, serves, world};

#[test]
fn variables_are_a_new_release_of_the_same_version() {
    let world = world();
    let project = app(&world, "app", "");
    project.write("server.js", &serves("response.end(`${process.env.COLOUR} ${process.env.SHAPE}`)"));
    project.write("jecloud.toml", "app = \"app\"\n[env]\nSHAPE = \"round\"\n");
    project.jecloud(&["deploy"]).ok();
    assert_eq!(project.get().1, "undefined round");
    let version = project.status()["current_version"].clone();

    project.jecloud(&["env", "set", "COLOUR=sea green", "SHAPE=square"]).ok().says("r2");
    assert_eq!(project.get().1, "sea green square");
    assert_eq!(project.status()["current_version"], version);
    insta::assert_snapshot!(project.jecloud(&["env"]).ok().stdout, @"
    NAME    VALUE      FROM
    COLOUR  sea green  jecloud env set
    SHAPE   square     jecloud env set
    ");
    let json = project.jecloud(&["env", "--json"]).ok().json()["variables"].clone();
    assert_eq!(json, serde_json::json!({"COLOUR": "sea green", "SHAPE": "square"}));

    // Set variables stay through deployments.
    project.write("server.js", &serves("response.end(`new ${process.env.COLOUR}`)"));
    project.jecloud(&["deploy"]).ok();
    assert_eq!(project.get().1, "new sea green");
    project.jecloud(&["env", "unset", "COLOUR", "SHAPE"]).ok();
    assert_eq!(project.get().1, "new undefined");
    project.jecloud(&["run", "--", "sh", "-c", "echo $SHAPE"]).ok().says("round");

    project.jecloud(&["env", "unset", "COLOUR"]).code(2).says("COLOUR was not set");
    project.jecloud(&["env", "unset", "SHAPE"]).code(2).says("It is in [env] of jecloud.toml");
    project.jecloud(&["env", "set", "COLOUR"]).code(2).says("is not NAME=VALUE");
    project.jecloud(&["env", "set", "PORT=80"]).code(2).says("PORT");
    project.jecloud(&["env", "set", "1A=x"]).code(2).says("1A");
}

#[test]
fn environments_and_apps_run_side_by_side_on_one_front() {
    let world = world();
    let (one, two) = (app(&world, "one", "one"), app(&world, "two", "two"));
    one.jecloud(&["deploy"]).ok();
    one.write("server.js", &answers("one staged"));
    one.jecloud(&["deploy", "-e", "staging"]).ok();
    two.jecloud(&["deploy"]).ok();

    let (production, staging, other) = (one.url(), one.url_of("staging"), two.url());
    let ports = [&production, &staging, &other].map(|url| url.rsplit_once(':').expect("a port").1.to_owned());
    assert!(ports.iter().all(|port| *port == ports[0]), "one front: {ports:?}");
    assert_eq!(world.get(&production).1, "one");
    assert_eq!(world.get(&staging).1, "one staged");
    assert_eq!(world.get(&other).1, "two");
    let nobody = get(&format!("http://nobody.localhost:{}", ports[0])).expect("an answer");
    assert_eq!(nobody.status, 404, "{}", nobody.body);

    // Each is left alone by what is done to the others.
    let pids = (one.pid("web.1"), two.pid("web.1"));
    one.jecloud(&["deploy", "-e", "staging", "--force"]).ok();
    assert_eq!((one.pid("web.1"), two.pid("web.1")), pids);
    one.jecloud(&["ps", "-e", "staging"]).ok().says("web.1@2").does_not_say("web.1@1");
    let status = one.jecloud(&["status"]).ok();
    status.says("one production: r1").says("one staging: r2").does_not_say("two");
    // A slip of the finger makes no environment in silence.
    one.write("jecloud.toml", "app = \"one\"\n[environments.staging]\nenv.STAGE = \"yes\"\n");
    one.jecloud(&["deploy", "-e", "stagin"]).ok().says("did you mean staging?");
}

#[test]
fn a_command_runs_where_and_as_the_app_runs() {
    let world = world();
    let project = app(&world, "app", "good");
    project.jecloud(&["deploy"]).ok();
    project.jecloud(&["run", "--", "sh", "-c", "exit 7"]).code(7);
    project.jecloud(&["run", "--", "sh", "-c", "kill -TERM $$"]).code(143);
    let version = project.status()["current_version"].as_str().expect("a version").to_owned();
    let ran =
        project.jecloud(&["run", "--", "sh", "-c", "pwd; id -un; echo $JECLOUD_APP $JECLOUD_ENV $JECLOUD_VERSION"]);
    let is_root = world.run("id", &["-u"]).ok().stdout == "0\n";
    let made = jecloud_testkit::made_below(world.directory());
    let user = match &made[..] {
        [own] if is_root => format!("{}\n", own.name),
        _ => world.run("id", &["-un"]).ok().stdout,
    };
    let directory = crate::production(&project).join("source/versions").join(&version);
    assert_eq!(ran.ok().stdout, format!("{}\n{user}app production {version}\n", directory.display()));
    project.jecloud(&["run", "--", "node", "-p", "1 + 1"]).ok().says("2");
    // What it reads is what the person types.
    let read = project.jecloud_reading("a line\n", &["run", "--", "cat"]).ok();
    assert_eq!(read.stdout, "a line\n");
    project.jecloud(&["run", "--", "no-such-program"]).code(2).says("the program no-such-program was not found");
    project.jecloud(&["run"]).code(2);
}
