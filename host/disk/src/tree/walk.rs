//! The steps of a walk that follows no links: from an open directory to a name in it.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use rustix::path::Arg;

use super::{OpenDir, chown_open};
use crate::error::{Result, at};
use crate::{Owner, fault};

/// What a directory that is being filled is open to: its owner.
pub(super) const PRIVATE: Mode = Mode::RWXU;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory, unless it is a link.
pub(crate) fn open_dir(above: impl std::os::fd::AsFd, name: impl Arg) -> Result<OpenDir, Errno> {
    rustix::fs::openat(above, name, DIRECTORY, Mode::empty())
}

/// The names in a directory, sorted, so that every walk of a tree goes the same way.
pub(crate) fn names(dir: &OpenDir) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort();
    Ok(names)
}

pub(crate) fn look(dir: &OpenDir, name: &CString) -> Result<Stat, Errno> {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
}

pub(crate) fn kind(found: &Stat) -> FileType {
    FileType::from_raw_mode(found.st_mode)
}

/// Removes what is there, whatever it is. What is gone already is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    remove_one(CWD, path)
}

fn remove_one(above: BorrowedFd<'_>, name: impl Arg + Copy) -> io::Result<()> {
    match rustix::fs::unlinkat(above, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // Linux says EISDIR for a directory, others EPERM.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let dir = match open_for_removal(above, name) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    for below in names(&dir)? {
        fault::point("remove-tree.entry")?;
        remove_one(dir.as_fd(), &below)?;
    }
    match rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Opens a directory; one that its owner may not read or change is made so that it can be emptied.
fn open_for_removal(above: BorrowedFd<'_>, name: impl Arg + Copy) -> Result<OpenDir, Errno> {
    let opened = open_dir(above, name);
    let closed = match &opened {
        Ok(dir) => !Mode::from_raw_mode(rustix::fs::fstat(dir)?.st_mode).contains(PRIVATE),
        Err(Errno::ACCESS) => true,
        Err(error) => return Err(*error),
    };
    if !closed {
        return opened;
    }
    // Follows a link where somebody put one here just now; then the mode of one of our own directories or of
    // something that is open to its owner anyway gets wider for its owner alone, and the next step fails.
    match &opened {
        Ok(dir) => rustix::fs::fchmod(dir, PRIVATE)?,
        Err(_) => rustix::fs::chmodat(above, name, PRIVATE, AtFlags::empty())?,
    }
    open_dir(above, name)
}

pub(super) fn size(dir: &OpenDir) -> Result<u64, Errno> {
    let mut sum = 0;
    for name in names(dir)? {
        let found = match look(dir, &name) {
            Err(Errno::NOENT) => continue,
            found => found?,
        };
        match kind(&found) {
            FileType::Directory => match open_dir(dir, &name) {
                Err(Errno::NOENT) => {}
                opened => sum += size(&opened?)?,
            },
            FileType::RegularFile => sum += u64::try_from(found.st_size).unwrap_or(0),
            _ => {}
        }
    }
    Ok(sum)
}

pub(super) fn chown(path: &Path, owner: Owner) -> Result<(), Errno> {
    match open_dir(CWD, path) {
        Ok(dir) => {
            chown_content(&dir, owner)?;
            chown_open(&dir, Some(owner))
        }
        Err(Errno::NOTDIR | Errno::LOOP) => chown_name(CWD, path, owner),
        Err(error) => Err(error),
    }
}

fn chown_name(above: impl std::os::fd::AsFd, name: impl Arg, (uid, gid): Owner) -> Result<(), Errno> {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    rustix::fs::chownat(above, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
}

fn chown_content(dir: &OpenDir, owner: Owner) -> Result<(), Errno> {
    for name in names(dir)? {
        match open_dir(dir, &name) {
            Ok(below) => {
                chown_content(&below, owner)?;
                chown_open(&below, Some(owner))?;
            }
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR | Errno::LOOP) => match chown_name(dir, &name, owner) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// To whom belongs what is copied.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owners {
    /// To whoever copies.
    Copier,
    /// To this owner.
    Given(Owner),
    /// To whom it belonged. Sockets are left out: they are of no use without the process that made them.
    Same,
}

impl Owners {
    fn of(self, found: &Stat) -> Option<Owner> {
        match self {
            Self::Copier => None,
            Self::Given(owner) => Some(owner),
            Self::Same => Some((found.st_uid, found.st_gid)),
        }
    }
}

/// Fills `to` with what is in `from`, and gives it the mode of `from` at the end: a directory without the right to
/// write must be filled first. `shown` is the path of `from`, for messages.
pub(super) fn copy(from: &OpenDir, to: &OpenDir, shown: &Path, owners: Owners) -> Result<()> {
    for name in names(from).map_err(at("read the directory", shown))? {
        let shown = shown.join(std::ffi::OsStr::new(&*name.to_string_lossy()));
        let failed = || at("copy", &shown);
        let found = look(from, &name).map_err(failed())?;
        match kind(&found) {
            FileType::Directory => {
                let source = open_dir(from, &name).map_err(failed())?;
                rustix::fs::mkdirat(to, &name, PRIVATE).map_err(failed())?;
                let target = open_dir(to, &name).map_err(failed())?;
                copy(&source, &target, &shown, owners)?;
            }
            FileType::RegularFile => copy_file(from, to, &name, owners).map_err(at("copy", &shown))?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, &name, Vec::new()).map_err(failed())?;
                rustix::fs::symlinkat(target, to, &name).map_err(failed())?;
                if let Some(owner) = owners.of(&found) {
                    chown_name(to, &name, owner).map_err(failed())?;
                }
            }
            FileType::Socket if matches!(owners, Owners::Same) => {}
            _ => {
                let reason = "it is neither a file, a directory nor a link";
                return Err(at("copy", &shown)(io::Error::new(io::ErrorKind::InvalidInput, reason)));
            }
        }
    }
    finish(from, to, owners).map_err(at("copy", shown))
}

fn copy_file(from: &OpenDir, to: &OpenDir, name: &CString, owners: Owners) -> io::Result<()> {
    // NONBLOCK, because it may have become a FIFO.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut source = File::from(rustix::fs::openat(from, name, flags, Mode::empty())?);
    if !source.metadata()?.is_file() {
        return Err(io::Error::other("it changed while it was being copied"));
    }
    fault::point("copy.file")?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut target = File::from(rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?);
    if !share_blocks(&source, &target) {
        io::copy(&mut source, &mut target)?;
    }
    Ok(finish(&source, &target, owners)?)
}

/// Owner, then mode: a change of owner may take bits of the mode away. The bits that let somebody run a program as its
/// owner are left out, because the owner may be another one now.
fn finish(from: &impl std::os::fd::AsFd, to: &impl std::os::fd::AsFd, owners: Owners) -> Result<(), Errno> {
    let found = rustix::fs::fstat(from)?;
    let mode = Mode::from_raw_mode(found.st_mode & 0o777);
    chown_open(to, owners.of(&found))?;
    rustix::fs::fchmod(to, mode)
}

/// Whether the file system made the new file of the blocks of the old one.
#[cfg(target_os = "linux")]
fn share_blocks(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn share_blocks(_from: &File, _to: &File) -> bool {
    false
}
