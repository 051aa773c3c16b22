//! Deployments, rollbacks and scaling under constant load.

use jecloud_testkit::World;

use crate::app::{Kind, server};
use crate::clients::Clients;
use crate::deployed;

/// How many deployments in a row, none waiting for the drain of the one before.
const DEPLOYMENTS: u64 = 20;

/// How many rollbacks after that.
const ROLLBACKS: usize = 5;

/// Fails without the wait for health before the switch (`work/start.rs`), without the drain (`rollforward::plan`), and
/// when the front closes connections at a reload.
#[test]
fn twenty_deployments_and_five_rollbacks() {
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = deployed(&world, "");
    let clients = Clients::begin(&project.url());
    for number in 2..2 + DEPLOYMENTS {
        project.write("server.js", &server(number, Kind::Good));
        project.jecloud(&["deploy"]).ok();
        assert_eq!(project.get().1, format!("version {number}"));
    }
    for _ in 0..ROLLBACKS {
        let before = project.get().1;
        project.jecloud(&["rollback"]).ok();
        assert_ne!(project.get().1, before);
    }
    clients.end(2000);
}

/// Fails when a new version is switched to before it is healthy, or when a failed one takes the old one with it.
#[test]
fn broken_versions_change_nothing() {
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = deployed(&world, "");
    let clients = Clients::begin(&project.url());
    for (kind, said) in [(Kind::Crashes, "Error: broken"), (Kind::Unhealthy, "answers GET /up with status 500")] {
        project.write("server.js", &server(2, kind));
        let failed = project.jecloud(&["deploy"]).code(1);
        assert!(failed.stderr.contains(said), "{}", failed.said());
        assert_eq!(project.get().1, "version 1");
    }
    clients.end(0);
}

/// Fails when processes are ended before the front stops sending to them.
#[test]
fn more_and_fewer_processes() {
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = deployed(&world, "count = 1\n");
    let clients = Clients::begin(&project.url());
    for (from, to) in [(1, 3), (3, 2), (2, 1)] {
        project.replace("jecloud.toml", &format!("count = {from}"), &format!("count = {to}"));
        project.jecloud(&["deploy"]).ok();
    }
    clients.end(0);
}
