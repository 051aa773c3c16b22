//! Commands that somebody waits for, with real processes.
#![expect(clippy::disallowed_methods, reason = "the tests prepare files and look at processes")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jecloud_launch::{
    Ended, Environment, Finished, Input, Launch, LaunchError, RunLimits, Stream, User, find_program, is_root, run,
};

const LIMITS: RunLimits = RunLimits { timeout: Duration::from_secs(60), keep_bytes: 1 << 20 };

fn sh(script: &str) -> Launch {
    Launch::new("sh").args(["-c", script])
}

fn finish(launch: Launch, limits: RunLimits) -> Finished {
    run(launch, limits, &|| false, &mut |_, _| {}).expect("it starts")
}

/// What it wrote to standard output, as text without the last line end.
fn output(launch: Launch) -> String {
    let finished = finish(launch, LIMITS);
    assert_eq!(finished.status, Ended::Exit(0), "{}", String::from_utf8_lossy(&finished.stderr));
    String::from_utf8(finished.stdout).expect("text").trim_end().to_owned()
}

/// Waits until a process is gone, or nothing but a zombie that its adopter has not waited for yet.
fn gone(pid: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) {
        if stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")) {
            return;
        }
        assert!(Instant::now() < deadline, "process {pid} is still there");
        std::thread::yield_now();
    }
}

#[test]
fn a_command_gets_what_it_is_given_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let launch = sh(r#"printf '%s|' "$0" "$@"; pwd; env | sort | grep -v '^\(PWD\|_\|OLDPWD\|SHLVL\)='"#)
        .args(["a b", "$(c)", ""])
        .cwd(directory.path())
        .env(Environment::exactly([("ONLY", "this one"), ("PATH", "/usr/bin:/bin")]));
    let here = directory.path().canonicalize().expect("exists");
    assert_eq!(output(launch), format!("a b|$(c)||{}\nONLY=this one\nPATH=/usr/bin:/bin", here.display()));

    let changes = BTreeMap::from([("CARGO".into(), None), ("MORE".into(), Some("1".into()))]);
    assert_eq!(output(sh("echo ${CARGO-none} $MORE $HOME").env(Environment::Inherit(changes))), {
        format!("none 1 {}", std::env::var("HOME").unwrap_or_default()).trim_end().to_owned()
    });
}

#[test]
fn both_streams_and_the_status_come_back() {
    let mut lines = Vec::new();
    let launch = sh("echo one; echo two >&2; printf three; exit 7");
    let finished = run(launch, LIMITS, &|| false, &mut |stream, line| lines.push((stream, line.to_owned()))).unwrap();
    assert_eq!(finished.status, Ended::Exit(7));
    assert_eq!(finished.stdout, b"one\nthree");
    assert_eq!(finished.stderr, b"two\n");
    let of = |wanted| lines.iter().filter(|line| line.0 == wanted).map(|line| line.1.as_str()).collect::<Vec<_>>();
    assert_eq!(of(Stream::Out), ["one", "three"]);
    assert_eq!(of(Stream::Err), ["two"]);
    assert_eq!(finish(sh("kill -9 $$"), LIMITS).status, Ended::Signal(9));
    assert_eq!(Ended::Signal(9).to_string(), "was ended by SIGKILL");
}

#[test]
fn only_the_last_output_is_kept() {
    let limits = RunLimits { keep_bytes: 100, ..LIMITS };
    let mut count = 0;
    let launch = sh("i=0; while [ $i -lt 20000 ]; do echo line-$i; i=$((i+1)); done");
    let finished = run(launch, limits, &|| false, &mut |_, _| count += 1).unwrap();
    assert_eq!(count, 20000);
    assert_eq!(finished.stdout.len(), 100);
    assert!(finished.stdout.ends_with(b"line-19999\n"));
}

#[test]
fn input_is_handed_over() {
    let big = vec![b'x'; 1 << 20];
    // `cat` writes while it is written to: fails (hangs) where one of the pipes is served with blocking calls.
    let finished = finish(Launch::new("cat").input(Input::Bytes(big.clone())), LIMITS);
    assert_eq!(finished.stdout, big);
    // Who does not read is no error, and does not end this process by SIGPIPE.
    assert_eq!(finish(Launch::new("true").input(Input::Bytes(big)), LIMITS).status, Ended::Exit(0));
    assert_eq!(output(sh("cat; echo end")), "end");
}

#[test]
fn what_cannot_start_says_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, content: &str, mode| -> PathBuf {
        let path = directory.path().join(name);
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        path
    };
    let refused = |launch| run(launch, LIMITS, &|| false, &mut |_, _| {}).expect_err("it cannot start");

    let path = Environment::exactly([("PATH", "/nowhere:/usr/bin")]);
    let error = refused(Launch::new("no-such-program").env(path));
    assert_eq!(error.to_string(), "the program no-such-program was not found in /nowhere:/usr/bin");
    assert!(matches!(refused(Launch::new("/no/such")), LaunchError::NotFound { .. }));
    assert!(matches!(refused(Launch::new(file("plain", "text", 0o644))), LaunchError::Permission { .. }));
    assert!(matches!(refused(Launch::new(directory.path())), LaunchError::Permission { .. }));
    let script = file("script", "#!/no/such/interpreter\n", 0o755);
    assert!(matches!(refused(Launch::new(&script)), LaunchError::NotExecutable { .. }));
    let error = refused(Launch::new("true").cwd(directory.path().join("missing")));
    assert!(matches!(error, LaunchError::Directory { .. }), "{error}");
    assert!(matches!(refused(Launch::new("true").cwd(script)), LaunchError::Directory { .. }));

    // A relative path starts at the working directory of the new process.
    file("here", "#!/bin/sh\necho it is $0\n", 0o755);
    assert_eq!(output(Launch::new("./here").cwd(directory.path())).split('/').next_back(), Some("here"));
}

#[test]
fn programs_are_found_in_absolute_directories_only() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::create_dir(directory.path().join("tool")).expect("made");
    let path = format!("{}::.:/usr/bin:/bin", directory.path().display());
    assert_eq!(find_program("tool", &path), None, "a directory is no program");
    assert!(find_program("sh", &path).is_some_and(|found| found.is_absolute()));
    assert_eq!(find_program("Cargo.toml", "."), None);
    assert_eq!(find_program("", &path), None);
}

#[test]
fn too_slow_is_ended_with_everything_it_started() {
    // Fails without SIGKILL after the grace: both ignore SIGTERM. Fails without the group: the grandchild stays.
    let script = "trap '' TERM; (trap '' TERM; while :; do sleep 0.1; done) & echo $!; while :; do sleep 0.1; done";
    let limits = RunLimits { timeout: Duration::from_millis(300), keep_bytes: 1000 };
    let finished = finish(sh(script), limits);
    assert_eq!(finished.status, Ended::TimedOut);
    assert!(finished.took >= Duration::from_millis(2300), "SIGKILL came after {:?}", finished.took);
    gone(String::from_utf8(finished.stdout).expect("a number").trim());

    // Who obeys SIGTERM is not kept waiting.
    let finished = finish(sh("trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done"), limits);
    assert_eq!((finished.status, finished.stdout.as_slice()), (Ended::TimedOut, b"bye\n".as_slice()));
    assert!(finished.took < Duration::from_secs(2), "{:?}", finished.took);
}

#[test]
fn a_cancelled_command_is_ended() {
    let begin = Instant::now();
    let started = std::cell::Cell::new(false);
    let finished =
        run(sh("echo go; exec sleep 1000"), LIMITS, &|| started.get(), &mut |_, _| started.set(true)).unwrap();
    assert_eq!(finished.status, Ended::Cancelled);
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn what_is_left_of_the_group_is_killed() {
    // Fails without the SIGKILL to the group after the end of the command.
    gone(&output(sh("sleep 1000 & echo $!")));
}

#[test]
fn a_daemon_that_holds_the_output_open_does_not_hold_the_caller() {
    // Fails without `DRAIN`: the end of the output comes when the daemon ends.
    let directory = tempfile::tempdir().expect("a directory");
    let script = "setsid sh -c 'echo $$ > pid; exec sleep 1000' & until [ -s pid ]; do sleep 0.02; done; cat pid";
    let pid: u32 = output(sh(script).cwd(directory.path())).parse().expect("a number");
    let pid = jecloud_launch::pid_from(pid).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is still there");
}

#[test]
fn inherited_files_are_not_passed_on() {
    // `dup` without CLOEXEC stands for what a build server leaves open. Fails without `inherited`: the command sees
    // the pipe.
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    let careless = rustix::io::dup(&writer).expect("a descriptor");
    let links = output(sh("ls -l /proc/self/fd"));
    let number = std::os::fd::AsRawFd::as_raw_fd(&careless);
    assert!(links.contains(&format!(" {number} -> /dev/null")), "{links}");
    assert!(!links.lines().any(|line| line.contains(&format!(" {number} -> pipe"))), "{links}");
    drop(reader);
}

#[test]
fn a_command_can_be_another_user() {
    if !is_root() {
        // Only root may become somebody else; the others are refused.
        let error = run(sh("true").user(Some(User { uid: 0, gid: 0 })), LIMITS, &|| false, &mut |_, _| {});
        assert!(matches!(error, Err(LaunchError::Permission { .. })), "{error:?}");
        return;
    }
    let nobody = User::lookup("nobody").expect("every system has it");
    // Fails without `uid`, `gid`, or where the supplementary groups are kept (then `id -G` lists group 0).
    let launch = sh("id -u; id -g; id -G").user(Some(nobody)).cwd("/");
    assert_eq!(output(launch), format!("{}\n{}\n{}", nobody.uid, nobody.gid, nobody.gid));

    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("set");
    let secret = directory.path().join("secret");
    fs::write(&secret, "secret").expect("written");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("set");
    let read = Launch::new("cat").arg(&secret).cwd("/");
    assert_eq!(output(read.clone()), "secret");
    assert_eq!(finish(read.user(Some(nobody)), LIMITS).status, Ended::Exit(1));
}

#[test]
fn what_is_printed_for_debugging_holds_no_secret() {
    let launch = sh("true").variable("TOKEN", "hunter2").input(Input::Bytes(b"hunter2".to_vec()));
    let text = format!("{launch:?}");
    assert!(text.contains("TOKEN") && !text.contains("hunter2"), "{text}");
}
