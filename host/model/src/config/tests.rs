//! Tests of what is read from a `jecloud.toml`.

use proptest::prelude::*;

use super::*;

fn environment(text: &str, name: &str) -> EnvironmentConfig {
    let config = Config::parse(text, "jecloud.toml").unwrap_or_else(|errors| panic!("{errors:#?}"));
    config.environment(&name.parse().unwrap())
}

const WHOLE: &str = r#"
app = "guestbook"

[cloud]
provider = "ec2"
region = "eu-west-1"

[servers.app]
count = 2
type = "t4g.small"
[servers.db]
type = "t4g.medium"

[services.runtime]
version = "22"
[services.database]
version = "7.0"
on = "db"
[services.database.journal]
commit-interval-ms = 0x64
ratio = 0.5
sync = true
since = 2026-01-02
hosts = ["a", "b"]
[services.clock]
hook = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

[processes.web]
count = 2
health = "/up"
memory = "512M"
cpu = 1.5
[processes.release_worker]
count = 0

[env]
LOG_LEVEL = "info"
_EMPTY = ""

[environments.staging]
servers.app.count = 1
env.LOG_LEVEL = "debug"
services.database.journal.hosts = ["c"]
cloud.listen = ["0.0.0.0:80", "[::1]:8080"]
processes.web.cpu = 2
"#;

#[test]
fn the_whole_of_it() {
    let production = serde_json::json!({
        "app": "guestbook",
        "cloud": {"provider": "ec2", "region": "eu-west-1"},
        "servers": {"app": {"count": 2, "type": "t4g.small"}, "db": {"count": 1, "type": "t4g.medium"}},
        "services": {
            "runtime": {"settings": {"version": "22"}},
            "database": {"on": "db", "settings": {
                "version": "7.0",
                "journal": {
                    "commit-interval-ms": 100, "ratio": 0.5, "sync": true, "since": "2026-01-02", "hosts": ["a", "b"],
                },
            }},
            "clock": {"hook": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        },
        "processes": {
            "web": {"count": 2, "health": "/up", "limits": {"memory_bytes": 536_870_912, "cpu_millis": 1500}},
            "release_worker": {"count": 0},
        },
        "env": {"LOG_LEVEL": "info", "_EMPTY": ""},
    });
    let config = environment(WHOLE, "production");
    assert_eq!(serde_json::to_value(&config).unwrap(), production);
    assert_eq!(serde_json::from_value::<EnvironmentConfig>(production).unwrap(), config);
}

#[test]
fn an_environment_is_laid_over() {
    let mut expected = environment(WHOLE, "production");
    expected.servers.get_mut(&"app".parse().unwrap()).unwrap().count = 1;
    expected.env.insert("LOG_LEVEL".to_owned(), "debug".to_owned());
    let database = expected.services.get_mut(&"database".parse().unwrap()).unwrap();
    database.settings["journal"]["hosts"] = serde_json::json!(["c"]);
    expected.cloud.listen = vec!["0.0.0.0:80".parse().unwrap(), "[::1]:8080".parse().unwrap()];
    // The memory is that of all environments.
    expected.processes.get_mut(&"web".parse().unwrap()).unwrap().limits.cpu_millis = Some(2000);
    assert_eq!(environment(WHOLE, "staging"), expected);
}

#[test]
fn the_name_is_enough() {
    let expected = serde_json::json!({
        "app": "x", "cloud": {"provider": "local"}, "servers": {"app": {"count": 1}},
        "services": {}, "processes": {}, "env": {},
    });
    let config = environment("app = 'x'", "production");
    assert_eq!(serde_json::to_value(&config).unwrap(), expected);
    assert_eq!(config.group(None).as_str(), "app");
}

#[test]
fn things_without_on_run_on_app_or_the_only_group() {
    let group = |servers: &str| {
        let config = environment(&format!("app = 'x'\n{servers}"), "production");
        config.group(None).to_string()
    };
    assert_eq!(group("servers.web.count = 2"), "web");
    assert_eq!(group("servers.alpha.count = 2\nservers.app = {}"), "app");
    let config = environment("app = 'x'\nservers = { app = {}, db = {} }\nprocesses.web.on = 'db'", "production");
    let web = &config.processes[&"web".parse().unwrap()];
    assert_eq!(config.group(web.on.as_ref()).as_str(), "db");
}

#[test]
fn tables_that_begin_with_x_are_ignored_at_every_level() {
    let text = "
        app = 'x'
        [x-notes]
        anything = { goes = 1 }
        [[x-list]]
        [servers.x-old]
        size = 3
        [servers.app.x-notes]
        [services.clock]
        zone = 'UTC'
        [services.clock.x-notes]
        [processes.web.x-notes]
        [env.x-notes]
        [cloud.x-notes]
        [environments.x-old]
        who = 'knows'
        [environments.staging.x-notes]
    ";
    let config = environment(text, "staging");
    let mut expected = environment("app = 'x'\n[servers.app]\n[processes.web]\n[services.clock]", "staging");
    let clock = expected.services.get_mut(&"clock".parse().unwrap()).unwrap();
    clock.settings.insert("zone".to_owned(), "UTC".into());
    assert_eq!(config, expected);
}

#[test]
fn others_can_point_at_a_value() {
    let text = "app = 'x'\n[services.clock]\nzone = 3\n[environments.staging]\nservices.clock.zone = 4\n";
    let config = Config::parse(text, "jecloud.toml").unwrap();
    let place = |name: &str, path: &[&str]| {
        let error = config.error_at(&name.parse().unwrap(), path, "wrong".to_owned());
        format!("{}:{} {}", error.line, error.column, error.key)
    };
    assert_eq!(place("production", &["services", "clock", "zone"]), "3:8 services.clock.zone");
    assert_eq!(place("staging", &["services", "clock", "zone"]), "5:23 environments.staging.services.clock.zone");
    assert_eq!(place("production", &["services", "clock", "missing"]), "2:11 services.clock");
    assert_eq!(place("production", &["services", "clock", "zone", "0"]), "3:8 services.clock.zone");
    assert_eq!(place("production", &["elsewhere"]), "1:1 elsewhere");
    assert_eq!(place("production", &[]), "1:1 ");
}

#[test]
fn a_misspelt_environment_is_noticed_only_near_a_declared_one() {
    let config = Config::parse("app = 'x'\n[environments.staging]\n", "jecloud.toml").unwrap();
    let hint = |name: &str| config.unknown_environment_hint(&name.parse().unwrap()).map(|name| name.to_string());
    assert_eq!(hint("stagin").as_deref(), Some("staging"));
    assert_eq!(hint("prod").as_deref(), Some("production"));
    assert_eq!(hint("staging"), None);
    assert_eq!(hint("production"), None);
    assert_eq!(hint("pull-12"), None);
    assert_eq!(config.environment(&"pull-12".parse().unwrap()), config.environment(&EnvironmentName::production()));
}

/// Pieces that texts of this kind are made of, so that chance meets more than the first error.
fn piece() -> impl Strategy<Value = String> {
    const WORDS: &str = "app cloud servers services processes env environments staging web count health on memory cpu type \
        provider listen x-y hook = = . [ ] [[ ]] { } , 'x' \"/\" \"\"\" ''' 1 -1 1e9 0x nan true 2026-01-01 # \\ ä";
    let words = WORDS.split_whitespace().chain(["\n", "\n", "\r\n", "\t", "\u{feff}", "\0", "<<<<<<< "]);
    let word = prop::sample::select(words.collect::<Vec<_>>());
    prop_oneof![9 => word.prop_map(str::to_owned), 1 => ".{0,3}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever the text is, it is read, or at least one error says why not, at a place within it.
    #[test]
    fn any_text_is_read_or_refused(pieces in prop::collection::vec(piece(), 0..40)) {
        let text = pieces.concat();
        match Config::parse(&text, "jecloud.toml") {
            Ok(config) => {
                config.environment(&EnvironmentName::production());
            }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                for error in &errors {
                    prop_assert!(error.line <= text.matches('\n').count() + 1);
                    prop_assert_eq!(error.snippet().lines().count(), 3);
                    prop_assert!(!error.to_string().contains(char::is_control), "{error:?}");
                }
                prop_assert!(errors.is_sorted_by_key(|error| (error.line, error.column)));
            }
        }
    }
}

/// Fails (by taking minutes) without a bound on the number of errors that are looked at.
#[test]
fn a_file_that_is_no_toml_is_refused_quickly() {
    let text = "this is a letter, not TOML\n".repeat(50_000);
    let errors = Config::parse(&text, "jecloud.toml").unwrap_err();
    assert!(errors.len() <= 50);
    for deep in [format!("app = {}", "[".repeat(100_000)), format!("[services.x]\n{}b = 1", "a.".repeat(100_000))] {
        let errors = Config::parse(&deep, "jecloud.toml").unwrap_err();
        assert!(errors[0].message.starts_with("not TOML"), "{errors:?}");
    }
}

/// Whose cloud it is must be beyond doubt; everything else may be wrong. Fails where an error about the cloud is passed
/// over: a command would look for the app where it is not.
#[test]
fn what_is_right_is_enough_to_find_the_app() {
    let cases: [(&str, Option<usize>); 12] = [
        ("app = 'x'", Some(0)),
        ("app = 'x'\n[proceses.web]", Some(1)),
        ("app = 'x'\n[processes.web]\ncount = 'two'\nheath = 1\n[env]\nPORT = '1'", Some(3)),
        ("app = 'x'\n[servers.app]\ncount = 0", Some(1)),
        ("app = 'x'\n[cloud]\nprovider = 'ec2'\n[env]\nA = \n", Some(1)),
        ("app = 'x'\n[env]\nA = \n", Some(1)),
        ("app = 'X'", None),
        ("ap = 'x'", None),
        ("app = 'x'\n[cloud]\nprovider = 'ec3'", None),
        ("app = 'x'\n[cluod]\nprovider = 'ec2'", None),
        ("app = 'x'\n[environments.production.cluod]\nprovider = 'ec2'", None),
        ("app = 'x'\n[cloud\nprovider = 'ec2'", None),
    ];
    for (text, expected) in cases {
        let found = Config::parse_what_is_right(text, "jecloud.toml");
        let errors = found.as_ref().map(|(_, errors)| errors.len()).ok();
        assert_eq!(errors, expected, "{text}: {found:?}");
        assert_eq!(Config::parse(text, "jecloud.toml").is_ok(), expected == Some(0), "{text}");
    }
}

/// Fails where `on` of services, `on` of processes or what has none is left out.
#[test]
fn groups_on_which_nothing_runs() {
    let idle = |text: &str, name: &str| {
        let config = Config::parse(&format!("app = 'x'\n{text}"), "jecloud.toml").unwrap();
        let environment = config.environment(&name.parse().unwrap());
        environment.idle_groups().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let groups = "[servers.app]\n[servers.db]\n[servers.jobs]\n";
    assert_eq!(idle("", "production"), "");
    assert_eq!(idle("[servers.web]\n", "production"), "", "the only one runs everything");
    assert_eq!(idle(groups, "production"), "db jobs");
    let split = format!("{groups}[services.node]\n[services.redis]\non = 'db'\n[processes.worker]\non = 'jobs'\n");
    assert_eq!(idle(&split, "production"), "");
    let staging = format!("{split}[environments.staging]\nservices.redis.on = 'app'\nprocesses.worker.on = 'app'\n");
    assert_eq!((idle(&staging, "staging").as_str(), idle(&staging, "production").as_str()), ("db jobs", ""));
    assert_eq!(idle("services.node.on = 'db'\nservers = {app = {}, db = {}}\n", "production"), "app");
}

/// What is said of one service is laid over what is said of all, within each environment.
#[test]
fn backups() {
    use crate::backup_policy::{BackupPolicy, Keep, Schedule};
    let config = Config::parse(
        "app = 'x'\n[backups]\nschedule = 'daily'\nkeep = [3, '30d']\nverify = true\n\
         [backups.redis]\nschedule = '02:30'\n\
         [environments.staging.backups]\nschedule = 'off'\n[environments.staging.backups.redis]\nverify = false\nkeep = 1\n",
        "jecloud.toml",
    )
    .expect("it is right");
    let of = |environment: &str, service: &str| {
        config.environment(&environment.parse().expect("valid")).backups.of(&service.parse().expect("valid"))
    };
    let both = Keep { newest: Some(3), days: Some(30) };
    let (daily, half_past_two) = (Some(Schedule::Daily), Some(Schedule::At(150)));
    assert_eq!(of("production", "db"), BackupPolicy { schedule: daily, keep: both, verify: true });
    assert_eq!(of("production", "redis"), BackupPolicy { schedule: half_past_two, keep: both, verify: true });
    assert_eq!(of("staging", "db"), BackupPolicy { schedule: None, keep: both, verify: true });
    let one = Keep { newest: Some(1), days: None };
    assert_eq!(of("staging", "redis"), BackupPolicy { schedule: half_past_two, keep: one, verify: false });
    let silent = Config::parse("app = 'x'", "jecloud.toml").expect("it is right");
    let silent = silent.environment(&EnvironmentName::production());
    assert_eq!(silent.backups.of(&"db".parse().expect("valid")), BackupPolicy::default());
    // What is recorded is read back, and says nothing where nothing was said.
    let stored = serde_json::to_value(config.environment(&EnvironmentName::production())).expect("JSON");
    assert_eq!(serde_json::from_value::<EnvironmentConfig>(stored).expect("read back").backups.services.len(), 1);
    assert!(serde_json::to_value(silent).expect("JSON").get("backups").is_none());
}
