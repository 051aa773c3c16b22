//! Commands that get the terminal.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::child::open_pidfd;
use crate::start::prepare;
use crate::{Ended, Launch, LaunchError, Signal, pid_from};

/// Runs a command that inherits standard input, output and error, and waits for its end. It stays in the process
/// group of this process, so that it may read from the terminal and gets Ctrl-C.
///
/// From the call on this process no longer ends by Ctrl-C or Ctrl-\: the command decides what they mean. SIGTERM and
/// SIGHUP sent to this process alone are passed on to the command. None of the four regains its usual effect
/// afterwards; callers end soon after.
///
/// # Errors
///
/// When the command could not be started or watched.
pub fn interactive(launch: Launch) -> Result<Ended, LaunchError> {
    let prepared = prepare(&launch, Vec::new())?;
    let program = prepared.program();
    let other = |source: std::io::Error| LaunchError::Other { program: program.clone(), source };
    let ignored = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGQUIT] {
        signal_hook::flag::register(signal, Arc::clone(&ignored)).map_err(other)?;
    }
    let passed_on = [(SIGTERM, Signal::TERM), (SIGHUP, Signal::HUP)].map(|(number, signal)| {
        let flag = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(number, Arc::clone(&flag)).map(|_| (flag, signal))
    });
    let mut process = prepared.streams(Stdio::inherit(), Stdio::inherit(), Stdio::inherit(), false).spawn()?;
    let pidfd = match open_pidfd(process.id()) {
        Ok(pidfd) => pidfd,
        // Then nothing is passed on, but the command is started and has the terminal.
        Err(_) => return process.wait().map(Ended::from).map_err(other),
    };
    loop {
        // A signal ends `poll` early, except for one that came just before it: hence not without a time limit.
        let timeout = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(other(error.into())),
        }
        if !fds[0].revents().is_empty() {
            return process.wait().map(Ended::from).map_err(other);
        }
        for (flag, signal) in passed_on.iter().flatten() {
            if flag.swap(false, Ordering::Relaxed)
                && let Some(pid) = pid_from(process.id())
            {
                let _ = rustix::process::kill_process(pid, *signal);
            }
        }
    }
}
