//! Points in time, as documents store them. The current time is always handed in: this crate has no clock.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time: RFC 3339, UTC, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "jiff::Timestamp", into = "String")]
pub struct Timestamp(jiff::Timestamp);

impl From<jiff::Timestamp> for Timestamp {
    fn from(time: jiff::Timestamp) -> Self {
        Self::from_millisecond(time.as_millisecond())
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> String {
        time.to_string()
    }
}

impl Timestamp {
    /// From milliseconds since 1970; out of range is the nearest that is in range.
    pub fn from_millisecond(milliseconds: i64) -> Self {
        let milliseconds =
            milliseconds.clamp(jiff::Timestamp::MIN.as_millisecond(), jiff::Timestamp::MAX.as_millisecond());
        Self(jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    }

    /// Milliseconds since 1970.
    pub fn as_millisecond(self) -> i64 {
        self.0.as_millisecond()
    }

    /// What the clock of the machine says, cut to milliseconds: for the crates that own a clock.
    pub fn from_system(time: std::time::SystemTime) -> Self {
        let milliseconds = match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        };
        Self::from_millisecond(milliseconds)
    }

    /// So much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let milliseconds = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millisecond(self.as_millisecond().saturating_add(milliseconds))
    }

    /// The time from `earlier` to this; zero where it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.as_millisecond() - earlier.as_millisecond()).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Always three digits: logs are put in order as texts.
        write!(f, "{}", self.0.strftime("%Y-%m-%dT%H:%M:%S.%3fZ"))
    }
}

impl std::str::FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when zeros at the end are left out: the order of texts is then not that of times.
    #[test]
    fn texts_are_in_the_order_of_times() {
        let texts: Vec<String> =
            [0, 1, 10, 100, 999, 1000, 1050].map(|at| Timestamp::from_millisecond(at).to_string()).to_vec();
        assert_eq!(texts[3], "1970-01-01T00:00:00.100Z");
        assert!(texts.is_sorted(), "{texts:?}");
        let stored = serde_json::to_string(&Timestamp::from_millisecond(100)).expect("JSON");
        assert_eq!(stored, "\"1970-01-01T00:00:00.100Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&stored).expect("a time"), Timestamp::from_millisecond(100));
    }
}
