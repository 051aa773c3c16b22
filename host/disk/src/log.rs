//! Logs of bounded size: `x.log`, and what it held before in `x.log.1`, `x.log.2`, ….
//!
//! Several writers, also of several processes, may append to one log: each write goes to the file that has the name
//! now, and one of them rotates. Lines are not synced one by one; a power cut may cost the last ones.

mod follow;
mod tail;

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

pub use follow::Follow;
pub use tail::{tail, tail_and_follow};

use crate::error::{Result, at};
use crate::{durable, fault};

/// The largest size of one file: 10 MB.
pub const MAX_BYTES: u64 = 10_000_000;

/// How many files there are of one log, the one that is written included.
pub const KEEP: u32 = 3;

/// A log that is open for writing.
#[derive(Debug)]
pub struct RotatingLog {
    path: PathBuf,
    file: File,
    /// Device and number of `file`.
    id: (u64, u64),
    max_bytes: u64,
    keep: u32,
}

impl RotatingLog {
    /// Opens a log, or makes it (mode 0640, its directory must exist). `max_bytes` and `keep`: [`MAX_BYTES`], [`KEEP`].
    ///
    /// A last line without an end, from a writer that died, is ended.
    ///
    /// # Errors
    ///
    /// [`crate::DiskError::Io`].
    pub fn open(path: &Path, max_bytes: u64, keep: u32) -> Result<Self> {
        let (mut file, id) = open(path)?;
        if durable::ends_within_a_line(&mut file).map_err(at("open the log", path))? {
            file.write_all(b"\n").map_err(at("write to the log", path))?;
        }
        Ok(Self { path: path.to_owned(), file, id, max_bytes: max_bytes.max(1), keep: keep.max(1) })
    }

    /// Appends whole lines. Files are rotated between calls only, so a line is never in two files, except one that is
    /// longer than a file may be.
    ///
    /// # Errors
    ///
    /// [`crate::DiskError::Io`].
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let most = usize::try_from(self.max_bytes).unwrap_or(usize::MAX);
        for part in bytes.chunks(most) {
            self.make_room(part.len() as u64)?;
            self.file.write_all(part).map_err(at("write to the log", &self.path))?;
        }
        Ok(())
    }

    /// The file that has the name now, for a process that writes to it by itself. Such writes are not rotated: only
    /// for what writes little, or ends.
    ///
    /// # Errors
    ///
    /// [`crate::DiskError::Io`].
    pub fn file(&mut self) -> Result<File> {
        self.make_room(0)?;
        self.file.try_clone().map_err(at("open the log", &self.path))
    }

    /// Appends one line; line breaks in it become spaces.
    ///
    /// # Errors
    ///
    /// [`crate::DiskError::Io`].
    pub fn append_line(&mut self, line: &str) -> Result<()> {
        let mut bytes = line.trim_end_matches('\n').replace('\n', " ").into_bytes();
        bytes.push(b'\n');
        self.append(&bytes)
    }

    /// Makes sure that `file` is the one with the name, and that so many bytes fit into it.
    fn make_room(&mut self, bytes: u64) -> Result<()> {
        loop {
            if identity_of(&self.path)? != Some(self.id) {
                // Another writer has rotated, or a person has removed the file.
                (self.file, self.id) = open(&self.path)?;
                continue;
            }
            let length = self.file.metadata().map_err(at("write to the log", &self.path))?.len();
            if length == 0 || length.saturating_add(bytes) <= self.max_bytes {
                return Ok(());
            }
            self.rotate()?;
        }
    }

    /// Gives each file the next number. A crash in between leaves a gap in the numbers, and all lines.
    fn rotate(&mut self) -> Result<()> {
        let failed = || at::<io::Error>("rotate the log", &self.path);
        rustix::fs::flock(&self.file, FlockOperation::LockExclusive).map_err(at("rotate the log", &self.path))?;
        let rotated = if identity_of(&self.path)? == Some(self.id) { self.rename_all() } else { Ok(()) };
        // Closing the file would do as well; another writer may wait for it.
        rustix::fs::flock(&self.file, FlockOperation::Unlock).map_err(at("rotate the log", &self.path))?;
        rotated.map_err(failed())
    }

    fn rename_all(&self) -> io::Result<()> {
        if self.keep == 1 {
            fault::point("log.truncate")?;
            return self.file.set_len(0);
        }
        for number in (0..self.keep - 1).rev() {
            fault::point("log.rotate")?;
            match std::fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        fault::point("log.rotated")
    }
}

fn open(path: &Path) -> Result<(File, (u64, u64))> {
    let mut options = OpenOptions::new();
    let file = options.append(true).read(true).create(true).mode(0o640).open(path).map_err(at("open the log", path))?;
    let found = file.metadata().map_err(at("open the log", path))?;
    Ok((file, (found.dev(), found.ino())))
}

fn identity_of(path: &Path) -> Result<Option<(u64, u64)>> {
    match path.metadata() {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at("look at the log", path)(error)),
    }
}

/// `x.log` for 0, then `x.log.1`, ….
fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// The files of a log that are there, open, from the newest to the oldest, each once.
fn files(path: &Path) -> Result<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    // From the newest on: what is rotated meanwhile is met again under the next number, and not missed.
    let mut missing = 0;
    for number in 0.. {
        let name = numbered(path, number);
        let Some(file) = durable::open(&name)? else {
            missing += 1;
            // A crash during a rotation leaves one gap.
            if missing > 2 {
                break;
            }
            continue;
        };
        let found = file.metadata().map_err(at("read the log", &name))?;
        let id = (found.dev(), found.ino());
        if parts.iter().all(|part| part.id != id) {
            parts.push(Part { file, id, bytes: found.len() });
        }
    }
    Ok(parts)
}

/// One file of a log.
#[derive(Debug)]
struct Part {
    file: File,
    id: (u64, u64),
    /// Its length when it was opened.
    bytes: u64,
}
