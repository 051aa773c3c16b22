//! The example with databases: a real MongoDB and a real Redis behind an app that uses their official drivers.

#![expect(clippy::disallowed_methods, reason = "reads what was made, to look for it elsewhere")]

use std::path::Path;

use jecloud_testkit::{Project, eventually, is_alive, kill, request};

use crate::users::holding;
use crate::{SOON, production, world};

/// Whether there is a MongoDB to be used; where there is none, that has been said.
pub(crate) fn can_be_tried() -> bool {
    let all_there = ["mongod", "mongosh"].iter().all(|program| Path::new("/usr/bin").join(program).exists());
    if !all_there {
        eprintln!("left out: `cargo xtask test` installs mongod and mongosh");
    }
    all_there
}

#[track_caller]
fn sign(project: &Project, text: &str) {
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let body = format!("name=Ada&text={text}");
    let url = format!("{}/entries", project.url());
    let answer = request("POST", &url, &headers, body.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(answer.status, 303, "{text}: {}", answer.body);
}

/// What is in both databases, once the app answers.
#[track_caller]
fn entries(project: &Project) -> String {
    let ask = || project.get_path("/entries").ok().filter(|answer| answer.status == 200);
    eventually(SOON, "the app answers", ask).body
}

/// A secret of the production environment that was made for a service.
fn secret(project: &Project, name: &str) -> String {
    let path = project.world().home().join("clouds/guestbook/secrets/production.json");
    let secrets: serde_json::Value = serde_json::from_slice(&std::fs::read(path).expect("secrets")).expect("JSON");
    secrets["secrets"][name]["value"].as_str().expect("it was made").to_owned()
}

/// From nothing through deployments, deaths and a rollback to nothing: MongoDB runs on where nothing of it changes, keeps
/// what was written, is reached by the app alone, and takes its data along when it is destroyed.
///
/// Fails where mongod is started anew with every release; without `authorization` in its configuration; where the app
/// starts before its user is made; where a password is an argument; and without the forced configuration of a set whose
/// member got another port.
#[test]
fn what_guests_write_stays() {
    if !can_be_tried() {
        return;
    }
    let world = world();
    let project = world.copy_example("guestbook");
    project.jecloud(&["deploy"]).ok().says("mongodb.1").says("redis.1").says(" 6.0.5");
    sign(&project, "hello");
    assert!(project.get().1.contains("Visit number 1."));
    let written = r#"{"visits":1,"entries":["Ada: hello"]}"#;
    assert_eq!(entries(&project), written);
    let mongod = project.pid("mongodb.1");
    project.replace("server.js", "<title>Guestbook", "<title>Our guestbook");
    project.jecloud(&["deploy"]).ok();
    assert_eq!(project.pid("mongodb.1"), mongod, "nothing of MongoDB changed");
    assert_eq!(entries(&project), written);

    nobody_gets_in(&project);

    // Its death, and that of everything; what was acknowledged is there.
    sign(&project, "again");
    kill(mongod);
    eventually(SOON, "it comes back", || (project.pid("mongodb.1") != mongod).then_some(()));
    let written = r#"{"visits":1,"entries":["Ada: hello","Ada: again"]}"#;
    assert_eq!(entries(&project), written);
    sign(&project, "last");
    for pid in world.processes() {
        kill(pid);
    }
    project.jecloud(&["fwd"]).ok();
    let written = r#"{"visits":1,"entries":["Ada: hello","Ada: again","Ada: last"]}"#;
    assert_eq!(entries(&project), written);
    project.jecloud(&["rollback"]).ok();
    assert_eq!(entries(&project), written);

    // Another configuration is another start, with the same data.
    let mongod = project.pid("mongodb.1");
    project.replace("jecloud.toml", "[services.mongodb]\n", "[services.mongodb]\nmemory = \"300mb\"\n");
    project.jecloud(&["deploy"]).ok();
    assert_ne!(project.pid("mongodb.1"), mongod);
    assert_eq!(entries(&project), written);

    // What cannot be is refused before anything happens; what serves goes on.
    let mongod = project.pid("mongodb.1");
    for (settings, code, what) in [
        ("memry = \"300mb\"", 2, "memry"),
        ("memory = \"30mb\"", 1, "memory = \"256mb\""),
        ("version = \"8.0\"", 1, "goes to 7.0 first"),
    ] {
        project.write(
            "jecloud.toml",
            &format!("app = \"guestbook\"\n[services.node]\n[services.redis]\n[services.mongodb]\n{settings}\n"),
        );
        project.jecloud(&["deploy"]).code(code).says(what);
        assert_eq!((project.pid("mongodb.1"), entries(&project).as_str()), (mongod, written), "{settings}");
    }
    project.jecloud(&["destroy", "--yes"]).ok();
    assert!(!is_alive(mongod) && !production(&project).exists());
}

/// Nobody reads anything without the password, which nobody is shown.
fn nobody_gets_in(project: &Project) {
    let services = production(project).join("services/mongodb");
    let port = std::fs::read_dir(&services).expect("its directory").flatten().find_map(|entry| {
        let is_configuration = entry.path().extension().is_some_and(|extension| extension == "conf");
        let text = is_configuration.then(|| std::fs::read_to_string(entry.path()).expect("text"))?;
        text.lines().find_map(|line| line.trim().strip_prefix("port: ").map(str::to_owned))
    });
    let address = format!("mongodb://127.0.0.1:{}/guestbook", port.expect("a port"));
    let eval = ["--quiet", "--norc", &address, "--eval", "db.entries.countDocuments()"];
    project.run("mongosh", &eval).code(1).says("requires authentication");

    let (password, key) = (secret(project, "mongodb-password"), secret(project, "mongodb-key"));
    let files = |text: &str| {
        let mut found = holding(&project.world().home(), text);
        found.retain(|path| !path.ends_with("secrets.json") && !path.ends_with("secrets/production.json"));
        found
    };
    assert_eq!(files(&key), [services.join("key")]);
    assert_eq!(files(&password), Vec::<std::path::PathBuf>::new());
    for pid in project.world().processes() {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments);
        assert!(!arguments.contains(&password) && !arguments.contains(&key));
    }
    for words in [&["status", "--json"][..], &["plan", "--json"], &["logs"], &["env", "--json"], &["state", "show"]] {
        project.jecloud(words).ok().does_not_say(&password).does_not_say(&key);
    }
}
