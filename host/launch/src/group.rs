//! Process groups: a process together with whatever it started.

use std::io::Read as _;

use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
pub use rustix::process::Signal;

/// A pid that is one: positive, and not that of the whole machine's first process.
pub fn pid_from(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw)
}

/// Sends SIGTERM to one process. The caller knows that the number still means it: because it holds a lock.
pub fn terminate(pid: u32) {
    if let Some(pid) = pid_from(pid) {
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
}

/// Sends a signal to every member of the process group that `leader` leads. Says whether there was any.
///
/// The caller knows that the number still means this group: because the leader was not yet waited for, or because
/// [`group_members`] has just found members. (The kernel does not reuse the number of a group that has members.)
///
/// Members that belong to somebody else are not reached; nobody is told.
pub fn signal_group(leader: u32, signal: Signal) -> bool {
    let Some(leader) = pid_from(leader) else { return false };
    !matches!(rustix::process::kill_process_group(leader, signal), Err(Errno::SRCH))
}

/// The living members of the process group that `leader` leads: those that are not merely waiting to be waited for.
///
/// Read from `/proc`, so it costs a look at every process of the machine.
pub fn group_members(leader: u32) -> Vec<u32> {
    let is_member =
        |pid: &u32| state_and_group(*pid).is_some_and(|(state, group)| group == leader && !b"ZX".contains(&state));
    pids().into_iter().filter(is_member).collect()
}

/// All numbers of processes that there are.
fn pids() -> Vec<u32> {
    let Ok(directory) = rustix::fs::open("/proc", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    else {
        return Vec::new();
    };
    let Ok(entries) = Dir::new(directory) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse().ok()).collect()
}

/// Kills every process of a user. Says how many there were: none is left once it says 0.
///
/// Those of other containers are left alone, whose users can have the same numbers.
pub fn kill_all_of(user: crate::User) -> usize {
    let Some(ours) = namespace("self") else { return 0 };
    let is_its = |pid: &u32| {
        rustix::fs::stat(format!("/proc/{pid}")).is_ok_and(|found| found.st_uid == user.uid)
            && namespace(&pid.to_string()).is_some_and(|its| its == ours)
            && state_and_group(*pid).is_some_and(|(state, _)| !b"ZX".contains(&state))
    };
    let all: Vec<_> = pids().into_iter().filter(is_its).filter_map(pid_from).collect();
    for pid in &all {
        let _ = rustix::process::kill_process(*pid, Signal::KILL);
    }
    all.len()
}

/// Names the processes that a process can see.
fn namespace(pid: &str) -> Option<Vec<u8>> {
    rustix::fs::readlink(format!("/proc/{pid}/ns/pid"), Vec::new()).ok().map(std::ffi::CString::into_bytes)
}

/// The state and the process group of a process: the third and fifth field of `/proc/PID/stat`.
fn state_and_group(pid: u32) -> Option<(u8, u32)> {
    let path = format!("/proc/{pid}/stat");
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut stat = Vec::with_capacity(512);
    std::io::PipeReader::from(file).read_to_end(&mut stat).ok()?;
    // The second field is the program's name in parentheses, and may itself hold parentheses and spaces.
    let after_name = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(after_name + 2..)?).ok()?;
    let mut fields = rest.split(' ');
    let state = *fields.next()?.as_bytes().first()?;
    Some((state, fields.nth(1)?.parse().ok()?))
}
