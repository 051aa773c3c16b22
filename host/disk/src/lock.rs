//! Locks that die with their holder.
//!
//! A lock is an flock on a file that is never unlinked, so there is nothing to clean up by hand: when the holder
//! ends, in whichever way, the lock is free. The number in the file is for people; what counts is the lock.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{DiskError, Result, at};
use crate::fault;

/// The pause between two attempts of [`Lock::acquire`]: short enough not to be felt.
const RETRY: Duration = Duration::from_millis(5);

/// A lock that is held, until this is dropped or the process ends. Child processes never hold it: the file is closed
/// when they start.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock, or returns none where somebody else holds it. The directory must exist; the file is made.
    ///
    /// # Errors
    ///
    /// [`DiskError::Io`].
    pub fn try_acquire(path: &Path) -> Result<Option<Self>> {
        fault::point("lock.open").map_err(at("lock", path))?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(path);
        let file = file.map_err(at("lock", path))?;
        if !lock(&file).map_err(at("lock", path))? {
            return Ok(None);
        }
        let held = Self { file, path: path.to_owned() };
        let pid = format!("{}\n", std::process::id());
        // Written before it is cut to length: there is no instant at which it is empty.
        held.file.write_all_at(pid.as_bytes(), 0).map_err(at("write", path))?;
        held.file.set_len(pid.len() as u64).map_err(at("write", path))?;
        fault::point("lock.done").map_err(at("lock", path))?;
        Ok(Some(held))
    }

    /// Takes the lock; waits for it until `deadline`, and tries at least once.
    ///
    /// # Errors
    ///
    /// [`DiskError::Locked`] with the holder where it is still held then; [`DiskError::Io`].
    pub fn acquire(path: &Path, deadline: Instant) -> Result<Self> {
        loop {
            if let Some(lock) = Self::try_acquire(path)? {
                return Ok(lock);
            }
            if Instant::now() >= deadline {
                return Err(DiskError::Locked { path: path.to_owned(), holder: read_pid(path) });
            }
            pause();
        }
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Explicit, because a child between fork and exec still has the file open.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

#[expect(clippy::disallowed_methods, reason = "flock knows no deadline; this is the pause between two attempts")]
fn pause() {
    std::thread::sleep(RETRY);
}

/// Whether the lock is ours now. Not fooled by [`holder`], which takes a shared lock for a moment.
fn lock(file: &File) -> io::Result<bool> {
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error.into()),
        }
        if !only_shared(file)? {
            return Ok(false);
        }
        std::thread::yield_now();
    }
}

/// Whether nobody holds the file exclusively.
fn only_shared(file: &File) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            rustix::fs::flock(file, FlockOperation::Unlock)?;
            Ok(true)
        }
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The process that holds the lock, by the number that it wrote; 0 for one that has not written it yet. None where
/// nobody holds it. The answer may be out of date when it arrives.
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn holder(path: &Path) -> Result<Option<u32>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at("look at the lock", path)(error)),
    };
    if only_shared(&file).map_err(at("look at the lock", path))? {
        return Ok(None);
    }
    Ok(Some(read_pid(path).unwrap_or(0)))
}

fn read_pid(path: &Path) -> Option<u32> {
    let bytes = crate::durable::read_at_most(path, 64).ok()??;
    // Between the two steps of writing it, the end of a longer earlier number may follow on a line of its own.
    std::str::from_utf8(&bytes).ok()?.lines().next()?.trim().parse().ok()
}
