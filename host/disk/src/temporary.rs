//! Files and directories that are not finished yet, and how those are found that nobody will finish.
//!
//! Their names begin with a dot. Whoever makes one holds a lock (flock) on it until it has its final name, so that
//! [`sweep`] tells work in progress from what a crash left behind, without trusting process numbers or clocks.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, Mode};
use rustix::io::Errno;

use crate::error::{Result, at};
use crate::{fault, tree};

/// What the names of unfinished files contain, after the dot and the name of the finished one.
const MARK: &str = ".jecloud-tmp-";

/// What the names of unfinished directories begin with; then comes the finished name.
pub(crate) const INCOMING: &str = ".incoming-";

/// The directory that holds `path`.
pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// A name beside `path` that nobody else uses.
pub(crate) fn name_beside(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut name = OsString::from(".");
    let own = path.file_name().unwrap_or_default().as_bytes();
    // A name has at most 255 bytes; the mark, a process number and the count fit into the rest.
    name.push(OsStr::from_bytes(&own[..own.len().min(180)]));
    name.push(MARK);
    name.push(format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    parent_of(path).join(name)
}

/// The name of an unfinished directory.
pub(crate) fn incoming(path: &Path) -> PathBuf {
    let mut name = OsString::from(INCOMING);
    name.push(path.file_name().unwrap_or_default());
    parent_of(path).join(name)
}

/// Whether this is the name of something unfinished.
pub fn is_temporary(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let mark = MARK.as_bytes();
    name.starts_with(b".")
        && (name.starts_with(INCOMING.as_bytes()) || name.windows(mark.len()).any(|part| part == mark))
}

/// A file that has no final name yet; removed when dropped before it has one.
#[derive(Debug)]
pub(crate) struct TemporaryFile {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    named: bool,
}

impl TemporaryFile {
    /// Creates one beside `path`, locked, with exactly this mode whatever the umask.
    pub(crate) fn beside(path: &Path, mode: u32) -> io::Result<Self> {
        loop {
            let temporary = name_beside(path);
            let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary);
            let file = match opened {
                Ok(file) => file,
                // Left behind by an earlier process that had our number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            let made = Self { file, path: temporary, named: false };
            match rustix::fs::flock(&made.file, FlockOperation::NonBlockingLockExclusive) {
                // A sweeper met it between its creation and this lock, and is removing it or has done so.
                Err(Errno::WOULDBLOCK) => continue,
                Err(error) => return Err(error.into()),
                Ok(()) if made.file.metadata()?.nlink() == 0 => continue,
                Ok(()) => {}
            }
            rustix::fs::fchmod(&made.file, Mode::from_raw_mode(mode))?;
            return Ok(made);
        }
    }

    /// Gives it its final name, in place of what had it before.
    pub(crate) fn rename(mut self, path: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, path)?;
        self.named = true;
        Ok(())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.named {
            // It is of no use to anybody; what cannot be removed now is swept later.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Removes from `dir` (not from below it) what crashed writers left behind; how many. Work in progress, of whichever
/// process, stays. A directory that does not exist has nothing in it.
///
/// # Errors
///
/// [`crate::DiskError::Io`] for the first that cannot be removed.
pub fn sweep(dir: &Path) -> Result<usize> {
    let mut removed = 0;
    for name in tree::list(dir)? {
        if is_temporary(&name) && sweep_one(&dir.join(&name))? {
            removed += 1;
        }
    }
    Ok(removed)
}

/// Removes one, unless somebody works on it.
fn sweep_one(path: &Path) -> Result<bool> {
    let action = "remove the left-over";
    let kind = match path.symlink_metadata() {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(at(action, path)(error)),
    };
    fault::point("sweep.remove").map_err(at(action, path))?;
    let held;
    if kind.is_file() || kind.is_dir() {
        held = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(at(action, path)(error)),
        };
        match rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(error) => return Err(at(action, path)(error)),
        }
        // The lock is kept until it is gone.
        return if kind.is_dir() { tree::remove_in_place(path).map(|()| true) } else { unlink(path, action) };
    }
    unlink(path, action)
}

fn unlink(path: &Path, action: &'static str) -> Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(at(action, path)(error)),
    }
}
