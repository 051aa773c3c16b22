//! Backups on the server, told as the other end tells it, with a real Redis.

#![expect(clippy::disallowed_methods, reason = "looks at files as they lie on the disk")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jecloud_testkit::eventually;

use crate::SOON;
use crate::kept::{APP, Kept, json, names};
use crate::users::holding;

const FIRST: &str = "20261124T190812Z-00000001";
const SECOND: &str = "20261124T190813Z-00000002";

/// Made while others write, tried out, brought back: everything that was acknowledged before it was asked for is in it, what
/// came after it is not, nobody notices that it is tried out, and nothing of that is left. No password or key is anywhere but
/// where it belongs, nor is anything of the data readable in what is sealed.
///
/// Fails where the copy is taken for what is there now, where the scratch instance is an environment like others, where the
/// processes are not stopped for replacing, and where the key is part of a document.
#[test]
fn a_backup_under_writes_is_tried_out_and_comes_back() {
    const CANARY: &str = "canary-in-the-data-9f1c";
    let kept = Kept::deployed();
    let mut redis = kept.connect("production");
    for key in 0..500 {
        assert_eq!(redis.ask(&format!("SET before:{key} {CANARY}")), "+OK");
    }
    assert_eq!(redis.ask("SET soon gone EX 2000"), "+OK");
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (stop, mut redis) = (stop.clone(), kept.connect("production"));
        std::thread::spawn(move || {
            let mut count: u64 = 0;
            while !stop.load(Ordering::Relaxed) && count < 1_000_000 {
                assert_eq!(redis.ask(&format!("SET during:{count} x")), "+OK");
                count += 1;
            }
            count
        })
    };
    kept.backup(FIRST, &["--verify", "--scheduled"]).ok();
    // Told twice it is the same; told otherwise it is refused.
    kept.backup(FIRST, &["--verify", "--scheduled"]).ok();
    kept.backup(FIRST, &[]).code(1).says("another backup gets another name");
    kept.project
        .jecloud(&["update-server", "forget-backup", APP, "production", FIRST])
        .code(1)
        .says("still being made");
    let scratch = eventually(SOON, "a scratch instance", || {
        names(&kept.world.server().join(APP)).into_iter().find(|name| name.contains("scratch"))
    });
    let status = kept.project.jecloud(&["update-server", "status"]).ok();
    assert!(!status.stdout.contains("scratch"), "{}", status.said());
    kept.project.jecloud(&["status", "-e", &scratch]).code(2).says("tries a backup out");
    let backup = kept.ended(FIRST);
    stop.store(true, Ordering::Relaxed);
    let written = writer.join().expect("it writes");
    assert_eq!(backup["state"], "done", "{backup:#}");
    let manifest = &backup["manifest"];
    let counted = manifest["contents"]["counts"]["keys that do not expire"].as_u64().expect("a count");
    assert!((500..500 + written).contains(&counted), "{counted} of 500 and {written}");
    assert!(manifest["verified"].is_string() && manifest["scheduled"] == true, "{manifest:#}");
    eventually(SOON, "nothing is left of trying it out", || kept.left_over().is_empty().then_some(()));

    // What came since is gone, what was is there, and nobody else was stopped.
    assert_eq!(redis.ask("SET after x"), "+OK");
    assert_eq!(redis.ask("DEL before:7"), ":1");
    let before = kept.project.pid("redis.1");
    let file = kept.fetched(&backup);
    kept.restore("production", &file, manifest).ok();
    let restore = kept.restored("production");
    assert_eq!(restore["state"], "done", "{restore:#}");
    assert_ne!(kept.project.pid("redis.1"), before);
    assert_eq!(kept.asked("GET before:7"), format!("${} {CANARY}", CANARY.len()));
    assert_eq!(kept.asked("EXISTS after"), ":0");
    assert_eq!(kept.asked("DBSIZE"), format!(":{}", counted + 1));
    assert_eq!(kept.asked("SET more x"), "+OK");
    eventually(SOON, "nothing is left of bringing it back", || kept.left_over().is_empty().then_some(()));

    let password = kept.password("production");
    let may_hold = |path: &std::path::Path| {
        let text = path.display().to_string();
        text.ends_with("secrets.json") || text.ends_with("secrets/production.json") || text.ends_with(".conf")
    };
    let mut holders = holding(&kept.world.home(), &password);
    holders.retain(|path| !may_hold(path));
    assert_eq!(holders, Vec::<std::path::PathBuf>::new());
    let key = std::fs::read_to_string(kept.place("production").join("backup-key")).expect("the key");
    let holders = holding(&kept.world.home(), &key);
    let on_server: Vec<_> = holders.iter().filter(|path| path.starts_with(kept.world.server())).collect();
    assert_eq!(on_server, [&kept.place("production").join("backup-key")]);
    // And where the app's store has it.
    assert_eq!(holders.len(), 2, "{holders:?}");
    let mut readable = holding(&kept.world.home(), CANARY);
    readable.retain(|path| !path.display().to_string().contains("appendonlydir"));
    assert_eq!(readable, Vec::<std::path::PathBuf>::new());
    for path in ["backup-key", "restore.json", &format!("backups/{FIRST}.json"), &format!("backups/{FIRST}.sealed")] {
        let found = std::fs::metadata(kept.place("production").join(path)).expect("it is there");
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&found) & 0o777, 0o600, "{path}");
    }

    kept.project.jecloud(&["update-server", "forget-backup", APP, "production", FIRST]).ok();
    assert!(kept.find(FIRST).is_none() && names(&kept.place("production").join("backups")).is_empty());
    kept.project.jecloud(&["destroy", "--yes"]).ok();
    assert!(!kept.world.server().join(APP).exists());
}

/// What is damaged, what is not what its manifest says, and what turns out to be something else: the service has its own data
/// afterwards, and somebody who asks is told why.
///
/// Fails where the hash of the file is not compared, where nothing is put back, and where a difference in counts is no failure.
#[test]
fn what_cannot_be_brought_back_changes_nothing() {
    let kept = Kept::deployed();
    for key in ["a", "b", "c"] {
        assert_eq!(kept.asked(&format!("SET {key} old")), "+OK");
    }
    let backup = kept.good(FIRST, &[]);
    let manifest = backup["manifest"].clone();
    assert_eq!(kept.asked("SET a new"), "+OK");
    assert_eq!(kept.asked("SET d new"), "+OK");
    let pid = kept.project.pid("redis.1");
    let failed = |restore: &serde_json::Value, state: &str, what: &str| {
        assert_eq!(restore["state"], "failed", "{restore:#}");
        assert_eq!(restore["failure"][0], state, "{restore:#}");
        assert!(restore["failure"][1].to_string().contains(what), "no {what:?} in {restore:#}");
        assert_eq!((kept.asked("GET a"), kept.asked("GET d")), ("$3 new".to_owned(), "$3 new".to_owned()));
        eventually(SOON, "nothing is left", || kept.left_over().is_empty().then_some(()));
    };

    // One byte of the sealed file.
    let file = kept.fetched(&backup);
    let mut bytes = std::fs::read(&file).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).expect("written");
    kept.restore("production", &file, &manifest).ok();
    failed(&kept.restored("production"), "unsealing", "the sealed file is damaged");
    // The same length, properly sealed with the same key, but another file.
    let other = kept.good(SECOND, &[]);
    let mut swapped = manifest.clone();
    swapped["sealed_bytes"] = other["manifest"]["sealed_bytes"].clone();
    swapped["bytes"] = other["manifest"]["bytes"].clone();
    kept.restore("production", &kept.fetched(&other), &swapped).ok();
    failed(&kept.restored("production"), "unsealing", "another file");
    assert_eq!(kept.project.pid("redis.1"), pid, "nothing was stopped");
    // Refused before anything is recorded.
    let short = kept.fetched(&backup);
    std::fs::write(&short, "short").expect("written");
    kept.restore("production", &short, &manifest).code(1).says("5 bytes");
    let mut foreign = manifest.clone();
    foreign["app"] = "other".into();
    kept.restore("production", &kept.fetched(&backup), &foreign).code(1).says("of the app other");
    // A copy of a Redis that is newer than this.
    let mut newer = manifest.clone();
    newer["contents"]["version"] = "99.0.0".into();
    kept.restore("production", &kept.fetched(&backup), &newer).ok();
    failed(&kept.restored("production"), "unsealing", "of Redis 99.0.0");
    assert_eq!(kept.project.pid("redis.1"), pid, "nothing was stopped");
    // What comes back is less than what was copied: it is put back.
    let mut more = manifest.clone();
    more["contents"]["counts"]["keys that do not expire"] = 4.into();
    kept.restore("production", &kept.fetched(&backup), &more).ok();
    failed(&kept.restored("production"), "checking", "keys that do not expire: 3 where 4 were copied");
    // And it is good all the same.
    kept.restore("production", &kept.fetched(&backup), &manifest).ok();
    assert_eq!(kept.restored("production")["state"], "done");
    assert_eq!((kept.asked("GET a"), kept.asked("EXISTS d")), ("$3 old".to_owned(), ":0".to_owned()));
}

/// A copy that loses keys before it is sealed is well-formed, authentic and worthless: only trying it out finds that.
///
/// Fails where `verify` compares nothing.
#[test]
fn trying_it_out_finds_a_copy_that_lost_something() {
    let kept = Kept::deployed();
    for key in ["a", "b", "c"] {
        assert_eq!(kept.asked(&format!("SET {key} x")), "+OK");
    }
    // Nothing is sealed yet when the roll-forward dies.
    kept.backup_with(&[("JECLOUD_FAULT", "pack.entry#1=crash")], FIRST, &["--verify"]).ok();
    let copy = kept.place("production").join("services/redis/backup/dump.rdb");
    eventually(SOON, "it is copied", || kept.find(FIRST).filter(|backup| backup["state"] == "sealing"));
    assert_eq!(kept.asked("DEL c"), ":1");
    let port = json(&kept.place("production").join("processes.json"))["processes"][0]["ports"]["redis"].to_string();
    let password = kept.password("production");
    let args = ["-e", "-p", &port, "--rdb", &copy.display().to_string()];
    kept.project.run_with(&[("REDISCLI_AUTH", &password)], "redis-cli", &args).ok();
    kept.project.jecloud(&["fwd"]).ok();
    let backup = kept.ended(FIRST);
    assert_eq!(backup["state"], "failed", "{backup:#}");
    let failure = backup["failure"].to_string();
    assert!(failure.contains("keys that do not expire: 2 where 3 were copied"), "{failure}");
    assert!(failure.contains("Do not rely on this backup"), "{failure}");
    eventually(SOON, "nothing is left of trying it out", || kept.left_over().is_empty().then_some(()));
    // The next one is good.
    kept.good(SECOND, &["--verify"]);
}

/// Fails where the data comes with the password of the environment that it was copied from, or goes there.
#[test]
fn what_was_copied_in_production_comes_to_staging() {
    let kept = Kept::deployed();
    assert_eq!(kept.asked("SET greeting hello"), "+OK");
    let backup = kept.good(FIRST, &[]);
    kept.deploy("staging");
    assert_ne!(kept.password("staging"), kept.password("production"));
    assert_eq!(kept.connect("staging").ask("SET own x"), "+OK");
    kept.restore("staging", &kept.fetched(&backup), &backup["manifest"]).ok();
    let restore = kept.restored("staging");
    assert_eq!(restore["state"], "done", "{restore:#}");
    let mut staging = kept.connect("staging");
    assert_eq!((staging.ask("GET greeting"), staging.ask("EXISTS own")), ("$5 hello".to_owned(), ":0".to_owned()));
    assert_eq!(staging.ask("SET greeting changed"), "+OK");
    assert_eq!(kept.asked("GET greeting"), "$5 hello");
}

/// Errors before anything is recorded, in four parts.
#[test]
fn where_there_can_be_no_backup_nothing_is_recorded() {
    let kept = Kept::deployed();
    let backup = |environment: &str, service: &str| {
        kept.project.jecloud(&["update-server", "backup", APP, environment, service, FIRST])
    };
    backup("staging", "redis").code(1).says("nothing of kept staging is deployed").says("Deploy first");
    backup("production", "mongo").code(1).says("there is no such service; there is redis").says("Nothing was changed");
    let key = |text: &str| kept.project.jecloud_reading(text, &["update-server", "put-backup-key", APP, "production"]);
    key("00c0ffee-this-is-none").code(2).says("64 hex digits").does_not_say("c0ffee");
    std::fs::remove_file(kept.place("production").join("backup-key")).expect("there is one");
    backup("production", "redis").code(1).says("the key to seal it with").says("jecloud backup");
    assert_eq!(kept.backups("production")["backups"], serde_json::json!([]));
    // An environment that is no more has none.
    assert_eq!(kept.backups("staging")["restore"], serde_json::Value::Null);
    kept.project.jecloud(&["update-server", "forget-backup", APP, "production", FIRST]).ok();
}

/// A deployment comes first, and what was begun is finished afterwards; environments that are destroyed take their backups
/// and what tries them out along.
///
/// Fails where a deployment waits until a backup was tried out.
#[test]
fn a_deployment_comes_first() {
    let kept = Kept::deployed();
    assert_eq!(kept.asked("SET a x"), "+OK");
    kept.backup(FIRST, &["--verify"]).ok();
    kept.project.write("jecloud.toml", "app = \"kept\"\n[services.redis]\nsync = \"always\"\n");
    kept.project.jecloud(&["deploy"]).ok();
    assert_eq!(kept.asked("CONFIG GET appendfsync"), "*2");
    let backup = kept.ended(FIRST);
    assert_eq!(backup["state"], "done", "{backup:#}");
    kept.backup(SECOND, &["--verify"]).ok();
    kept.project.jecloud(&["destroy", "--yes"]).ok();
    eventually(SOON, "all of it is gone", || (!kept.world.server().join(APP).exists()).then_some(()));
}

/// What a hook wants saved before it goes on is saved before, or it does not go on.
///
/// Fails where `prepare` does not look for `backup-first`, and where a deployment goes on without the backup.
#[test]
fn a_deployment_without_a_way_back_makes_a_backup_first() {
    let kept = Kept::deployed();
    assert_eq!(kept.asked("SET a x"), "+OK");
    // As if an older Redis had written it: the machine has only one.
    let document = kept.place("production").join("app.json");
    let mut app = json(&document);
    app["remembered"]["redis"]["version"] = "6.2.14".into();
    std::fs::write(&document, app.to_string()).expect("written");
    kept.project.write("jecloud.toml", "app = \"kept\"\n[services.redis]\nversion = \"7\"\n");
    // Where the copy cannot be sealed, what serves serves on.
    let deployed = kept.project.jecloud_with(&[("JECLOUD_FAULT", "pack.entry#1+=error:EIO")], &["deploy"]);
    deployed.code(1).says("Input/output error");
    assert_eq!(kept.asked("GET a"), "$1 x");
    kept.project.jecloud(&["deploy"]).ok();
    assert_eq!(kept.asked("GET a"), "$1 x");
    // It is on the server, or was taken to the store by now.
    let store = kept.world.home().join("clouds").join(APP).join("backups/production/redis");
    let mut manifests: Vec<serde_json::Value> = names(&store)
        .into_iter()
        .filter(|name| name.ends_with(".json"))
        .map(|name| json(&store.join(name)))
        .chain(
            kept.backups("production")["backups"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|found| found["manifest"].clone()),
        )
        .filter(|manifest| manifest.is_object())
        .collect();
    manifests.dedup();
    let [manifest] = &manifests[..] else { panic!("{manifests:#?}") };
    assert_eq!(manifest["contents"]["version"], "6.2.14", "{manifest:#}");
}

/// Fails where a copy is read as a whole, or compressed as a whole.
#[test]
fn a_large_backup_takes_little_memory() {
    const LARGE: u64 = 96 << 20;
    const MOST: u64 = 64 << 10;
    let kept = Kept::deployed();
    kept.connect("production").fill(24, usize::try_from(LARGE / 24).expect("small"));
    let pid_file = kept.place("production").join("rollforward.pid");
    let peak = |is_done: &mut dyn FnMut() -> bool| {
        let mut peak = 0;
        while !is_done() {
            let pid = std::fs::read_to_string(&pid_file).unwrap_or_default();
            let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap_or_default();
            // What of the program itself is mapped is not its own alone.
            let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"));
            peak = peak.max(own.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0));
        }
        peak
    };
    let read = |path: String| std::fs::read(kept.place("production").join(path)).unwrap_or_default();
    let ended = |path: &str| {
        let text = String::from_utf8_lossy(&read(path.to_owned())).into_owned();
        text.contains("\"state\": \"done\"") || text.contains("\"state\": \"failed\"")
    };
    kept.backup(FIRST, &[]).ok();
    let making = peak(&mut || ended(&format!("backups/{FIRST}.json")));
    let backup = kept.ended(FIRST);
    assert_eq!(backup["state"], "done", "{backup:#}");
    assert!(
        backup["manifest"]["sealed_bytes"].as_u64().is_some_and(|bytes| bytes > LARGE),
        "it is not compressed away"
    );
    kept.restore("production", &kept.fetched(&backup), &backup["manifest"]).ok();
    let bringing = peak(&mut || ended("restore.json"));
    assert_eq!(kept.restored("production")["state"], "done");
    assert!((1..MOST).contains(&making) && (1..MOST).contains(&bringing), "{making} KiB and {bringing} KiB");
}
