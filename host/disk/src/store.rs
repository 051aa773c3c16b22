//! Files that several processes create and change, each knowing what the others did.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jecloud_model::ids::Digest;

use crate::error::{DiskError, Result, at};
use crate::lock::Lock;
use crate::temporary::{TemporaryFile, parent_of};
use crate::{durable, fault};

/// How long [`compare_and_swap`] waits for others. They hold the lock for as long as a small file takes to be written.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came of a [`compare_and_swap`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Swap {
    /// The new content is there, durably.
    Swapped,
    /// Nothing was changed, because something else was there than was expected.
    Lost {
        /// The digest of what is there; none where there is nothing.
        found: Option<Digest>,
    },
}

/// Creates a file, which must not exist, durably. It is complete, or it does not exist.
///
/// # Errors
///
/// [`DiskError::Exists`]; [`DiskError::Io`].
pub fn create_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    fault::point("create.create").map_err(at("create", path))?;
    let temporary = TemporaryFile::beside(path, mode).map_err(at("create", path))?;
    let mut out = fault::Writer::new("create.write", &temporary.file).map_err(at("write", path))?;
    out.write_all(bytes).map_err(at("write", path))?;
    out.finish();
    fault::point("create.sync").map_err(at("sync", path))?;
    temporary.file.sync_all().map_err(at("sync", path))?;
    fault::point("create.link").map_err(at("create", path))?;
    // A rename would replace what is there; a second name is given only where there is none.
    match std::fs::hard_link(&temporary.path, path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(DiskError::Exists { path: path.to_owned() });
        }
        Err(error) => return Err(at("create", path)(error)),
    }
    fault::point("create.unlink").map_err(at("create", path))?;
    drop(temporary);
    fault::point("create.sync-parent").map_err(at("sync the directory of", path))?;
    durable::sync_dir(parent_of(path))?;
    fault::point("create.done").map_err(at("create", path))
}

/// Replaces the content of a file if it still is what the caller has seen: content with the digest `expected`, or no
/// file for none.
///
/// Of several processes that expect the same, exactly one swaps. This holds among users of this function; the lock is
/// a file of its own beside `path`, and is free when its holder dies. An error leaves it open whether the new content
/// is there only when the last step failed; reading tells.
///
/// # Errors
///
/// [`DiskError::Locked`] after 30 seconds; [`DiskError::Io`]; [`DiskError::TooLarge`].
pub fn compare_and_swap(path: &Path, expected: Option<&Digest>, bytes: &[u8], mode: u32) -> Result<Swap> {
    let _lock = Lock::acquire(&lock_beside(path), Instant::now() + PATIENCE)?;
    let found = durable::read(path)?.map(|bytes| Digest::of(&bytes));
    if found.as_ref() != expected {
        return Ok(Swap::Lost { found });
    }
    durable::replace(path, bytes, mode)?;
    Ok(Swap::Swapped)
}

/// `.NAME.lock` beside the file: hidden, so that listings of objects need not know it by more than the dot.
fn lock_beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".lock");
    parent_of(path).join(name)
}
