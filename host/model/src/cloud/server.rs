//! The servers of a cloud: their names, what is recorded of them, and how their failures back off.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{InvalidId, ReleaseNumber, ServerGroup};
use crate::time::Timestamp;

/// The name of a server within its environment: its group and a number from 1, shown as `app-1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerName {
    /// The group it belongs to.
    pub group: ServerGroup,
    /// From 1.
    pub index: u32,
}

impl ServerName {
    fn invalid(text: &str) -> InvalidId {
        InvalidId { text: text.chars().take(80).collect(), kind: "server name", rule: "a name such as app-1" }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}", self.group, self.index))
    }
}

impl FromStr for ServerName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (group, index) = text.rsplit_once('-').ok_or_else(|| Self::invalid(text))?;
        let plain = index.bytes().all(|byte| byte.is_ascii_digit()) && !index.starts_with('0');
        let index = index.parse().ok().filter(|_| plain).ok_or_else(|| Self::invalid(text))?;
        Ok(Self { group: group.parse()?, index })
    }
}

impl TryFrom<String> for ServerName {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<ServerName> for String {
    fn from(name: ServerName) -> String {
        name.to_string()
    }
}

/// What the cloud state holds of a server. It is recorded before the server is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// What the provider needs to make the server and to find it again: for EC2 the complete launch request.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub details: serde_json::Map<String, serde_json::Value>,
    /// What went wrong with it lately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// Since when its provider has not shown it, although it was set up: see [`UNTIL_VISIBLE`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen_since: Option<Timestamp>,
    /// Keys that a newer JeCloud wrote.
    #[serde(flatten)]
    pub more: BTreeMap<String, serde_json::Value>,
}

/// Failures in a row, and when to try again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// How many in a row.
    pub count: u32,
    /// The last one, in words.
    pub reason: String,
    /// The release that it concerns, where it concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseNumber>,
    /// When the last one was.
    pub at: Timestamp,
    /// Nothing is tried before.
    pub retry_at: Timestamp,
}

/// What a provider does not show may exist all the same: EC2 shows things to everybody only after a while. Only what is
/// not shown twice, so far apart, is not there: DESIGN §5.
pub const UNTIL_VISIBLE: Duration = Duration::from_secs(300);

impl ServerRecord {
    /// When a server that is still not shown does not exist any more; none where it was shown when somebody looked last.
    ///
    /// The time is that of whoever did not see it first, and may be compared with another clock. One that was fast makes
    /// others wait longer. One that was slow by some minutes makes them wait shorter by as much, which does no harm for
    /// two reasons: EC2 is late with what has just been launched, while this is only said of servers that were set up,
    /// and so were shown for as long as it takes to boot; and Amazon answers nobody whose clock is wrong by more than
    /// five minutes, so that nothing is recorded by a clock that is.
    pub fn gone_from(&self) -> Option<Timestamp> {
        self.unseen_since.map(|since| since.plus(UNTIL_VISIBLE))
    }

    /// Whether the back-off forbids to try anything now; until when.
    pub fn backs_off_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.trouble.as_ref().map(|trouble| trouble.retry_at).filter(|retry_at| *retry_at > now)
    }

    /// Counts a failure.
    pub(super) fn fail(&mut self, reason: &str, release: Option<ReleaseNumber>, now: Timestamp) {
        let count = self.trouble.as_ref().map_or(0, |trouble| trouble.count).saturating_add(1);
        let retry_at = now.plus(back_off(count));
        self.trouble = Some(Trouble { count, reason: reason.to_owned(), release, at: now, retry_at });
    }
}

/// The longest pause between two attempts: DESIGN §5 names the first steps, five minutes is what people wait for a
/// provider's own limits to pass.
pub const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);

/// The pause after so many failures in a row: 1, 2, 3, 5, 8, … seconds, at most [`LONGEST_BACK_OFF`].
pub fn back_off(failures: u32) -> Duration {
    let (mut pause, mut next) = (1, 2);
    for _ in 1..failures.min(20) {
        (pause, next) = (next, pause + next);
    }
    Duration::from_secs(pause).min(LONGEST_BACK_OFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for text in ["app-1", "a-b-12", "app-1-2"] {
            assert_eq!(text.parse::<ServerName>().map(|name| name.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "app", "app-", "app-0", "app-01", "app-+1", "-1", "App-1", "app-99999999999"] {
            assert!(text.parse::<ServerName>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn pauses_grow_to_five_minutes() {
        let seconds: Vec<u64> = (1..=14).map(|failures| back_off(failures).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 300, 300]);
        assert_eq!(back_off(u32::MAX), LONGEST_BACK_OFF);
    }
}
