//! Runs a job of a test in a process of its own: the test binary starts itself again, with one test that does the job.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

/// Names the job in the child's environment.
pub(crate) const JOB: &str = "JECLOUD_DISK_JOB";

/// Where the job is done.
pub(crate) const PLACE: &str = "JECLOUD_DISK_PLACE";

/// The status of a child whose job ran out of space.
pub(crate) const OUT_OF_SPACE: i32 = 43;

/// The status of a child whose job failed in another way.
pub(crate) const FAILED: i32 = 44;

/// In the child: the job and its place. In the test run itself: none.
pub(crate) fn job() -> Option<(String, std::path::PathBuf)> {
    Some((std::env::var(JOB).ok()?, std::env::var_os(PLACE)?.into()))
}

/// In the child: ends the process as the result says.
pub(crate) fn end(result: Result<(), jecloud_disk::DiskError>) -> ! {
    match result {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("{error}: {:?}", error.io());
            std::process::exit(if error.is_out_of_space() { OUT_OF_SPACE } else { FAILED });
        }
    }
}

/// The command that runs the test `child` of this binary for one job.
#[expect(clippy::disallowed_methods, reason = "what is tested is what happens when a process of ours is killed")]
pub(crate) fn command(job: &str, place: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the test binary has a path"));
    command.args(["--exact", "child", "--nocapture", "--quiet"]);
    command.env(JOB, job).env(PLACE, place).stdin(Stdio::null());
    for name in ["JECLOUD_FAULT", "JECLOUD_FAULT_COUNTER", "JECLOUD_FAULT_LOG"] {
        command.env_remove(name);
    }
    command
}

/// Does a job with a fault, and waits for the end.
pub(crate) fn run(job: &str, place: &Path, fault: &str) -> Output {
    command(job, place).env("JECLOUD_FAULT", fault).output().expect("the test binary starts")
}

/// Starts a job whose output can be read and whose input can be written.
pub(crate) fn start(job: &str, place: &Path) -> Child {
    let mut command = command(job, place);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the test binary starts")
}

/// The names of the points that a job passes, in their order.
pub(crate) fn points(job: &str, place: &Path, log: &Path) -> Vec<String> {
    let output = command(job, place).env("JECLOUD_FAULT_LOG", log).output().expect("the test binary starts");
    assert!(output.status.success(), "{job} fails without any fault: {output:?}");
    let text = jecloud_disk::durable::read_text(log).expect("the log can be read").unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Whether a child died by SIGKILL.
pub(crate) fn was_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    status.signal() == Some(9)
}
