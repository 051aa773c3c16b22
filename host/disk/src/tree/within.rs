//! Looking into a tree that may be hostile, and writing into it: links are followed only as long as they stay inside,
//! and not at all on the way to what is written.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Component, Path};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::{OpenDir, chown_open, walk};
use crate::error::{DiskError, Result, at};
use crate::temporary::incoming;
use crate::{Owner, fault};

/// All regular files and links of a tree, relative to it, sorted; those without a UTF-8 name are left out, and so are
/// those below a directory of the name `skip`. Links to directories are not entered.
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn files(root: &Path, skip: &str) -> Result<Vec<String>> {
    let dir = Dir::open_ambient_dir(root, ambient_authority()).map_err(at("read the directory", root))?;
    let mut found = Vec::new();
    collect(&dir, "", skip, &mut found).map_err(at("read the directory", root))?;
    found.sort();
    Ok(found)
}

fn collect(dir: &Dir, prefix: &str, skip: &str, found: &mut Vec<String>) -> io::Result<()> {
    for entry in dir.entries()? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}{name}");
        if !entry.file_type()?.is_dir() {
            found.push(path);
        } else if name != skip {
            collect(&dir.open_dir(&name)?, &format!("{path}/"), skip, found)?;
        }
    }
    Ok(())
}

/// The content of a file in a tree; none where there is no such file.
///
/// # Errors
///
/// [`DiskError::TooLarge`]; [`DiskError::Io`], also for a link that leads out of the tree.
pub fn read_within(root: &Path, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    let whole = root.join(path);
    let dir = Dir::open_ambient_dir(root, ambient_authority()).map_err(at("read the directory", root))?;
    let mut options = OpenOptions::new();
    // Opening a FIFO would wait for its writer, and the tree's owner may have put one here.
    options.read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    let file = match dir.open_with(path, &options) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at("read", &whole)(error)),
    };
    if !file.metadata().map_err(at("read", &whole))?.is_file() {
        return Err(at("read", &whole)(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(at("read", &whole))?;
    if bytes.len() as u64 > limit { Err(DiskError::TooLarge { path: whole, limit }) } else { Ok(Some(bytes)) }
}

/// The mode of directories that are made on the way to a file.
const PASSABLE: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP).union(Mode::ROTH).union(Mode::XOTH);

/// Puts `bytes` under `path` in the tree `root`, in place of what was there, with exactly this mode. It belongs to
/// `owner` where one is given, and so do the directories on the way that are missing, or that are ours because a crash
/// came between making and giving them.
///
/// When it returns, the bytes are on the disk. A crash before that leaves the old file or the new one, whole.
///
/// # Errors
///
/// [`DiskError::Io`], also where a link is among the directories on the way; [`DiskError::Invalid`] for a path that
/// names nothing inside.
pub fn write_within(root: &Path, path: &str, bytes: &[u8], mode: u32, owner: Option<Owner>) -> Result<()> {
    let whole = root.join(path);
    let invalid = || {
        let rule = "a path in a tree has plain names only";
        DiskError::Invalid { path: root.to_owned(), value: path.to_owned(), rule }
    };
    let mut names = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            _ => return Err(invalid()),
        }
    }
    let (file, above) = names.split_last().ok_or_else(invalid)?;
    let mut dir = walk::open_dir(CWD, root).map_err(at("open the directory", root))?;
    for name in above {
        dir = enter(&dir, name, owner).map_err(at("make the directories of", &whole))?;
    }
    put(&dir, file, bytes, Mode::from_raw_mode(mode), owner).map_err(at("write", &whole))
}

/// Opens a directory in a directory, and makes it where it is missing.
fn enter(above: &OpenDir, name: &OsStr, owner: Option<Owner>) -> io::Result<OpenDir> {
    fault::point("write-within.make")?;
    let is_new = match rustix::fs::mkdirat(above, name, walk::PRIVATE) {
        Err(Errno::EXIST) => false,
        made => {
            made?;
            rustix::fs::fsync(above)?;
            true
        }
    };
    let dir = walk::open_dir(above, name)?;
    let user = rustix::fs::fstat(&dir)?.st_uid;
    let is_to_be_given = user == rustix::process::geteuid().as_raw() && owner.is_some_and(|(wanted, _)| wanted != user);
    if is_new || is_to_be_given {
        rustix::fs::fchmod(&dir, PASSABLE)?;
        fault::point("write-within.give")?;
        chown_open(&dir, owner)?;
    }
    Ok(dir)
}

/// Puts a file into a directory. What a crash left behind has a name that the next attempt removes.
fn put(dir: &OpenDir, name: &OsStr, bytes: &[u8], mode: Mode, owner: Option<Owner>) -> io::Result<()> {
    let unfinished = incoming(Path::new(name));
    fault::point("write-within.create")?;
    match rustix::fs::unlinkat(dir, &unfinished, AtFlags::empty()) {
        Err(Errno::NOENT) => {}
        removed => removed?,
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(dir, &unfinished, flags, Mode::RUSR | Mode::WUSR)?);
    let mut out = fault::Writer::new("write-within.write", &file)?;
    out.write_all(bytes)?;
    out.finish();
    // The owner first: giving a file away takes bits of its mode.
    chown_open(&file, owner)?;
    rustix::fs::fchmod(&file, mode)?;
    fault::point("write-within.sync")?;
    file.sync_all()?;
    fault::point("write-within.rename")?;
    rustix::fs::renameat(dir, &unfinished, dir, name)?;
    fault::point("write-within.sync-parent")?;
    rustix::fs::fsync(dir)?;
    fault::point("write-within.done")
}
