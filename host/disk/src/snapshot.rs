//! Copies of a service's data as one stream, and as files again: in constant memory, however large they are.
//!
//! The stream is a tar stream of regular files and directories. What else a copy may have in it is refused by name: nobody
//! should believe that it was saved.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use tar::EntryType;

use crate::archive::{Policy, Unpacker, complete_or_absent};
use crate::error::{DiskError, Result, at};
use crate::rules::{Limits, Refusal, in_words};
use crate::stream::{self, READ, ZEROS};
use crate::tree::{OpenDir, walk};
use crate::{Owner, fault};

/// Hands out everything below a directory as a tar stream, the same for the same content. Returns how many bytes all files
/// have together. Follows no links.
///
/// # Errors
///
/// [`DiskError::Io`], also what `out` answers; [`DiskError::Entry`] for a link, socket, FIFO or device;
/// [`DiskError::Changed`] for a file whose length changes meanwhile.
pub fn pack(dir: &Path, out: &mut dyn Write) -> Result<u64> {
    let open = walk::open_dir(CWD, dir).map_err(at("read the directory", dir))?;
    let mut sink = |bytes: &[u8]| out.write_all(bytes).map_err(at("pack", dir));
    let mut packer = Packer { shown: dir, buffer: vec![0; READ], bytes: 0, sink: &mut sink };
    packer.directory(&open, b"")?;
    let bytes = packer.bytes;
    sink(&ZEROS)?;
    Ok(bytes)
}

struct Packer<'a> {
    shown: &'a Path,
    buffer: Vec<u8>,
    bytes: u64,
    sink: &'a mut dyn FnMut(&[u8]) -> Result<()>,
}

impl Packer<'_> {
    fn directory(&mut self, dir: &OpenDir, above: &[u8]) -> Result<()> {
        let failed = || at("pack", self.shown);
        for name in walk::names(dir).map_err(failed())? {
            let path = [above, name.as_bytes()].concat();
            fault::point("pack.entry").map_err(at("pack", self.shown))?;
            let found = walk::look(dir, &name).map_err(failed())?;
            match walk::kind(&found) {
                FileType::Directory => {
                    let below = walk::open_dir(dir, &name).map_err(failed())?;
                    let path = [&path[..], b"/"].concat();
                    stream::header(&mut *self.sink, &path, EntryType::Directory, 0, 0o755, b"")?;
                    self.directory(&below, &path)?;
                }
                FileType::RegularFile => {
                    // NONBLOCK, because it may have become a FIFO.
                    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                    let opened = rustix::fs::openat(dir.as_fd(), &name, flags, Mode::empty()).map_err(failed())?;
                    self.file(File::from(opened), &path)?;
                }
                other => {
                    let kind = match other {
                        FileType::Symlink => "a link",
                        FileType::Fifo => "a FIFO",
                        FileType::Socket => "a socket",
                        _ => "a device",
                    };
                    return Err(DiskError::Entry { entry: in_words(&path), reason: Refusal::Kind(kind.to_owned()) });
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, mut file: File, path: &[u8]) -> Result<()> {
        let changed = || DiskError::Changed { entry: in_words(path) };
        let failed = || at::<io::Error>("pack", self.shown);
        let found = file.metadata().map_err(failed())?;
        if !found.is_file() {
            return Err(changed());
        }
        let bytes = found.len();
        let mode = if std::os::unix::fs::MetadataExt::mode(&found) & 0o111 != 0 { 0o755 } else { 0o644 };
        stream::header(&mut *self.sink, path, EntryType::Regular, bytes, mode, b"")?;
        let mut left = bytes;
        loop {
            let read = match file.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed()(error)),
            };
            left = left.checked_sub(read as u64).ok_or_else(changed)?;
            (self.sink)(&self.buffer[..read])?;
        }
        if left > 0 {
            return Err(changed());
        }
        self.bytes += bytes;
        (self.sink)(&ZEROS[..stream::padding(bytes)])
    }
}

/// Unpacks such a stream into `into`, which appears when all of it is on the disk, with directories of mode 0755 and files
/// of 0644 or 0755, and belongs to `owner` where one is given. `check` gets the stream when all entries are unpacked, and
/// decides whether they are kept.
///
/// # Errors
///
/// [`DiskError::Entry`] and [`DiskError::Damaged`] for the stream, what `check` returns, [`DiskError::Io`]. Nothing is kept
/// then.
pub fn unpack<R: Read>(
    mut stream: R,
    into: &Path,
    owner: Option<Owner>,
    limits: &Limits,
    check: impl FnOnce(R) -> Result<()>,
) -> Result<()> {
    complete_or_absent(into, owner, |dir| {
        let policy = Policy { owner, strip: 0, hard_links: false };
        Unpacker::new(dir, limits, policy).unpack(&mut stream)?;
        check(stream)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{durable, tree};

    fn packed(dir: &Path) -> Result<(Vec<u8>, u64)> {
        let mut stream = Vec::new();
        let bytes = pack(dir, &mut stream)?;
        Ok((stream, bytes))
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let home = tempfile::tempdir().expect("a directory");
        let from = home.path().join("backup");
        durable::create_dirs(&from.join("a/empty"), 0o755).expect("made");
        let large = vec![7; READ * 2 + 3];
        let long = format!("a/{}", "x".repeat(200));
        for (name, content) in [("dump.rdb", &large[..]), ("a/one", b"1"), (&long, b"long"), ("none", b"")] {
            durable::replace(&from.join(name), content, 0o600).expect("written");
        }
        let (stream, bytes) = packed(&from).expect("packed");
        assert_eq!(bytes, large.len() as u64 + 1 + 4);
        assert_eq!(stream.len() % 512, 0);
        let into = home.path().join("restoring");
        unpack(&stream[..], &into, None, &Limits::default(), |_| Ok(())).expect("unpacked");
        assert_eq!(durable::read(&into.join("dump.rdb")).expect("readable"), Some(large));
        assert_eq!(durable::read(&into.join(&long)).expect("readable").as_deref(), Some(&b"long"[..]));
        assert!(tree::is_dir(&into.join("a/empty")).expect("there"));
        assert_eq!(packed(&into).expect("packed").0, stream, "the same content is the same stream");
    }

    /// Fails where links are followed or left out without a word.
    #[test]
    fn what_is_no_file_is_refused_by_name() {
        let home = tempfile::tempdir().expect("a directory");
        let from = home.path().join("backup");
        durable::create_dirs(&from.join("a"), 0o755).expect("made");
        std::os::unix::fs::symlink("/etc/passwd", from.join("a/link")).expect("a link");
        let error = packed(&from).expect_err("a link").to_string();
        assert!(error.contains("\"a/link\"") && error.contains("a link"), "{error}");
    }

    /// Fails where the directory gets its name before the end was looked at.
    #[test]
    fn nothing_is_kept_of_what_is_not_whole() {
        let home = tempfile::tempdir().expect("a directory");
        let from = home.path().join("backup");
        durable::create_dirs(&from, 0o755).expect("made");
        durable::replace(&from.join("dump.rdb"), &[1; 2000], 0o600).expect("written");
        let (stream, _) = packed(&from).expect("packed");
        let into = home.path().join("restoring");
        let refused = || DiskError::Damaged { what: "of the test", source: None };
        unpack(&stream[..], &into, None, &Limits::default(), |_| Err(refused())).expect_err("refused at the end");
        unpack(&stream[..1024], &into, None, &Limits::default(), |_| Ok(())).expect_err("cut off");
        assert!(!tree::exists(&into).expect("readable"));
        assert_eq!(tree::list(home.path()).expect("readable").len(), 1, "only what was packed");
    }
}
