//! A hook behind the exports of its component, called natively: what the host shows arrives, and what the hook answers
//! leaves, with nothing lost between.

use std::time::Duration;

use jecloud_sdk::bindings::exports::jecloud::hook::service::Guest as _;
use jecloud_sdk::bindings::jecloud::hook::types as wit;
use jecloud_sdk::export::Exports;
use jecloud_sdk::{
    Archive, BackupHook, BackupStep, Command, CommandResult, Contents, Context, Description, Member, Next, OptionValue,
    Package, Plan, Problem, Process, ServiceHook, SetupHook, TopologyHook, log,
};

struct Everything;

impl ServiceHook for Everything {
    fn describe() -> Description {
        Description::new("everything", "1.2.3", "uses all there is")
            .settings_schema("{}")
            .detect("a")
            .input("b")
            .input_up_to("c/*", 5, 6)
            .fact("arch")
            .package("p")
            .repository("https://r")
            .program("sh")
            .root_program("useradd")
            .fixed_port(25)
            .path("/etc/x")
            .secret("TOKEN")
            .option("key", true)
    }

    fn required_packages(context: &Context) -> Result<Vec<Package>, Problem> {
        let archive = Archive::new("https://r/{version}").sums_url("https://r/sums").sha256("ab").strip(2);
        Ok(vec![
            Package::present("a", context.pin("a").unwrap_or("none")),
            Package::distribution("b", "").pinned().option("n", 4),
            Package::archive("c", "1", archive),
        ])
    }

    fn prepare_deploy(context: &Context) -> Result<Plan, Problem> {
        let seen = [
            context.app(),
            context.environment(),
            context.service(),
            context.version(),
            context.current_version().unwrap_or("none"),
            context.text("f")?.unwrap_or("none"),
            context.fact("arch").unwrap_or("none"),
            context.remembered("r").unwrap_or("none"),
            &context.setting::<String>("s")?.unwrap_or_default(),
            &format!("{:?}", context.options()),
        ];
        let command = |id: &str| Command::new(id, format!("{id} it")).argv([id]);
        Ok(Plan::new()
            .file("{data}/f", "content", 0o600)
            .check(command("check"))
            .build(command("build").once("key").produces("out").cwd("x").env("A", "1").as_root())
            .release(command("release").timeout(Duration::from_secs(2)))
            .process(Process::new("web").argv(["w"]).port("http").health_http("http", "/up").replicas(2).shards(3))
            .process(Process::new("db").argv(["d"]).health_command(["ping"]).not_beside().as_root())
            .process(Process::new("tcp").health_port("t").start_timeout(Duration::from_secs(1)).option("a", "b"))
            .route("/", "web", "http")
            .value("URL", "x")
            .remember("k", "v")
            .note(seen.join(" "))
            .option("list", vec!["x".to_owned()]))
    }

    fn deployed(_: &Context, results: &[CommandResult]) -> Result<Next, Problem> {
        match results {
            [] => Ok(Next::Again(vec![Command::new("look", "look").argv(["true"])])),
            [look] if look.succeeded() => Ok(Next::Done),
            [look] if look.exit_status.is_none() => Ok(Next::Wait(Duration::from_nanos(1))),
            [look] => Err(Problem::new(format!("{} said {}{}", look.id, look.stdout, look.stderr)).hint("look there")),
            _ => panic!("{} results", results.len()),
        }
    }
}

jecloud_sdk::export!(Everything);

fn pair(name: &str, value: &str) -> wit::Pair {
    wit::Pair { name: name.to_owned(), value: value.to_owned() }
}

fn context() -> wit::Context {
    wit::Context {
        app: "guestbook".to_owned(),
        environment: "staging".to_owned(),
        service: "everything".to_owned(),
        version: "11".to_owned(),
        current_version: Some("10".to_owned()),
        settings: r#"{"s": "setting"}"#.to_owned(),
        pins: vec![pair("a", "1.0.0")],
        inputs: vec![wit::InputFile { path: "f".to_owned(), content: b"file".to_vec() }],
        facts: vec![pair("arch", "x86_64")],
        remembered: vec![pair("r", "remembered")],
        options: vec![wit::Entry { key: "o".to_owned(), value: wit::OptionValue::Integer(-1) }],
    }
}

fn result(id: &str, exit_status: Option<i32>) -> wit::CommandResult {
    wit::CommandResult { id: id.to_owned(), exit_status, stdout: "out ".to_owned(), stderr: "err".to_owned() }
}

#[test]
fn a_description() {
    let seen = Exports::<Everything>::describe();
    assert_eq!(
        (seen.name.as_str(), seen.version.as_str(), seen.summary.as_str()),
        ("everything", "1.2.3", "uses all there is")
    );
    assert_eq!((seen.settings_schema.as_str(), seen.detect.as_slice()), ("{}", ["a".to_owned()].as_slice()));
    let inputs: Vec<_> =
        seen.inputs.iter().map(|input| (input.glob.as_str(), input.max_bytes, input.max_files)).collect();
    assert_eq!(inputs, [("b", 1_048_576, 100), ("c/*", 5, 6)]);
    assert_eq!(seen.facts, ["arch"]);
    let powers = seen.powers;
    assert_eq!((powers.packages, powers.repositories), (vec!["p".to_owned()], vec!["https://r".to_owned()]));
    let programs: Vec<_> = powers.programs.iter().map(|power| (power.program.as_str(), power.run_as)).collect();
    assert_eq!(programs, [("sh", wit::Identity::App), ("useradd", wit::Identity::Root)]);
    assert_eq!(
        (powers.ports, powers.paths, powers.secrets),
        (vec![25], vec!["/etc/x".to_owned()], vec!["TOKEN".to_owned()])
    );
    assert!(
        matches!(seen.options.as_slice(), [wit::Entry { key, value: wit::OptionValue::Flag(true) }] if key == "key")
    );
}

#[test]
fn packages() {
    let seen = Exports::<Everything>::required_packages(context()).expect("packages");
    let [present, distribution, archive] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!((present.name.as_str(), present.version.as_str(), present.pin), ("a", "1.0.0", false));
    assert!(matches!(present.source, wit::Source::Present));
    assert_eq!((distribution.name.as_str(), distribution.version.as_str(), distribution.pin), ("b", "", true));
    assert!(matches!(distribution.source, wit::Source::Distribution));
    assert!(matches!(distribution.options[0].value, wit::OptionValue::Integer(4)));
    let wit::Source::Archive(archive) = &archive.source else { panic!("{archive:?}") };
    assert_eq!((archive.url.as_str(), archive.strip), ("https://r/{version}", 2));
    assert_eq!((archive.sums_url.as_deref(), archive.sha256.as_deref()), (Some("https://r/sums"), Some("ab")));
}

#[test]
fn a_plan() {
    let seen = Exports::<Everything>::prepare_deploy(context()).expect("a plan");
    assert_eq!(seen.notes, [r#"guestbook staging everything 11 10 file x86_64 remembered setting {"o": Integer(-1)}"#]);
    let file = &seen.files[0];
    assert_eq!((file.path.as_str(), file.content.as_str(), file.mode), ("{data}/f", "content", 0o600));
    assert_eq!((seen.checks[0].id.as_str(), seen.checks[0].title.as_str()), ("check", "check it"));
    let build = &seen.build[0];
    assert_eq!((build.argv.as_slice(), build.cwd.as_str()), (["build".to_owned()].as_slice(), "x"));
    assert_eq!((build.once.as_str(), build.produces.as_slice()), ("key", ["out".to_owned()].as_slice()));
    assert_eq!((build.env[0].name.as_str(), build.env[0].value.as_str()), ("A", "1"));
    assert_eq!((build.run_as, build.timeout_ms), (wit::Identity::Root, 600_000));
    assert_eq!(seen.release[0].timeout_ms, 2_000);
    let [web, db, tcp] = seen.processes.as_slice() else { panic!("{:?}", seen.processes) };
    assert_eq!((web.name.as_str(), web.replicas, web.shards, web.beside), ("web", 2, 3, true));
    assert!(matches!(&web.health, wit::Health::Http(http) if http.port == "http" && http.path == "/up"));
    assert_eq!((web.start_timeout_ms, web.stop_timeout_ms, web.run_as), (60_000, 30_000, wit::Identity::App));
    assert_eq!(web.ports, ["http"]);
    assert!(matches!(&db.health, wit::Health::Command(argv) if argv == &["ping"]));
    assert_eq!((db.beside, db.run_as), (false, wit::Identity::Root));
    assert!(matches!(&tcp.health, wit::Health::PortOpen(port) if port == "t"));
    assert!(matches!(&tcp.options[0].value, wit::OptionValue::Text(text) if text == "b"));
    assert_eq!(tcp.start_timeout_ms, 1_000);
    let route = &seen.routes[0];
    assert_eq!((route.process.as_str(), route.port.as_str(), route.path_prefix.as_str()), ("web", "http", "/"));
    assert_eq!((seen.values[0].name.as_str(), seen.values[0].value.as_str()), ("URL", "x"));
    assert_eq!((seen.remember[0].name.as_str(), seen.remember[0].value.as_str()), ("k", "v"));
    assert!(matches!(&seen.options[0].value, wit::OptionValue::Texts(texts) if texts == &["x"]));
}

#[test]
fn steps_after_the_switch() {
    let deployed = |results| Exports::<Everything>::deployed(context(), results);
    assert!(matches!(deployed(vec![]), Ok(wit::Next::Again(commands)) if commands[0].id == "look"));
    assert!(matches!(deployed(vec![result("look", Some(0))]), Ok(wit::Next::Done)));
    // Less than can be said is not "at once".
    assert!(matches!(deployed(vec![result("look", None)]), Ok(wit::Next::WaitMs(1))));
    let problem = deployed(vec![result("look", Some(137))]).expect_err("a problem");
    assert_eq!((problem.message.as_str(), problem.hint.as_str()), ("look said out err", "look there"));
}

impl SetupHook for Everything {
    fn started(context: &Context, results: &[CommandResult]) -> Result<Next, Problem> {
        Self::deployed(context, results)
    }
}

impl BackupHook for Everything {
    fn backup(context: &Context, results: &[CommandResult]) -> Result<BackupStep, Problem> {
        match results {
            [] => Ok(BackupStep::Again(vec![Command::new("save", "save it").argv(["save"])])),
            [saved] if saved.succeeded() => Ok(BackupStep::Wait(Duration::ZERO)),
            _ => {
                let counts = [("keys".to_owned(), u64::MAX)].into();
                Ok(BackupStep::Done(Contents { version: context.app().to_owned(), counts }))
            }
        }
    }

    fn restore(context: &Context, _: &[CommandResult]) -> Result<Next, Problem> {
        Err(Problem::new(context.backup_version().unwrap_or("none")))
    }

    fn restored(context: &Context, results: &[CommandResult]) -> Result<BackupStep, Problem> {
        Self::backup(context, results)
    }
}

impl TopologyHook for Everything {
    fn reshape(_: &Context, present: &[Member], wanted: &[Member], _: &[CommandResult]) -> Result<Next, Problem> {
        let names = |members: &[Member]| {
            members.iter().map(|member| format!("{}@{}", member.process, member.address)).collect::<Vec<_>>().join(" ")
        };
        Err(Problem::new(format!("{} -> {}", names(present), names(wanted))))
    }
}

#[test]
fn steps_of_optional_interfaces() {
    use jecloud_sdk::bindings::backup::exports::jecloud::hook::backup::{self, Guest as _};
    use jecloud_sdk::bindings::setup::exports::jecloud::hook::setup::Guest as _;
    use jecloud_sdk::bindings::topology::exports::jecloud::hook::topology::{self, Guest as _};

    let started = Exports::<Everything>::started(context(), vec![]);
    assert!(matches!(started, Ok(wit::Next::Again(commands)) if commands[0].id == "look"));
    let steps = |results: Vec<wit::CommandResult>| {
        [Exports::<Everything>::backup(context(), results.clone()), Exports::<Everything>::restored(context(), results)]
    };
    for step in steps(vec![]) {
        assert!(matches!(step, Ok(backup::Step::Again(commands)) if commands[0].id == "save"));
    }
    for step in steps(vec![result("save", Some(0))]) {
        assert!(matches!(step, Ok(backup::Step::WaitMs(1))), "{step:?}");
    }
    for step in steps(vec![result("save", Some(1))]) {
        let Ok(backup::Step::Done(contents)) = step else { panic!("{step:?}") };
        assert_eq!((contents.version.as_str(), contents.counts.len()), ("guestbook", 1));
        assert_eq!((contents.counts[0].name.as_str(), contents.counts[0].number), ("keys", u64::MAX));
    }
    let entry = wit::Entry { key: "backup-version".to_owned(), value: wit::OptionValue::Text("6.0.5".to_owned()) };
    let of_backup = wit::Context { options: vec![entry], ..context() };
    assert_eq!(Exports::<Everything>::restore(of_backup, vec![]).unwrap_err().message, "6.0.5");
    assert_eq!(Exports::<Everything>::restore(context(), vec![]).unwrap_err().message, "none");
    let member = |address: &str| topology::Member { process: "db.1".to_owned(), address: address.to_owned() };
    let reshaped = Exports::<Everything>::reshape(context(), vec![member("a:1")], vec![member("b:2")], vec![]);
    assert_eq!(reshaped.unwrap_err().message, "db.1@a:1 -> db.1@b:2");
}

/// Fails without `catch_unwind` in `call::guarded`: the panic ends the test.
#[test]
fn a_panic_is_a_problem_with_its_text() {
    let (problem, lines) = log::capture(|| {
        let results = vec![result("a", None), result("b", None)];
        Exports::<Everything>::deployed(context(), results).expect_err("a problem")
    });
    assert_eq!(problem.message, "the hook panicked in deployed: 2 results");
    assert_eq!((lines[0].level, lines[0].message.as_str()), (log::Level::Error, problem.message.as_str()));
}

#[test]
fn settings_that_are_not_of_the_type() {
    let context = wit::Context { settings: r#"{"s": 1}"#.to_owned(), ..context() };
    let problem = Exports::<Everything>::prepare_deploy(context).expect_err("a problem");
    assert_eq!(
        problem.message,
        "cannot understand `s` in [services.everything] of jecloud.toml: invalid type: integer `1`, expected a string"
    );
}

/// A cause is in the message of a problem; without sources it is the message alone.
#[test]
fn errors_become_problems() {
    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("cannot read the port")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let problem = Problem::from(Outer("x".parse::<u16>().expect_err("no number")));
    assert_eq!(problem, Problem::new("cannot read the port: invalid digit found in string"));
    assert_eq!(OptionValue::from("a"), OptionValue::Text("a".to_owned()));
}
