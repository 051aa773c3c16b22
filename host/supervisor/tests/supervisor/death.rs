//! The process manager dies at any moment; no process is started twice, forgotten, or ended by that.

use std::fs;

use jecloud_launch::{Signal, pid_from};
use jecloud_model::processes::{Exit, ProcessSpec};

use crate::support::{self, Server, kill, lives, sh, until, wait_for};

/// A process that leaves a trace of each start.
fn traced(server: &Server, id: &str) -> ProcessSpec {
    sh(id, &format!("echo $$ >> {}; exec sleep 1000", server.root.path().join(format!("starts-{id}")).display()))
}

/// The numbers of all processes of this id that were ever started.
fn starts(server: &Server, id: &str) -> Vec<u32> {
    let text = fs::read_to_string(server.root.path().join(format!("starts-{id}"))).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn memory(server: &Server) -> std::path::PathBuf {
    server.root.run().join("processes.json")
}

#[test]
fn processes_and_their_logs_go_on_when_it_is_killed() {
    let server = Server::new("");
    let go = server.root.path().join("go");
    let done = server.root.path().join("done");
    let script = format!(
        "for i in 1 2 3; do echo line $i; done; until [ -e {} ]; do sleep 0.02; done; \
         for i in 4 5 6; do echo line $i >&2; done; echo > {}; exec sleep 1000",
        go.display(),
        done.display()
    );
    server.want(&[sh("web.1", &script)]);
    let before = server.running("web.1");
    until("three lines", || server.texts("web.1").len() == 3);
    server.kill_supervisor();
    // It writes while nobody reads.
    fs::write(&go, "").expect("written");
    until("it has written", || done.exists());
    server.begin();
    let after = server.running("web.1");
    // Fails without the memory and the marks (another process), and where the pipe has no second opener (SIGPIPE).
    assert_eq!((after.pid, after.restarts, after.started), (before.pid, 0, before.started));
    until("six lines", || server.texts("web.1").len() == 6);
    assert_eq!(server.texts("web.1"), [1, 2, 3, 4, 5, 6].map(|number| format!("line {number}")));

    // The end of a process that is not its child is seen all the same.
    kill(after.pid.expect("it runs"), Signal::KILL);
    let again = wait_for("another one", || server.status("web.1").filter(|status| status.restarts == 1));
    assert_eq!(again.last_exit, Some(Exit::Unknown));
    // And one that is adopted can be ended.
    let pid = server.pid("web.1");
    server.kill_supervisor();
    server.want(&[]);
    until("it is gone", || server.status("web.1").is_none());
    assert!(!lives(pid));
}

#[test]
fn what_ended_while_nobody_looked_is_started_again() {
    let server = Server::new("");
    let left = server.root.path().join("left");
    server.want(&[sh("web.1", &format!("sleep 1000 & echo $! >> {}; exec sleep 1001", left.display()))]);
    let pid = server.pid("web.1");
    let left: u32 = wait_for("a number", || fs::read_to_string(&left).ok()?.lines().next()?.parse().ok());
    server.kill_supervisor();
    kill(pid, Signal::KILL);
    until("it is gone", || !lives(pid));
    server.begin();
    let status = server.running("web.1");
    assert_ne!(status.pid, Some(pid));
    assert_eq!((status.restarts, status.last_exit), (1, Some(Exit::Unknown)));
    // Fails without `sweep`: what it left behind would be in the way.
    until("nothing is left", || !lives(left));
}

#[test]
fn a_crash_between_start_and_record_starts_nothing_twice() {
    let server = Server::new("export JECLOUD_FAULT='supervisor.started#1=crash'");
    server.write_table(&[traced(&server, "web.1"), traced(&server, "worker.1")]);
    // The first one dies after starting the web, the second after starting the worker, the third finds both.
    server.begin();
    let (web, worker) = (server.pid("web.1"), server.pid("worker.1"));
    assert!(server.journal().contains("found by its mark"), "{}", server.journal());
    until("both have begun", || starts(&server, "web.1").len() + starts(&server, "worker.1").len() >= 2);
    // Fails without the marks: each is started once more.
    assert_eq!((starts(&server, "web.1"), starts(&server, "worker.1")), (vec![web], vec![worker]));
    // Now they are written down, and found that way.
    server.kill_supervisor();
    server.begin();
    assert_eq!((server.pid("web.1"), server.pid("worker.1")), (web, worker));
}

#[test]
fn a_full_disk_starts_nothing_twice_either() {
    // Every write of a document fails, so nothing is ever written down.
    let server = Server::new("[ -e \"${0%/*}/full\" ] && export JECLOUD_FAULT='replace.write#1+=error:ENOSPC'");
    let full = server.root.path().join("full");
    fs::write(&full, "").expect("written");
    server.want(&[traced(&server, "web.1")]);
    let pid = server.pid("web.1");
    assert!(!memory(&server).exists());
    until("it has begun", || starts(&server, "web.1").len() == 1);
    server.kill_supervisor();
    fs::remove_file(full).expect("removed");
    server.begin();
    assert_eq!(server.pid("web.1"), pid);
    assert_eq!(starts(&server, "web.1"), [pid]);
}

#[test]
fn what_could_not_be_written_down_is_written_later() {
    // The first write of a document fails, and nothing happens afterwards: fails where `changed` is forgotten with the
    // error.
    let server = Server::new("export JECLOUD_FAULT='replace.write#1=error:ENOSPC'");
    server.begin();
    until("it has failed", || server.journal().contains("os error 28"));
    until("it is written down", || memory(&server).exists());
}

#[test]
fn a_lost_memory_is_no_loss() {
    let server = Server::new("");
    // It starts something that leads a process group of its own and has the same mark: not to be taken for it.
    let daemon = server.root.path().join("daemon");
    // Some time later, because of two that were started in the same hundredth of a second nobody can tell the elder.
    let script =
        format!("(sleep 0.1; exec setsid sh -c 'echo $$ > {}; exec sleep 1000') & exec sleep 1001", daemon.display());
    server.want(&[sh("web.1", &script), sh("worker.1", "exec sleep 1000")]);
    let (web, worker) = (server.pid("web.1"), server.pid("worker.1"));
    let daemon: u32 = wait_for("a number", || fs::read_to_string(&daemon).ok()?.trim().parse().ok());
    server.kill_supervisor();
    fs::write(memory(&server), "{ \"format\":").expect("written");
    server.begin();
    assert_eq!((server.pid("web.1"), server.pid("worker.1")), (web, worker));
    server.kill_supervisor();
    fs::remove_file(memory(&server)).expect("removed");
    server.begin();
    assert_eq!((server.pid("web.1"), server.pid("worker.1")), (web, worker));
    assert!(lives(daemon));
    kill(daemon, Signal::KILL);
}

#[test]
fn a_process_that_nobody_remembers_and_nobody_wants_is_ended() {
    let server = Server::new("");
    // The old one takes its time to end.
    let ready = server.root.path().join("ready");
    let script = format!("trap 'sleep 0.5; exit' TERM; echo > {}; while :; do sleep 0.02; done", ready.display());
    server.want(&[sh("web.1", &script), sh("worker.1", "exec sleep 1000")]);
    let (web, worker) = (server.pid("web.1"), server.pid("worker.1"));
    until("it is ready", || ready.exists());
    server.kill_supervisor();
    fs::remove_file(memory(&server)).expect("removed");
    let trace = server.root.path().join("trace");
    // It looks whether the old one runs; one that only was not waited for yet is not in the way.
    let script = format!("grep -q 'State:.*[RSDT] ' /proc/{web}/status && echo > {}; exec sleep 1001", trace.display());
    server.write_table(&[sh("web.1", &script)]);
    server.begin();
    // The changed one is replaced, the other one ended: fails without orphans.
    assert_ne!(server.pid("web.1"), web);
    // Fails where the orphan does not block the start.
    assert!(!lives(web) && !trace.exists(), "the new one was started before the old one had ended");
    until("the other one is gone", || !lives(worker));
}

#[test]
fn a_number_that_means_another_process_now_is_not_trusted() {
    let server = Server::new("");
    server.want(&[sh("web.1", "exec sleep 1000")]);
    let pid = server.pid("web.1");
    server.kill_supervisor();
    // As if the process had ended, and this number had been given to another one, that was started later.
    let text = fs::read_to_string(memory(&server)).expect("readable");
    let mut document: serde_json::Value = serde_json::from_str(&text).expect("a document");
    let mut stranger = std::process::Command::new("sleep").arg("1000").spawn().expect("started");
    document["processes"][0]["process"][0] = stranger.id().into();
    fs::write(memory(&server), document.to_string()).expect("written");
    server.begin();
    let status = server.running("web.1");
    assert_ne!(status.pid, Some(stranger.id()), "fails without the comparison of the start times");
    server.want(&[]);
    until("it is gone", || server.status("web.1").is_none());
    assert_eq!(stranger.try_wait().expect("ours"), None, "somebody else's process was ended");
    stranger.kill().expect("killed");
    stranger.wait().expect("ours");
    // The test took the memory of this one away.
    kill(pid, Signal::KILL);
}

#[test]
fn sigterm_leaves_everything_running() {
    let server = Server::new("");
    server.want(&[sh("web.1", "printf 'half a line'; exec sleep 1000")]);
    let pid = server.pid("web.1");
    let supervisor = server.supervisor().expect("it runs");
    until("it has written", || fs::metadata(format!("/proc/{pid}/exe")).is_ok() && server.log("web.1").is_empty());
    kill(supervisor, Signal::TERM);
    until("it has left", || !lives(supervisor));
    assert!(server.journal().contains("leaves everything running"), "{}", server.journal());
    server.begin();
    assert_eq!(server.pid("web.1"), pid);
}

#[test]
fn there_is_one_however_many_are_started() {
    let server = Server::new("");
    server.write_table(&[traced(&server, "web.1")]);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| server.begin());
        }
    });
    server.pid("web.1");
    until("it has begun", || !starts(&server, "web.1").is_empty());
    assert_eq!(starts(&server, "web.1").len(), 1);
    // A second one on its own refuses.
    let second =
        std::process::Command::new(&server.exe).args(["supervisor", "--root"]).arg(server.root.path()).status();
    assert!(second.is_ok_and(|status| status.success()), "the probe takes `AlreadyRunning` for success");
    assert_eq!(starts(&server, "web.1").len(), 1);
}

#[test]
fn it_is_nobodys_background_process() {
    let server = Server::new("");
    server.begin();
    let supervisor = server.supervisor().expect("it runs");
    // A session of its own: neither Ctrl-C nor the end of the terminal reach it.
    let session = rustix::process::getsid(pid_from(supervisor)).expect("it runs");
    assert_eq!(session.as_raw_pid().cast_unsigned(), supervisor);
    // Nothing of the command's environment, and no file of it.
    let environment =
        String::from_utf8_lossy(&fs::read(format!("/proc/{supervisor}/environ")).expect("ours")).into_owned();
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert!(!environment.contains("CARGO_MANIFEST_DIR="), "{environment}");
    support::until("it answers", || server.statuses().is_empty());
}
