//! Identifiers. Each is checked where it enters and trusted from then on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not an identifier: "NAME is not a valid KIND: RULE".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {kind}: {rule}")]
pub struct InvalidId {
    /// The text as it came in, shortened to 80 characters.
    pub text: String,
    /// What it was meant to be: `app name`.
    pub kind: &'static str,
    /// What it would have to look like.
    pub rule: &'static str,
}

impl InvalidId {
    fn new(text: &str, kind: &'static str, rule: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), kind, rule }
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.to_owned())) } else { Err(InvalidId::new(text, $kind, $rule)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// `^[a-z][a-z0-9-]{0,30}$`: fits into a host name, a unit name and a path without quoting.
fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 31
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// As `is_name`, and `_` too: Procfiles in the wild have `release_worker`.
fn is_process_name(text: &str) -> bool {
    is_name(&text.replace('_', "-"))
}

fn is_backup_id(text: &str) -> bool {
    let shape = |(index, byte): (usize, u8)| match index {
        8 => byte == b'T',
        15 => byte == b'Z',
        16 => byte == b'-',
        0..=14 => byte.is_ascii_digit(),
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    text.len() == 25 && text.bytes().enumerate().all(shape)
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

text_id!(
    /// The name of an app.
    AppName, "app name", "a lower-case letter, then up to 30 lower-case letters, digits and hyphens", |text| is_name(text) && text != "sys"
);
text_id!(
    /// The name of an environment: `production`, `staging`.
    EnvironmentName, "environment name", "a lower-case letter, then up to 30 lower-case letters, digits and hyphens", is_name
);
text_id!(
    /// The name of a service: a `[services.NAME]` table.
    ServiceName, "service name", "a lower-case letter, then up to 30 lower-case letters, digits and hyphens", is_name
);
text_id!(
    /// The name of a group of servers: a `[servers.NAME]` table.
    ServerGroup, "server group", "a lower-case letter, then up to 30 lower-case letters, digits and hyphens", is_name
);
text_id!(
    /// The name of a process type, as in a Procfile: `web`.
    ProcessName, "process name", "a lower-case letter, then up to 30 lower-case letters, digits, hyphens and underscores", is_process_name
);
text_id!(
    /// One backup of a service: `20261124T190812Z-3f2a9c01`, when it was asked for and eight hex digits of chance. Their
    /// order is that of time.
    BackupId, "backup", "a time and eight hex digits, like 20261124T190812Z-3f2a9c01", is_backup_id
);
text_id!(
    /// The content of one deployed source tree: the SHA-256, as 64 lower-case hex digits, of its normalised tar stream.
    VersionId, "version", "64 lower-case hex digits", is_sha256
);
text_id!(
    /// A SHA-256 as 64 lower-case hex digits: what a hook component is known by.
    Digest, "SHA-256", "64 lower-case hex digits", is_sha256
);
text_id!(
    /// Names one change of the cloud state, however often it is sent: 32 lower-case hex digits.
    OperationId, "operation id", "32 lower-case hex digits", |text| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
);

impl VersionId {
    /// The first 12 hex digits, as shown to people.
    pub fn short(&self) -> &str {
        &self.as_str()[..12]
    }

    /// From the 32 bytes of a SHA-256.
    pub fn from_sha256(bytes: [u8; 32]) -> Self {
        Self(hex(&bytes))
    }
}

impl Digest {
    /// The first 12 hex digits, as shown to people.
    pub fn short(&self) -> &str {
        &self.as_str()[..12]
    }

    /// From the 32 bytes of a SHA-256.
    pub fn from_sha256(bytes: [u8; 32]) -> Self {
        Self(hex(&bytes))
    }

    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self::from_sha256(sha2::Sha256::digest(bytes).into())
    }
}

impl BackupId {
    /// The name of a backup that is asked for now. The caller owns clock and randomness: this crate has neither.
    pub fn new(now: crate::time::Timestamp, chance: [u8; 4]) -> Self {
        let time: String = now.to_string().chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect();
        Self(format!("{time}Z-{}", hex(&chance)))
    }
}

impl OperationId {
    /// From 16 random bytes. The caller owns the randomness: this crate has none.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(hex(&bytes))
    }
}

/// How the names of scratch environments begin: nobody may call one of their own so.
const SCRATCH: &str = "jecloud-scratch-";

impl EnvironmentName {
    /// Where a backup is restored only to see whether that can be done. There is no such environment but on the server that
    /// made the backup, and there for a few minutes.
    pub fn scratch(backup: &BackupId) -> Self {
        Self(format!("{SCRATCH}{}", &backup.as_str()[17..]))
    }

    /// Whether it is such a one.
    pub fn is_scratch(&self) -> bool {
        self.0.starts_with(SCRATCH)
    }

    /// `production`: the environment that is meant when none is named.
    pub fn production() -> Self {
        Self("production".to_owned())
    }
}

/// Lower-case hex of some bytes.
fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The number of a release within its environment: 1, 2, 3, … in the order they were recorded. Shown as `r7`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReleaseNumber(pub u64);

impl fmt::Display for ReleaseNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("r{}", self.0))
    }
}

impl FromStr for ReleaseNumber {
    type Err = InvalidId;

    /// `r7` or `7`.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.strip_prefix('r')
            .unwrap_or(text)
            .parse()
            .map(Self)
            .map_err(|_| InvalidId::new(text, "release", "a number such as 7 or r7"))
    }
}

/// How often a document was written. Nothing ever acts on a lower one than it has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One instance of a process type on a server.
///
/// `web.1@7` is the first `web` of release 7: instances of two releases run beside each other while one replaces
/// the other. `db.1` belongs to no release: the same instance serves one release after the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId {
    /// The process type.
    pub process: ProcessName,
    /// From 1.
    pub index: u32,
    /// The release it belongs to; none where it is not replaced by deployments.
    pub release: Option<ReleaseNumber>,
}

impl InstanceId {
    /// `web.1`, without the release.
    pub fn short(&self) -> String {
        format!("{}.{}", self.process, self.index)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.process, self.index)?;
        if let Some(release) = self.release {
            write!(f, "@{}", release.0)?;
        }
        Ok(())
    }
}

impl FromStr for InstanceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId::new(text, "process instance", "a name such as web.1 or web.1@7");
        let (rest, release) = match text.split_once('@') {
            Some((rest, release)) => (rest, Some(ReleaseNumber(release.parse().map_err(|_| invalid())?))),
            None => (text, None),
        };
        let (process, index) = rest.split_once('.').ok_or_else(invalid)?;
        let index: u32 = index.parse().map_err(|_| invalid())?;
        if index == 0 {
            return Err(invalid());
        }
        Ok(Self { process: process.parse()?, index, release })
    }
}

impl TryFrom<String> for InstanceId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FromStr<Err = InvalidId> + fmt::Display>(valid: &[&str], invalid: &[&str]) {
        for text in valid {
            assert_eq!(text.parse::<T>().map(|id| id.to_string()).as_deref(), Ok(*text));
        }
        for text in invalid {
            assert!(text.parse::<T>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn names() {
        let long = "a".repeat(31);
        let too_long = "a".repeat(32);
        check::<AppName>(
            &["a", "hello-node", "a1", &long],
            &["", "1a", "-a", "A", "a_b", "a/b", "..", "a.b", "ä", "sys", &too_long],
        );
        check::<ProcessName>(&["web", "release_worker"], &["", "Web", "web.1", "web@1", "_web"]);
    }

    /// Fails where a scratch environment could be somebody's own: `-e` and jecloud.toml refuse what `is_scratch` says.
    #[test]
    fn scratch_environments_have_names_of_their_own() {
        let backup: BackupId = "20261124T190812Z-3f2a9c01".parse().expect("valid");
        let scratch = EnvironmentName::scratch(&backup);
        assert_eq!(scratch.as_str(), "jecloud-scratch-3f2a9c01");
        assert!(scratch.as_str().parse::<EnvironmentName>().is_ok_and(|name| name.is_scratch()));
        assert!(!EnvironmentName::production().is_scratch());
    }

    #[test]
    fn hashes() {
        let sha = "0".repeat(64);
        check::<VersionId>(&[&sha], &["", "0123", &"g".repeat(64), &"A".repeat(64)]);
        assert_eq!(Digest::of(b"").as_str(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn instances() {
        check::<InstanceId>(&["web.1", "web.12@7"], &["web", "web.0", "web.x", "web.1@", "web.1@x", ".1", "Web.1"]);
    }
}
