//! One file's key, and what one chunk is sealed with.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;

use crate::Key;

/// What a sealed file begins with.
pub(crate) const MAGIC: &[u8; 8] = b"JeCloud\0";

/// The only format there is yet.
pub(crate) const FORMAT: u8 = 1;

/// Magic, format and salt.
pub(crate) const HEADER: usize = MAGIC.len() + 1 + SALT;

/// How many bytes of chance tell one file's key from another's.
pub(crate) const SALT: usize = 32;

/// How much of what is sealed lies in each chunk but the last.
pub(crate) const CHUNK: usize = 64 * 1024;

/// By how much a sealed chunk is longer.
pub(crate) const TAG: usize = 16;

/// What seals and opens the chunks of one file.
pub(crate) struct Chunks {
    key: LessSafeKey,
    next: u64,
}

impl Chunks {
    /// For the file that begins with `header`.
    pub(crate) fn new(key: &Key, header: &[u8; HEADER]) -> Self {
        let (info, salt) = header.split_at(HEADER - SALT);
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key.bytes());
        let info = [info];
        let key = derived.expand(&info, &AES_256_GCM).expect("HKDF-SHA-256 gives more than 32 bytes");
        Self { key: LessSafeKey::new(UnboundKey::from(key)), next: 0 }
    }

    /// The nonce of the next chunk: none is used twice.
    fn nonce(&mut self, is_last: bool) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[3..11].copy_from_slice(&self.next.to_be_bytes());
        nonce[11] = u8::from(is_last);
        // 2^64 chunks are more than any disk has.
        self.next += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    /// Seals the next chunk where it is; its tag is what comes back.
    pub(crate) fn seal(&mut self, chunk: &mut [u8], is_last: bool) -> [u8; TAG] {
        let nonce = self.nonce(is_last);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::empty(), chunk).expect("64 KiB are not too long");
        tag.as_ref().try_into().expect("a tag has 16 bytes")
    }

    /// Opens the next chunk where it is, and answers with how many bytes were in it; none where it is not what was sealed.
    pub(crate) fn open(&mut self, chunk: &mut [u8], is_last: bool) -> Option<usize> {
        let nonce = self.nonce(is_last);
        self.key.open_in_place(nonce, Aad::empty(), chunk).ok().map(|opened| opened.len())
    }
}
