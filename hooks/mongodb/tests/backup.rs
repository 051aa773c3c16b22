//! The backup of the hook, called natively with what real scripts said.

use jecloud_hook_mongodb::MongoHook;
use jecloud_sdk::testing::{self, ContextBuilder};
use jecloud_sdk::{BackupStep, Command, CommandResult, Next};

fn with(version: &str) -> ContextBuilder {
    testing::context("guestbook")
        .service("mongodb")
        .fact("program:mongod", &format!("/usr/bin/mongod db version v{version}"))
        .fact("program:mongosh", "/usr/bin/mongosh 2.12.0")
}

fn said(status: i32, stdout: &str) -> CommandResult {
    CommandResult { id: "x".to_owned(), exit_status: Some(status), stdout: stdout.to_owned(), stderr: String::new() }
}

fn ids(commands: &[Command]) -> Vec<&str> {
    commands.iter().map(|command| command.id.as_str()).collect()
}

const COUNTED: &str = "{\"version\":\"7.0.15\",\"counts\":{\"guestbook.entries\":3}}\n";

#[test]
fn a_copy_is_made_and_what_is_in_it_is_counted() {
    let context = with("7.0.15").build();
    let BackupStep::Again(commands) = testing::backup::<MongoHook>(&context, &[]).expect("commands") else { panic!() };
    assert_eq!(ids(&commands), ["copy"]);
    assert_eq!(commands[0].env["MONGODB_DATA"], "{data}");
    let done = testing::backup::<MongoHook>(&context, &[said(0, COUNTED)]).expect("done");
    let BackupStep::Done(contents) = done else { panic!("{done:?}") };
    assert_eq!(contents.version, "7.0.15");
    assert_eq!(contents.counts, [("guestbook.entries".to_owned(), 3)].into());
    for bad in [said(1, COUNTED), said(0, ""), said(0, "done")] {
        testing::backup::<MongoHook>(&context, &[bad]).expect_err("there is no copy");
    }
}

/// Fails where a copy is put in the place of the data before it is known whether it can be read.
#[test]
fn a_copy_that_cannot_be_read_replaces_nothing() {
    let restore =
        |now: &str, wrote: &str| testing::restore::<MongoHook>(&with(now).option("backup-version", wrote).build(), &[]);
    for (now, wrote) in [("6.0.5", "7.0.1"), ("8.0.1", "6.0.5"), ("8.0.1", "5.0.1")] {
        let problem = restore(now, wrote).expect_err("it cannot be read");
        assert!(problem.message.contains("cannot read"), "{problem}");
    }
    for (now, wrote) in [("6.0.5", "6.0.9"), ("7.0.1", "6.0.5")] {
        let Next::Again(commands) = restore(now, wrote).expect("commands") else { panic!() };
        assert_eq!(ids(&commands), ["restore"]);
        // No server runs that could have ports, and nothing secret is needed.
        assert!(!format!("{commands:?}").contains("{port:") && !format!("{commands:?}").contains("{secret:"));
    }
}

/// Fails where the data keeps the addresses and passwords of where it comes from.
#[test]
fn what_is_brought_back_becomes_this_environments_own() {
    let context = with("7.0.15").build();
    let BackupStep::Again(commands) = testing::restored::<MongoHook>(&context, &[]).expect("commands") else {
        panic!()
    };
    assert_eq!(ids(&commands), ["set-up", "raise", "contents"]);
    let all = |raise: i32| [said(0, "{}"), said(raise, ""), said(0, COUNTED)];
    let done = testing::restored::<MongoHook>(&context, &all(0)).expect("done");
    assert!(matches!(done, BackupStep::Done(contents) if contents.counts["guestbook.entries"] == 3));
    testing::restored::<MongoHook>(&context, &all(1)).expect_err("something failed");
}
