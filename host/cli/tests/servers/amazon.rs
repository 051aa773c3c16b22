//! Servers on EC2: from an account with nothing in it to servers that serve, and back.
//!
//! The account is moto, which speaks the protocol of EC2; behind each instance that runs there, a machine is started at
//! its private address. The state lies in a store that speaks the protocol of S3.

use std::collections::BTreeSet;
use std::time::Duration;

use jecloud_testkit::{Output, Project, TestCloud, World, eventually, get};

use crate::{says, server};

/// A command with credentials of the account, and with more variables.
pub(crate) fn jecloud(cloud: &TestCloud, project: &Project, more: &[(&str, &str)], args: &[&str]) -> Output {
    let variables = cloud.variables();
    let mut variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    variables.extend(more);
    project.jecloud_with(&variables, args)
}

/// An app with so many servers on it.
pub(crate) fn project(world: &World, cloud: &TestCloud, count: u32) -> Project {
    let config =
        format!("app = \"shop\"\n{}[servers.app]\ncount = {count}\ntype = \"t3.small\"\n", cloud.cloud_section());
    let files = [("jecloud.toml", config.as_str()), ("package.json", "{}"), ("server.js", &server("one"))];
    world.project_called("shop", &files)
}

/// From two servers that serve one version to another version and back, to three servers, and to the one that is left.
#[track_caller]
fn another_version_and_other_counts(cloud: &TestCloud, project: &Project) -> BTreeSet<String> {
    let jecloud = |args: &[&str]| jecloud(cloud, project, &[], args);
    let hosts = cloud.running();
    project.write("server.js", &server("two"));
    jecloud(&["deploy"]).ok();
    hosts.iter().for_each(|host| says(host, "two"));
    jecloud(&["rollback"]).ok();
    hosts.iter().for_each(|host| says(host, "one"));
    jecloud(&["scale", "app=3"]).ok().says("3 servers now.");
    let three = cloud.running();
    assert_eq!(three.len(), 3, "{three:?}");
    three.iter().for_each(|host| says(host, "one"));
    jecloud(&["scale", "app=1"]).ok().says("1 server now.");
    eventually(Duration::from_secs(20), "two are terminated", || (cloud.running().len() == 1).then_some(()));
    let left = cloud.running();
    left.iter().for_each(|host| says(host, "one"));
    left
}

/// Killed while it makes servers and continued from elsewhere, there are as many as are wanted; two versions, a rollback,
/// more servers and fewer; and in the end nothing that costs anything.
///
/// Fails where a launch is not recorded before it is made, or where what is not wanted any more is not ended.
#[test]
fn from_an_empty_account_to_servers_and_back() {
    let Some(cloud) = TestCloud::start() else { return };
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = project(&world, &cloud, 2);
    let jecloud = |args: &[&str]| jecloud(&cloud, &project, &[], args);

    jecloud(&["status"]).code(1).says("shop is not deployed to production");
    assert_eq!(cloud.running(), BTreeSet::new(), "asking makes nothing");

    let laptop = world.directory().join("laptop").display().to_string();
    let fault = [("JECLOUD_HOME", laptop.as_str()), ("JECLOUD_FAULT", "cloud.server.create#2=crash")];
    let died = crate::amazon::jecloud(&cloud, &project, &fault, &["deploy"]);
    assert_ne!(died.status, 0, "{}", died.said());
    jecloud(&["deploy"]).ok().says("on 2 servers");
    let hosts = cloud.running();
    assert_eq!(hosts.len(), 2, "{hosts:?}");
    hosts.iter().for_each(|host| says(host, "one"));
    jecloud(&["doctor"]).ok();

    let left = another_version_and_other_counts(&cloud, &project);

    jecloud(&["destroy", "-y"]).ok();
    assert_eq!(cloud.running(), BTreeSet::new());
    eventually(Duration::from_secs(20), "it is off", || {
        left.iter().all(|host| get(&format!("http://{host}/")).is_err()).then_some(())
    });
    jecloud(&["status"]).code(1).says("is not deployed");
}

/// From an account with nothing in it to two Debians with systemd that serve, with a Node.js that the hook has installed
/// there: another version, a rollback, a server more and two fewer, and nothing in the end.
///
/// Fails where anything that a server needs is found only on the machine that deploys.
#[test]
fn from_an_empty_account_to_fresh_debians_with_systemd() {
    let Some(cloud) = TestCloud::start_with_systemd() else { return };
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = project(&world, &cloud, 2);
    let jecloud = |args: &[&str]| jecloud(&cloud, &project, &[], args);
    jecloud(&["deploy"]).ok().says("on 2 servers").says("packages: nodejs 18");
    let hosts = cloud.running();
    assert_eq!(hosts.len(), 2, "{hosts:?}");
    hosts.iter().for_each(|host| says(host, "one"));
    another_version_and_other_counts(&cloud, &project);
    jecloud(&["doctor"]).ok();
    jecloud(&["destroy", "-y"]).ok();
    assert_eq!(cloud.running(), BTreeSet::new());
}
