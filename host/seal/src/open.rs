//! Opening what was sealed.

use std::io::{self, Read};

use crate::chunk::{CHUNK, Chunks, FORMAT, HEADER, MAGIC, TAG};
use crate::{Key, OpenError};

/// Reads what was sealed. Nothing comes out of it that is not exactly what went in: for a chunk that was changed, moved,
/// cut off or sealed with another key there is an error, and after that nothing but errors. Whoever reads to the end
/// without one has the whole file.
pub struct Opener<R> {
    inner: R,
    chunks: Chunks,
    /// A sealed chunk, then what was in it, and one byte more: that tells whether it is the last.
    buffer: Vec<u8>,
    /// How much of `buffer` is filled with what is not opened yet.
    sealed: usize,
    /// What of `buffer` was opened and not read.
    opened: std::ops::Range<usize>,
    /// The byte after the chunk that was opened last.
    ahead: Option<u8>,
    bytes: u64,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Open,
    Ended,
    Failed(OpenError),
}

impl<R: Read> Opener<R> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// An [`OpenError`] where it is none, and what `inner` answers.
    pub fn new(key: &Key, mut inner: R) -> io::Result<Self> {
        let mut header = [0; HEADER];
        let length = fill(&mut inner, &mut header)?;
        let magic = length.min(MAGIC.len());
        if header[..magic] != MAGIC[..magic] || length == 0 {
            return Err(OpenError::NotSealed.into());
        }
        if length > MAGIC.len() && header[MAGIC.len()] != FORMAT {
            return Err(OpenError::UnknownFormat(header[MAGIC.len()]).into());
        }
        if length < HEADER {
            return Err(OpenError::NoHeader(HEADER).into());
        }
        Ok(Self {
            inner,
            chunks: Chunks::new(key, &header),
            buffer: vec![0; CHUNK + TAG + 1],
            sealed: 0,
            opened: 0..0,
            ahead: None,
            bytes: 0,
            state: State::Open,
        })
    }

    /// Opens the next chunk. An error of `inner` changes nothing: the next call goes on where it came.
    fn open_next(&mut self) -> io::Result<()> {
        if let Some(byte) = self.ahead.take() {
            self.buffer[0] = byte;
            self.sealed = 1;
        }
        while self.sealed < self.buffer.len() {
            match self.inner.read(&mut self.buffer[self.sealed..]) {
                Ok(0) => break,
                Ok(length) => self.sealed += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let is_last = self.sealed < self.buffer.len();
        let length = self.sealed.min(CHUNK + TAG);
        self.sealed = 0;
        if !is_last {
            self.ahead = self.buffer.last().copied();
        }
        let after = self.bytes;
        let opened = self.chunks.open(&mut self.buffer[..length], is_last);
        // One that is empty after others was not written by a `Sealer`.
        let Some(opened) = opened.filter(|&opened| opened > 0 || after == 0) else {
            let error = OpenError::Damaged { after };
            self.state = State::Failed(error);
            return Err(error.into());
        };
        self.bytes += opened as u64;
        self.opened = 0..opened;
        if is_last {
            self.state = State::Ended;
        }
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.opened.is_empty() && !buffer.is_empty() {
            match self.state {
                State::Ended => return Ok(0),
                State::Failed(error) => return Err(error.into()),
                State::Open => self.open_next()?,
            }
        }
        let taken = self.opened.len().min(buffer.len());
        let start = self.opened.start;
        buffer[..taken].copy_from_slice(&self.buffer[start..start + taken]);
        self.opened.start += taken;
        Ok(taken)
    }
}

/// Reads until `buffer` is full or there is no more, and answers with how much there was.
fn fill(inner: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match inner.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}
