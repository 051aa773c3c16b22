//! Backups as a person makes them and brings them back, with a real Redis.

#![expect(clippy::disallowed_methods, reason = "looks into what is sealed, and turns a server's clock back by hand")]

use std::path::PathBuf;
use std::time::Duration;

use jecloud_testkit::eventually;
use serde_json::Value;

use crate::SOON;
use crate::kept::{APP, Kept, names};

/// What is counted in a Redis.
const COUNTED: &str = "keys that do not expire";

/// What `jecloud backups --json` says.
fn listed(kept: &Kept, environment: &str) -> Value {
    kept.project.jecloud(&["backups", "-e", environment, "--json"]).ok().json()
}

/// The ids of those in the store, the newest first.
fn stored(kept: &Kept, environment: &str) -> Vec<String> {
    let listed = listed(kept, environment);
    let all = listed["stored"].as_array().expect("a list").iter();
    all.map(|backup| backup["id"].as_str().expect("an id").to_owned()).collect()
}

/// Where the store has the backups of production's Redis.
fn objects(kept: &Kept) -> PathBuf {
    kept.world.home().join("clouds").join(APP).join("backups/production/redis")
}

/// A backup is made, brought back where the data was lost, then into another environment, survives the destruction of its
/// own, which makes a last one, and comes back from that into a new one. What is in the store is sealed, and stays there.
///
/// Fails where a restore moves the object out of the store, where the key is made anew, where destroy deletes backups or
/// makes none.
#[test]
fn through_loss_and_destruction() {
    let kept = Kept::with("");
    for (key, value) in [("greeting", "hello-canary"), ("other", "x")] {
        assert_eq!(kept.asked(&format!("SET {key} {value}")), "+OK");
    }
    kept.project
        .jecloud(&["backups"])
        .ok()
        .says("There are no backups of kept production. `jecloud backup` makes one.");
    kept.project.jecloud(&["restore", "redis", "--yes"]).code(2).says("there is no backup of redis in production");
    kept.project.jecloud(&["backup", "radis"]).code(2).says("no service radis").says("did you mean `redis`?");
    kept.project
        .jecloud(&["backup", "--verify"])
        .ok()
        .says("made a backup of redis")
        .says(&format!("{COUNTED} 2, verified)"))
        .says("1 backup in the store");
    let [id] = <[String; 1]>::try_from(stored(&kept, "production")).expect("one");
    kept.project.jecloud(&["backups"]).ok().says(&id).says("store").says("hand").says("yes");
    let kinds: Vec<String> = names(&objects(&kept)).into_iter().filter(|name| !name.starts_with('.')).collect();
    assert_eq!(kinds, [format!("{id}.json"), format!("{id}.sealed")]);
    let sealed = objects(&kept).join(&kinds[1]);
    assert!(!String::from_utf8_lossy(&std::fs::read(&sealed).expect("a file")).contains("hello-canary"));
    let server = kept.backups("production");
    assert_eq!(server["backups"], serde_json::json!([]), "it is forgotten on the server");
    assert!(names(&kept.world.home().join("collected").join(APP)).is_empty(), "nothing is left on the way");

    // Nobody answers: nothing happens.
    assert_eq!(kept.asked("FLUSHALL"), "+OK");
    assert_eq!(kept.asked("SET since x"), "+OK");
    kept.project
        .jecloud(&["restore", "redis"])
        .code(2)
        .says("This replaces all data of redis in production on this machine by backup")
        .says("nobody said yes");
    assert_eq!(kept.asked("EXISTS since"), ":1");
    kept.project.jecloud(&["restore", "redis", "--yes"]).ok().says(&format!("has what backup {id} has ({COUNTED} 2)"));
    assert_eq!(
        (kept.asked("GET greeting"), kept.asked("EXISTS since")),
        ("$12 hello-canary".to_owned(), ":0".to_owned())
    );

    // Another environment keeps its own password.
    kept.project.jecloud(&["restore", "redis", "--into", "staging", "--yes"]).code(1).says("not deployed to staging");
    kept.project.jecloud(&["deploy", "-e", "staging"]).ok();
    let password = kept.password("staging");
    let end = &id[id.len() - 8..];
    kept.project.jecloud(&["restore", "redis", end, "--into", "staging", "--yes"]).ok().says("redis in staging has");
    assert_eq!(kept.connect("staging").ask("GET greeting"), "$12 hello-canary");
    assert!(kept.password("staging") == password && password != kept.password("production"));
    kept.project.jecloud(&["restore", "redis", "0000", "--yes"]).code(2).says("there is no backup 0000");

    // The end, and after it.
    assert_eq!(kept.asked("SET last word"), "+OK");
    kept.project.jecloud(&["destroy"]).code(2).says("redis: ").says(&id).says("A last backup is made of each before");
    kept.project
        .jecloud(&["destroy", "--yes"])
        .ok()
        .says("made a backup of redis")
        .says("Destroyed production of kept");
    let left = stored(&kept, "production");
    assert_eq!((left.len(), &left[1]), (2, &id));
    kept.project.jecloud(&["destroy", "-e", "staging", "--yes", "--no-backup"]).ok().does_not_say("made a backup");
    assert_eq!(stored(&kept, "staging"), Vec::<String>::new());
    kept.project.jecloud(&["deploy"]).ok();
    assert_eq!(kept.asked("EXISTS greeting"), ":0");
    kept.project.jecloud(&["restore", "redis", "--yes"]).ok();
    assert_eq!(
        (kept.asked("GET greeting"), kept.asked("GET last")),
        ("$12 hello-canary".to_owned(), "$4 word".to_owned())
    );

    kept.project
        .jecloud(&["backups", "delete", &id])
        .code(2)
        .says("This deletes 1 backup for good")
        .says("nobody said yes");
    kept.project.jecloud(&["backups", "delete", &id, "--yes"]).ok().says("Deleted");
    assert_eq!(stored(&kept, "production"), [left[0].clone()]);
    assert!(!sealed.exists());
}

/// A server makes what is due without anybody; it waits there, `status` says so, and whoever comes by collects it. What is
/// not kept any more goes, but for what a person made.
///
/// Fails where a schedule is asked for from outside only, where what is due is made twice, and without retention.
#[test]
fn servers_make_them_by_themselves() {
    let kept = Kept::with("[backups]\nschedule = \"hourly\"\nkeep = 1\n");
    assert_eq!(kept.asked("SET a x"), "+OK");
    let sees = |what: &str, is_there: &dyn Fn(&Value) -> bool| {
        eventually(SOON, what, || Some(listed(&kept, "production")).filter(|listed| is_there(listed)))
    };
    let number = |listed: &Value, of: &str| listed[of].as_array().map_or(0, Vec::len);
    // The deployment that began it may have collected it as well.
    sees("the first is made", &|listed| number(listed, "stored") == 1 || listed["on_servers"][0]["state"] == "done");
    kept.project.jecloud(&["fwd", "--json"]).ok();
    let first = stored(&kept, "production");
    assert_eq!(first.len(), 1);
    kept.project.jecloud(&["backups"]).ok().says("schedule");
    kept.project.jecloud(&["fwd"]).ok();
    assert_eq!(stored(&kept, "production"), first, "none is due");
    let by_hand = kept.project.jecloud(&["backup", "redis", "--json"]).ok().json();
    let by_hand = by_hand["backups"][0]["id"].as_str().expect("an id").to_owned();

    // Two hours pass.
    let last = kept.place("production").join("backup-schedule.json");
    let pass = || {
        let two_hours =
            jecloud_model::time::Timestamp::from_system(std::time::SystemTime::now() - Duration::from_secs(2 * 3600));
        std::fs::write(&last, serde_json::json!({"redis": two_hours}).to_string()).expect("written");
    };
    pass();
    kept.project.jecloud(&["update-server", "rollforward"]).ok();
    sees("another is made", &|listed| listed["on_servers"][0]["state"] == "done");
    kept.project.jecloud(&["status"]).ok().says("1 backup on servers, not in the store yet: `jecloud fwd` collects.");
    assert_eq!(kept.project.status()["backups"]["waiting"], 1);
    // A deployment collects too.
    kept.project.jecloud(&["deploy", "--force"]).ok().says("stored the backup of redis");
    let second = stored(&kept, "production");
    assert!(
        second.len() == 2 && second.contains(&by_hand) && !second.contains(&first[0]),
        "{second:?} after {first:?}"
    );
    assert_eq!(
        kept.project.status()["backups"],
        serde_json::json!({"waiting": 0, "failed": [], "overdue": [], "troubles": []})
    );

    kept.project.write("jecloud.toml", "app = \"kept\"\n[services.redis]\n[backups.radis]\nschedule = \"daily\"\n");
    kept.project.jecloud(&["deploy"]).code(2).says("3:10: there is no service radis; did you mean `redis`?");
}

/// One that fails is said loudly wherever somebody looks, until there is a good one.
///
/// Fails where a failure is kept to the log of a server.
#[test]
fn what_fails_is_loud() {
    let kept = Kept::with("");
    assert_eq!(kept.asked("SET a x"), "+OK");
    let mut redis = kept.connect("production");
    assert_eq!(redis.ask("CONFIG SET requirepass other"), "+OK");
    kept.project
        .jecloud(&["backup"])
        .code(1)
        .says("Redis gave no copy of its data")
        .says("The service runs on. Backups from before are as they were.")
        .says("hint:");
    kept.project
        .jecloud(&["status"])
        .ok()
        .says("of redis failed:")
        .says("there is no good one. `jecloud backup redis` makes another.");
    let status = kept.project.status();
    let failed = &status["backups"]["failed"][0];
    assert!(failed["service"] == "redis" && failed["failure"]["reason"].is_string(), "{status:#}");
    kept.project.jecloud(&["backups"]).ok().says("failed on");
    // Whoever destroys now is stopped.
    kept.project
        .jecloud(&["destroy", "--yes"])
        .code(1)
        .says("there is no last backup of redis")
        .says("Nothing was deleted; everything runs on.")
        .says("--no-backup");
    assert_eq!(redis.ask("GET a"), "$1 x");
    assert_eq!(redis.ask(&format!("CONFIG SET requirepass {}", kept.password("production"))), "+OK");
    kept.project.jecloud(&["backup"]).ok();
    kept.project.jecloud(&["status"]).ok().does_not_say("failed");
}

/// Killed at every point between a server's file and a store without it, the next command goes on; nothing is collected
/// twice, nothing is half there, and what was deleted half is no backup.
///
/// Fails where the manifest is written before the sealed file, and where the server forgets before that.
#[test]
fn killed_anywhere_it_is_collected_once() {
    let kept = Kept::with("");
    assert_eq!(kept.asked("SET a x"), "+OK");
    let points = ["replace.write#1", "cloud.backup.put#1", "cloud.backup.manifest#1", "cloud.backup.forget#1"];
    // One complete backup on the server, which nobody collects.
    let waiting = || {
        let _ = kept.project.jecloud_with(&[("JECLOUD_FAULT", "cloud.backup.put#1=crash")], &["backup"]);
        listed(&kept, "production")["on_servers"][0]["id"].as_str().expect("one waits").to_owned()
    };
    let mut all = Vec::new();
    for point in points {
        let id = waiting();
        let fault = format!("{point}=crash");
        let _ = kept.project.jecloud_with(&[("JECLOUD_FAULT", &fault)], &["fwd"]);
        let (manifest, sealed) =
            (objects(&kept).join(format!("{id}.json")), objects(&kept).join(format!("{id}.sealed")));
        assert!(sealed.exists() || !manifest.exists(), "{point}: a manifest of nothing");
        let is_on_server = kept.find(&id).is_some();
        assert!(is_on_server || manifest.exists(), "{point}: it is lost");
        kept.project.jecloud(&["fwd"]).ok();
        all.insert(0, id);
        assert_eq!(stored(&kept, "production"), all, "{point}");
        assert_eq!(listed(&kept, "production")["on_servers"], serde_json::json!([]), "{point}");
    }
    assert!(names(&kept.world.home().join("collected").join(APP)).iter().all(|name| name.starts_with('.')));
    let doomed = all.remove(1);
    let fault = [("JECLOUD_FAULT", "cloud.backup.delete-sealed#1=crash")];
    let _ = kept.project.jecloud_with(&fault, &["backups", "delete", &doomed, "--yes"]);
    assert_eq!(stored(&kept, "production"), all);
    kept.project.jecloud(&["restore", "redis", &doomed, "--yes"]).code(2).says("there is no backup");
    assert_eq!(kept.asked("DEL a"), ":1");
    kept.project.jecloud(&["restore", "redis", &all[2], "--yes"]).ok();
    assert_eq!(kept.asked("GET a"), "$1 x");
}
