//! The front's part of staying alive: it watches the process manager, as the process manager watches it.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jecloud_disk::lock;
use jecloud_launch::{Child, pid_from};
use jecloud_model::layout::ServerRoot;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::PidfdFlags;

use crate::client;
use crate::listeners;

/// The process manager's lock is free for so long before a new one is started: one that is being replaced gets the
/// time to be replaced.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the caller is asked whether it is leaving, and how often is looked where nothing tells of a change.
const INTERVAL: Duration = Duration::from_millis(500);

/// After a process manager could not be started, so long passes before the next attempt.
const RETRY: Duration = Duration::from_secs(5);

/// Starts a new process manager whenever there was none for a second, until `leave` is set. To be called by the front,
/// on a thread of its own: it blocks.
///
/// `listeners` are the front's listening sockets. They are handed to the new process manager, which hands them to the
/// next front: so nobody is refused, whichever of the two ends first.
///
/// While there is a process manager this waits for its end and costs nothing but a look at `leave` twice a second.
pub fn revive(root: &ServerRoot, exe: &Path, listeners: &[OwnedFd], leave: &AtomicBool) {
    let path = crate::lock_path(root);
    // Those that we started have to be waited for.
    let mut children: Vec<Child> = Vec::new();
    let mut free_since: Option<Instant> = None;
    let mut not_before: Option<Instant> = None;
    while !leave.load(Ordering::Relaxed) {
        children.retain_mut(|child| !matches!(child.reap(), Ok(Some(_)) | Err(_)));
        match lock::holder(&path) {
            Ok(Some(pid)) => {
                free_since = None;
                wait_for_end(pid, leave);
                continue;
            }
            // What cannot be looked at is not known to be free.
            Err(_) => free_since = None,
            Ok(None) => {
                let now = Instant::now();
                let since = *free_since.get_or_insert(now);
                // One that was started and has not taken the lock yet is waited for.
                if children.is_empty() && now.duration_since(since) >= PATIENCE && not_before.is_none_or(|at| now >= at)
                {
                    not_before = Some(now + RETRY);
                    children.extend(start(root, exe, listeners));
                }
            }
        }
        pause(INTERVAL / 5);
    }
}

/// Starts one. What goes wrong is tried again later; there is nobody to tell.
fn start(root: &ServerRoot, exe: &Path, sockets: &[OwnedFd]) -> Option<Child> {
    let fds = listeners::for_child(sockets).ok()?;
    let launch = client::launch(root, exe).variable(listeners::VARIABLE, sockets.len().to_string());
    jecloud_launch::child(launch, client::error_output(root).ok()?, fds).ok()
}

/// Returns when the process has ended, or may have, or when the caller is leaving.
fn wait_for_end(pid: u32, leave: &AtomicBool) {
    let pidfd = pid_from(pid).and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
    let Some(pidfd) = pidfd else { return pause(INTERVAL / 5) };
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(INTERVAL.subsec_nanos()) };
    while !leave.load(Ordering::Relaxed) {
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return pause(INTERVAL / 50),
            Err(_) => return pause(INTERVAL),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a lock tells nobody that it is free; this is the pause between two looks"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
