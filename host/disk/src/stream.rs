//! The normalised tar stream of a source tree: what its version is the hash of.
//!
//! Written here byte by byte rather than by a library, because these bytes must never change: a version that is
//! deployed from the same files must have the same name for ever. Format: GNU tar; entries in the byte order of
//! their paths; time 0, owner 0, no names; mode 0644, or 0755 for executables and directories, 0777 for links; paths
//! and targets over 100 bytes in a `././@LongLink` entry before; two blocks of zeros at the end and no padding.

use std::io::{self, Read as _};

use tar::{EntryType, Header};

use crate::error::{DiskError, Result};
use crate::rules::{Refusal, in_words};
use crate::source::{EntryKind, SourceTree, refused};

/// The size of everything in a tar stream is a multiple of this.
pub(crate) const BLOCK: u64 = 512;

/// The longest name that fits into a header.
const NAME: usize = 100;

/// What reading a file at a time asks for.
pub(crate) const READ: usize = 256 << 10;

pub(crate) static ZEROS: [u8; 1024] = [0; 1024];

/// Hands out the stream, part by part.
pub(crate) fn write(tree: &SourceTree, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; READ];
    for (path, kind) in tree.raw_entries() {
        match kind {
            EntryKind::File { bytes, executable } => {
                let mode = if *executable { 0o755 } else { 0o644 };
                header(sink, path, EntryType::Regular, *bytes, mode, b"")?;
                content(tree, path, *bytes, &mut buffer, sink)?;
            }
            EntryKind::EmptyDirectory => {
                let path = [path, b"/"].concat();
                header(sink, &path, EntryType::Directory, 0, 0o755, b"")?;
            }
            EntryKind::Link { target } => header(sink, path, EntryType::Symlink, 0, 0o777, target)?,
        }
    }
    sink(&ZEROS)
}

/// How many bytes [`write`] will hand out.
pub(crate) fn length(tree: &SourceTree) -> u64 {
    let long = |text: &[u8]| if text.len() > NAME { BLOCK + padded(text.len() as u64 + 1) } else { 0 };
    let entries = tree.raw_entries().map(|(path, kind)| {
        BLOCK
            + match kind {
                EntryKind::File { bytes, .. } => long(path) + padded(*bytes),
                EntryKind::EmptyDirectory => long(&[path, b"/"].concat()),
                EntryKind::Link { target } => long(path) + long(target),
            }
    });
    entries.sum::<u64>() + ZEROS.len() as u64
}

fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK)
}

pub(crate) fn header(
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    path: &[u8],
    kind: EntryType,
    bytes: u64,
    mode: u32,
    target: &[u8],
) -> Result<()> {
    for (text, kind) in [(target, EntryType::GNULongLink), (path, EntryType::GNULongName)] {
        if text.len() > NAME {
            let length = text.len() as u64 + 1;
            sink(plain_header(b"././@LongLink", kind, length, 0o644, b"").as_bytes())?;
            sink(text)?;
            sink(&ZEROS[..1 + padding(length)])?;
        }
    }
    sink(plain_header(path, kind, bytes, mode, target).as_bytes())
}

/// How many zeros follow so many bytes.
pub(crate) fn padding(bytes: u64) -> usize {
    // Below BLOCK, so it fits.
    (padded(bytes) - bytes) as usize
}

fn plain_header(path: &[u8], kind: EntryType, bytes: u64, mode: u32, target: &[u8]) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(bytes);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    let fields = header.as_old_mut();
    let (path, target) = (&path[..path.len().min(NAME)], &target[..target.len().min(NAME)]);
    fields.name[..path.len()].copy_from_slice(path);
    fields.linkname[..target.len()].copy_from_slice(target);
    header.set_cksum();
    header
}

fn content(
    tree: &SourceTree,
    path: &[u8],
    bytes: u64,
    buffer: &mut [u8],
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let changed = || DiskError::Changed { entry: in_words(path) };
    let mut file = tree.open(path, bytes)?;
    let mut left = bytes;
    loop {
        let read = match file.read(buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(refused(path, Refusal::Unreadable(error.to_string()))),
        };
        if read == 0 {
            break;
        }
        left = left.checked_sub(read as u64).ok_or_else(changed)?;
        sink(&buffer[..read])?;
    }
    if left > 0 {
        return Err(changed());
    }
    sink(&ZEROS[..padding(bytes)])
}
