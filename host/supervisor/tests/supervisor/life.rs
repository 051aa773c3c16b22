//! Processes are started, ended and started again, as the tables say.
use std::fs;
use std::time::{Duration, Instant};

use jecloud_launch::Signal;
use jecloud_model::processes::{Exit, ProcessState};

use crate::support::{self, Server, kill, lives, sh, until, wait_for};

#[test]
fn what_is_wanted_runs_and_what_is_not_wanted_ends() {
    let server = Server::new("");
    let statuses = server.want(&[sh("web.1", "echo $ONLY; exec sleep 1000"), sh("worker.1", "exec sleep 1000")]);
    // The answer comes after the processes were started.
    assert!(
        statuses.iter().all(|status| status.state == ProcessState::Running && status.pid.is_some()),
        "{statuses:?}"
    );
    assert_eq!(statuses.len(), 2);
    let (web, worker) = (server.pid("web.1"), server.pid("worker.1"));
    // Asked again, nothing changes.
    server.want(&[sh("web.1", "echo $ONLY; exec sleep 1000"), sh("worker.1", "exec sleep 1000")]);
    assert_eq!((server.pid("web.1"), server.pid("worker.1")), (web, worker));

    server.want(&[sh("worker.1", "exec sleep 1000")]);
    until("web.1 is gone", || server.status("web.1").is_none());
    assert!(!lives(web) && lives(worker));
    // Its pipe is gone, too.
    assert!(!server.root.run().join("shop.production.web.1.out").exists());
}

#[test]
fn a_table_that_nobody_told_of_is_found() {
    // Fails without the regular reading: whoever wrote the table may have died before it could tell.
    let server = Server::new("");
    server.begin();
    server.write_table(&[sh("web.1", "exec sleep 1000")]);
    server.pid("web.1");
}

#[test]
fn an_unreadable_table_ends_nothing() {
    let server = Server::new("");
    server.want(&[sh("web.1", "exec sleep 1000")]);
    let web = server.pid("web.1");
    fs::write(server.place().process_table(), "{ \"format\": 1, ").expect("written");
    // Fails where an unreadable table counts as an empty one; also for a process manager that never saw a good one.
    jecloud_supervisor::client::reconcile(&server.root, support::soon()).expect("an answer");
    assert_eq!(server.pid("web.1"), web);
    server.kill_supervisor();
    server.begin();
    assert_eq!(server.pid("web.1"), web);
    assert!(server.journal().contains("processes.json is truncated"), "{}", server.journal());
}

#[test]
fn a_changed_process_is_replaced_and_there_are_never_two() {
    let server = Server::new("");
    // Each leaves a trace of its life: an overlap would show as two lines `begin` in a row.
    let script = |number: u8| {
        let trace = server.root.path().join("trace");
        format!(
            "T={}; : {number}; trap 'sleep 0.3; echo end >> $T; exit' TERM; echo begin >> $T; while :; do sleep 0.02; done",
            trace.display()
        )
    };
    let trace = || fs::read_to_string(server.root.path().join("trace")).unwrap_or_default();
    server.want(&[sh("web.1", &script(1))]);
    until("it has begun", || trace() == "begin\n");
    let first = server.pid("web.1");
    server.want(&[sh("web.1", &script(2))]);
    assert_eq!(server.status("web.1").expect("known").state, ProcessState::Stopping);
    until("the new one has begun", || trace().matches("begin").count() == 2);
    assert_eq!(trace(), "begin\nend\nbegin\n");
    let status = server.running("web.1");
    assert_ne!(status.pid, Some(first));
    assert_eq!(status.restarts, 0, "it did not end by itself");
}

#[test]
fn a_killed_process_is_started_again_at_once() {
    let server = Server::new("");
    server.want(&[sh("web.1", "exec sleep 1000")]);
    let first = server.pid("web.1");
    kill(first, Signal::KILL);
    let status =
        wait_for("another one", || server.status("web.1").filter(|status| status.pid.is_some_and(|pid| pid != first)));
    assert_eq!(status.restarts, 1);
    assert_eq!(status.last_exit, Some(Exit::Signal(9)));
    assert_eq!(status.state, ProcessState::Running);
}

#[test]
fn a_process_that_keeps_ending_is_started_less_and_less_often() {
    let server = Server::new("");
    let starts = server.root.path().join("starts");
    let script = format!("date +%s%N >> {}; echo last words; exit 7", starts.display());
    server.want(&[sh("web.1", &script)]);
    let read = || -> Vec<u128> {
        let text = fs::read_to_string(&starts).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    };
    until("four starts", || read().len() == 4);
    let status = wait_for("back-off", || server.status("web.1").filter(|status| status.state == ProcessState::BackOff));
    assert_eq!((status.restarts, status.pid), (3, None));
    assert_eq!(status.last_exit, Some(Exit::Status(7)));
    // The first restart is immediate, then 1 and 2 seconds pass. Only lower bounds: the machine may be busy.
    let times = read();
    let second = Duration::from_secs(1).as_nanos();
    assert!(times[2] - times[1] >= second && times[3] - times[2] >= 2 * second, "{times:?}");
    assert_eq!(server.texts("web.1").len(), 4, "each last word is in the log before the end is reported");
    // A changed process does not wait for the old one's back-off.
    let begin = Instant::now();
    server.want(&[sh("web.1", "exec sleep 1000")]);
    let status = server.running("web.1");
    assert!(begin.elapsed() < Duration::from_secs(3));
    assert_eq!(status.restarts, 0);
}

#[test]
fn what_ignores_sigterm_is_killed_with_everything_it_started() {
    let server = Server::new("");
    let grandchild = server.root.path().join("grandchild");
    let script = format!(
        "trap '' TERM; (trap '' TERM; while :; do sleep 0.05; done) & echo $! > {}; while :; do sleep 0.05; done",
        grandchild.display()
    );
    let mut spec = sh("web.1", &script);
    spec.stop_timeout_ms = 500;
    server.want(&[spec]);
    let pid = server.pid("web.1");
    let grandchild: u32 =
        wait_for("its number", || fs::read_to_string(&grandchild).ok().and_then(|text| text.trim().parse().ok()));
    let begin = Instant::now();
    server.want(&[]);
    // Fails without SIGKILL, and without the signal to the group.
    until("it is gone", || server.status("web.1").is_none());
    assert!(begin.elapsed() >= Duration::from_millis(500));
    assert!(!lives(pid) && !lives(grandchild));
}

#[test]
fn a_wrapper_that_ends_first_leaves_its_child_the_time_to_end() {
    // As `npm start` does: the wrapper ends at SIGTERM, what it started still has requests to finish.
    let server = Server::new("");
    let done = server.root.path().join("done");
    let script = format!(
        "trap 'exit 0' TERM; (trap 'sleep 0.5; echo finished > {}; exit' TERM; echo ready; while :; do sleep 0.02; done) & \
         while :; do sleep 0.02; done",
        done.display()
    );
    server.want(&[sh("web.1", &script)]);
    until("it is ready", || server.texts("web.1") == ["ready"]);
    server.want(&[]);
    until("it is gone", || server.status("web.1").is_none());
    // Fails where the end of the wrapper counts as the end of all, and the rest is killed.
    assert_eq!(fs::read_to_string(done).expect("it finished"), "finished\n");
}

#[test]
fn what_a_crashed_process_leaves_behind_is_killed() {
    let server = Server::new("");
    let left = server.root.path().join("left");
    let script = format!("sleep 1000 & echo $! >> {}; exec sleep 1001", left.display());
    server.want(&[sh("web.1", &script)]);
    let pid = server.pid("web.1");
    let first: u32 = wait_for("a number", || fs::read_to_string(&left).ok()?.lines().next()?.parse().ok());
    kill(pid, Signal::KILL);
    until("there is another one", || {
        server.status("web.1").is_some_and(|status| status.pid.is_some_and(|new| new != pid))
    });
    assert!(!lives(first), "it would be in the way of the next one");
}

#[test]
fn what_cannot_be_started_says_why_and_is_tried_again() {
    let server = Server::new("");
    let program = server.root.path().join("later");
    let mut spec = sh("web.1", "");
    spec.argv = vec![program.display().to_string()];
    server.want(&[spec]);
    let status = server.status("web.1").expect("known");
    let Some(Exit::NotStarted(why)) = &status.last_exit else { panic!("{status:?}") };
    assert!(why.contains("was not found"), "{why}");
    assert_eq!(status.state, ProcessState::BackOff);
    fs::copy("/bin/sleep", &program).expect("copied");
    // Now it can be started; that it ends at once is another matter.
    until("it was started", || {
        matches!(server.status("web.1").and_then(|status| status.last_exit), Some(Exit::Status(1)))
    });
}

#[test]
fn it_leaves_when_nothing_is_wanted() {
    let server = Server::new("export JECLOUD_TEST_IDLE=300");
    server.want(&[sh("web.1", "exec sleep 1000")]);
    let supervisor = server.supervisor().expect("it runs");
    server.want(&[]);
    until("it has left", || server.supervisor().is_none());
    until("it is gone", || !lives(supervisor));
    assert!(matches!(
        jecloud_supervisor::client::status(&server.root, support::soon()),
        Err(jecloud_supervisor::ClientError::NotRunning { .. })
    ));
    // Whoever needs it starts it.
    server.want(&[sh("web.1", "exec sleep 1000")]);
    server.pid("web.1");
}

#[test]
fn a_long_path_is_no_obstacle() {
    // The address of a socket holds 108 bytes. Fails where the socket is bound by its path.
    let path = format!("{}/{}", "a".repeat(100), "b".repeat(100));
    let server = Server::below(tempfile::tempdir().expect("a directory"), &path, "");
    server.want(&[sh("web.1", "echo here; exec sleep 1000")]);
    until("it has written", || server.texts("web.1") == ["here"]);
    let socket = server.root.run().join("supervisor.sock");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(socket).expect("there").permissions().mode() & 0o777, 0o600);
}
