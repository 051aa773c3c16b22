//! Backups of a real MongoDB, told to the server as the other end tells it.

#![expect(clippy::disallowed_methods, reason = "looks at files as they lie on the disk")]

use std::path::PathBuf;
use std::time::Duration;

use jecloud_testkit::{Project, World, eventually};
use serde_json::Value;

use crate::mongodb::can_be_tried;
use crate::world;

const APP: &str = "kept";
const KEY: &str = "00c0ffee00112233445566778899aabbccddeeff0123456789abcdef0badcafe";
const BACKUP: &str = "20261124T190812Z-00000001";

/// How long a backup may take that is restored once, on a machine that does a lot besides.
const END: Duration = Duration::from_secs(180);

fn place(world: &World, environment: &str) -> PathBuf {
    world.server().join(APP).join(environment)
}

fn json(path: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(&path).expect("it is there")).expect("JSON")
}

/// What the app of an environment would get for a script: as its user, with its password.
#[track_caller]
fn asked(project: &Project, environment: &str, script: &str) -> String {
    let root = place(project.world(), environment);
    let port = json(root.join("processes.json"))["processes"][0]["ports"]["mongodb"].clone();
    let password = json(root.join("secrets.json"))["mongodb-password"].as_str().expect("a password").to_owned();
    let url = format!("mongodb://{APP}:{password}@127.0.0.1:{port}/{APP}?replicaSet=rs0&authSource=admin");
    let script = format!("db = connect(process.env.URL); print({script})");
    let argv = ["--quiet", "--norc", "--nodb", "--eval", &script];
    project.run_with(&[("URL", &url)], "mongosh", &argv).ok().stdout.trim().to_owned()
}

fn deployed(project: &Project, environment: &str) {
    project.jecloud(&["deploy", "-e", environment]).ok();
    project.jecloud_reading(KEY, &["update-server", "put-backup-key", APP, environment]).ok();
}

fn backups(project: &Project, environment: &str) -> Value {
    project.jecloud(&["update-server", "backups", APP, environment]).ok().json()
}

/// Made, tried out in a scratch instance, brought back where it came from and into another environment, whose own user gets
/// in with its own password.
///
/// Fails where a set goes on with the address of another environment, where the user keeps the password that the copy has,
/// where what expires is counted, and where a lock is left on the database.
#[test]
fn a_copy_comes_back_here_and_elsewhere() {
    if !can_be_tried() {
        return;
    }
    let world = world();
    let project = world.project_called(APP, &[("jecloud.toml", "app = \"kept\"\n[services.mongodb]\n")]);
    deployed(&project, "production");
    deployed(&project, "staging");
    let fill = "(() => { db.things.insertMany([...Array(1000).keys()].map((i) => ({ i }))); \
                db.sessions.createIndex({ at: 1 }, { expireAfterSeconds: 1 }); \
                db.sessions.insertOne({ at: new Date() }); return db.things.countDocuments(); })()";
    assert_eq!(asked(&project, "production", fill), "1000");

    project.jecloud(&["update-server", "backup", APP, "production", "mongodb", BACKUP, "--verify"]).ok();
    let backup = eventually(END, "the backup is at its end", || {
        let all = backups(&project, "production")["backups"].clone();
        let found = all.as_array()?.iter().find(|backup| backup["id"] == BACKUP)?.clone();
        (found["state"] == "done" || found["state"] == "failed").then_some(found)
    });
    assert_eq!(backup["state"], "done", "{backup:#}");
    let manifest = &backup["manifest"];
    assert!(manifest["verified"].is_string(), "{manifest:#}");
    assert_eq!(manifest["contents"]["counts"], serde_json::json!({ "kept.things": 1000 }));
    // Nothing is locked.
    assert_eq!(asked(&project, "production", "db.things.insertOne({ late: true }).acknowledged"), "true");
    assert_eq!(asked(&project, "production", "db.things.deleteMany({ i: { $lt: 500 } }).deletedCount"), "500");

    for environment in ["production", "staging"] {
        let file = world.directory().join("fetched.sealed");
        std::fs::copy(backup["file"].as_str().expect("a file"), &file).expect("it can be read");
        let file = file.display().to_string();
        let args = ["update-server", "restore", APP, environment, "mongodb", &file];
        project.jecloud_reading(&manifest.to_string(), &args).ok();
        let restore = eventually(END, "it is brought back", || {
            let restore = backups(&project, environment)["restore"].clone();
            (restore["state"] == "done" || restore["state"] == "failed").then_some(restore)
        });
        assert_eq!(restore["state"], "done", "{restore:#}");
        assert_eq!(asked(&project, environment, "db.things.countDocuments()"), "1000", "{environment}");
        assert_eq!(asked(&project, environment, "db.things.insertOne({}).acknowledged"), "true", "{environment}");
    }
    project.jecloud(&["destroy", "-e", "staging", "--yes"]).ok();
    project.jecloud(&["destroy", "--yes"]).ok();
}
