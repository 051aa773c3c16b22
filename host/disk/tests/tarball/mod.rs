//! Archives made by hand, the way somebody makes them who wants to do harm.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::Write as _;

use bzip2::write::BzEncoder;
use jecloud_model::ids::{Digest, VersionId};
use tar::{EntryType, Header};

/// A tar stream that is being put together. Says nothing against anything.
#[derive(Default, Clone)]
pub(crate) struct Tarball(Vec<u8>);

impl Tarball {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Any entry; `size` as it stands in the header, `content` as it follows.
    pub(crate) fn raw(
        mut self,
        path: &[u8],
        kind: EntryType,
        mode: u32,
        target: &[u8],
        size: u64,
        content: &[u8],
    ) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.as_old_mut().name[..path.len()].copy_from_slice(path);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        let padding = content.len().next_multiple_of(512) - content.len();
        self.0.extend(std::iter::repeat_n(0, padding));
        self
    }

    pub(crate) fn file(self, path: &str, content: &[u8]) -> Self {
        self.raw(path.as_bytes(), EntryType::Regular, 0o644, b"", content.len() as u64, content)
    }

    pub(crate) fn program(self, path: &str, content: &[u8]) -> Self {
        self.raw(path.as_bytes(), EntryType::Regular, 0o4777, b"", content.len() as u64, content)
    }

    pub(crate) fn dir(self, path: &str) -> Self {
        self.raw(path.as_bytes(), EntryType::Directory, 0o755, b"", 0, b"")
    }

    pub(crate) fn link(self, path: &str, target: &str) -> Self {
        self.raw(path.as_bytes(), EntryType::Symlink, 0o777, target.as_bytes(), 0, b"")
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.raw(path.as_bytes(), EntryType::Link, 0o644, target.as_bytes(), 0, b"")
    }

    pub(crate) fn kind(self, path: &str, kind: EntryType) -> Self {
        self.raw(path.as_bytes(), kind, 0o644, b"", 0, b"")
    }

    /// The GNU way to say a name of any length, with anything in it.
    pub(crate) fn long_name(self, path: &[u8]) -> Self {
        let content = [path, b"\0"].concat();
        self.raw(b"././@LongLink", EntryType::GNULongName, 0o644, b"", content.len() as u64, &content)
    }

    /// The POSIX way.
    pub(crate) fn pax(self, key: &str, value: &str) -> Self {
        // The length counts itself: three digits suffice here.
        let rest = format!(" {key}={value}\n");
        let digits = if rest.len() + 2 < 100 { 2 } else { 3 };
        let content = format!("{}{rest}", rest.len() + digits);
        self.raw(b"pax", EntryType::XHeader, 0o644, b"", content.len() as u64, content.as_bytes())
    }

    /// Bytes as they are.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The stream with its end.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }

    /// The stream without an end.
    pub(crate) fn without_end(self) -> Vec<u8> {
        self.0
    }
}

pub(crate) fn bzip2(stream: &[u8]) -> Vec<u8> {
    let mut encoder = BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(stream).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn gzip(stream: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(stream).unwrap();
    encoder.finish().unwrap()
}

/// The id that a stream has.
pub(crate) fn id_of(stream: &[u8]) -> VersionId {
    Digest::of(stream).as_str().parse().unwrap()
}
