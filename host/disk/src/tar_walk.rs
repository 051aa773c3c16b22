//! Walks a tar stream, header by header, and leaves nothing unsaid.
//!
//! A library that unpacks skips what it dislikes and repairs what looks odd. For a deployment silence is wrong, so
//! this walker hands out every entry as it is, whatever it is, and the caller allows or refuses it.

use std::io::{self, Read};

use tar::{EntryType, Header, PaxExtensions};

use crate::error::DiskError;

const BLOCK: usize = 512;

/// The longest long name or block of extensions that is taken into memory.
const EXTENSION_LIMIT: u64 = 64 << 10;

/// An entry. Its content is read from the walker.
#[derive(Debug)]
pub(crate) struct Found {
    /// As the archive gives it.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryType,
    /// Of a link.
    pub(crate) target: Vec<u8>,
    pub(crate) bytes: u64,
    pub(crate) mode: u32,
}

/// The state of the walk. Reads the content of the entry that was found last.
#[derive(Debug)]
pub(crate) struct TarWalk<R> {
    inner: R,
    /// Of the current entry's content.
    left: u64,
    /// Zeros after it.
    padding: u64,
}

/// What extension headers say of the entry that follows them.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    bytes: Option<u64>,
}

fn damaged(what: &'static str) -> DiskError {
    DiskError::Damaged { what, source: None }
}

/// What a failed read of the archive means.
pub(crate) fn read_error(error: io::Error) -> DiskError {
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends too early",
        _ => "it cannot be decompressed, or something follows its end",
    };
    DiskError::Damaged { what, source: Some(error) }
}

impl<R: Read> TarWalk<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, left: 0, padding: 0 }
    }

    /// The next entry; none at the end of the archive, after which nothing but zeros may follow.
    pub(crate) fn next(&mut self) -> Result<Option<Found>, DiskError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size = header.entry_size().map_err(|_| damaged("a size in it is not a number"))?;
            let kind = header.entry_type();
            if matches!(kind, EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader) {
                let content = self.extension(size)?;
                extensions.add(kind, content)?;
                continue;
            }
            if kind == EntryType::XGlobalHeader {
                // Time stamps, comments, and the like: nothing that we take.
                self.extension(size)?;
                continue;
            }
            let path = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
            let target = match extensions.target {
                Some(target) => target,
                None => header.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default(),
            };
            let bytes = extensions.bytes.unwrap_or(size);
            // Links have no content, whatever some writers put there.
            let has_content = !matches!(kind, EntryType::Link | EntryType::Symlink | EntryType::Directory);
            self.begin(if has_content { bytes } else { size });
            let mode = header.mode().map_err(|_| damaged("a mode in it is not a number"))?;
            return Ok(Some(Found { path, kind, target, bytes, mode }));
        }
    }

    fn begin(&mut self, bytes: u64) {
        self.left = bytes;
        self.padding = (BLOCK as u64 - bytes % BLOCK as u64) % BLOCK as u64;
    }

    fn header(&mut self) -> Result<Option<Header>, DiskError> {
        let mut block = [0; BLOCK];
        self.inner.read_exact(&mut block).map_err(read_error)?;
        if block == [0; BLOCK] {
            self.expect_end()?;
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block).clone();
        let sum: u32 = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum();
        let expected = header.cksum().map_err(|_| damaged("a check sum in it is not a number"))?;
        // Eight spaces stand for the check sum itself.
        if sum + 8 * 32 != expected {
            return Err(damaged("a check sum in it is wrong"));
        }
        Ok(Some(header))
    }

    /// After the first block of zeros there is at least another one, and nothing but zeros until the end.
    fn expect_end(&mut self) -> Result<(), DiskError> {
        let mut second = [0; BLOCK];
        self.inner.read_exact(&mut second).map_err(read_error)?;
        let mut rest = second.to_vec();
        rest.resize(16 * BLOCK, 0);
        let mut length = BLOCK;
        loop {
            if rest[..length].iter().any(|byte| *byte != 0) {
                return Err(damaged("something follows its end"));
            }
            length = match self.inner.read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) => return Err(read_error(error)),
            };
        }
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, DiskError> {
        if size > EXTENSION_LIMIT {
            return Err(damaged("a name in it is longer than 64 KiB"));
        }
        self.begin(size);
        let mut content = Vec::new();
        self.read_to_end(&mut content).map_err(read_error)?;
        Ok(content)
    }

    fn skip_rest(&mut self) -> Result<(), DiskError> {
        io::copy(&mut *self, &mut io::sink()).map_err(read_error)?;
        let mut padding = [0; BLOCK];
        let length = usize::try_from(std::mem::take(&mut self.padding)).unwrap_or(0);
        self.inner.read_exact(&mut padding[..length]).map_err(read_error)
    }
}

impl Extensions {
    fn add(&mut self, kind: EntryType, mut content: Vec<u8>) -> Result<(), DiskError> {
        if kind != EntryType::XHeader {
            // One NUL ends the text; any other in it is the caller's to refuse.
            if content.last() == Some(&0) {
                content.pop();
            }
            let place = if kind == EntryType::GNULongName { &mut self.path } else { &mut self.target };
            *place = Some(content);
            return Ok(());
        }
        for extension in PaxExtensions::new(&content) {
            let extension = extension.map_err(|_| damaged("an extension header in it cannot be read"))?;
            let value = extension.value_bytes();
            match extension.key_bytes() {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.target = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    self.bytes = Some(size.ok_or_else(|| damaged("a size in it is not a number"))?);
                }
                key if key.starts_with(b"GNU.sparse.") => return Err(damaged("it has a sparse file in it")),
                _ => {}
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for TarWalk<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}
