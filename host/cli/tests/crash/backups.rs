//! A crash at the effects of making a backup, trying it out, bringing it back and putting back.

use std::path::Path;
use std::time::Duration;

use jecloud_testkit::eventually;
use serde_json::Value;

use crate::kept::{APP, Kept};

/// A fault that never happens: the points are only counted.
const NEVER: &str = "*#1000000=crash";

/// How long what happens by itself may take.
const SOON: Duration = Duration::from_secs(90);

/// The name of the nth backup.
fn id(number: u64) -> String {
    format!("20261124T190812Z-{number:08x}")
}

/// Counts the points that all processes hit that share it.
fn counter(kept: &Kept, name: &str) -> (String, impl Fn() -> u64 + use<>) {
    let path = kept.world.directory().join(format!("counter-{name}"));
    let text = path.display().to_string();
    (text, move || std::fs::read_to_string(&path).map_or(0, |text| text.lines().count() as u64))
}

/// Makes a backup with a fault in it, rolls forward, and checks that it is whole. Returns how many points were hit.
fn backed_up(kept: &Kept, number: u64, fault: &str, more: &[&str]) -> u64 {
    let id = id(number);
    let (path, points) = counter(kept, &id);
    kept.backup_with(&[("JECLOUD_FAULT", fault), ("JECLOUD_FAULT_COUNTER", &path)], &id, more);
    if fault == NEVER {
        kept.ended(&id);
    } else {
        // Until it is dead: what it does until then is part of the disturbed run.
        let point: u64 = fault[2..].split('=').next().and_then(|number| number.parse().ok()).expect("a point");
        eventually(SOON, "it dies, or has nothing more to do", || {
            let ended = kept.find(&id).is_some_and(|backup| backup["state"] == "done" || backup["state"] == "failed");
            (points() >= point || ended).then_some(())
        });
    }
    let forward = kept.project.jecloud(&["fwd"]);
    assert_eq!(forward.status, 0, "{fault}: {}", forward.said());
    if kept.find(&id).is_none() {
        // The wish itself was not recorded.
        kept.backup(&id, more).ok();
    }
    let backup = kept.ended(&id);
    assert_eq!(backup["state"], "done", "{fault}: {backup:#}");
    assert_eq!(backup["manifest"]["contents"]["counts"]["keys that do not expire"], 3, "{fault}: {backup:#}");
    let sealed = std::fs::read(backup["file"].as_str().expect("a file")).expect("it can be read");
    let digest = jecloud_model::ids::Digest::of(&sealed);
    assert_eq!(backup["manifest"]["sha256"], digest.as_str(), "{fault}");
    clean(kept, fault);
    kept.project.jecloud(&["update-server", "forget-backup", APP, "production", &id]).ok();
    points()
}

/// Nothing is left when a roll-forward has looked that was not disturbed.
fn clean(kept: &Kept, context: &str) {
    let mut left = kept.left_over();
    let end = std::time::Instant::now() + SOON;
    while !left.is_empty() && std::time::Instant::now() < end {
        kept.project.jecloud(&["fwd"]).ok();
        left = kept.left_over();
    }
    assert!(left.is_empty(), "{context}: {left:?}");
}

fn with_three_keys() -> Kept {
    let kept = Kept::deployed();
    for key in ["a", "b", "c"] {
        assert_eq!(kept.asked(&format!("SET {key} old")), "+OK");
    }
    kept
}

/// Fails where a copy is sealed that was not finished, where a sealed file is recorded before it has its name, and where what
/// a dead attempt left is never removed.
#[test]
fn a_backup_is_made_whoever_dies() {
    let kept = with_three_keys();
    let points = backed_up(&kept, 1, NEVER, &[]);
    assert!(points > 20, "only {points} points: are faults compiled in?");
    for point in (1..=points).step_by(usize::try_from(points / 8).expect("small").max(1)) {
        backed_up(&kept, 100 + point, &format!("*#{point}=crash"), &[]);
    }
}

/// Fails where a scratch instance that is half made is taken for whole, and where one stays that nobody needs.
#[test]
fn a_backup_is_tried_out_whoever_dies() {
    let kept = with_three_keys();
    let points = backed_up(&kept, 1, NEVER, &["--verify"]);
    for point in (3..=points).step_by(usize::try_from(points / 5).expect("small").max(1)) {
        backed_up(&kept, 100 + point, &format!("*#{point}=crash"), &["--verify"]);
    }
}

/// Brings a backup back with a fault in it, and rolls forward.
fn restored(kept: &Kept, name: &str, fault: &str, file: &Path, manifest: &Value) -> (Value, u64) {
    let (path, points) = counter(kept, name);
    // The bytes of the copy are taken away with it.
    let copy = kept.world.directory().join("once.sealed");
    std::fs::copy(file, &copy).expect("copied");
    let copy_text = copy.display().to_string();
    let args = ["update-server", "restore", APP, "production", "redis", &copy_text];
    let env = [("JECLOUD_FAULT", fault), ("JECLOUD_FAULT_COUNTER", path.as_str())];
    let before = kept.backups("production")["restore"]["requested"].clone();
    kept.project.jecloud_reading_with(&env, &manifest.to_string(), &args);
    let is_new = || kept.backups("production")["restore"]["requested"] != before;
    let end = || {
        let restore = kept.backups("production")["restore"].clone();
        (is_new() && (restore["state"] == "done" || restore["state"] == "failed")).then_some(restore)
    };
    if let Some(point) = fault[2..].split('=').next().and_then(|number| number.parse::<u64>().ok()) {
        eventually(SOON, "it dies, or has nothing more to do", || (points() >= point || end().is_some()).then_some(()));
    }
    let forward = kept.project.jecloud(&["fwd"]);
    assert_eq!(forward.status, 0, "{fault}: {}", forward.said());
    if !is_new() {
        std::fs::copy(file, &copy).expect("copied");
        kept.restore("production", &copy, manifest).ok();
    }
    let restore = eventually(SOON, "it is at its end", end);
    clean(kept, fault);
    (restore, points())
}

/// Fails where a dead attempt is begun anew with what it has left, and where the processes are started before the data is
/// whole.
#[test]
fn a_backup_comes_back_whoever_dies() {
    let kept = with_three_keys();
    let backup = kept.good(&id(1), &[]);
    let file = kept.world.directory().join("kept.sealed");
    std::fs::copy(backup["file"].as_str().expect("a file"), &file).expect("copied");
    let check = |name: &str, fault: &str| {
        assert_eq!(kept.asked("SET a new"), "+OK", "{fault}");
        assert_eq!(kept.asked("SET d new"), "+OK", "{fault}");
        let (restore, points) = restored(&kept, name, fault, &file, &backup["manifest"]);
        assert_eq!(restore["state"], "done", "{fault}: {restore:#}");
        assert_eq!((kept.asked("GET a"), kept.asked("EXISTS d")), ("$3 old".to_owned(), ":0".to_owned()), "{fault}");
        points
    };
    let points = check("all", NEVER);
    for point in (1..=points).step_by(usize::try_from(points / 9).expect("small").max(1)) {
        check(&format!("at-{point}"), &format!("*#{point}=crash"));
    }
}

/// Fails where what was kept aside is removed before it is back, and where it is copied from what is half replaced.
#[test]
fn what_there_was_is_put_back_whoever_dies() {
    let kept = with_three_keys();
    let backup = kept.good(&id(1), &[]);
    let file = kept.world.directory().join("kept.sealed");
    std::fs::copy(backup["file"].as_str().expect("a file"), &file).expect("copied");
    let mut more = backup["manifest"].clone();
    more["contents"]["counts"]["keys that do not expire"] = 4.into();
    let check = |name: &str, fault: &str| {
        assert_eq!(kept.asked(&format!("SET a {name}")), "+OK", "{fault}");
        let (restore, points) = restored(&kept, name, fault, &file, &more);
        assert_eq!(restore["state"], "failed", "{fault}: {restore:#}");
        assert_eq!(kept.asked("GET a"), format!("${} {name}", name.len()), "{fault}");
        points
    };
    let points = check("all", NEVER);
    for point in (points / 3..=points).step_by(usize::try_from(points / 8).expect("small").max(1)) {
        check(&format!("at-{point}"), &format!("*#{point}=crash"));
    }
}
