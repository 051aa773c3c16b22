//! Formats of stored documents, and who may write them.
//!
//! A reader accepts every document whose known keys it understands, and keeps the keys that it does not know. A
//! writer that is older than a document's `min_writer` would break what it does not understand, and refuses.

use serde::{Deserialize, Serialize};

/// The format that this JeCloud writes, for all documents.
pub const FORMAT: u32 = 1;

/// The two keys that every stored document has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// The format of the writer that wrote it last.
    pub format: u32,
    /// The oldest format whose writers may change it.
    pub min_writer: u32,
}

impl Default for Format {
    fn default() -> Self {
        Self { format: FORMAT, min_writer: 1 }
    }
}

/// A newer JeCloud wrote a document in a way that this one would break.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it was written by a newer JeCloud (format {min_writer}); this one writes format {FORMAT} and would damage it")]
pub struct TooOld {
    /// What the document demands.
    pub min_writer: u32,
}

impl Format {
    /// Whether this JeCloud may write the document.
    pub fn check_writable(self) -> Result<(), TooOld> {
        if self.min_writer > FORMAT { Err(TooOld { min_writer: self.min_writer }) } else { Ok(()) }
    }
}
