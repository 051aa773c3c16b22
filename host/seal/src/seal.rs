//! Sealing.

use std::io::{self, Write};

use jecloud_model::ids::Digest;
use sha2::{Digest as _, Sha256};

use crate::Key;
use crate::chunk::{CHUNK, Chunks, FORMAT, HEADER, MAGIC, SALT};

/// Seals what is written to it. What was written is whole only after [`Sealer::finish`]: without it, nobody can open the
/// end of it.
pub struct Sealer<W> {
    inner: W,
    chunks: Chunks,
    /// What was not sealed yet: a chunk at most, which may be the last.
    waiting: Vec<u8>,
    bytes: u64,
    sealed_bytes: u64,
    hash: Sha256,
}

/// What went through a [`Sealer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// How many bytes were sealed.
    pub bytes: u64,
    /// How many bytes the sealed file has.
    pub sealed_bytes: u64,
    /// The SHA-256 of the sealed file.
    pub sha256: Digest,
}

impl<W: Write> Sealer<W> {
    /// Begins a sealed file, with a key of its own.
    ///
    /// # Errors
    ///
    /// There is no randomness, or `inner` does not take the header.
    pub fn new(key: &Key, inner: W) -> io::Result<Self> {
        let mut header = [0; HEADER];
        header[..MAGIC.len()].copy_from_slice(MAGIC);
        header[MAGIC.len()] = FORMAT;
        getrandom::fill(&mut header[HEADER - SALT..]).map_err(io::Error::other)?;
        let mut sealer = Self {
            inner,
            chunks: Chunks::new(key, &header),
            waiting: Vec::with_capacity(CHUNK),
            bytes: 0,
            sealed_bytes: 0,
            hash: Sha256::new(),
        };
        sealer.put(&header)?;
        Ok(sealer)
    }

    /// Seals what is left, and says what there is now. `inner` is flushed.
    ///
    /// # Errors
    ///
    /// `inner` does not take it.
    pub fn finish(mut self) -> io::Result<(W, Totals)> {
        self.seal_waiting(true)?;
        self.inner.flush()?;
        let sha256 = Digest::from_sha256(self.hash.finalize().into());
        Ok((self.inner, Totals { bytes: self.bytes, sealed_bytes: self.sealed_bytes, sha256 }))
    }

    fn seal_waiting(&mut self, is_last: bool) -> io::Result<()> {
        let mut chunk = std::mem::take(&mut self.waiting);
        let tag = self.chunks.seal(&mut chunk, is_last);
        self.put(&chunk)?;
        self.put(&tag)?;
        chunk.clear();
        self.waiting = chunk;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_all(bytes)?;
        self.hash.update(bytes);
        self.sealed_bytes += bytes.len() as u64;
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    /// An error leaves a file that cannot be opened, whatever is written later.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        // Only now is it known that the chunk that waits is not the last one.
        if self.waiting.len() == CHUNK {
            self.seal_waiting(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.waiting.len());
        self.waiting.extend_from_slice(&bytes[..taken]);
        self.bytes += taken as u64;
        Ok(taken)
    }

    /// What is not a whole chunk stays here: it might be the last.
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
