//! The backup of the hook, called natively with what real commands said.

use jecloud_hook_redis::RedisHook;
use jecloud_sdk::testing::{self, ContextBuilder};
use jecloud_sdk::{BackupStep, Command, CommandResult, Context, Next, Problem};

fn with_redis(version: &str) -> ContextBuilder {
    let text = format!("/usr/bin/redis-server Redis server v={version} sha=00000000:0 malloc=jemalloc-5.3.0");
    testing::context("guestbook").service("redis").fact("program:redis-server", &text)
}

fn context() -> Context {
    with_redis("7.0.15").build()
}

fn said(status: i32, stdout: &str) -> CommandResult {
    CommandResult { id: "x".to_owned(), exit_status: Some(status), stdout: stdout.to_owned(), stderr: String::new() }
}

/// As `redis-check-rdb` of Redis 7.0.15 ends.
const CHECKED: &str = "[offset 27] AUX FIELD redis-ver = '7.0.15'\n[offset 222] Checksum OK\n\
    [offset 222] \\o/ RDB looks OK! \\o/\n[info] 4 keys read\n[info] 1 expires\n[info] 0 already expired\n";

fn again(step: BackupStep) -> Vec<Command> {
    let BackupStep::Again(commands) = step else { panic!("{step:?}") };
    commands
}

/// Fails where the password is an argument, and where what is counted is not what the copy has.
#[test]
fn a_copy_is_made_and_what_is_in_it_is_counted() {
    let commands = again(testing::backup::<RedisHook>(&context(), &[]).expect("commands"));
    let [copy, check] = &commands[..] else { panic!("{commands:?}") };
    assert_eq!(copy.argv, ["redis-cli", "-e", "-p", "{port:redis}", "--rdb", "{data}/backup/dump.rdb"]);
    assert_eq!(copy.env["REDISCLI_AUTH"], "{secret:redis-password}");
    assert_eq!(check.argv, ["redis-check-rdb", "{data}/backup/dump.rdb"]);
    let done = testing::backup::<RedisHook>(&context(), &[said(0, ""), said(0, CHECKED)]).expect("done");
    let BackupStep::Done(contents) = done else { panic!("{done:?}") };
    assert_eq!(contents.version, "7.0.15");
    assert_eq!(contents.counts, [("keys that do not expire".to_owned(), 3)].into());
    for results in [[said(1, "ERR"), said(0, CHECKED)], [said(0, ""), said(1, "broken")], [said(0, ""), said(0, "")]] {
        testing::backup::<RedisHook>(&context(), &results).expect_err("there is no copy");
    }
}

#[test]
fn what_is_found_is_counted_over_all_databases() {
    let commands = again(testing::restored::<RedisHook>(&context(), &[]).expect("commands"));
    assert_eq!(commands[0].argv, ["redis-cli", "-e", "-p", "{port:redis}", "info", "keyspace"]);
    let found = |text: &str| match testing::restored::<RedisHook>(&context(), &[said(0, text)]).expect("done") {
        BackupStep::Done(contents) => contents.counts["keys that do not expire"],
        other => panic!("{other:?}"),
    };
    assert_eq!(found("# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=9\r\ndb3:keys=1,expires=0,avg_ttl=0\r\n"), 3);
    assert_eq!(found("# Keyspace\r\n"), 0);
    testing::restored::<RedisHook>(&context(), &[said(0, "db0:something else")]).expect_err("nobody knows");
    testing::restored::<RedisHook>(&context(), &[said(1, "NOAUTH")]).expect_err("it does not answer");
}

/// Fails where something is removed before the copy was read, and where a command cannot be done twice.
#[test]
fn nothing_is_replaced_by_what_cannot_be_read() {
    let restore = |context: &Context, results: &[CommandResult]| testing::restore::<RedisHook>(context, results);
    let Next::Again(first) = restore(&context(), &[]).expect("commands") else { panic!() };
    assert!(first.iter().all(|command| command.argv[0] == "redis-check-rdb"), "{first:?}");
    restore(&context(), &[said(1, "Wrong signature trying to load DB from file")]).expect_err("it is none");
    let Next::Again(then) = restore(&context(), &[said(0, CHECKED)]).expect("commands") else { panic!() };
    let programs: Vec<&str> = then.iter().map(|command| command.argv[0].as_str()).collect();
    assert_eq!(programs, ["rm", "mkdir", "cp", "cp"]);
    assert_eq!(then[0].argv, ["rm", "-rf", "--", "{data}/appendonlydir"]);
    assert!(then[1].argv.contains(&"-p".to_owned()), "a second time is no error: {:?}", then[1]);
    let all = [0; 5].map(|status| said(status, ""));
    assert_eq!(restore(&context(), &all).expect("done"), Next::Done);
    restore(&context(), &[said(0, ""), said(0, ""), said(1, "No space left on device")]).expect_err("it is not there");
}

/// Fails where a copy of a newer Redis is tried.
#[test]
fn a_copy_of_a_newer_redis_is_refused_before_anything_happens() {
    let of = |wrote: &str| {
        let context = with_redis("7.0.15").option("backup-version", wrote).build();
        testing::restore::<RedisHook>(&context, &[])
    };
    let Problem { message, hint } = of("7.2.4").expect_err("it is newer");
    assert!(message.contains("of Redis 7.2.4") && hint.contains("version = \"7.2\""), "{message}; {hint}");
    for wrote in ["7.0.15", "7.0.19", "6.2.0"] {
        assert!(matches!(of(wrote), Ok(Next::Again(_))), "{wrote}");
    }
}
