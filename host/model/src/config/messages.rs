//! Tests of what a person is told when `jecloud.toml` is wrong: tables of texts and messages.

use super::*;

/// The errors of a text, one a line.
fn errors(text: &str) -> String {
    let errors = Config::parse(text, "jecloud.toml").map(|config| config.environment(&EnvironmentName::production()));
    errors.expect_err("the text was accepted").iter().map(|error| format!("{error}\n")).collect()
}

/// Every text has exactly this one error.
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(errors(text), format!("jecloud.toml:{expected}\n"), "of\n{text}");
    }
}

#[test]
fn unknown_keys() {
    check(&[
        (
            "app = 'x'\n[processes.web]\n  cuont = 2",
            "3:3: unknown key `cuont` in [processes.web]; did you mean `count`?",
        ),
        (
            "app = 'x'\n[processes.web]\nreplicas = 2",
            "3:1: unknown key `replicas` in [processes.web]; what may be here: count, health, on, memory, cpu",
        ),
        ("app = 'x'\nprocess.web.count = 2", "2:1: unknown key `process`; did you mean `processes`?"),
        ("aap = 'x'", "1:1: unknown key `aap`; did you mean `app`?"),
        (
            "app = 'x'\n[environments.staging]\nservers.app.cont = 1",
            "3:13: unknown key `cont` in [environments.staging.servers.app]; did you mean `count`?",
        ),
        (
            "app = 'x'\n[environments.staging]\napp = 'y'",
            "3:1: `environments.staging.app` cannot be given here: the app has the same name in every environment",
        ),
        (
            "app = 'x'\n[environments.staging.environments.y]",
            "2:23: unknown key `environments` in [environments.staging]; what may be here: cloud, servers, services, \
             processes, backups, env",
        ),
        ("app = 'x'\nx-note = 'y'", "2:1: unknown key `x-note`; of keys that begin with `x-` only tables are ignored"),
        (
            "app = 'x'\n\"\\u001b[31m\" = 1",
            "2:1: unknown key `\"\\u{1b}[31m\"`; what may be here: app, cloud, servers, services, processes, \
             backups, env, environments",
        ),
    ]);
}

#[test]
fn backups() {
    check(&[
        (
            "app = 'x'\n[environments.jecloud-scratch-1]",
            "2:15: `environments.jecloud-scratch-1` cannot be called so: JeCloud calls places so in which it tries backups out",
        ),
        (
            "app = 'x'\n[backups]\nshedule = 'daily'",
            "3:1: unknown key `shedule` in [backups]; did you mean `schedule`?",
        ),
        (
            "app = 'x'\n[backups.db]\nnewest = 3",
            "3:1: unknown key `newest` in [backups.db]; what may be here: schedule, keep, verify",
        ),
        (
            "app = 'x'\n[backups]\nschedule = 'dayly'",
            "3:12: `backups.schedule` is \"dayly\"; it must be hourly, daily, weekly, off, or a time of day in UTC, as in \
             02:30; did you mean `daily`?",
        ),
        (
            "app = 'x'\n[environments.y.backups.db]\nschedule = '2:30'",
            "3:12: `environments.y.backups.db.schedule` is \"2:30\"; it must be hourly, daily, weekly, off, or a time \
             of day in UTC, as in 02:30",
        ),
        ("app = 'x'\nbackups.verify = 'yes'", "2:18: `backups.verify` must be true or false, found a string"),
        (
            "app = 'x'\nbackups.keep = '30h'",
            "2:16: `backups.keep` must be how many are kept, as in 7, or for how many days, as in \"30d\", or a list of \
             both",
        ),
        (
            "app = 'x'\nbackups.keep = [7, 8]",
            "2:20: `backups.keep` must be how many are kept, as in 7, or for how many days, as in \"30d\", or a list of \
             both",
        ),
        ("app = 'x'\nbackups.keep = []", "2:9: `backups.keep` is empty: then nothing would be kept"),
        (
            "app = 'x'\n[backups.Db]",
            "2:10: \"Db\" is not a valid service name: a lower-case letter, then up to 30 lower-case letters, digits and \
             hyphens",
        ),
    ]);
}

#[test]
fn wrong_types() {
    check(&[
        ("app = 1", "1:7: `app` must be a string, found the number 1"),
        ("app = 'x'\nenv = 'y'", "2:7: `env` must be a table, found a string"),
        (
            "app = 'x'\n[processes.web]\ncount = '2'",
            "3:9: `processes.web.count` must be a whole number, found a string",
        ),
        (
            "app = 'x'\n[processes.web]\ncount = 1.5",
            "3:9: `processes.web.count` must be a whole number, found the number 1.5",
        ),
        (
            "app = 'x'\n[processes.web]\nmemory = 512",
            "3:10: `processes.web.memory` must be a string, found the number 512",
        ),
        (
            "app = 'x'\n[processes.web]\ncpu = '1.5'",
            "3:7: `processes.web.cpu` must be a number of cores, as in 1.5, found a string",
        ),
        ("app = 'x'\n[processes.web]\nhealth = true", "3:10: `processes.web.health` must be a string, found true"),
        (
            "app = 'x'\n[servers]\ncount = 2",
            "3:1: `servers.count` must be a table, found the number 2; `count` belongs into a table [servers.NAME]",
        ),
        (
            "app = 'x'\n[processes]\nweb = 2",
            "3:1: `processes.web` must be a table, found the number 2; write it as a table [processes.web]",
        ),
        ("app = 'x'\n[env]\nWORKERS = 4", "3:11: `env.WORKERS` must be a string: write \"4\", with quotes"),
        ("app = 'x'\n[env]\nDAY = 2026-01-01", "3:7: `env.DAY` must be a string, found a date"),
        ("app = 'x'\n[env]\nA = \"\\u0000\"", "3:5: `env.A` must not contain a NUL character"),
        (
            "app = 'x'\n[cloud]\nbinaries = { arm64 = 'x' }",
            "3:14: unknown key `arm64` in [cloud.binaries]; what may be here: x86_64, aarch64, riscv64",
        ),
        ("app = 'x'\n[cloud]\nbinaries = 'x'", "3:12: `cloud.binaries` must be a table, found a string"),
        ("app = 'x'\n[cloud]\nlisten = 80", "3:10: `cloud.listen` must be a list of strings, found the number 80"),
        (
            "app = 'x'\n[cloud]\nlisten = ['[::]:80', 81]",
            "3:22: `cloud.listen[1]` must be a string, found the number 81",
        ),
        (
            "app = 'x'\n[services.clock]\nratio = nan",
            "3:9: `services.clock.ratio` is a number that a setting cannot hold",
        ),
        (
            "app = 'x'\n[services.clock]\nsizes = [9223372036854775808]",
            "3:10: `services.clock.sizes` is a number that a setting cannot hold",
        ),
    ]);
}

#[test]
fn wrong_names() {
    const RULE: &str = "a lower-case letter, then up to 30 lower-case letters, digits";
    let cases = [
        ("app = 'Guest book'", "1:7: `app` is \"Guest book\", which is not a valid app name", "and hyphens"),
        ("app = 'x'\n[services.a_b]", "2:11: \"a_b\" is not a valid service name", "and hyphens"),
        ("app = 'x'\n[servers.1]", "2:10: \"1\" is not a valid server group", "and hyphens"),
        ("app = 'x'\n[environments.Staging]", "2:15: \"Staging\" is not a valid environment name", "and hyphens"),
        ("app = 'x'\n[processes.Web]", "2:12: \"Web\" is not a valid process name", "hyphens and underscores"),
    ];
    for (text, expected, rest) in cases {
        let comma = if rest.starts_with("and") { "" } else { "," };
        check(&[(text, &format!("{expected}: {RULE}{comma} {rest}"))]);
    }
}

#[test]
fn wrong_values() {
    check(&[
        ("app = 'x'\n[processes.web]\ncount = 101", "3:9: `processes.web.count` is 101; it must be from 0 to 100"),
        ("app = 'x'\n[processes.web]\ncount = -1", "3:9: `processes.web.count` is -1; it must be from 0 to 100"),
        (
            "app = 'x'\n[processes.web]\nmemory = '512MB'",
            "3:10: `processes.web.memory` is \"512MB\"; it must be a whole number with K, M, G or T, as in 512M",
        ),
        (
            "app = 'x'\n[processes.web]\nmemory = '512K'",
            "3:10: `processes.web.memory` is \"512K\"; it must be from 4M to 64T",
        ),
        (
            "app = 'x'\n[environments.staging]\nprocesses.web.memory = '65T'",
            "3:24: `environments.staging.processes.web.memory` is \"65T\"; it must be from 4M to 64T",
        ),
        ("app = 'x'\n[processes.web]\ncpu = 0", "3:7: `processes.web.cpu` is 0; it must be from 0.01 to 1024 cores"),
        (
            "app = 'x'\n[processes.web]\ncpu = -1.5",
            "3:7: `processes.web.cpu` is -1.5; it must be from 0.01 to 1024 cores",
        ),
        (
            "app = 'x'\n[processes.web]\ncpu = nan",
            "3:7: `processes.web.cpu` is nan; it must be from 0.01 to 1024 cores",
        ),
        (
            "app = 'x'\n[processes.web]\ncpu = 1500",
            "3:7: `processes.web.cpu` is 1500; it must be from 0.01 to 1024 cores",
        ),
        ("app = 'x'\n[servers.app]\ncount = 0", "3:9: `servers.app.count` is 0; it must be from 1 to 100"),
        (
            "app = 'x'\n[servers.app]\ntype = 't4g small'",
            "3:8: `servers.app.type` is \"t4g small\"; a machine type is letters, digits, dots and hyphens, as in \
             t4g.small",
        ),
        (
            "app = 'x'\n[processes.web]\nhealth = 'up'",
            "3:10: `processes.web.health` is \"up\"; it must be a path that begins with `/`, in ASCII, without spaces \
             and `#`",
        ),
        (
            "app = 'x'\n[cloud]\nprovider = 'ec3'",
            "3:12: `cloud.provider` is \"ec3\"; it must be local, ec2 or ssh; did you mean `ec2`?",
        ),
        (
            "app = 'x'\n[cloud]\nstore = 's4'",
            "3:9: `cloud.store` is \"s4\"; it must be directory or s3; did you mean `s3`?",
        ),
        (
            "app = 'x'\n[cloud]\nendpoint = 's3.example.com'",
            "3:12: `cloud.endpoint` is \"s3.example.com\"; it must be a URL, as in https://s3.example.com",
        ),
        (
            "app = 'x'\n[cloud]\nconnect = 'privat'",
            "3:11: `cloud.connect` is \"privat\"; it must be public or private; did you mean `private`?",
        ),
        (
            "app = 'x'\n[cloud]\nssh_from = ['203.0.113.0/24', '10.0.0.1/33']",
            "3:31: `cloud.ssh_from[1]` is \"10.0.0.1/33\"; it must be a network, as in 203.0.113.0/24",
        ),
        (
            "app = 'x'\n[cloud]\njump = 'a b'",
            "3:8: `cloud.jump` is \"a b\"; a server is written [user@]host[:port], as in root@192.0.2.1",
        ),
        (
            "app = 'x'\n[servers.app]\nhosts = ['a', 'b;c d']",
            "3:15: `servers.app.hosts[1]` is \"b;c d\"; a server is written [user@]host[:port], as in root@192.0.2.1",
        ),
        (
            "app = 'x'\n[cloud]\nregion = ''",
            "3:10: `cloud.region` is \"\"; a region is lower-case letters, digits and hyphens, as in eu-west-1",
        ),
        (
            "app = 'x'\n[cloud]\nlisten = ':80'",
            "3:10: `cloud.listen` is \":80\"; it must be an address and a port, as in 0.0.0.0:80",
        ),
        (
            "app = 'x'\n[services.clock]\nhook = './clock.wasm'",
            "3:8: `services.clock.hook` is \"./clock.wasm\", which is not a valid hook: `sha256:` and 64 lower-case hex \
             digits, as `jecloud hook add FILE` prints it",
        ),
        (
            "app = 'x'\n[env]\nPORT = '80'",
            "3:1: `env.PORT` cannot be set: JeCloud chooses the port of every process, and tells it in `PORT`",
        ),
        (
            "app = 'x'\n[environments.staging]\nenv.JECLOUD_APP = 'y'",
            "3:5: `environments.staging.env.JECLOUD_APP` cannot be set: names that begin with `JECLOUD_` are set by \
             JeCloud",
        ),
        (
            "app = 'x'\n[env]\n'1 A' = 'y'",
            "3:1: `env.\"1 A\"` is not the name of a variable: letters, digits and `_`, not beginning with a digit",
        ),
    ]);
}

#[test]
fn groups_that_are_not_there() {
    check(&[
        (
            "app = 'x'\n[servers.app]\n[servers.db]\n[services.clock]\non = 'bd'",
            "5:6: `services.clock.on` is \"bd\", but there is no [servers.bd]; did you mean `db`?",
        ),
        (
            "app = 'x'\n[processes.web]\non = 'db'\n[environments.staging.servers.db]",
            "3:6: `processes.web.on` is \"db\", but there is no [servers.db]",
        ),
        (
            "app = 'x'\n[environments.staging]\nservices.clock.on = 'db'",
            "3:21: `environments.staging.services.clock.on` is \"db\", but there is no [servers.db]",
        ),
        (
            "app = 'x'\n[servers.a]\n[servers.b]",
            "2:2: none of these groups of `servers` is called `app`, which runs what has no `on`: write a table \
             [servers.app], or rename one",
        ),
        (
            "app = 'x'\n[servers.a]\n[environments.staging.servers.b]",
            "3:23: none of these groups of `servers` is called `app`, which runs what has no `on`: write a table \
             [servers.app], or rename one",
        ),
    ]);
    for fine in [
        "app = 'x'\nservers = {app = {}, db = {}}\nenvironments.staging.services.clock.on = 'db'",
        "app = 'x'\nenvironments.staging = { servers.db = {}, services.clock.on = 'db' }",
        "app = 'x'\nprocesses.web.on = 'app'",
    ] {
        assert!(Config::parse(fine, "jecloud.toml").is_ok(), "{fine}");
    }
}

#[test]
fn syntax() {
    check(&[
        ("app = x # y", "1:7: not TOML: a string needs quotes: \"x\""),
        ("app = x y", "1:7: not TOML: a string needs quotes"),
        ("app = ", "1:7: not TOML: a value is missing here"),
        ("app: x", "1:4: not TOML: invalid unquoted key, expected letters, numbers, `-`, `_`"),
        ("app = \"x\nenv.A = 'b'", "1:9: not TOML: invalid basic string, expected `\"`"),
        // Nobody knows which table the rest is in.
        ("app = 'x'\n[servers.app\ncount = 2\nfoo = 1", "2:13: not TOML: unclosed table, expected `]`"),
        ("app = 'x'\r\napp = 'y'\r\n", "2:1: `app` is given twice"),
        ("app = 'x'\n[cloud]\n[env]\n[cloud]", "4:2: `cloud` is given twice"),
        ("", "1:1: the app has no name: write `app = \"NAME\"` at the top"),
        (
            "<<<<<<< HEAD\napp = 'x'\n=======\napp = 'y'\n>>>>>>> other\n",
            "1:1: a merge left this marker: choose one side, and delete the markers",
        ),
    ]);
}

/// Fails when reading stops at the first error.
#[test]
fn everything_that_is_wrong_is_told_at_once_and_in_order() {
    let text = "[processes.web]\ncount = 2x\nheath = '/'\n[env]\nPORT = '1'\nPORT = '2'\nA = 3\n[cluod]\n[servers.app]\ncount = 0\n";
    assert_eq!(
        errors(text),
        "jecloud.toml:2:9: not TOML: a string needs quotes: \"2x\"\n\
         jecloud.toml:3:1: unknown key `heath` in [processes.web]; did you mean `health`?\n\
         jecloud.toml:5:1: `env.PORT` cannot be set: JeCloud chooses the port of every process, and tells it in `PORT`\n\
         jecloud.toml:6:1: `PORT` is given twice\n\
         jecloud.toml:7:5: `env.A` must be a string: write \"3\", with quotes\n\
         jecloud.toml:8:2: unknown key `cluod`; did you mean `cloud`?\n\
         jecloud.toml:10:9: `servers.app.count` is 0; it must be from 1 to 100\n"
    );
}

#[test]
fn errors_carry_the_dotted_key_and_show_the_place() {
    let errors = Config::parse("app = 'x'\n[environments.staging]\nprocesses.web.cuont = 2\n", "dir/jecloud.toml");
    let errors = errors.unwrap_err();
    assert_eq!(errors[0].key, "environments.staging.processes.web.cuont");
    assert_eq!(errors[0].file, "dir/jecloud.toml");
    assert_eq!(errors[0].snippet(), "  |\n3 | processes.web.cuont = 2\n  |               ^^^^^");
}
