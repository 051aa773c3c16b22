//! What is read from a `jecloud.toml`, and what a person is told when it is wrong.

use proptest::prelude::*;

use super::*;

fn environment(text: &str, name: &str) -> EnvironmentConfig {
    let config = Config::parse(text, "jecloud.toml").unwrap_or_else(|errors| panic!("{errors:#?}"));
    config.environment(&name.parse().unwrap())
}

/// The errors of a text, one a line.
fn errors(text: &str) -> String {
    let errors = Config::parse(text, "jecloud.toml").map(|config| config.environment(&EnvironmentName::production()));
    let errors = errors.expect_err("the text was accepted");
    assert!(!errors.is_empty());
    errors.iter().map(|error| format!("{error}\n")).collect()
}

/// Every text has exactly this one error.
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(errors(text).trim_end(), *expected, "of\n{text}");
    }
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
"#;

#[test]
fn the_whole_of_it() {
    insta::assert_json_snapshot!(environment(WHOLE, "production"), @"");
}

#[test]
fn an_environment_is_laid_over() {
    insta::assert_json_snapshot!(environment(WHOLE, "staging"), @"");
}

#[test]
fn kinds() {
    println!("{}", errors(r#"
app = "Guest book"
[cloud]
provider = "aws"
region = "EU west"
listen = ["80"]
[cloud.x]
[servers]
count = 2
[servers.app]
count = 0
cuont = 3
type = ""
[services]
runtime = "22"
[services.a_b]
[services.database]
on = "bd"
hook = "./database.wasm"
ratio = nan
[processes.web]
count = "2"
health = "up"
[processes.Web]
[processes.worker]
count = 101
health = 3
replicas = 2
[env]
PORT = "80"
JECLOUD_APP = "x"
WORKERS = 4
"A B" = "x"
x-y = "z"
A = ["x"]
[environments.staging]
app = "y"
env = 3
processes.web.hea = "/"
"#));
}
