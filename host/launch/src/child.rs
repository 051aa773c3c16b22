//! Processes that go on: with somebody who waits for them ([`child`]), and without ([`detached`]).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::process::Stdio;

use rustix::process::PidfdFlags;

use crate::start::{Prepared, prepare};
use crate::{Ended, Launch, LaunchError, pid_from};

/// A process that the caller started and has to wait for. Dropping this neither ends it nor waits for it.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    pidfd: OwnedFd,
}

impl Child {
    /// Its number, and that of its process group. It means this process until [`Child::reap`] has returned its end.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// A descriptor that becomes readable when the process has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// How it ended, if it has. After that its number may mean another process.
    ///
    /// # Errors
    ///
    /// When somebody else has waited for it.
    pub fn reap(&mut self) -> std::io::Result<Option<Ended>> {
        Ok(self.process.try_wait()?.map(Ended::from))
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// When somebody else has waited for it.
    pub fn wait(&mut self) -> std::io::Result<Ended> {
        Ok(self.process.wait()?.into())
    }
}

/// Starts a process for which the caller waits: no input, standard output and error both into `output`, `fds` under
/// the given numbers (which are greater than 2), in its own process group.
///
/// # Errors
///
/// When it could not be started; then nothing is left of it.
pub fn child(launch: Launch, output: OwnedFd, fds: Vec<(OwnedFd, RawFd)>) -> Result<Child, LaunchError> {
    let own_group = !launch.calls_setsid;
    let prepared = prepare(&launch, fds)?;
    let program = prepared.program();
    let other = |source: std::io::Error| LaunchError::Other { program: program.clone(), source };
    let errors = output.try_clone().map_err(other)?;
    let mut process = prepared.streams(Stdio::null(), Stdio::from(output), Stdio::from(errors), own_group).spawn()?;
    match open_pidfd(process.id()) {
        Ok(pidfd) => Ok(Child { process, pidfd }),
        Err(source) => {
            // A process that nobody can watch is not left behind.
            let _ = process.kill();
            let _ = process.wait();
            Err(other(source))
        }
    }
}

/// Starts a process that goes on when this one has ended: no input, standard output and error into `output`, in its
/// own process group, or, with [`Launch::calls_setsid`], in the session that it makes for itself. Returns its number.
///
/// While this process lives, a thread of it waits for the new one, so that no zombie is left.
///
/// # Errors
///
/// When it could not be started.
pub fn detached(launch: Launch, output: OwnedFd) -> Result<u32, LaunchError> {
    let own_group = !launch.calls_setsid;
    let prepared: Prepared = prepare(&launch, Vec::new())?;
    let program = prepared.program();
    let other = |source: std::io::Error| LaunchError::Other { program: program.clone(), source };
    let errors = output.try_clone().map_err(other)?;
    let mut process = prepared.streams(Stdio::null(), Stdio::from(output), Stdio::from(errors), own_group).spawn()?;
    let pid = process.id();
    // Without the thread a zombie stays until this process ends, which is no reason to fail.
    let _ = std::thread::Builder::new().name("reaper".to_owned()).stack_size(64 * 1024).spawn(move || process.wait());
    Ok(pid)
}

/// A descriptor for a process that is our child and was not waited for.
pub(crate) fn open_pidfd(pid: u32) -> std::io::Result<OwnedFd> {
    let pid = pid_from(pid).ok_or(std::io::ErrorKind::NotFound)?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}
