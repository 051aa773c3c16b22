//! Looking at processes, and ending them.

#![expect(clippy::disallowed_methods, reason = "/proc is where processes are found")]

use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::eventually::eventually;

/// Whether there is a process that has not ended. One that has, and that nobody has waited for, is not alive.
pub fn is_alive(pid: u32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// Who started it, or who took it over; none where there is no such process.
pub fn parent_of(pid: u32) -> Option<u32> {
    state_and_parent(pid).map(|(_, parent)| parent)
}

/// Ends a process as nothing can be refused, and waits until it has ended.
///
/// # Panics
///
/// Where it is still there after ten seconds.
#[track_caller]
pub fn kill(pid: u32) {
    send(pid, Signal::KILL);
    eventually(Duration::from_secs(10), &format!("process {pid} ends"), || (!is_alive(pid)).then_some(()));
}

/// Sends a signal to a process. One that is not there any more gets none.
pub fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// The live processes whose command line, environment or working directory mentions a path: whatever was started for
/// a directory that nobody else uses. This process is never among them.
pub fn pids_that_mention(path: &Path) -> Vec<u32> {
    let needle = path.as_os_str().as_encoded_bytes();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|&pid| pid != std::process::id() && mentions(pid, needle) && is_alive(pid)).collect()
}

fn mentions(pid: u32, needle: &[u8]) -> bool {
    let has = |haystack: &[u8]| haystack.windows(needle.len()).any(|window| window == needle);
    let of = |name: &str| format!("/proc/{pid}/{name}");
    // What cannot be read has ended, or belongs to somebody else.
    ["cmdline", "environ"].iter().any(|name| std::fs::read(of(name)).is_ok_and(|bytes| has(&bytes)))
        || std::fs::read_link(of("cwd")).is_ok_and(|cwd| has(cwd.as_os_str().as_encoded_bytes()))
}

/// From `/proc/PID/stat`: the program's name is in parentheses and may hold anything, so what follows is found from
/// the end.
fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}

/// When a process started, in the kernel's ticks since the machine did: with its number, this names it for good.
#[cfg(feature = "s3")]
pub(crate) fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_by_what_it_mentions_and_gone_when_it_was_killed() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep").arg("600").current_dir(directory.path()).spawn().unwrap();
        assert_eq!(pids_that_mention(directory.path()), [child.id()]);
        assert_eq!(parent_of(child.id()), Some(std::process::id()));
        // Nobody has waited for it: it has ended all the same.
        kill(child.id());
        assert_eq!(pids_that_mention(directory.path()), Vec::<u32>::new());
        child.wait().unwrap();
    }
}
