//! The hook, called natively as the host calls the component: machines and settings in, packages and plans out.

use jecloud_hook_mongodb::MongoHook;
use jecloud_sdk::testing::{self, ContextBuilder};
use jecloud_sdk::{Command, CommandResult, Context, Health, Next, OptionValue, Package, Plan, Problem, Source};

fn context() -> ContextBuilder {
    testing::context("guestbook").service("mongodb").fact("host", "127.0.0.1")
}

/// A server that has this MongoDB, and a shell.
fn with(version: &str) -> ContextBuilder {
    context()
        .fact("program:mongod", &format!("/usr/bin/mongod db version v{version}"))
        .fact("program:mongosh", "/usr/bin/mongosh 2.12.0")
}

/// A fresh Debian 12.
fn debian_12() -> ContextBuilder {
    context().fact("can-install", "true").fact("distribution", "debian 12")
}

fn packages(context: &Context) -> Result<Vec<Package>, Problem> {
    testing::required_packages::<MongoHook>(context)
}

fn plan(context: &Context) -> Result<Plan, Problem> {
    testing::prepare_deploy::<MongoHook>(context)
}

fn problem<T: std::fmt::Debug>(result: Result<T, Problem>) -> String {
    let problem = result.expect_err("a problem");
    format!("{}; {}", problem.message, problem.hint)
}

/// The text of an option of a package.
fn option<'a>(package: &'a Package, key: &str) -> &'a str {
    match package.options.get(key) {
        Some(OptionValue::Text(text)) => text,
        other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn what_is_there_is_used_and_pinned() {
    let [server, shell] = &packages(&with("6.0.5").build()).expect("packages")[..] else { panic!() };
    assert_eq!((server.name.as_str(), server.version.as_str(), server.pin), ("mongodb", "6.0.5", true));
    assert_eq!((&server.source, &shell.source), (&Source::Present, &Source::Present));
    // What a package brought stays the package's, and needs no repository any more.
    let installed = with("7.0.15").fact("installed:mongodb-org-server", "7.0.15");
    let installed = installed.fact("installed:mongodb-mongosh", "2.12.0").build();
    let found = packages(&installed).expect("packages");
    let names: Vec<(&str, &str)> = found.iter().map(|found| (found.name.as_str(), found.version.as_str())).collect();
    assert_eq!(names, [("mongodb-org-server", "7.0.15"), ("mongodb-mongosh", "2.12.0")]);
    assert!(found.iter().all(|found| found.source == Source::Distribution && found.pin && found.options.is_empty()));
}

/// Fails where the key of one series is used for another, and where a pin is not what is installed.
#[test]
fn what_is_not_there_comes_from_the_repository_of_its_series() {
    let [server, shell] = &packages(&debian_12().build()).expect("packages")[..] else { panic!() };
    assert_eq!((server.name.as_str(), server.version.as_str(), server.pin), ("mongodb-org-server", "8.0", true));
    assert_eq!((shell.name.as_str(), shell.version.as_str(), shell.pin), ("mongodb-mongosh", "", true));
    for package in [server, shell] {
        assert_eq!(option(package, "repository"), "https://repo.mongodb.org/apt/debian");
        assert_eq!(option(package, "suite"), "bookworm/mongodb-org/8.0");
        assert_eq!(option(package, "repository-key"), "https://pgp.mongodb.com/server-8.0.asc");
        assert_eq!(package.options["components"], OptionValue::Texts(vec!["main".to_owned()]));
    }
    let older = packages(&debian_12().setting("version", "7.0").build()).expect("packages");
    assert_eq!(option(&older[0], "suite"), "bookworm/mongodb-org/7.0");
    assert_ne!(option(&older[0], "repository-key-sha256"), option(server, "repository-key-sha256"));
    let ubuntu = packages(&context().fact("can-install", "true").fact("distribution", "ubuntu 24.04").build());
    assert_eq!(option(&ubuntu.expect("packages")[0], "suite"), "noble/mongodb-org/8.0");
    let pinned = packages(&debian_12().pin("mongodb-org-server", "7.0.12").build()).expect("packages");
    assert_eq!((pinned[0].version.as_str(), option(&pinned[0], "suite")), ("7.0.12", "bookworm/mongodb-org/7.0"));
    // What is asked for by now counts more.
    let asked = debian_12().pin("mongodb-org-server", "7.0.12").setting("version", "8.0").build();
    assert_eq!(packages(&asked).expect("packages")[0].version, "8.0");

    let sum = "0".repeat(64);
    let mirrored = debian_12().setting("mirror", "http://10.0.0.1/apt").setting("key", "http://10.0.0.1/key.asc");
    let mirrored = packages(&mirrored.setting("key_sha256", sum.as_str()).build()).expect("packages");
    let options = ["repository", "repository-key", "repository-key-sha256"].map(|key| option(&mirrored[0], key));
    assert_eq!(options, ["http://10.0.0.1/apt", "http://10.0.0.1/key.asc", &sum]);
}

#[test]
fn a_version_that_cannot_be_had_is_refused() {
    let problem_of = |builder: ContextBuilder| problem(packages(&builder.build()));
    assert_eq!(
        problem_of(context()),
        "MongoDB 8.0 cannot be had: this server has no MongoDB, and nothing can be installed on it; install mongod 8.0 \
         and mongosh on the server"
    );
    let unknown = problem_of(with("6.0.5").setting("version", "5.0"));
    assert!(unknown.starts_with("MongoDB 5.0 is not one of 6.0, 7.0, 8.0"), "{unknown}");
    let arch = problem_of(context().fact("can-install", "true").fact("distribution", "arch"));
    assert!(arch.contains("it runs arch, for which"), "{arch}");
    let pinned = problem_of(with("6.0.5").pin("mongodb-org-server", "6.0.4"));
    assert!(
        pinned.contains("jecloud.lock holds") && pinned.contains("take the line of mongodb-org-server out"),
        "{pinned}"
    );
    // A newer one that somebody installed by hand does not take the data over.
    let by_hand = problem_of(with("7.0.15").remembered("version", "6.0.5"));
    assert!(by_hand.contains("has MongoDB 7.0.15") && by_hand.contains("write `version = \"7.0\"`"), "{by_hand}");
    let no_shell = context().fact("program:mongod", "/usr/bin/mongod db version v6.0.5");
    assert!(problem_of(no_shell).contains("install mongosh"));
}

#[test]
fn it_is_reached_by_whom_it_should_and_its_secrets_are_in_no_argument() {
    let here = plan(&with("6.0.5").build()).expect("a plan");
    let configuration = &here.files[0];
    for line in [
        "bindIp: 127.0.0.1",
        "port: {port:mongodb}",
        "authorization: enabled",
        "keyFile: \"{data}/key\"",
        "replSetName: rs0",
        "dbPath: \"{data}/db\"",
    ] {
        assert!(configuration.content.lines().any(|found| found.trim() == line), "{line} in {}", configuration.content);
    }
    let there = plan(&with("6.0.5").fact("host", "10.0.0.7").fact("shared", "true").build()).expect("a plan");
    assert!(there.files[0].content.contains("bindIp: 127.0.0.1,10.0.0.7\n"), "{}", there.files[0].content);
    assert!(here.files.iter().all(|file| file.mode == 0o600));
    let [process] = &here.processes[..] else { panic!() };
    assert_eq!(process.argv, ["mongod", "--config", &configuration.path]);
    assert_eq!((process.beside, &process.health), (false, &Health::PortOpen("mongodb".to_owned())));
    let url =
        "mongodb://guestbook:{secret:mongodb-password}@{host}:{port:mongodb}/guestbook?replicaSet=rs0&authSource=admin";
    assert_eq!([&here.values["MONGODB_URL"], &here.values["MONGO_URL"]], [url, url]);
    let another = plan(&with("6.0.5").setting("database", "book").build()).expect("a plan");
    assert!(another.values["MONGODB_URL"].contains("/book?"));
    assert_eq!(here.remember["version"], "6.0.5");
    for command in again(started(&with("6.0.5").build(), &[]).expect("commands")) {
        assert!(command.argv.iter().all(|argument| !argument.contains("secret:")), "{:?}", command.argv);
        assert_eq!(command.env["MONGODB_KEY"], "{secret:mongodb-key}");
    }
}

/// Fails where the file keeps its name: a mongod that runs on would get another configuration when it is started again,
/// and one whose configuration or version changes would not be restarted.
#[test]
fn another_configuration_is_another_file() {
    let path = |builder: ContextBuilder| plan(&builder.build()).expect("a plan").files[0].path.clone();
    assert_eq!(path(with("6.0.5")), path(with("6.0.5").version(&"1".repeat(64))));
    let shared = with("6.0.5").fact("host", "10.0.0.7").fact("shared", "true");
    for other in [with("6.0.6"), with("6.0.5").setting("memory", "512mb"), shared] {
        assert_ne!(path(with("6.0.5")), path(other));
    }
}

#[test]
fn settings_are_followed_or_refused() {
    let content =
        |memory: &str| plan(&with("6.0.5").setting("memory", memory).build()).expect("a plan").files[0].content.clone();
    assert!(content("512mb").contains("cacheSizeGB: 0.5\n") && content("2gb").contains("cacheSizeGB: 2\n"));
    let refused = |key: &str, value: serde_json::Value| problem(plan(&with("6.0.5").setting(key, value).build()));
    assert!(refused("memory", "100mb".into()).contains("memory = \"256mb\""));
    assert!(refused("database", "admin".into()).contains("database = \"guestbook-data\""));
    assert!(refused("replicas", 2.into()).contains("write `replicas = 3`"));
    assert!(refused("replicas", 3.into()).contains("needs as many servers, and there is 1"));
    assert!(refused("shards", 2.into()).contains("take `shards` out"));
    let app = testing::context("admin").service("mongodb").fact("program:mongod", "/usr/bin/mongod db version v6.0.5");
    assert!(problem(plan(&app.build())).contains("MongoDB's own"));
}

/// One step up at a time, after a backup; never down.
#[test]
fn data_goes_from_series_to_series() {
    let of = |now: &str, wrote: &str, asked: &str| {
        let builder = with(now).remembered("version", wrote);
        plan(&if asked.is_empty() { builder } else { builder.setting("version", asked) }.build())
    };
    let backs_up = |plan: Plan| plan.options.get("backup-first") == Some(&OptionValue::Flag(true));
    assert!(!backs_up(of("6.0.6", "6.0.5", "").expect("a patch")));
    assert!(!backs_up(of("6.0.5", "6.0.6", "").expect("a patch back")));
    assert!(backs_up(of("7.0.1", "6.0.5", "7.0").expect("a step")));
    let leap = problem(of("8.0.1", "6.0.5", "8.0"));
    assert!(leap.contains("goes to 7.0 first") && leap.contains("write `version = \"7.0\"`"), "{leap}");
    let back = problem(of("6.0.5", "7.0.1", "6.0"));
    assert!(back.contains("cannot read it") && back.contains("keep `version = \"7.0\"`"), "{back}");
    // It is known before anything is installed.
    assert!(packages(&debian_12().remembered("version", "6.0.5").setting("version", "8.0").build()).is_err());
}

fn started(context: &Context, results: &[CommandResult]) -> Result<Next, Problem> {
    testing::started::<MongoHook>(context, results)
}

fn deployed(context: &Context, results: &[CommandResult]) -> Result<Next, Problem> {
    testing::deployed::<MongoHook>(context, results)
}

#[track_caller]
fn again(next: Next) -> Vec<Command> {
    match next {
        Next::Again(commands) => commands,
        other => panic!("{other:?}"),
    }
}

fn result(id: &str, status: i32, stdout: &str, stderr: &str) -> CommandResult {
    let (stdout, stderr) = (stdout.to_owned(), stderr.to_owned());
    CommandResult { id: id.to_owned(), exit_status: Some(status), stdout, stderr }
}

fn state(id: &str, set: bool, user: bool) -> CommandResult {
    let text = format!(r#"{{"version":"6.0.5","compatibility":"6.0","set":{set},"user":{user}}}"#);
    result(id, 0, &format!("a warning\n{text}\n"), "")
}

#[test]
fn what_is_missing_is_made_once() {
    let context = with("6.0.5").build();
    let ids = |next: Next| again(next).into_iter().map(|command| command.id).collect::<Vec<_>>();
    assert_eq!(ids(started(&context, &[]).expect("commands")), ["look"]);
    assert_eq!(started(&context, &[state("look", true, true)]).expect("an answer"), Next::Done);
    for (set, user) in [(false, false), (true, false)] {
        let look = state("look", set, user);
        assert_eq!(ids(started(&context, std::slice::from_ref(&look)).expect("commands")), ["set-up"]);
        assert_eq!(started(&context, &[look.clone(), state("set-up", true, true)]).expect("an answer"), Next::Done);
        assert!(started(&context, &[look, state("set-up", set, user)]).is_err());
    }
    let failed = problem(started(&context, &[result("look", 1, "", "\nMongoServerError: it is broken\n\n")]));
    assert!(failed.contains("look ended with status 1: MongoServerError: it is broken"), "{failed}");
}

/// Fails where the data is raised before the new version serves, or is not raised at all.
#[test]
fn a_newer_series_uses_what_is_new_once_it_serves() {
    let same = with("7.0.1").remembered("version", "7.0.0").build();
    assert_eq!(deployed(&same, &[]).expect("an answer"), Next::Done);
    assert_eq!(deployed(&with("7.0.1").build(), &[]).expect("an answer"), Next::Done);
    let raised = with("7.0.1").remembered("version", "6.0.5").setting("version", "7.0").build();
    let [command] = &again(deployed(&raised, &[]).expect("commands"))[..] else { panic!() };
    assert_eq!((command.id.as_str(), command.env["MONGODB_COMPATIBILITY"].as_str()), ("raise", "7.0"));
    assert_eq!(deployed(&raised, &[result("raise", 0, "", "")]).expect("an answer"), Next::Done);
    assert!(deployed(&raised, &[result("raise", 1, "", "MongoServerError: no")]).is_err());
}
