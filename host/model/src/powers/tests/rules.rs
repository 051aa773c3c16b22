//! One case per rule: a plan that is in order, one thing changed, the refusal that must follow. Every case fails when
//! the rule it is about is taken out, because the changed plan is otherwise in order.

use super::super::*;
use super::fixtures::*;
use crate::hook::{Command, Health, HookRoute, Identity, OptionValue, Plan, Source};

#[test]
fn what_is_in_order_passes() {
    accepted(|_| {});
    assert_eq!(refusals(&Plan::default(), &[]), []);
    accepted(|plan| plan.processes[0].health = Health::Command(words(&["npm", "run", "up", "{port:http}"])));
    accepted(|plan| plan.processes[0].cwd = "{data}".to_owned());
    accepted(|plan| plan.processes[0].argv[0] = "{source}/bin/{app}".to_owned());
    accepted(|plan| plan.files[3].path = "/etc/redis".to_owned());
    accepted(|plan| plan.files[0].content = "{secret:KEY}".to_owned());
    accepted(|plan| plan.build[0].cwd = "{source}/".to_owned());
}

#[test]
fn programs() {
    refused(|plan| plan.build[0].argv.clear(), "build[0] install dependencies: it names no program");
    refused(|plan| plan.build[0].argv[0].clear(), "it names no program");
    refused(
        |plan| plan.build[0].argv[0] = "curl".to_owned(),
        "does not declare the power to run curl as the app's user",
    );
    refused(|plan| plan.checks[0].argv[0] = "curl".to_owned(), "checks[0] install dependencies: the hook");
    refused(|plan| plan.release[0].argv[0] = "curl".to_owned(), "release[0] install dependencies: the hook");
    refused(|plan| plan.processes[1].argv[0] = "curl".to_owned(), "processes[1] redis: the hook");
    refused(|plan| plan.processes[1].health = Health::Command(words(&["curl"])), "processes[1] redis: the hook");
    refused(|plan| plan.processes[1].health = Health::Command(vec![]), "it names no program");
    refused(|plan| plan.build[0].argv[0] = "/usr/bin/npm".to_owned(), "run /usr/bin/npm as");
    refused(|plan| plan.build[0].argv[0] = "./npm".to_owned(), "depends on the working directory");
    refused(|plan| plan.build[0].argv[0] = "bin/npm".to_owned(), "depends on the working directory");
    refused(|plan| plan.build[0].argv[0] = "{package:node}/bin/npm".to_owned(), "run {package:node}/bin/npm as");
    refused(|plan| plan.build[0].argv[0] = "{data}/bin/x".to_owned(), "run {data}/bin/x as");
    refused(|plan| plan.build[0].argv[0] = "{source}".to_owned(), "run {source} as");
    refused(|plan| plan.build[0].argv[0] = "{source}/".to_owned(), "run {source}/ as");
    refused(|plan| plan.build[0].argv[0] = "{source}x/y".to_owned(), "run {source}x/y as");
    refused(|plan| plan.build[0].argv[0] = "{source}/../x".to_owned(), "run {source}/../x as");
    refused(|plan| plan.build[0].argv[0] = "{source}/{package:node}".to_owned(), "run {source}/{package:node} as");
}

#[test]
fn identities() {
    refused(|plan| plan.processes[0].run_as = Identity::Root, "the power to run {package:node}/bin/node as root");
    refused(
        |plan| {
            plan.build[0].run_as = Identity::Root;
            plan.build[0].env.clear();
        },
        "the power to run npm as root",
    );
    refused(
        |plan| {
            plan.release[0].run_as = Identity::Root;
            plan.release[0].env.clear();
        },
        "the power to run {source}/node_modules/.bin/migrate as root",
    );
    accepted(|plan| plan.build[1].run_as = Identity::App);
}

#[test]
fn variables() {
    for name in ["", "1A", "A=B", "A B", "Ä", "A\n", "A-B"] {
        refused(
            |plan| drop(plan.build[0].env.insert(name.to_owned(), String::new())),
            "is not a name of an environment variable",
        );
        refused(|plan| drop(plan.values.insert(name.to_owned(), String::new())), "values: ");
    }
    for name in ["LD_PRELOAD", "LD_LIBRARY_PATH", "BASH_ENV", "ENV", "GCONV_PATH"] {
        refused(|plan| drop(plan.build[0].env.insert(name.to_owned(), String::new())), "code that nobody granted");
        refused(|plan| drop(plan.processes[0].env.insert(name.to_owned(), String::new())), "code that nobody granted");
        refused(|plan| drop(plan.values.insert(name.to_owned(), String::new())), "values: the variable");
    }
    for name in ["PATH", "HOME", "NODE_OPTIONS", "PYTHONPATH", "PERL5LIB", "npm_config_prefix"] {
        refused(
            |plan| drop(plan.build[1].env.insert(name.to_owned(), String::new())),
            "would choose what runs as root",
        );
        accepted(|plan| drop(plan.build[0].env.insert(name.to_owned(), String::new())));
    }
    refused(|plan| drop(plan.values.insert("PATH".to_owned(), String::new())), "belongs to the host");
    refused(|plan| drop(plan.values.insert("A".to_owned(), "x\0".to_owned())), "has a NUL");
}

#[test]
fn templates() {
    refused(
        |plan| plan.build[0].argv[1] = "{sorce}".to_owned(),
        "its command is not a template: {sorce} at character 1",
    );
    refused(|plan| plan.processes[0].argv[1] = "{".to_owned(), "is not closed");
    refused(
        |plan| drop(plan.build[0].env.insert("A".to_owned(), "{x}".to_owned())),
        "the variable A is not a template",
    );
    refused(|plan| plan.files[0].content = "{x}".to_owned(), "its content is not a template");
    refused(|plan| plan.files[0].path = "{data}/{x}".to_owned(), "its path is not a template");
    refused(|plan| plan.processes[0].cwd = "{x}".to_owned(), "its working directory is not a template");
    refused(
        |plan| drop(plan.values.insert("A".to_owned(), "{x}".to_owned())),
        "values: the variable A is not a template",
    );
    refused(|plan| plan.build[0].argv[1] = "a\0b".to_owned(), "has a NUL");
    refused(|plan| plan.files[0].content = "a\0b".to_owned(), "has a NUL");
    // A port needs a process that has it, and where there is no process, exactly one.
    refused(|plan| plan.build[0].argv[1] = "{port:http}".to_owned(), "there is no such port here");
    refused(|plan| plan.processes[1].argv[1] = "{port:http}".to_owned(), "there is no such port here");
    refused(|plan| plan.files[0].content = "{port:x}".to_owned(), "there is no such port here");
    refused(
        |plan| {
            plan.processes[1].ports.push("both".to_owned());
            plan.processes[0].ports.push("both".to_owned());
            drop(plan.values.insert("A".to_owned(), "{port:both}".to_owned()));
        },
        "values: the variable A has {port:both}",
    );
    refused(|plan| plan.build[0].argv[1] = "{process}".to_owned(), "belongs to no process");
    refused(|plan| plan.files[0].content = "{process}".to_owned(), "belongs to no process");
}

#[test]
fn secrets() {
    refused(|plan| plan.build[0].argv[1] = "{secret:KEY}".to_owned(), "its command has {secret:KEY}; secrets are");
    refused(|plan| plan.processes[0].argv[1] = "{secret:KEY}".to_owned(), "its command has {secret:KEY}");
    refused(|plan| plan.processes[0].health = Health::Command(words(&["npm", "{secret:KEY}"])), "has {secret:KEY}");
    refused(|plan| plan.files[1].content = "{secret:KEY}".to_owned(), "its content has {secret:KEY}");
    refused(
        |plan| {
            plan.files[0].content = "{secret:KEY}".to_owned();
            plan.files[0].mode = 0o400;
        },
        "its content has {secret:KEY}",
    );
    refused(
        |plan| plan.files[0].content = "{secret:OTHER}".to_owned(),
        "declare the power to be given the secret OTHER",
    );
    refused(|plan| drop(plan.build[0].env.insert("A".to_owned(), "{secret:B}".to_owned())), "the secret B");
    refused(|plan| drop(plan.processes[0].env.insert("A".to_owned(), "{secret:B}".to_owned())), "the secret B");
    refused(
        |plan| drop(plan.values.insert("A".to_owned(), "{secret:B}".to_owned())),
        "values: the hook does not declare",
    );
}

#[test]
fn files() {
    for outside in ["{data}", "{data}/", "{data}/.", "{data}/../x", "{source}/a/../../x", "{source}x", "{data}/a\nb"] {
        refused(|plan| plan.files[1].path = outside.to_owned(), "does not stay inside of {source} or {data}");
    }
    for nowhere in ["", "x", "../x", "{package:node}/x", "{app}/x", "{source}/{package:node}/x", "{data}{source}/x"] {
        refused(|plan| plan.files[1].path = nowhere.to_owned(), "neither below {source} or {data} nor absolute");
    }
    for other in ["/etc/redisx", "/etc/redi/s", "/etc/other/redis", "/opt/x/y", "/etc/redis{app}/x"] {
        refused(|plan| plan.files[3].path = other.to_owned(), "declare the power to write below /");
    }
    for never in [
        "/etc/redis/../passwd",
        "/etc/shadow/..",
        "/etc",
        "/",
        "//",
        "/etc/",
        "/./etc",
        "/root/x",
        "/usr/bin/x",
        "/proc/1/mem",
        "/etc/cron.d/x",
        "/var/cloud/x",
    ] {
        refused(|plan| plan.files[3].path = never.to_owned(), "its path cannot be used");
    }
    for mode in [0o4755, 0o2755, 0o1755, 0o10644, 0o666, 0o622, 0o664, 0o000, 0o200, 0o044] {
        refused(|plan| plan.files[2].mode = mode, "its mode");
    }
    refused(|plan| plan.files[1].mode = 0o755, "no executable files below {source}");
    refused(|plan| plan.files[1].mode = 0o744, "no executable files below {source}");
    refused(|plan| plan.files[1].path = plan.files[0].path.clone(), "in use by another file");
    refused(|plan| plan.files[1].content = "x".repeat(1024 * 1024 + 1), "bytes of content are more than");
}

#[test]
fn ports_routes_and_health() {
    refused(
        |plan| {
            plan.processes[1] = process("redis", "6380");
            plan.values.clear();
        },
        "the power to listen on port 6380",
    );
    for bad in ["06379", "0", "65536", "80x", "Http", "http_x", "", "-1", "a.b"] {
        refused(|plan| plan.processes[0].ports.push(bad.to_owned()), "processes[0] web: ");
    }
    refused(|plan| plan.processes[0].ports.extend(words(&["x", "x"])), "it names the port \"x\" twice");
    refused(
        |plan| plan.processes[0].health = Health::PortOpen("x".to_owned()),
        "on the port \"x\", which it does not have",
    );
    refused(
        |plan| plan.processes[0].health = Health::Http { port: "x".to_owned(), path: "/".to_owned() },
        "on the port \"x\"",
    );
    for path in ["", "up", "http://x/", "/a b", "/a\r\nHost: x"] {
        refused(
            |plan| plan.processes[0].health = Health::Http { port: "http".to_owned(), path: path.to_owned() },
            "its health path",
        );
    }
    refused(
        |plan| plan.routes[0].process = "worker".parse().unwrap(),
        "the process worker, which the plan does not have",
    );
    refused(|plan| plan.routes[0].port = "x".to_owned(), "the port \"x\", which web does not have");
    for prefix in ["", "api", "/a b", "/a?b", "/a#b"] {
        refused(|plan| plan.routes[0].path_prefix = prefix.to_owned(), "its prefix is not a path");
    }
    refused(
        |plan| plan.routes.push(HookRoute { path_prefix: "//".to_owned(), ..plan.routes[0].clone() }),
        "in use by another route",
    );
    refused(|plan| plan.processes[1].name = "web".parse().unwrap(), "in use by another process");
}

#[test]
fn directories_ids_and_titles() {
    for outside in ["/", "web", "..", "{source}/..", "{source}x", "{package:node}", "{data}/../x", "{app}"] {
        refused(|plan| plan.build[0].cwd = outside.to_owned(), "is not inside of {source} or {data}");
        refused(|plan| plan.processes[0].cwd = outside.to_owned(), "is not inside of {source} or {data}");
    }
    for outside in ["", "/", "/x", "..", "a/../../b", "../x", "."] {
        refused(|plan| plan.build[0].produces = words(&[outside]), "is not a relative path inside");
    }
    for nested in [["a", "a/b"], ["a/b", "a"], ["./a", "a/b"], ["a", "b/../a"], ["a/b", "./a"]] {
        refused(|plan| plan.build[0].produces = words(&nested), "which it produces, ");
    }
    refused(|plan| plan.build[0].id = "check".to_owned(), "its id \"check\" is in use");
    refused(|plan| plan.release[0].id = "tune".to_owned(), "its id \"tune\" is in use");
    for id in ["", "a b", "a/b", "ä", "a\n"] {
        refused(|plan| plan.build[0].id = id.to_owned(), "its id is not");
    }
    refused(|plan| plan.build[0].title = "a\u{1b}[2J".to_owned(), "build[0] a[2J: its title has line breaks");
    refused(|plan| plan.build[0].title = "a\u{202e}b".to_owned(), "its title has line breaks or control");
    refused(|plan| plan.build[0].once = "a\nb".to_owned(), "its once key has line breaks");
    refused(|plan| plan.notes[0] = "a\nb".to_owned(), "notes[0]: the note has line breaks");
}

#[test]
fn bounds() {
    refused(|plan| plan.build[0].timeout_ms = 0, "its time-out in milliseconds 0 is not between 1 and 3600000");
    refused(|plan| plan.build[0].timeout_ms = 3_600_001, "its time-out");
    refused(|plan| plan.processes[0].start_timeout_ms = 0, "its start time-out");
    refused(|plan| plan.processes[0].start_timeout_ms = 600_001, "its start time-out");
    refused(|plan| plan.processes[0].stop_timeout_ms = 600_001, "its stop time-out");
    refused(|plan| plan.processes[0].replicas = 101, "its number of replicas");
    refused(|plan| plan.processes[0].shards = 0, "its number of shards");
    refused(|plan| plan.processes[0].shards = 65, "its number of shards");
    refused(|plan| drop(plan.remember.insert("x".to_owned(), "x".repeat(64 * 1024))), "remember: ");
    refused(|plan| drop(plan.remember.insert(String::new(), String::new())), "remember: a name is empty");
    refused(|plan| plan.notes = vec![String::new(); 51], "51 notes are more than the 50");
    refused(|plan| plan.notes[0] = "x".repeat(501), "characters of the note");
    refused(|plan| plan.build[0].title = "x".repeat(501), "characters of its title");
    refused(|plan| plan.build[0].argv = vec!["npm".to_owned(); 1001], "words of a command");
    refused(|plan| plan.build[0].argv[1] = "x".repeat(32 * 1024 + 1), "bytes of one word");
    refused(|plan| plan.build[0].env.extend((0..500).map(|n| (format!("A{n}"), String::new()))), "502 variables");
    refused(
        |plan| drop(plan.build[0].env.insert("A".to_owned(), "x".repeat(32 * 1024 + 1))),
        "bytes of the variable A",
    );
    refused(|plan| plan.files.extend((0..200).map(|n| file(&format!("{{data}}/{n}"), 0o644))), "204 files");
    refused(|plan| plan.release.extend((0..100).map(|n| command(&format!("r{n}"), &["npm"]))), "101 commands");
    refused(|plan| plan.processes.extend((0..99).map(|n| process(&format!("p{n}"), "x"))), "101 processes");
    refused(|plan| plan.processes[0].ports.extend((0..16).map(|n| format!("p{n}"))), "17 ports");
    let route = |n| HookRoute { path_prefix: format!("/{n}"), ..plan().routes[0].clone() };
    refused(|plan| plan.routes.extend((0..100).map(route)), "101 routes");
    package_refused(
        |packages| packages.extend((0..98).map(|n| package(&format!("p{n}"), Source::Present))),
        "101 packages",
    );
}

/// Fails where the URL of a repository, or that of its key, needs no power: a hook could have anything installed.
#[test]
fn repositories_of_the_package_manager() {
    let with = |url: &str, key: &str| {
        let text = |text: &str| OptionValue::Text(text.to_owned());
        let (suite, sha256) = ("./".to_owned(), "0".repeat(64));
        let options =
            [("repository", url), ("repository-key", key), ("repository-key-sha256", &sha256), ("suite", &suite)];
        options.map(|(name, value)| (name.to_owned(), text(value))).into()
    };
    const GOOD: &str = "https://nodejs.example/dist/apt";
    let mut packages = packages();
    packages[0].options = with(GOOD, GOOD);
    assert_eq!(refusals(&plan(), &packages), []);
    for bad in ["https://evil.example/apt", "https://nodejs.example/other", "https://nodejs.example/distx"] {
        for (url, key) in [(bad, GOOD), (GOOD, bad)] {
            package_refused(
                |packages| packages[0].options = with(url, key),
                "declare the power to fetch archives from",
            );
        }
    }
    package_refused(|packages| packages[0].options = with("http://nodejs.example/dist/x", GOOD), "without encryption");
    package_refused(|packages| packages[0].options = with(GOOD, "a b"), "its option repository-key");
    package_refused(
        |packages| {
            packages[0].options = with(GOOD, GOOD);
            packages[0].options.remove("repository-key");
        },
        "repository-key is not among them",
    );
}

#[test]
fn packages_and_repositories() {
    package_refused(|packages| packages[0].name = "redis".to_owned(), "declare the power to install the package redis");
    for name in ["", "-o", "a b", "a/b", "..", "a=1", "--allow-unauthenticated", "/etc/x.deb", "a;b"] {
        package_refused(|packages| packages[0].name = name.to_owned(), "its name is not a letter or digit");
    }
    for version in ["-o", "1 2", "1/2", "..", "1;2", "*"] {
        package_refused(|packages| packages[0].version = version.to_owned(), "is not a version");
    }
    package_refused(|packages| packages[2].name = "node".to_owned(), "it is asked for twice");
    let urls = [
        ("https://nodejs.example.evil/dist/x", "the power to fetch archives from https://nodejs.example.evil/dist/x"),
        ("https://nodejs.example/other/x", "the power to fetch archives from"),
        ("https://nodejs.example/distx", "the power to fetch archives from"),
        ("https://nodejs.example/dist/../x", "is not a URL to fetch from"),
        ("https://nodejs.example@evil/dist/", "is not a URL to fetch from"),
        ("file:///etc/passwd", "is not a URL to fetch from"),
        ("x", "is not a URL to fetch from"),
        ("http://nodejs.example/dist/x", "is fetched without encryption"),
        ("https://nodejs.example{version}/dist/", "in the name of the host"),
        ("https://{version}", "in the name of the host"),
    ];
    for (url, expected) in urls {
        package_refused(|packages| edit_archive(&mut packages[1], |archive| archive.url = url.to_owned()), expected);
        package_refused(
            |packages| edit_archive(&mut packages[1], |archive| archive.sums_url = Some(url.to_owned())),
            expected,
        );
    }
    package_refused(
        |packages| edit_archive(&mut packages[1], |archive| archive.sums_url = None),
        "neither a sha256 nor",
    );
    package_refused(
        |packages| edit_archive(&mut packages[1], |archive| archive.sha256 = Some("AB".to_owned())),
        "its sha256",
    );
    package_refused(|packages| edit_archive(&mut packages[1], |archive| archive.strip = 17), "dropped path segments");
}

#[test]
fn a_mirror_that_the_person_names_needs_no_power() {
    let mut packages = packages();
    edit_archive(&mut packages[1], |archive| {
        archive.url = "http://mirror.example:8000/node/v{version}/x".to_owned();
        archive.sums_url = Some("http://mirror.example:8000/node/v{version}/y".to_owned());
    });
    let limits = PlanLimits::default().with_mirror(r#"{"version":"22","mirror":"http://mirror.example:8000/node/"}"#);
    assert_eq!(refusals_with(&powers(), &powers(), &limits, &plan(), &packages), []);
    for settings in ["", "{}", r#"{"mirror":1}"#, r#"{"mirror":"http://mirror.example/"}"#, r#"{"mirror":"x"}"#] {
        let limits = PlanLimits::default().with_mirror(settings);
        assert_eq!(refusals_with(&powers(), &powers(), &limits, &plan(), &packages).len(), 2, "{settings}");
    }
}

#[test]
fn answers_of_step_functions() {
    let (service, powers, limits) = ("node".parse().unwrap(), powers(), PlanLimits::default());
    let allowed = allowed(&service, &powers, &powers, &limits);
    assert_eq!(check_wait(60_000, allowed), Ok(()));
    one_refusal(&check_wait(60_001, allowed).unwrap_err(), "wait-ms: the time 60001 is not between");
    let check = |commands: &[Command]| check_commands(commands, &["db".to_owned()], allowed);
    assert_eq!(check(&[command("a", &["npm"])]), Ok(()));
    let twice = [command("a", &["npm"]), command("a", &["npm"])];
    one_refusal(&check(&twice).unwrap_err(), "again[1] install dependencies: its id");
    one_refusal(&check(&[command("a", &["curl"])]).unwrap_err(), "again[0] install dependencies: the hook");
    // Its own ports are known by then, others are not.
    assert_eq!(check(&[command("a", &["npm", "{port:db}"])]), Ok(()));
    one_refusal(&check(&[command("a", &["npm", "{port:http}"])]).unwrap_err(), "again[0] install dependencies: ");
}

#[test]
fn a_refusal_names_line_power_and_command() {
    let service = "node".parse().unwrap();
    let mut granted = powers();
    granted.programs.remove(0);
    let mut plan = Plan { build: plan().build, ..Plan::default() };
    plan.build.truncate(1);
    let limits = PlanLimits::default();
    let declared = powers();
    let refusals = check_plan(&plan, allowed(&service, &declared, &granted, &limits)).unwrap_err();
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].line, "build[0] install dependencies");
    assert_eq!(refusals[0].power.as_deref(), Some("run npm as the app's user"));
    assert_eq!(refusals[0].grant.as_deref(), Some("jecloud hook add node"));
    assert_eq!(
        refusals[0].to_string(),
        "build[0] install dependencies: the power to run npm as the app's user was not granted; \
         `jecloud hook add node` shows the power and asks for it"
    );
    // What was granted but is not declared any more is not a power either, and nothing grants it.
    let refusals = check_plan(&plan, allowed(&service, &granted, &declared, &limits)).unwrap_err();
    assert_eq!(refusals[0].grant, None);
}

#[test]
fn all_refusals_are_given_at_once() {
    let mut plan = plan();
    plan.build[0].argv[0] = "curl".to_owned();
    plan.files[1].mode = 0o4755;
    plan.routes[0].port = "x".to_owned();
    assert_eq!(refusals(&plan, &packages()).len(), 4, "{:#?}", refusals(&plan, &packages()));
}
