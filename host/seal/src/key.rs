//! The key that files are sealed with.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use zeroize::Zeroizing;

/// 32 random bytes. They are wiped from memory when the key is dropped, and `Debug` does not show them.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; 32]>);

/// A text that is no key. It does not say the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a key is 64 hex digits")]
pub struct NotAKey;

impl Key {
    /// A new one, from the operating system's randomness.
    ///
    /// # Errors
    ///
    /// The operating system gave none.
    pub fn generate() -> Result<Self, std::io::Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut bytes[..]).map_err(std::io::Error::other)?;
        Ok(Self(bytes))
    }

    /// As 64 lower-case hex digits. Whoever has them can open everything that was sealed with the key.
    pub fn to_hex(&self) -> Zeroizing<String> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // With its final capacity, so that no part of it is left where a shorter one was.
        let mut hex = Zeroizing::new(String::with_capacity(64));
        for byte in self.0.iter() {
            hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
            hex.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        hex
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Key {
    type Err = NotAKey;

    /// From 64 hex digits, with white space around them or without.
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let digits = text.trim().as_bytes();
        if digits.len() != 64 {
            return Err(NotAKey);
        }
        let mut bytes = Zeroizing::new([0; 32]);
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            *byte = digit(0).zip(digit(1)).map(|(high, low)| high << 4 | low).ok_or(NotAKey)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_back() {
        let key = Key::generate().unwrap();
        let hex = key.to_hex();
        assert_eq!(hex.len(), 64);
        assert_eq!(format!(" {}\n", *hex).parse::<Key>().unwrap().bytes(), key.bytes());
        assert_eq!(hex.to_uppercase().parse::<Key>().unwrap().bytes(), key.bytes());
        assert_ne!(Key::generate().unwrap().bytes(), key.bytes());
    }

    #[test]
    fn anything_else_is_refused() {
        let hex = "0".repeat(64);
        for text in ["", "00", &hex[1..], &format!("{hex}0"), &format!("g{}", &hex[1..]), &"é".repeat(32)] {
            assert_eq!(text.parse::<Key>().unwrap_err(), NotAKey, "{text}");
        }
    }

    #[test]
    fn it_is_not_shown() {
        let key: Key = "ab".repeat(32).parse().unwrap();
        assert_eq!(format!("{key:?}"), "Key(…)");
    }
}
