//! Why a sealed file was not opened.

use thiserror::Error;

/// Why a sealed file was not opened. It is what is inside of the `io::Error` that [`crate::Opener`] answers with: its kind
/// is `InvalidData`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenError {
    /// It does not begin as a sealed file does.
    #[error("this is no file that JeCloud has sealed")]
    NotSealed,
    /// It was sealed by a JeCloud that knows more.
    #[error("the file is sealed in format {0}, and this JeCloud knows format 1 only")]
    UnknownFormat(u8),
    /// The header is not whole.
    #[error("the file ends within its first {0} bytes")]
    NoHeader(usize),
    /// A chunk is not what was sealed with this key.
    #[error(
        "the sealed file is damaged in the 64 KiB after byte {after}, ends there too early, or was sealed with another key"
    )]
    Damaged {
        /// How many bytes of what was sealed came before it.
        after: u64,
    },
}

impl From<OpenError> for std::io::Error {
    fn from(error: OpenError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}
