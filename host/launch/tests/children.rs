//! Processes that go on, and processes that have the terminal.
#![expect(clippy::disallowed_methods, reason = "the tests prepare files and look at processes")]

use std::fs;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use jecloud_launch::{
    Ended, Launch, LaunchError, Signal, child, detached, group_members, interactive, pid_from, signal_group,
};

fn sh(script: &str) -> Launch {
    Launch::new("sh").args(["-c", script])
}

fn pipe() -> (std::io::PipeReader, OwnedFd) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    (reader, writer.into())
}

fn read(mut reader: std::io::PipeReader) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("read");
    text
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within ten seconds");
        std::thread::yield_now();
    }
}

#[test]
fn a_child_gets_the_files_it_is_given_under_their_numbers() {
    // Many descriptors are passed so that the numbers they have here and get there overlap.
    let (reader, output) = pipe();
    let mut readers = Vec::new();
    let mut fds = Vec::new();
    for number in 3..12 {
        let (reader, writer) = pipe();
        readers.push(reader);
        fds.push((writer, number));
    }
    fds.reverse();
    let script = "for n in 3 4 5 6 7 8 9; do eval \"echo this is $n >&$n\"; done; echo out; echo err >&2";
    let mut child = child(sh(script), output, fds).expect("it starts");
    assert_eq!(rustix::process::getpgid(pid_from(child.pid())).expect("it lives").as_raw_pid() as u32, child.pid());
    assert_eq!(child.wait().expect("ours"), Ended::Exit(0));
    for (number, reader) in (3..10).zip(readers) {
        assert_eq!(read(reader), format!("this is {number}\n"));
    }
    assert_eq!(read(reader), "out\nerr\n");
}

#[test]
fn a_child_that_cannot_be_executed_is_an_error_even_when_files_are_passed() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = directory.path().join("script");
    fs::write(&script, "#!/no/such/interpreter\n").expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("set");
    // Fails without `reserve`'s second half where the numbers are free: the pipe for the report is overwritten, and
    // the start looks like a success.
    for first in [3, 20, 60] {
        let (_reader, output) = pipe();
        let fds = (first..first + 40).map(|number| (pipe().1, number)).collect();
        let error = child(Launch::new(&script), output, fds).expect_err("it cannot start");
        assert!(matches!(error, LaunchError::NotExecutable { .. }), "{error}");
    }
}

#[test]
fn the_end_of_a_child_is_seen_and_its_group_can_be_ended() {
    let (reader, output) = pipe();
    let mut child = child(sh("sleep 1000 & echo $!; exec sleep 1000"), output, Vec::new()).expect("it starts");
    wait_for("two members", || group_members(child.pid()).len() == 2);
    assert_eq!(child.reap().expect("ours"), None);
    assert!(signal_group(child.pid(), Signal::TERM));
    let mut fds = [rustix::event::PollFd::from_borrowed_fd(child.pidfd(), rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut fds, None).expect("polled");
    assert_eq!(child.reap().expect("ours"), Some(Ended::Signal(15)));
    let pid = child.pid();
    wait_for("no members", || group_members(pid).is_empty());
    drop(reader);
}

#[test]
fn a_detached_process_goes_on_and_leaves_no_zombie() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log");
    let output = rustix::fs::open(
        &log,
        rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC,
        0o600.into(),
    )
    .expect("a file");
    let pid = detached(sh("echo here; exec sleep 1000"), output).expect("it starts");
    assert_eq!(rustix::process::getpgid(pid_from(pid)).expect("it lives").as_raw_pid() as u32, pid);
    wait_for("the log", || fs::read_to_string(&log).is_ok_and(|text| text == "here\n"));
    signal_group(pid, Signal::KILL);
    // Fails without the reaper: the number stays taken by a zombie.
    wait_for("nothing left", || fs::metadata(format!("/proc/{pid}")).is_err());

    let (_reader, output) = pipe();
    let pid = detached(Launch { calls_setsid: true, ..sh("exec sleep 1000") }, output).expect("it starts");
    // In the group of this process: it could start a session now.
    assert_eq!(rustix::process::getpgid(pid_from(pid)).expect("it lives"), rustix::process::getpgrp());
    rustix::process::kill_process(pid_from(pid).expect("a pid"), Signal::KILL).expect("killed");
}

#[test]
fn a_command_at_the_terminal_decides_what_signals_mean() {
    assert_eq!(interactive(sh("exit 3")).expect("it starts"), Ended::Exit(3));
    // Fails without the handlers: Ctrl-C ends this process, and SIGTERM ends it without ending the command.
    assert_eq!(interactive(sh("kill -INT $PPID; kill -QUIT $PPID; exit 4")).expect("it starts"), Ended::Exit(4));
    let script = "trap 'exit 5' TERM; kill -TERM $PPID; while :; do sleep 0.05; done";
    assert_eq!(interactive(sh(script)).expect("it starts"), Ended::Exit(5));
    assert!(matches!(interactive(Launch::new("no-such-program")), Err(LaunchError::NotFound { .. })));
}
