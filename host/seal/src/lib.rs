//! Files that nobody without the key can read, and nobody can change without being found out, in constant memory.
//!
//! A sealed file is a header (8 bytes of magic, 1 of version, 32 of salt) and chunks of 64 KiB, each sealed with
//! AES-256-GCM and 16 bytes longer for it; the last may be shorter, and is empty only where the whole file is. Each file
//! has a key of its own, derived with HKDF-SHA-256 from the [`Key`], the salt and the rest of the header, so that no
//! number of files sealed with one [`Key`] uses a nonce twice. A chunk's nonce is its number and whether it is the last
//! (the STREAM construction), so that chunks that are missing, repeated or in another order are found, and a file that
//! ends early too.
//!
//! What is not hidden: how long a file is.

mod chunk;
mod error;
mod key;
mod open;
mod seal;

pub use error::OpenError;
pub use key::{Key, NotAKey};
pub use open::Opener;
pub use seal::{Sealer, Totals};
