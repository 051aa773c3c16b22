//! Several at once, and things that lie in the way.

use std::time::Duration;

use jecloud_testkit::eventually;

use crate::app::{Subject, source};
use crate::tree::read_json;

/// Fails without the lock of the roll-forward: two of them build in one directory.
#[test]
fn two_roll_forwards_at_once() {
    let mut subject = Subject::serving();
    for _ in 0..5 {
        subject.next();
        let deploy = subject.project.spawn(&["deploy"]);
        let (one, other) = (subject.project.spawn(&["fwd"]), subject.project.spawn(&["fwd"]));
        deploy.wait().ok();
        for forward in [one.wait(), other.wait()] {
            assert_eq!(forward.status, 0, "{}", forward.said());
        }
        assert_eq!(subject.project.get(), (200, format!("version {}", subject.number)));
    }
}

/// Both are recorded; the one that is given up for the other says so with exit code 3.
///
/// Fails without the compare-and-swap: one release is lost.
#[test]
fn two_deployments_at_once() {
    let mut subject = Subject::serving();
    let other = subject.world.project_called(
        "crash-elsewhere",
        &[("jecloud.toml", "app = \"crash\"\n"), ("package.json", "{}"), ("server.js", &source(1000))],
    );
    subject.next();
    let (here, there) = (subject.project.spawn(&["deploy"]), other.spawn(&["deploy"]));
    let (here, there) = (here.wait(), there.wait());
    for output in [&here, &there] {
        assert!(output.status == 0 || output.status == 3, "{}", output.said());
    }
    assert!(here.status == 0 || there.status == 0, "{}\n{}", here.said(), there.said());
    let releases = subject.project.jecloud(&["releases", "--json"]).json();
    let newest = releases[0]["version"].as_str().expect("a version").to_owned();
    assert_eq!(releases[0]["outcome"], "serving", "{releases}");
    let served = subject.project.get().1;
    let document = read_json(&subject.place().join("app.json"));
    assert_eq!(document["current_version"], newest.as_str(), "{served}");
}

/// Fails when a pid file is believed without its lock.
#[test]
fn a_stale_pid_file_with_a_living_number() {
    let mut subject = Subject::serving();
    let pid = std::process::id().to_string();
    std::fs::write(subject.place().join("rollforward.pid"), pid).expect("a file");
    subject.next();
    subject.project.jecloud(&["deploy"]).ok();
    assert_eq!(subject.project.get(), (200, format!("version {}", subject.number)));
}

/// Somebody puts another archive under a version's name into the store.
///
/// Fails when the archive is unpacked before it is verified.
#[test]
fn an_archive_that_is_not_what_its_name_says() {
    let mut subject = Subject::serving();
    subject.next();
    let plan = subject.project.jecloud(&["plan", "--json"]).ok().json();
    let version = plan["version"].as_str().expect("a version").to_owned();
    let store = subject.world.home().join("clouds/crash/versions");
    let evil = subject.world.directory().join("evil");
    std::fs::create_dir_all(&evil).expect("a directory");
    std::os::unix::fs::symlink("/etc/passwd", evil.join("server.js")).expect("a link");
    let archive = store.join(format!("{version}.tar.bz2")).display().to_string();
    subject.world.run("tar", &["-C", &evil.display().to_string(), "-cjf", &archive, "server.js"]).ok();
    let failed = subject.project.jecloud(&["deploy"]).code(1);
    assert!(failed.stderr.contains("server.js"), "the entry is named: {}", failed.said());
    assert_eq!(subject.project.get(), (200, "version 1".to_owned()));
    assert!(!subject.place().join("source/versions").join(&version).exists());
}

/// As after a boot: nothing runs, sockets are stale; then the timer comes.
///
/// Fails without `revive` in the roll-forward of the timer.
#[test]
fn everything_is_killed_and_the_timer_brings_it_back() {
    let subject = Subject::serving();
    let url = subject.project.url();
    let supervisor = subject.world.pid_of("supervisor").expect("it runs");
    let front = subject.world.pid_of("front").expect("it runs");
    let app = subject.project.pid("web.1");
    for pid in [supervisor, front, app] {
        jecloud_testkit::kill(pid);
    }
    let root = subject.world.server().display().to_string();
    subject.world.jecloud(&["update-server", "rollforward", "--root", &root, "--quiet"]).ok();
    eventually(Duration::from_secs(20), "the app answers again", || {
        jecloud_testkit::get(&url).ok().filter(|answer| answer.body == "version 1")
    });
}
