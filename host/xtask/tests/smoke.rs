//! The script for a real account, run against the test cloud.

#![expect(clippy::disallowed_methods, reason = "the script is started as a person does")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jecloud_testkit::{REGION, Signal, TestCloud, eventually};

/// The command, which is built with this one when all tests are.
fn jecloud() -> PathBuf {
    let jecloud = PathBuf::from(env!("CARGO_BIN_EXE_xtask")).with_file_name("jecloud");
    assert!(jecloud.exists(), "{} is missing: `cargo build -p jecloud` makes it", jecloud.display());
    jecloud
}

fn smoke(cloud: &TestCloud) -> Child {
    let store = cloud.store().url();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["smoke", "--region", REGION, "--endpoint", &store, "--connect", "private", "--user", "root"]);
    command.arg("--jecloud").arg(jecloud()).arg("--yes").envs(cloud.variables());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("xtask")
}

#[track_caller]
fn end(child: Child, cloud: &TestCloud) -> (bool, String) {
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let left: Vec<_> = cloud.instances().into_iter().filter(|one| one.state != "terminated").collect();
    assert!(left.is_empty(), "{left:?} {said}");
    let app = said.split_once("for the app ").and_then(|(_, rest)| rest.split_once(':')).expect("a name").0;
    assert_eq!(cloud.shared_of(app), Vec::<String>::new(), "{said}");
    let directory = std::env::temp_dir().join(format!("jecloud-{app}"));
    assert!(!directory.exists(), "{} is left: {said}", directory.display());
    (output.status.success(), said)
}

/// All of it works, and nothing is left; and nothing is left either where somebody stops it when there is a server.
///
/// Fails without cleaning up after Ctrl-C.
#[test]
fn the_whole_way_and_back() {
    let Some(cloud) = TestCloud::start() else { return };
    let (worked, said) = end(smoke(&cloud), &cloud);
    assert!(worked && said.contains("All of it worked, and all of it is gone"), "{said}");
    assert_eq!(cloud.instances().len(), 2, "two were launched: {said}");

    let stopped = smoke(&cloud);
    eventually(Duration::from_secs(60), "a server runs", || (!cloud.running().is_empty()).then_some(()));
    jecloud_testkit::send(stopped.id(), Signal::INT);
    let (worked, said) = end(stopped, &cloud);
    assert!(!worked && said.contains("All that was made is gone"), "{said}");
    assert_eq!(cloud.instances().len(), 3, "{said}");
}

/// Nobody is charged who has not said yes. Fails where it does not ask.
#[test]
fn nothing_is_made_before_somebody_says_yes() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["smoke", "--region", REGION, "--jecloud", "/nonexistent"]).stdin(Stdio::null());
    let output = command.output().expect("xtask");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("US dollars") && said.contains("Type yes to go on"), "{said}");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing was made"));
}
