//! Whole directory trees.
//!
//! The trees belong to users that may be hostile and may change them while we work on them as root. So nothing here
//! follows a link below the path that it is given: every step goes from an open directory to a name in it.

pub(crate) mod walk;
mod within;

pub use within::{files, read_within, write_within};

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::SystemTime;

use jecloud_model::ids::VersionId;
use rustix::fs::{FileType, Gid, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use crate::error::{DiskError, Result, at};
use crate::temporary::{incoming, name_beside, parent_of};
use crate::{Owner, durable, fault};

/// Copies a tree to `to`, which must not exist. Links stay as they are, and modes too; everything belongs to `owner`
/// where one is given. Where the file system can share blocks between files, it does.
///
/// `to` appears when all of it is on the disk. What an earlier attempt left behind is removed.
///
/// # Errors
///
/// [`DiskError::Exists`]; [`DiskError::Io`], also for a socket, FIFO or device in the tree.
pub fn copy(from: &Path, to: &Path, owner: Option<Owner>) -> Result<()> {
    copy_for(from, to, owner.map_or(walk::Owners::Copier, walk::Owners::Given))
}

/// As [`copy`], and everything belongs to whom it belonged. Sockets are left out.
///
/// # Errors
///
/// As [`copy`].
pub fn duplicate(from: &Path, to: &Path) -> Result<()> {
    copy_for(from, to, walk::Owners::Same)
}

fn copy_for(from: &Path, to: &Path, owners: walk::Owners) -> Result<()> {
    if exists(to)? {
        return Err(DiskError::Exists { path: to.to_owned() });
    }
    let unfinished = incoming(to);
    remove_in_place(&unfinished)?;
    fault::point("copy.begin").map_err(at("copy", from))?;
    let copied = copy_and_name(from, &unfinished, to, owners);
    if copied.is_err() {
        // What cannot be removed now is swept.
        let _ = remove_in_place(&unfinished);
    }
    copied
}

fn copy_and_name(from: &Path, unfinished: &Path, to: &Path, owners: walk::Owners) -> Result<()> {
    let source = walk::open_dir(rustix::fs::CWD, from).map_err(at("read the directory", from))?;
    rustix::fs::mkdir(unfinished, walk::PRIVATE).map_err(at("make the directory", unfinished))?;
    let target = walk::open_dir(rustix::fs::CWD, unfinished).map_err(at("make the directory", unfinished))?;
    // Not a left-over as long as we are at it.
    rustix::fs::flock(&target, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(at("make the directory", unfinished))?;
    walk::copy(&source, &target, from, owners)?;
    fault::point("copy.sync").map_err(at("sync", unfinished))?;
    sync_open(&target, unfinished)?;
    fault::point("copy.rename").map_err(at("name", to))?;
    let cwd = rustix::fs::CWD;
    match rustix::fs::renameat_with(cwd, unfinished, cwd, to, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => return Err(DiskError::Exists { path: to.to_owned() }),
        renamed => renamed.map_err(at("name", to))?,
    }
    fault::point("copy.sync-parent").map_err(at("sync the directory of", to))?;
    durable::sync_dir(parent_of(to))?;
    fault::point("copy.done").map_err(at("copy", from))
}

/// Gives a tree another name in the same file system, durably. What has the new name must be an empty directory or
/// not exist.
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fault::point("rename.begin").map_err(at("rename", from))?;
    rustix::fs::rename(from, to).map_err(at("rename", from))?;
    fault::point("rename.sync-parent").map_err(at("sync the directory of", to))?;
    durable::sync_dir(parent_of(to))?;
    durable::sync_dir(parent_of(from))?;
    fault::point("rename.done").map_err(at("rename", from))
}

/// Names what a file is now, links followed: it is another text once the file was replaced or written to. None where
/// there is no such file.
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn stamp(path: &Path) -> Result<Option<String>> {
    match std::fs::metadata(path) {
        Ok(found) => {
            use std::os::unix::fs::MetadataExt as _;
            let (device, number, length) = (found.dev(), found.ino(), found.size());
            let changed = (found.ctime(), found.ctime_nsec());
            Ok(Some(format!("{device}:{number}:{length}:{}.{:09}", changed.0, changed.1)))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(at("look at", path)(error)),
    }
}

/// Removes a tree, a file or a link; whether there was one. Never follows links, and never leaves half of a tree
/// under its name: it gets another name first, under which [`crate::temporary::sweep`] finds it after a crash.
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn remove(path: &Path) -> Result<bool> {
    let aside = name_beside(path);
    fault::point("remove-tree.rename").map_err(at("remove", path))?;
    match std::fs::rename(path, &aside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(at("remove", path)(error)),
    }
    fault::point("remove-tree.sync-parent").map_err(at("sync the directory of", path))?;
    durable::sync_dir(parent_of(path))?;
    remove_in_place(&aside)?;
    Ok(true)
}

/// Removes a tree that has no name of its own any more, or not yet. One that is not there is no error.
pub(crate) fn remove_in_place(path: &Path) -> Result<()> {
    fault::point("remove-tree.remove").map_err(at("remove", path))?;
    walk::remove(path).map_err(at("remove", path))?;
    fault::point("remove-tree.done").map_err(at("remove", path))
}

/// The lengths of all files in a tree, or of one file. What vanishes meanwhile is not counted.
///
/// # Errors
///
/// [`DiskError::Io`], also where there is nothing.
pub fn size(path: &Path) -> Result<u64> {
    let found = rustix::fs::lstat(path).map_err(at("look at", path))?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        return Ok(u64::try_from(found.st_size).unwrap_or(0));
    }
    let dir = walk::open_dir(rustix::fs::CWD, path).map_err(at("read the directory", path))?;
    walk::size(&dir).map_err(at("look at", path))
}

/// Gives a tree, all of it, to an owner. Links themselves, not what they name.
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn chown(path: &Path, owner: Owner) -> Result<()> {
    fault::point("chown.begin").map_err(at("change the owner of", path))?;
    walk::chown(path, owner).map_err(at("change the owner of", path))?;
    fault::point("chown.done").map_err(at("change the owner of", path))
}

/// Gives one file or directory, that is not a link, to an owner, with this mode: not what is in it.
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn give(path: &Path, owner: Owner, mode: u32) -> Result<()> {
    const FLAGS: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
    fault::point("give.begin").map_err(at("change the owner of", path))?;
    let open = rustix::fs::open(path, FLAGS, rustix::fs::Mode::empty()).map_err(at("change the owner of", path))?;
    chown_open(&open, Some(owner)).map_err(at("change the owner of", path))?;
    fault::point("give.mode").map_err(at("set the mode of", path))?;
    rustix::fs::fchmod(&open, rustix::fs::Mode::from_raw_mode(mode)).map_err(at("set the mode of", path))
}

/// Makes a directory that belongs to an owner, with this mode, durably: it has its name only when it is the owner's. One
/// that exists stays as it is; those above it must be there.
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn make_for(path: &Path, owner: Owner, mode: u32) -> Result<()> {
    if is_dir(path)? {
        return Ok(());
    }
    let unfinished = incoming(path);
    remove_in_place(&unfinished)?;
    durable::create_dirs(&unfinished, mode)?;
    give(&unfinished, owner, mode)?;
    rename(&unfinished, path)
}

/// The names in a directory, sorted; none for a directory that does not exist.
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn list(dir: &Path) -> Result<Vec<OsString>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at("read the directory", dir)(error)),
    };
    let names: io::Result<Vec<_>> = entries.map(|entry| entry.map(|entry| entry.file_name())).collect();
    let mut names = names.map_err(at("read the directory", dir))?;
    names.sort();
    Ok(names)
}

/// Whether there is anything of this name; a link that leads nowhere is something.
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn exists(path: &Path) -> Result<bool> {
    Ok(look(path)?.is_some())
}

/// Whether this is a directory, and not a link to one.
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn is_dir(path: &Path) -> Result<bool> {
    Ok(look(path)?.is_some_and(|found| found.is_dir()))
}

/// When the content of a file, or the names in a directory, changed last; none where there is nothing.
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn modified(path: &Path) -> Result<Option<SystemTime>> {
    look(path)?.map(|found| found.modified().map_err(at("look at", path))).transpose()
}

fn look(path: &Path) -> Result<Option<std::fs::Metadata>> {
    match path.symlink_metadata() {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(at("look at", path)(error)),
    }
}

/// The path without links in it, absolute.
///
/// # Errors
///
/// [`DiskError::Io`], also where there is nothing.
pub fn canonical(path: &Path) -> Result<std::path::PathBuf> {
    path.canonicalize().map_err(at("find", path))
}

/// Sets the mode of a file or directory that is not a link.
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    const FLAGS: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed();
    fault::point("mode.set").map_err(at("set the mode of", path))?;
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).custom_flags(FLAGS).open(path).map_err(at("set the mode of", path))?;
    file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(at("set the mode of", path))
}

/// Waits until everything on the file system that holds `path` is on the disk.
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn sync(path: &Path) -> Result<()> {
    let file = File::open(path).map_err(at("sync", path))?;
    fault::point("sync.all").map_err(at("sync", path))?;
    sync_open(&file, path)
}

/// One call for the whole file system: ten thousand calls for ten thousand files take far longer.
pub(crate) fn sync_open(open: &impl AsFd, path: &Path) -> Result<()> {
    #[cfg(target_os = "linux")]
    return rustix::fs::syncfs(open).map_err(at("sync", path));
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (open, path);
        rustix::fs::sync();
        Ok(())
    }
}

/// Bytes that we may still write to the file system that holds `path`.
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn free_bytes(path: &Path) -> Result<u64> {
    let found = rustix::fs::statvfs(path).map_err(at("look at", path))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Whether this version is unpacked; then it is complete.
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn unpacked(versions_dir: &Path, id: &VersionId) -> Result<bool> {
    is_dir(&versions_dir.join(id.as_str()))
}

/// Changes the owner of something open, where there is one to change to.
pub(crate) fn chown_open(open: &impl AsFd, owner: Option<Owner>) -> Result<(), Errno> {
    match owner {
        None => Ok(()),
        Some((uid, gid)) => rustix::fs::fchown(open, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))),
    }
}

/// A directory that is open.
pub(crate) type OpenDir = OwnedFd;
