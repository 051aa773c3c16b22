//! The test cloud for people: what is printed is typed, and in the end nothing is left.

#![expect(clippy::disallowed_methods, reason = "commands are typed into a shell, and files are looked at")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use jecloud_testkit::{get, is_alive, kill};
use serde_json::Value;

/// The directory of the `jecloud` command, which is built beside this one when all tests are.
fn binaries() -> PathBuf {
    let binaries = Path::new(env!("CARGO_BIN_EXE_test-cloud")).parent().expect("a directory").to_owned();
    assert!(binaries.join("jecloud").exists(), "{} has no jecloud: `cargo build -p jecloud`", binaries.display());
    binaries
}

fn test_cloud(arguments: &[&Path]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_test-cloud")).args(arguments).stdin(Stdio::null()).output();
    output.expect("test-cloud")
}

#[track_caller]
fn up(place: &Path) -> String {
    let output = test_cloud(&[Path::new("up"), place, &binaries()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[track_caller]
fn down(place: &Path) -> String {
    let output = test_cloud(&[Path::new("down"), place]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Types these lines, and returns what was printed.
#[track_caller]
fn typed(lines: &[&str]) -> String {
    let output = Command::new("sh").args(["-ec", &lines.join("\n")]).stdin(Stdio::null()).output().expect("sh");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{lines:?}\n{said}");
    String::from_utf8(output.stdout).expect("text")
}

fn record(place: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(place.join("cloud.json")).expect("a record")).expect("JSON")
}

/// Everything that is recorded of it is gone.
#[track_caller]
fn is_gone(place: &Path, record: &Value, machines: &str) {
    let machines = machines.lines().filter_map(|line| line.split(' ').next()?.parse().ok());
    let pids = [&record["owner"]["pid"], &record["moto"]["pid"]].into_iter().filter_map(Value::as_u64).chain(machines);
    let left: Vec<u64> = pids.filter(|pid| is_alive(u32::try_from(*pid).expect("a pid"))).collect();
    assert_eq!(left, Vec::<u64>::new(), "processes are left");
    let network = record["network"].as_str().expect("a name");
    let named = |arguments: &[&str]| {
        let output = Command::new("ip").args(arguments).output().expect("ip").stdout;
        let text = String::from_utf8_lossy(&output).into_owned();
        let ours = |line: &&str| line.contains(&format!("{network}-")) || line.contains(&format!("{network}p"));
        text.lines().filter(ours).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(named(&["-o", "link"]), Vec::<String>::new());
    assert_eq!(named(&["netns"]), Vec::<String>::new());
    let link = Command::new("ip").args(["link", "show", network]).output().expect("ip");
    assert!(!link.status.success(), "{network} is left");
    for directory in record["directories"].as_array().expect("directories") {
        assert!(!Path::new(directory.as_str().expect("a path")).exists(), "{directory} is left");
    }
    assert!(!place.exists(), "{} is left", place.display());
}

/// Served, scaled, destroyed; started twice it is one; and taken down nothing is left of it, also where it was killed
/// with a machine running.
///
/// Fails without the network in what is removed of one that was killed, and without the wait for one that is told to end.
#[test]
fn what_is_printed_is_typed_and_nothing_is_left() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: only root can make machines of namespaces");
        return;
    }
    // It ends by itself when its directory goes, also where this fails.
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("test-cloud");
    assert!(down(&place).contains("There is no test cloud."));

    let printed = up(&place);
    let lines: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let [environment, enter, deploy, scale, destroy] = lines[..] else { panic!("{printed}") };
    // The README shows the same, by paths of the repository.
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).expect("it");
    for line in &lines {
        let line = line.replace(&place.display().to_string(), "target/test-cloud");
        assert!(readme.lines().any(|shown| shown.split('#').next().unwrap_or_default().trim() == line), "{line}");
    }

    typed(&[environment, enter, deploy]);
    let urls = || {
        let status: Value = serde_json::from_str(&typed(&[environment, enter, "jecloud status --json"])).expect("JSON");
        let urls = status["environments"][0]["urls"].as_array().expect("urls").clone();
        urls.into_iter().map(|url| url.as_str().expect("a url").to_owned()).collect::<Vec<_>>()
    };
    let serves = |url: &String| assert_eq!(get(url).expect("an answer").body, "Hello from guestbook\n", "{url}");
    urls().iter().for_each(serves);
    let before = record(&place);
    assert_eq!(up(&place), printed, "it runs already");
    assert_eq!(record(&place), before);
    typed(&[environment, enter, scale]);
    assert_eq!(urls().len(), 2);
    urls().iter().for_each(serves);
    // Nobody is there to be asked.
    typed(&[environment, enter, &format!("{destroy} -y")]);
    typed(&[environment, enter, deploy]);

    let machines = std::fs::read_to_string(place.join("machines")).expect("processes");
    assert_eq!(machines.lines().count(), 3, "{machines}");
    kill(u32::try_from(before["owner"]["pid"].as_u64().expect("a pid")).expect("a pid"));
    assert!(down(&place).contains("The test cloud is gone."));
    is_gone(&place, &before, &machines);

    up(&place);
    let record = record(&place);
    assert!(down(&place).contains("The test cloud is gone."));
    is_gone(&place, &record, "");
}
