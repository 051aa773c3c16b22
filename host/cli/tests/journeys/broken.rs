//! Versions that cannot work: nothing changes for anybody but the person, who is told why.

use jecloud_testkit::{Output, Project, normalise, pids_that_mention};

use crate::{answers, app, production, serves, steps, world};

const PACKAGE: &str = r#"{"name": "app", "scripts": {"start": "node server.js"}}"#;

/// An app whose first version serves.
#[track_caller]
fn serving() -> Project {
    let project = app(&world(), "app", "good");
    project.jecloud(&["deploy"]).ok();
    project
}

/// Deploys what is there, which must fail and change nothing. Returns what was said.
#[track_caller]
fn fails(project: &Project) -> Output {
    let before = project.status();
    let failed = project.jecloud(&["deploy"]).code(1).says("still serves; nothing was switched.").says("hint: ");
    let after = project.status();
    assert_eq!(project.get(), (200, "good".to_owned()), "\n{}", failed.said());
    for key in ["current_version", "current_release", "processes", "deployment"] {
        assert_eq!(before[key], after[key], "{key}\n{}", failed.said());
    }
    let version = after["last_failure"]["version"].as_str().unwrap_or_else(|| panic!("no failure in {after:#}"));
    assert_ne!(Some(version), after["current_version"].as_str());
    // Not the process manager, whose own files name all versions, but what runs in the directory of this one.
    let left = pids_that_mention(&production(project).join("source/versions").join(version));
    assert!(left.is_empty(), "{left:?} run on\n{}", failed.said());
    project.jecloud(&["releases"]).ok().says("failed: ");
    project.jecloud(&["status"]).ok().says("failed: ");
    failed
}

#[test]
fn a_version_that_crashes_at_its_start() {
    let project = serving();
    project.write(
        "server.js",
        "for (let n = 1; n <= 20; n++) console.log(`line ${n}`);\nprocess.on('exit', () => console.error('no database'));\nprocess.exit(3);\n",
    );
    let failed = fails(&project);
    insta::assert_snapshot!(steps(&failed.stderr), @"
    Deploying app to production on this machine

      ✓ packed 3 files, [size] into [size]: version [hash] [time]
      ✓ recorded release r2 of production [time]
      ✓ extracted sources [time]
      ✓ packages: […]
      ✓ prepared: 1 process [time]
      ✗ starting processes

    error: release r2 ([hash]) failed: web.1 exited with status 3 right after its start

      | line 12
      | line 13
      | line 14
      | line 15
      | line 16
      | line 17
      | line 18
      | line 19
      | line 20
      | no database

    r1 ([hash]) still serves; nothing was switched.

    hint: Fix the cause and deploy again; `jecloud logs` shows more.
    ");
    assert_eq!(failed.stdout, "");
    insta::assert_snapshot!(normalise(&project.jecloud(&["status"]).ok().stdout), @"
    app production: r1 ([hash]) serves
    http://app.localhost:[port]
    r2 ([hash]) failed: web.1 exited with status 3 right after its start

    PROCESS SERVICE STATE PID PORT RESTARTS UP
    web.1@1 node running [n] [n] 0 [time]
    ");
    let json = project.jecloud(&["deploy", "--json"]).code(1);
    assert_eq!(json.stderr, "");
    assert!(
        json.json()["error"].as_str().is_some_and(|error| error.contains("exited with status 3")),
        "{}",
        json.said()
    );
}

/// An open port is not enough. Fails without the time for which a process must stay up after that: the new version is
/// switched to, and nobody answers.
#[test]
fn a_version_that_crashes_right_after_it_listens() {
    let project = serving();
    let fragile = format!("{}server.on('listening', () => setTimeout(() => process.exit(7), 80));\n", answers("new"));
    project.write("server.js", &fragile);
    fails(&project).says("web.1 exited with status 7 right after its start").says("| listening");
}

/// Both take as long as a process may take to start, so they wait at the same time.
#[test]
fn versions_that_never_get_ready() {
    let deaf = std::thread::spawn(|| {
        let project = serving();
        project.write("server.js", "setInterval(() => console.log('waiting for nobody'), 5000);\n");
        insta::assert_snapshot!(steps(&fails(&project).stderr), @"
        Deploying app to production on this machine

          ✓ packed 3 files, [size] into [size]: version [hash] [time]
          ✓ recorded release r2 of production [time]
          ✓ extracted sources [time]
          ✓ packages: […]
          ✓ prepared: 1 process [time]
          ✗ starting processes

        error: release r2 ([hash]) failed: web.1 does not listen on port [n], 60 seconds after its start

          | waiting for nobody
          | waiting for nobody
          | waiting for nobody
          | waiting for nobody
          | waiting for nobody
          | waiting for nobody
          | waiting for nobody
          | waiting for nobody
          | waiting for nobody
          | waiting for nobody

        r1 ([hash]) still serves; nothing was switched.

        hint: The app must listen on the port in the PORT environment variable.
        ");
    });
    let project = serving();
    let ill = serves("console.log('no database'); response.statusCode = 500; response.end()");
    project.write("server.js", &ill);
    project.write("jecloud.toml", "app = \"app\"\n[processes.web]\nhealth = \"/up\"\n");
    insta::assert_snapshot!(steps(&fails(&project).stderr), @"
    Deploying app to production on this machine

      ✓ packed 3 files, [size] into [size]: version [hash] [time]
      ✓ recorded release r2 of production [time]
      ✓ extracted sources [time]
      ✓ packages: […]
      ✓ prepared: 1 process [time]
      ✗ starting processes

    error: release r2 ([hash]) failed: web.1 answers GET /up with status 500, 60 seconds after its start

      | no database
      | no database
      | no database
      | no database
      | no database
      | no database
      | no database
      | no database
      | no database
      | no database

    r1 ([hash]) still serves; nothing was switched.

    hint: Fix the cause and deploy again; `jecloud logs` shows more.
    ");
    deaf.join().expect("the other one");
}

#[test]
fn what_is_wrong_is_said() {
    let project = serving();
    let check = |path: &str, text: &str, says: &[&str]| {
        let before = project.read(path);
        project.write(path, text);
        says.iter().fold(fails(&project), |output, text| output.says(text));
        match before {
            Some(before) => project.write(path, &before),
            None => project.remove(path),
        }
    };
    let build = PACKAGE.replace("\"start\"", "\"build\": \"echo halfway && no-such-compiler\", \"start\"");
    check("package.json", &build, &["npm run build", "exited with status 127", "no-such-compiler"]);
    check("package.json", "{ \"name\": ", &["package.json is not JSON", "line 1"]);
    let engine = PACKAGE.replace("\"scripts\"", "\"engines\": {\"node\": \">=99\"}, \"scripts\"");
    check("package.json", &engine, &["no version of Node.js satisfies `>=99`", "engines.node"]);
    check("Procfile", "web: node server.js\nworker node worker.js\n", &["Procfile, line 2", "has no colon"]);
    check(
        "Procfile",
        "web: node server.js\nrelease: echo migrating; exit 4\n",
        &["exited with status 4", "| migrating"],
    );
    check("Procfile", "web: ./no-such-program\n", &["no-such-program"]);
    check("server.js", "syntax error\n", &["SyntaxError"]);

    project.remove("package.json");
    project.remove("server.js");
    project.write("main.js", &answers("lost"));
    let nothing = project.jecloud(&["deploy"]).code(2).says("nothing in").says("[services.NAME]");
    assert_eq!(project.get().1, "good", "{}", nothing.said());
    project.write("jecloud.toml", "app = \"app\"\n[services.node]\n");
    fails(&project).says("package.json");

    // It was never gone, and what is mended is deployed as if nothing had been.
    project.write("package.json", PACKAGE);
    project.write("server.js", &answers("better"));
    project.jecloud(&["deploy"]).ok();
    assert_eq!(project.get().1, "better");
    project.jecloud(&["status"]).ok().does_not_say("failed");
}

#[test]
fn the_very_first_version_is_broken() {
    let world = world();
    let project = app(&world, "app", "never");
    project.write("server.js", "throw new Error('no database');\n");
    project.jecloud(&["deploy"]).code(1).says("Error: no database").says("Nothing serves yet.");
    project.jecloud(&["status"]).ok().says("nothing serves").says("failed: ");
    project.write("server.js", &answers("good"));
    project.jecloud(&["deploy"]).ok();
    assert_eq!(project.get(), (200, "good".to_owned()));
}
