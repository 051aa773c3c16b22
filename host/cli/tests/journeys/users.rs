//! Who may read what.

#![expect(clippy::disallowed_methods, reason = "the modes of what JeCloud writes are the point")]

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jecloud_testkit::{MadeUser, Project, World, made_below};

use crate::{app, production, serves, world};

/// The user of an app and environment of this world.
#[track_caller]
fn user_of(world: &World, name: &str) -> MadeUser {
    let made = made_below(world.directory());
    let found = made.iter().find(|user| user.name.contains(name));
    found.unwrap_or_else(|| panic!("no user for {name}: {made:?}")).clone()
}

/// As root the app runs as a user without rights. Otherwise it runs as whoever JeCloud is, and there is nobody to
/// protect from it.
#[test]
fn the_app_cannot_read_what_belongs_to_root() {
    let world = world();
    let secret = world.directory().join("only-for-its-owner");
    std::fs::write(&secret, "top secret").expect("a file");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    let owner = std::fs::metadata(&secret).expect("it is there").uid();
    let project = app(&world, "app", "");
    let read = format!("require('node:fs').readFileSync({:?}, 'utf8')", secret.display().to_string());
    let try_read = format!("let read; try {{ read = {read} }} catch (error) {{ read = error.code }}");
    let answer = "response.end(`${process.getuid()} ${process.getgroups().length} ${read}`)";
    project.write("server.js", &serves(&format!("{try_read}; {answer}")));
    project.jecloud(&["deploy"]).ok();
    if owner == 0 {
        let user = user_of(&world, "app-production");
        assert_eq!(project.get().1, format!("{} 1 EACCES", user.uid));
        // What builds and what is typed with `run` is the same user.
        project.jecloud(&["run", "--", "cat", &secret.display().to_string()]).code(1).says("Permission denied");
    } else {
        assert!(project.get().1.starts_with(&format!("{owner} ")));
    }
}

/// All files below a directory that hold a text.
pub(crate) fn holding(directory: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
        if kind.is_dir() {
            found.extend(holding(&path, text));
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).unwrap_or_default();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(path);
            }
        }
    }
    found
}

/// Fails where one of the documents that hold variables is written for everyone, or where a log or a command line
/// shows them.
#[test]
fn variables_are_only_in_files_that_nobody_else_can_read() {
    const VALUE: &str = "correct-horse-battery-staple";
    let world = world();
    let project = app(&world, "app", "good");
    project.jecloud(&["deploy"]).ok();
    let set = project.jecloud(&["env", "set", &format!("SECRET={VALUE}")]).ok();
    project.jecloud(&["deploy", "--force"]).ok();
    project.jecloud(&["run", "--", "sh", "-c", "test -n \"$SECRET\""]).ok();
    let set = set.does_not_say(VALUE);

    let files = holding(&world.home(), VALUE);
    assert!(files.len() >= 3, "the state, the release, the processes: {files:?}");
    for path in &files {
        let mode = std::fs::metadata(path).expect("it is there").mode() & 0o777;
        assert_eq!(mode, 0o600, "{} after\n{}", path.display(), set.said());
        assert_ne!(path.extension().and_then(|end| end.to_str()), Some("log"), "{}", path.display());
    }
    assert_eq!(project.read("jecloud.lock").map(|lock| lock.contains(VALUE)), Some(false));
    for pid in world.processes() {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains(VALUE), "process {pid}");
    }
    for reading in [&["status"][..], &["plan"], &["releases"], &["status", "--json"], &["releases", "--json"]] {
        project.jecloud(reading).ok().does_not_say(VALUE);
    }
}

/// An app that does what it is asked: reads a file, lists a directory, looks whether it could signal a process, writes a
/// file of its own service.
fn spy(world: &World, name: &str) -> Project {
    let project = app(world, name, "");
    project.write(
        "server.js",
        &serves(
            "const fs = require('node:fs');
             const asked = new URL(request.url, 'http://x').searchParams;
             const own = process.env.HOME + '/../note';
             let said = 'nothing';
             try {
               if (asked.has('read')) said = fs.readFileSync(asked.get('read'), 'latin1');
               if (asked.has('list')) said = fs.readdirSync(asked.get('list')).join(' ');
               if (asked.has('signal')) said = String(process.kill(Number(asked.get('signal')), 0));
               if (asked.has('write')) fs.writeFileSync(own, asked.get('write'), { mode: 0o644 });
               if (asked.has('own')) said = fs.readFileSync(own, 'utf8') + ' by ' + process.getuid();
             } catch (error) { said = error.code }
             response.end(said)",
        ),
    );
    project
}

/// Fails with one user for all (everything but what is 0600 can be read then, and the processes be signalled), with
/// environments of one app that share a user, and where the directories of an environment are open to everyone.
#[test]
fn one_app_cannot_read_or_signal_another() {
    let world = world();
    let (spies, victim) = (spy(&world, "spy"), spy(&world, "victim"));
    victim.jecloud(&["env", "set", "SECRET=correct-horse"]).ok();
    victim.jecloud(&["deploy"]).ok();
    spies.jecloud(&["deploy"]).ok();
    spies.jecloud(&["deploy", "-e", "staging"]).ok();
    if made_below(world.directory()).is_empty() {
        eprintln!("left out: without root everything runs as whoever JeCloud is");
        return;
    }
    assert_eq!(victim.get_path("/?write=kept").expect("an answer").body, "nothing");
    let place = production(&victim);
    let version = std::fs::canonicalize(place.join("source/versions/current")).expect("what serves");
    let pid = victim.pid("web.1");
    let questions = |place: &Path, version: &Path, pid: u32| {
        let [place, version] = [place, version].map(|path| path.display().to_string());
        [
            format!("/?read={version}/server.js"),
            format!("/?read={place}/services/node/note"),
            format!("/?read={place}/app.json"),
            format!("/?read={place}/logs/web.1.log"),
            format!("/?list={place}"),
            format!("/?list={version}"),
            format!("/?list={place}/services/node"),
            format!("/?read=/proc/{pid}/environ"),
            format!("/?signal={pid}"),
        ]
    };
    for question in questions(&place, &version, pid) {
        // It can be done, by whom it belongs to; logs are for root.
        let own = victim.get_path(&question).expect("an answer").body;
        let is_refused = ["EACCES", "EPERM", "ENOENT"].contains(&own.as_str());
        assert_eq!(is_refused, question.ends_with(".log"), "{question}: {own}");
        for other in [spies.url(), spies.url_of("staging")] {
            let said = world.get(&format!("{other}{question}")).1;
            assert!(["EACCES", "EPERM"].contains(&said.as_str()), "{question} of {other}: {said}");
        }
    }
    // Nor can one environment of an app look into another one.
    let staging = world.server().join("spy/staging");
    let version = std::fs::canonicalize(staging.join("source/versions/current")).expect("what serves");
    let said = spies.get_path(&format!("/?read={}/server.js", version.display())).expect("an answer").body;
    assert_eq!(said, "EACCES");
    let names: Vec<String> = made_below(world.directory()).into_iter().map(|user| user.name).collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

/// Fails where `destroy` leaves the user, removes another one's, or leaves a process that has made itself independent
/// and whose number somebody else gets.
#[test]
fn destroy_removes_the_user_of_exactly_that_environment() {
    let world = world();
    let project = app(&world, "app", "good");
    // A process that leaves its group, its session and its parent.
    let daemon = "require('node:child_process').spawn('setsid', ['-f', 'sleep', '7777'], { stdio: 'ignore' });";
    let server = project.read("server.js").expect("a file");
    project.write("server.js", &format!("{daemon}\n{server}"));
    project.jecloud(&["deploy"]).ok();
    project.jecloud(&["deploy", "-e", "staging"]).ok();
    if made_below(world.directory()).is_empty() {
        eprintln!("left out: without root there are no users");
        return;
    }
    let (kept, removed) = (user_of(&world, "app-production"), user_of(&world, "app-staging"));
    let of = |uid: u32| {
        let found = world.run("ps", &["-o", "args=", "-U", &uid.to_string()]).stdout;
        found.lines().filter(|line| line.contains("sleep 7777")).count()
    };
    assert!(of(removed.uid) > 0 && of(kept.uid) > 0);
    project.jecloud(&["destroy", "-e", "staging", "-y"]).ok();
    assert_eq!(made_below(world.directory()), std::slice::from_ref(&kept));
    assert_eq!((of(removed.uid), of(kept.uid) > 0), (0, true));
    assert_eq!(world.run("getent", &["group", &removed.name]).stdout, "");
    let records = world.server().join("sys/users");
    assert!(!records.join("app.staging.json").exists() && records.join("app.production.json").exists());

    // One that is called as ours, and is not: recorded by mistake, it stays all the same.
    let name = format!("jc-test-{}", std::process::id());
    world.run("useradd", &["--system", "--comment", "JeCloud of somebody else", "--", &name]).ok();
    let record = std::fs::read_to_string(records.join("app.production.json")).expect("a record");
    std::fs::write(records.join("app.production.json"), record.replace(&kept.name, &name)).expect("written");
    project.jecloud(&["destroy", "-y"]).ok();
    let still = world.run("getent", &["passwd", &name]);
    world.run("userdel", &["--", &name]).ok();
    assert!(still.ok().stdout.contains("somebody else"));
}

/// As a server was before each environment had a user of its own, made here of one as it is now: all runs as one user,
/// to which everything belongs. Fails where the files are not handed over, where what ran before is left running as the
/// old user, and where it is not started again.
#[test]
fn an_environment_goes_over_to_its_own_user_with_its_next_release() {
    let world = world();
    let project = spy(&world, "app");
    project.jecloud(&["deploy"]).ok();
    if made_below(world.directory()).is_empty() {
        eprintln!("left out: without root there are no users");
        return;
    }
    world.shut_down();
    let place = production(&project);
    let current = std::fs::canonicalize(place.join("source/versions/current")).expect("what serves");
    let (nobody, server) = (world.run("id", &["-u", "nobody"]).ok().stdout, world.server());
    for directory in [current.clone(), place.join("services/node")] {
        world.run("chown", &["-R", "nobody", &directory.display().to_string()]).ok();
    }
    world.run("chmod", &["755", &place.display().to_string(), &place.join("services/node").display().to_string()]).ok();
    world.run("chmod", &["755", &current.display().to_string()]).ok();
    std::fs::remove_dir_all(server.join("sys/users")).expect("no records");
    std::fs::write(server.join("sys/server.json"), r#"{"format": 1, "min_writer": 1, "app_user": "nobody"}"#)
        .expect("written");
    project.jecloud(&["fwd"]).ok();
    let answer = |question: &str| project.get_path(question).expect("an answer").body;
    jecloud_testkit::eventually(crate::SOON, "it serves as before", || {
        project.get_path("/?write=kept").is_ok_and(|answer| answer.body == "nothing").then_some(())
    });
    assert_eq!(answer("/?own"), format!("kept by {}", nobody.trim()));

    project.write("new.txt", "new");
    project.jecloud(&["deploy"]).ok().says("it gets a user of its own");
    let own = user_of(&world, "app-production");
    assert_eq!(answer("/?own"), format!("kept by {}", own.uid));
    assert_eq!(answer("/?write=more"), "nothing");
    let note = std::fs::metadata(place.join("services/node/note")).expect("it is there");
    assert_eq!((note.uid(), note.gid()), (own.uid, own.gid));
    assert_eq!(world.run("find", &[&place.display().to_string(), "-user", "nobody"]).ok().stdout, "");
    // The old version, too, is the new user's: a rollback needs nothing more.
    project.jecloud(&["rollback"]).ok();
    assert_eq!(answer("/?own"), format!("more by {}", own.uid));
    project.jecloud(&["deploy", "--force"]).ok().does_not_say("it gets a user of its own");
}
