//! What processes write, and what they are given.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use jecloud_launch::{User, is_root};
use jecloud_model::processes::{Exit, ProcessState};
use jecloud_model::time::Timestamp;

use crate::support::{Server, kill, lives, sh, until, wait_for};

#[test]
fn lines_have_a_time_and_an_origin() {
    let server = Server::new("");
    let script = "echo out; echo err >&2; printf 'bad \\377 byte\\r\\n'; echo; printf 'no end'; exec sleep 1000";
    server.want(&[
        sh("web.1@7", script),
        sh("web.1@8", "echo other; exec sleep 1000"),
        sh("web.2@8", "exec sleep 1000"),
    ]);
    until("five lines", || server.log("web.1").lines().count() == 5);
    let log = server.log("web.1");
    for line in log.lines() {
        let (time, rest) = line.split_once(' ').expect("a time");
        time.parse::<Timestamp>().expect("a time");
        // The same width in every line, also in one of 1000 that falls on a full second.
        assert_eq!(time.len(), "2026-11-24T07:45:44.123Z".len(), "{line}");
        assert!(rest.starts_with("web.1@7 ") || rest.starts_with("web.1@8 "), "{line}");
    }
    let of_seven: Vec<&str> = log.lines().filter_map(|line| Some(line.split_once(" web.1@7 ")?.1)).collect();
    assert_eq!(of_seven, ["out", "err", "bad \u{fffd} byte", ""]);
    // Half a line is written when its process has ended.
    server.want(&[sh("web.1@8", "echo other; exec sleep 1000")]);
    until("the rest", || server.log("web.1").contains(" web.1@7 no end\n"));
}

#[test]
fn a_noisy_process_costs_a_bounded_disk_and_loses_no_line() {
    let server = Server::new("");
    // 33 MB in lines of 99 bytes.
    server.want(&[sh(
        "web.1",
        "yes $(head -c 98 /dev/zero | tr '\\0' x) | head -n 333333; echo the end; exec sleep 1000",
    )]);
    until("the end", || server.log("web.1").ends_with(" the end\n"));
    let sizes: Vec<u64> = fs::read_dir(server.place().logs())
        .expect("readable")
        .map(|entry| entry.expect("an entry").metadata().expect("there").len())
        .collect();
    // Fails without rotation (one file of 45 MB).
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 10_000_000), "{sizes:?}");
    assert!(sizes.iter().sum::<u64>() > 20_000_000, "{sizes:?}");
}

#[test]
fn an_endless_line_is_cut() {
    let server = Server::new("");
    server.want(&[sh("web.1", "head -c 200000 /dev/zero | tr '\\0' x; echo; exec sleep 1000")]);
    until("four pieces", || server.texts("web.1").len() == 4);
    let lengths: Vec<usize> = server.texts("web.1").iter().map(String::len).collect();
    assert_eq!(lengths, [65536, 65536, 65536, 200_000 - 3 * 65536]);
}

#[test]
fn a_process_that_writes_more_than_the_pipe_holds_waits_for_the_next_process_manager() {
    let server = Server::new("");
    let go = server.root.path().join("go");
    let script = format!(
        "echo ready; until [ -e {} ]; do sleep 0.02; done; seq 100000; echo the end; exec sleep 1000",
        go.display()
    );
    server.want(&[sh("web.1", &script)]);
    until("it is ready", || server.texts("web.1") == ["ready"]);
    let pid = server.pid("web.1");
    server.kill_supervisor();
    fs::write(&go, "").expect("written");
    // `seq` waits for somebody who reads.
    let pipe = format!("/proc/{pid}/task/{pid}/children");
    let writer: u32 = wait_for("seq", || {
        let children = fs::read_to_string(&pipe).ok()?;
        let child: u32 = children.split_whitespace().next()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{child}/wchan")).ok()?;
        stat.contains("pipe").then_some(child)
    });
    assert!(lives(writer));
    server.begin();
    until("the end", || server.log("web.1").ends_with(" the end\n"));
    assert_eq!(server.pid("web.1"), pid);
    let texts = server.texts("web.1");
    assert_eq!(texts.len(), 100_002);
    assert!(texts[1..100_001].iter().enumerate().all(|(index, text)| *text == (index + 1).to_string()));
}

#[test]
fn the_environment_is_exactly_what_was_asked_for() {
    let server = Server::new("umask 077");
    let mut spec = sh("web.1", "env | grep -v '^\\(PWD\\|OLDPWD\\|_\\|SHLVL\\)=' | sort; umask; pwd; exec sleep 1000");
    spec.env.insert("BRACES".to_owned(), "{{\"a\": 1}".to_owned());
    spec.cwd = "/usr".to_owned();
    server.want(&[spec]);
    until("five lines", || server.texts("web.1").len() == 5);
    let texts = server.texts("web.1");
    assert_eq!(texts[0], "BRACES={\"a\": 1}");
    assert!(texts[1].starts_with("JECLOUD_INSTANCE="), "{texts:?}");
    assert_eq!(&texts[2..], ["PATH=/usr/bin:/bin", "0022", "/usr"]);
}

/// All files below a directory.
fn files(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).expect("readable").flatten() {
        let kind = entry.file_type().expect("there");
        if kind.is_dir() {
            files(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

#[test]
fn secrets_are_in_the_environment_and_nowhere_else() {
    let server = Server::new("");
    let write = |value: &str| {
        let secrets = BTreeMap::from([("TOKEN", value)]);
        fs::create_dir_all(server.place().path()).expect("made");
        jecloud_disk::durable::write_json(&server.place().secrets(), &secrets, 0o600).expect("written");
    };
    write("hunter2-of-braces-{source}");
    let mut spec = sh("web.1", "echo ${#URL}; exec sleep 1000");
    spec.env.insert("URL".to_owned(), "redis://:{secret:TOKEN}@localhost".to_owned());
    server.want(std::slice::from_ref(&spec));
    let pid = server.pid("web.1");
    until("it has written", || server.texts("web.1").len() == 1);
    let environment = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/environ")).expect("ours")).into_owned();
    assert!(environment.contains("URL=redis://:hunter2-of-braces-{source}@localhost\0"), "{environment}");

    let mut all = Vec::new();
    files(server.root.path(), &mut all);
    let with: Vec<_> = all
        .into_iter()
        .filter(|path| String::from_utf8_lossy(&fs::read(path).expect("readable")).contains("hunter2"))
        .collect();
    assert_eq!(with, [server.place().secrets()]);
    let supervisor = server.supervisor().expect("it runs");
    for process in [pid, supervisor] {
        let argv = fs::read(format!("/proc/{process}/cmdline")).expect("ours");
        assert!(!String::from_utf8_lossy(&argv).contains("hunter2"));
    }
    assert_eq!(fs::metadata(server.root.run().join("processes.json")).expect("there").mode() & 0o777, 0o600);

    // A process that is started again sees the secrets of now.
    write("changed");
    kill(pid, jecloud_launch::Signal::KILL);
    let new =
        wait_for("another one", || server.status("web.1").and_then(|status| status.pid).filter(|new| *new != pid));
    let environment = String::from_utf8_lossy(&fs::read(format!("/proc/{new}/environ")).expect("ours")).into_owned();
    assert!(environment.contains("URL=redis://:changed@localhost\0"), "{environment}");

    // One that is not set: the name is told, nothing is started.
    spec.env.insert("URL".to_owned(), "{secret:TOKEN}{secret:OTHER}".to_owned());
    server.want(&[spec]);
    let status = wait_for("back-off", || server.status("web.1").filter(|status| status.state == ProcessState::BackOff));
    let Some(Exit::NotStarted(why)) = status.last_exit else { panic!("{:?}", status.last_exit) };
    assert_eq!(why, "the variable URL needs the secret OTHER, which is not set");
}

#[test]
fn apps_have_no_rights_where_it_is_root() {
    if !is_root() {
        // Nothing to give up. What needs root is refused.
        let server = Server::new("");
        let mut spec = sh("web.1", "exec sleep 1000");
        spec.run_as = jecloud_model::hook::Identity::Root;
        server.want(&[spec]);
        let status = server.status("web.1").expect("known");
        assert!(matches!(status.last_exit, Some(Exit::NotStarted(_))), "{status:?}");
        return;
    }
    let nobody = User::lookup("nobody").expect("every system has it");
    let server = Server::new("");
    server.write_user("nobody");
    let secret = server.root.path().join("secret");
    fs::write(&secret, "secret").expect("written");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("set");
    // It can open its standard output by name, as many programs do with their logs: fails without `fchown`.
    let script =
        format!("id -u; id -G; cat {} || echo refused; echo by name > /dev/stdout; exec sleep 1000", secret.display());
    let mut root = sh("root.1", "id -u; exec sleep 1000");
    root.run_as = jecloud_model::hook::Identity::Root;
    server.want(&[sh("web.1", &script), root]);
    until("its lines", || server.texts("web.1").last().is_some_and(|text| text == "by name"));
    let texts = server.texts("web.1");
    assert_eq!(texts[..2], [nobody.uid.to_string(), nobody.gid.to_string()]);
    assert!(texts.contains(&"refused".to_owned()), "{texts:?}");
    assert_eq!(fs::metadata(format!("/proc/{}", server.pid("web.1"))).expect("it runs").uid(), nobody.uid);
    until("its line", || server.texts("root.1") == ["0"]);
    // Its log belongs to root: it cannot rewrite what it wrote.
    assert_eq!(fs::metadata(server.place().logs().join("web.1.log")).expect("there").uid(), 0);
}
