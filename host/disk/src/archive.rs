//! Archives become directories: complete and as expected, or not at all.
//!
//! Everything is written through a directory handle that nothing leads out of (cap-std), into `.incoming-NAME`, and
//! gets its name only when all of it is on the disk. Anything that is not plainly harmless is refused by the name of
//! the entry, and then nothing is kept.

mod unpacker;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use jecloud_model::ids::VersionId;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::error::{DiskError, Result, at};
use crate::rules::Limits;
use crate::tar_walk::read_error;
use crate::temporary::{incoming, parent_of};
use crate::{Owner, durable, fault, tree};
pub(crate) use unpacker::{Policy, Unpacker};

/// How a package's archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `.tar.gz`, `.tgz`
    Gzip,
    /// `.tar.bz2`
    Bzip2,
}

impl Compression {
    /// By the end of a file name or address; none for what is not known.
    pub fn of_name(name: &str) -> Option<Self> {
        let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        if ends(&[".tar.gz", ".tgz"]) {
            Some(Self::Gzip)
        } else if ends(&[".tar.bz2", ".tbz", ".tbz2"]) {
            Some(Self::Bzip2)
        } else {
            None
        }
    }
}

/// Unpacks a version into `versions_dir/ID`, when the archive's content is what the id says.
///
/// When it returns, all of it is on the disk, with modes 0644 and 0755, and belongs to `owner` where one is given.
/// A version that is there already is complete, and nothing is done. What an earlier attempt left behind is removed.
///
/// # Errors
///
/// [`DiskError::Entry`], [`DiskError::Damaged`] and [`DiskError::OtherVersion`] for the archive,
/// [`DiskError::Locked`] while another process unpacks the same version, [`DiskError::Io`]. Nothing is kept then.
pub fn unpack(archive: impl Read, versions_dir: &Path, id: &VersionId, owner: Option<Owner>) -> Result<()> {
    unpack_within(archive, versions_dir, id, owner, &Limits::default())
}

/// As [`unpack`], with other limits.
///
/// # Errors
///
/// As [`unpack`].
pub fn unpack_within(
    archive: impl Read,
    versions_dir: &Path,
    id: &VersionId,
    owner: Option<Owner>,
    limits: &Limits,
) -> Result<()> {
    complete_or_absent(&versions_dir.join(id.as_str()), owner, |dir| {
        let stream = bzip2::read::MultiBzDecoder::new(BufReader::with_capacity(128 << 10, archive));
        let mut stream = Bounded::new(stream, limits);
        let policy = Policy { owner, strip: 0, hard_links: false };
        Unpacker::new(dir, limits, policy).unpack(&mut stream)?;
        let found = VersionId::from_sha256(stream.hash.finalize().into());
        if found == *id { Ok(()) } else { Err(DiskError::OtherVersion { expected: id.clone(), found }) }
    })
}

/// Unpacks somebody else's package into `into`, without the first `strip` parts of each path; entries that have no
/// more parts than that are left out. The caller has checked its digest.
///
/// The same promises as [`unpack`]; hard links to files of the package are made.
///
/// # Errors
///
/// As [`unpack`].
pub fn unpack_package(
    archive: impl Read,
    compression: Compression,
    into: &Path,
    strip: u32,
    limits: &Limits,
) -> Result<()> {
    complete_or_absent(into, None, |dir| {
        let archive = BufReader::with_capacity(128 << 10, archive);
        let stream: Box<dyn Read> = match compression {
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(archive)),
            Compression::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(archive)),
        };
        let policy = Policy { owner: None, strip, hard_links: true };
        Unpacker::new(dir, limits, policy).unpack(&mut Bounded::new(stream, limits))
    })
}

/// Lets `fill` fill a new directory, and gives it the name `path` when all of it is on the disk.
pub(crate) fn complete_or_absent(
    path: &Path,
    owner: Option<Owner>,
    fill: impl FnOnce(&cap_std::fs::Dir) -> Result<()>,
) -> Result<()> {
    let parent = parent_of(path);
    if path.is_dir() {
        // Whoever gave it its name may have died before that was durable.
        return durable::sync_dir(parent);
    }
    let unfinished = incoming(path);
    let held = begin(&unfinished)?;
    let filled = fill_and_name(&held, &unfinished, path, owner, fill);
    if filled.is_err() {
        // A full disk is the likeliest reason: what is of no use must not stay. What cannot be removed now is swept.
        let _ = tree::remove_in_place(&unfinished);
    }
    filled
}

/// Makes the unfinished directory, and locks it, so that it is not taken for a left-over.
fn begin(unfinished: &Path) -> Result<File> {
    let action = "make the directory";
    fault::point("unpack.begin").map_err(at(action, unfinished))?;
    loop {
        match std::fs::DirBuilder::new().mode(0o755).create(unfinished) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(at(action, unfinished)(error)),
        }
        let held = match File::open(unfinished) {
            // Somebody swept it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.map_err(at(action, unfinished))?,
        };
        match rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                return Err(DiskError::Locked { path: unfinished.to_owned(), holder: None });
            }
            locked => locked.map_err(at(action, unfinished))?,
        }
        let ours = rustix::fs::fstat(&held).map_err(at(action, unfinished))?;
        match rustix::fs::lstat(unfinished) {
            Ok(there) if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) => {}
            _ => continue,
        }
        if tree::list(unfinished)?.is_empty() {
            return Ok(held);
        }
        fault::point("unpack.remove-left-over").map_err(at(action, unfinished))?;
        tree::remove_in_place(unfinished)?;
    }
}

fn fill_and_name(
    held: &File,
    unfinished: &Path,
    path: &Path,
    owner: Option<Owner>,
    fill: impl FnOnce(&cap_std::fs::Dir) -> Result<()>,
) -> Result<()> {
    let dir = held.try_clone().map_err(at("unpack into", unfinished))?;
    let dir = cap_std::fs::Dir::from_std_file(dir);
    fill(&dir)?;
    // What has an owner is nobody else's business.
    let mode = rustix::fs::Mode::from_raw_mode(if owner.is_some() { 0o750 } else { 0o755 });
    rustix::fs::fchmod(held, mode).map_err(at("set the mode of", unfinished))?;
    tree::chown_open(held, owner).map_err(at("change the owner of", unfinished))?;
    fault::point("unpack.sync").map_err(at("sync", unfinished))?;
    tree::sync_open(held, unfinished)?;
    fault::point("unpack.rename").map_err(at("name", path))?;
    match rustix::fs::rename(unfinished, path) {
        Ok(()) => {}
        // Another process was faster, and what it made is complete.
        Err(Errno::EXIST | Errno::NOTEMPTY) if path.is_dir() => tree::remove_in_place(unfinished)?,
        Err(error) => return Err(at("name", path)(error)),
    }
    fault::point("unpack.sync-parent").map_err(at("sync the directory of", path))?;
    durable::sync_dir(parent_of(path))?;
    fault::point("unpack.done").map_err(at("unpack", path))
}

/// The tar stream on its way through: hashed, and cut off where it is longer than any allowed archive.
struct Bounded<R> {
    inner: R,
    hash: Sha256,
    left: u64,
}

impl<R: Read> Bounded<R> {
    fn new(inner: R, limits: &Limits) -> Self {
        // Each entry has a header of 512 bytes and at most as much padding; long names and targets come to 10 KiB.
        let left = limits.bytes.saturating_add(limits.entries.saturating_mul(12 << 10)).saturating_add(1 << 20);
        Self { inner, hash: Sha256::new(), left }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than any allowed archive"))?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

/// For an entry's content, where reading and writing can fail: only the reader's errors are the archive's fault.
pub(crate) fn copy_content(from: &mut impl Read, to: &mut impl io::Write, path: &Path) -> Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut copied = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(read_error(error)),
        };
        to.write_all(&buffer[..read]).map_err(at("write", path))?;
        copied += read as u64;
    }
}
