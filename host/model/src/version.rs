//! Which version a JeCloud is, said in a way that others can find out without running it: a process that runs for months
//! is asked by looking at its binary, and a binary for another architecture cannot be run here at all.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Stands in every binary of JeCloud, see [`Version::in_mark`].
static MARK: &str = concat!("jecloud-binary=", env!("CARGO_PKG_VERSION"), ";");

/// A version of JeCloud. What is greater is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version([u64; 3]);

/// A text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version such as 0.1.0")]
pub struct NotAVersion(String);

impl Version {
    /// The version of the JeCloud that runs.
    ///
    /// # Panics
    ///
    /// Never: the version of the workspace is one.
    pub fn own() -> Self {
        // Read from where others read it, so that both always say the same.
        let mark = std::hint::black_box(MARK);
        let text = mark.split_once('=').map_or(mark, |(_, text)| text).trim_end_matches(';');
        text.parse().expect("the workspace has a version")
    }

    /// The bytes after which a binary says its version. They are put together here, so that they stand nowhere else.
    pub fn needle() -> Vec<u8> {
        [b"jecloud-".as_slice(), b"binary="].concat()
    }

    /// The version that a binary says in the bytes after [`Version::needle`]; none where these are something else.
    pub fn in_mark(after: &[u8]) -> Option<Self> {
        let end = after.iter().take(LONGEST).position(|byte| *byte == b';')?;
        std::str::from_utf8(&after[..end]).ok()?.parse().ok()
    }

    /// The version in what `jecloud version` says: `jecloud 0.1.0`.
    pub fn in_words(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| word.parse().ok())
    }
}

/// No version is longer, in bytes.
const LONGEST: usize = 64;

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let error = || NotAVersion(text.chars().take(LONGEST).collect());
        let mut numbers = [0; 3];
        let mut parts = text.split('.');
        for number in &mut numbers {
            let part = parts.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
            *number = part.and_then(|part| part.parse().ok()).ok_or_else(error)?;
        }
        if parts.next().is_some() { Err(error()) } else { Ok(Self(numbers)) }
    }
}

impl TryFrom<String> for Version {
    type Error = NotAVersion;

    fn try_from(text: String) -> Result<Self, NotAVersion> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_is_greater_by_number() {
        let version = |text: &str| text.parse::<Version>().expect("a version");
        assert!(version("0.10.0") > version("0.9.12") && version("1.0.0") > version("0.99.99"));
        assert_eq!(version("0.1.0").to_string(), "0.1.0");
        for text in ["", "1.2", "1.2.3.4", "1.2.x", "1..3", "+1.2.3", " 1.2.3"] {
            assert!(text.parse::<Version>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn the_mark_says_what_the_program_says() {
        let after = MARK.as_bytes().strip_prefix(Version::needle().as_slice()).expect("it begins with the needle");
        assert_eq!(Version::in_mark(after), Some(Version::own()));
        assert_eq!(Version::own().to_string(), env!("CARGO_PKG_VERSION"));
        assert_eq!(Version::in_words("jecloud 0.3.1\n").map(|version| version.to_string()).as_deref(), Some("0.3.1"));
        assert_eq!(Version::in_mark(b"0.1.0"), None);
    }
}
