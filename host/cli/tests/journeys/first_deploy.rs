//! The first five minutes: the README's first command and what people type after it.

use jecloud_testkit::normalise;
use serde_json::{Value, json};

use crate::{app, serves, steps, world};

#[test]
fn the_first_command_ends_with_a_url_that_curl_can_read() {
    let world = world();
    let project = world.copy_example("hello-node");
    let deployed = project.jecloud(&["deploy"]).ok();
    insta::assert_snapshot!(steps(&deployed.stderr), @"
    Deploying hello-node to production on this machine

      ✓ packed 4 files, [size] into [size]: version [hash] [time]
      ✓ recorded release r1 of production [time]
      ✓ set up this machine [time]
      ✓ extracted sources [time]
      ✓ packages: […]
      ✓ prepared: 1 process [time]
      ✓ started: web.1 [time]
      ✓ switched [time]
        wrote jecloud.lock: commit it, so that every deployment uses the same versions
    ");
    insta::assert_snapshot!(normalise(&deployed.stdout), @"
    Finished in [time]: r1 ([hash]) serves.
    http://hello-node.localhost:[port]
    ");
    let url = deployed.stdout.lines().last().expect("a URL");
    assert_eq!(url, project.url());
    let read = world.run("curl", &["--silent", "--show-error", "--noproxy", "*", url]).ok();
    assert_eq!(read.stdout, "Hello from hello-node\n");
}

#[test]
fn what_runs_is_told_in_words_and_as_json() {
    let world = world();
    let project = world.copy_example("hello-node");
    project.jecloud(&["deploy"]).ok();

    insta::assert_snapshot!(normalise(&project.jecloud(&["status"]).ok().stdout), @"
    hello-node production: r1 ([hash]) serves
    http://hello-node.localhost:[port]

    PROCESS SERVICE STATE PID PORT RESTARTS UP
    web.1@1 node running [n] [n] 0 [time]
    ");
    insta::assert_snapshot!(normalise(&project.jecloud(&["ps"]).ok().stdout), @"
    PROCESS SERVICE STATE PID PORT RESTARTS UP
    web.1@1 node running [n] [n] 0 [time]
    ");
    insta::assert_snapshot!(normalise(&project.jecloud(&["logs"]).ok().stdout), @"[date] web.1@1 listening on port [n]");
    let releases = project.jecloud(&["releases", "--json"]).ok().json();
    let who = releases[0]["created_by"].as_str().expect("who deployed it").to_owned();
    let in_words = project.jecloud(&["releases"]).ok().stdout.replace(&who, "[who]");
    insta::assert_snapshot!(normalise(&in_words), @"
    RELEASE VERSION WHEN WHO WHAT
    r1 [hash] [date] [who] serves
    ");
    assert_eq!(releases.as_array().map(Vec::len), Some(1));
    assert_eq!((&releases[0]["release"], &releases[0]["outcome"]), (&json!(1), &json!("serving")));

    // The keys that other programs build on.
    let status = project.jecloud(&["status", "--json"]).ok().json();
    assert_eq!(status["app"], "hello-node");
    let environment = &status["environments"][0];
    assert_eq!(environment["name"], "production");
    assert_eq!(environment["current_version"], releases[0]["version"]);
    assert_eq!(environment["deployment"], Value::Null);
    let process = &environment["processes"][0];
    for (key, value) in [("name", "web.1"), ("service", "node"), ("state", "running")] {
        assert_eq!(process[key], value, "{process:#}");
    }
    assert_eq!(process["restarts"], 0);
    assert!(process["pid"].is_u64() && process["port"].is_u64(), "{process:#}");
    let line: Value = serde_json::from_str(&project.jecloud(&["logs", "--json", "-n", "1"]).ok().stdout).expect("JSON");
    assert_eq!(line["process"], "web.1@1");
    assert!(line["line"].as_str().is_some_and(|line| line.starts_with("listening on port")), "{line:#}");
}

#[test]
fn what_did_not_change_is_not_deployed_again_unless_it_is_forced() {
    let world = world();
    let project = world.copy_example("hello-node");
    project.jecloud(&["deploy"]).ok();
    let lock = project.read("jecloud.lock").expect("a lock file");
    assert!(lock.contains("[services.node.pins]"), "{lock}");
    let pid = project.pid("web.1");

    let again = project.jecloud(&["deploy"]).ok();
    insta::assert_snapshot!(steps(&again.stdout), @"
    Finished in [time]: nothing changed since r1, which serves.
    http://hello-node.localhost:[port]
    ");
    assert_eq!(project.pid("web.1"), pid);
    assert_eq!(project.jecloud(&["deploy", "--json"]).ok().json()["outcome"], "unchanged");

    project.jecloud(&["deploy", "--force"]).ok().says("r2");
    assert_ne!(project.pid("web.1"), pid);
    assert_eq!(project.get(), (200, "Hello from hello-node\n".to_owned()));
    assert_eq!(project.read("jecloud.lock"), Some(lock), "the lock file is stable");
}

/// A directory below that of the app, `-C`, and an argument all mean the same app.
#[test]
fn the_app_is_found_from_where_people_are() {
    let world = world();
    let project = world.copy_example("hello-node");
    let directory = project.directory().display().to_string();
    project.write("lib/empty.js", "");
    world.jecloud(&["deploy", &directory]).ok();
    let status = project.jecloud(&["status"]).ok().stdout;
    let below = project.jecloud(&["-C", "lib", "status"]).ok().stdout;
    assert_eq!(status.lines().next(), below.lines().next());
    world.jecloud(&["-C", &directory, "ps"]).ok().says("web.1@1");
}

#[test]
fn logs_are_followed_through_a_deployment_until_somebody_ends_it() {
    let world = world();
    let project = app(&world, "app", "");
    project.write("server.js", &serves("console.log(`asked for ${request.url}`); response.end()"));
    project.jecloud(&["deploy"]).ok();
    let mut follow = project.spawn(&["logs", "-f", "-p", "web"]);
    follow.wait_for("web.1@1 listening");
    project.get_path("/first").expect("an answer");
    follow.wait_for("web.1@1 asked for /first");
    project.jecloud(&["deploy", "--force"]).ok();
    project.get_path("/second").expect("an answer");
    follow.wait_for("web.1@2 asked for /second");
    assert!(!follow.has_ended());
    let last = project.jecloud(&["logs", "-n", "1", "--since", "1h"]).ok();
    assert_eq!(last.stdout.lines().count(), 1, "{}", last.said());
    project.jecloud(&["logs", "-p", "worker"]).code(2).says("no process worker").says("web.1");
    project.jecloud(&["logs", "--since", "yesterday"]).code(2).says("neither a duration nor a time");
}

/// What is on the screen of a terminal in the end, without styles.
fn screen(written: &str) -> String {
    let mut lines = vec![Vec::new()];
    let mut column = 0;
    let mut rest = written.chars();
    while let Some(c) = rest.next() {
        match c {
            '\r' => column = 0,
            '\n' => lines.push(Vec::new()),
            '\x1b' => {
                let end = rest.as_str().find(|c: char| c.is_ascii_alphabetic()).expect("the end of a sequence");
                if &rest.as_str()[..=end] == "[2K" {
                    lines.last_mut().expect("a line").clear();
                }
                rest = rest.as_str()[end + 1..].chars();
            }
            c => {
                let line: &mut Vec<char> = lines.last_mut().expect("a line");
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                column += 1;
            }
        }
    }
    lines.iter().map(|line| line.iter().collect::<String>()).collect::<Vec<_>>().join("\n")
}

/// On a terminal there is motion, and nothing of it is left in the end. Fails where the last step is not cleared before
/// the result is written.
#[test]
fn on_a_terminal_the_same_is_left_on_the_screen() {
    assert_eq!(screen("ab\r\x1b[2Kc\r\n\x1b[1mde\x1b[0m\rx"), "c\nxe");
    let world = world();
    let project = app(&world, "app", "good");
    let deploy = format!("TERM=xterm {} deploy", world.jecloud_path().display());
    let written = project.run_reading("", "script", &["-qec", &deploy, "/dev/null"]).ok().stdout;
    assert!(written.contains("\x1b[2K"), "there is no motion: {written:?}");
    insta::assert_snapshot!(steps(&screen(&written)), @"
    Deploying app to production on this machine

      ✓ packed 3 files, [size] into [size]: version [hash] [time]
      ✓ recorded release r1 of production [time]
      ✓ set up this machine [time]
      ✓ extracted sources [time]
      ✓ packages: […]
      ✓ prepared: 1 process [time]
      ✓ started: web.1 [time]
      ✓ switched [time]
        wrote jecloud.lock: commit it, so that every deployment uses the same versions

    Finished in [time]: r1 ([hash]) serves.
    http://app.localhost:[port]
    ");
}
