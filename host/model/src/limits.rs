//! What a process may use of its server.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The least memory that can be given: below, no program gets far enough to say what it lacks.
pub const LEAST_MEMORY: u64 = 4 << 20;

/// The most memory that can be given: more is a slip.
pub const MOST_MEMORY: u64 = 64 << 40;

/// The least processor time that can be given: a hundredth of a core, which is what schedulers can tell from nothing.
pub const LEAST_CPU_MILLIS: u32 = 10;

/// The most processor time that can be given: 1024 cores.
pub const MOST_CPU_MILLIS: u32 = 1_024_000;

/// The most that one instance of a process, with everything it starts, may use. What is none is not limited.
///
/// It is part of what a process is started from, so that a change starts it anew. In documents it is left out where
/// nothing is limited: they are the same as before there were limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory, in bytes. A process that needs more is ended by the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processor time, in thousandths of a core. A process that wants more waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// As in `jecloud.toml`: `memory 512M, cpu 1.5`.
impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = self.memory_bytes.map(|bytes| format!("memory {}", memory_in_words(bytes)));
        let cpu = self.cpu_millis.map(|millis| format!("cpu {}", f64::from(millis) / 1000.0));
        let limits: Vec<String> = memory.into_iter().chain(cpu).collect();
        f.write_str(&if limits.is_empty() { "no limits".to_owned() } else { limits.join(", ") })
    }
}

const UNITS: [(char, u32); 4] = [('T', 40), ('G', 30), ('M', 20), ('K', 10)];

fn memory_in_words(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, bits)| bytes >= 1 << bits && bytes.trailing_zeros() >= *bits);
    unit.map_or_else(|| bytes.to_string(), |(unit, bits)| format!("{}{unit}", bytes >> bits))
}

/// Reads a size as systemd and container runtimes write it: a whole number and `K`, `M`, `G` or `T`, powers of 1024.
/// None for anything else, for what is no size at all, and for more than 64 bits hold.
pub fn parse_memory(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let (_, bits) = UNITS.iter().find(|(letter, _)| *letter == unit)?;
    let number = &text[..text.len() - 1];
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|_| is_number)?;
    number.checked_mul(1 << bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_memory("512M"), Some(512 << 20));
        assert_eq!(parse_memory("2G"), Some(2 << 30));
        assert_eq!(parse_memory("1T"), Some(1 << 40));
        assert_eq!(parse_memory("65536K"), Some(64 << 20));
        for bad in ["", "M", "512", "512MB", "512Mi", "512m", "-1M", "+1M", " 1M", "1.5G", "99999999999999T", "1é"] {
            assert_eq!(parse_memory(bad), None, "{bad}");
        }
    }

    #[test]
    fn words_are_as_they_are_written() {
        let limits = |memory_bytes, cpu_millis| Limits { memory_bytes, cpu_millis }.to_string();
        assert_eq!(limits(Some(512 << 20), Some(1500)), "memory 512M, cpu 1.5");
        assert_eq!(limits(Some(1536 << 20), None), "memory 1536M");
        assert_eq!(limits(Some(2 << 30), None), "memory 2G");
        assert_eq!(limits(None, Some(2000)), "cpu 2");
        assert_eq!(limits(None, None), "no limits");
    }

    #[test]
    fn what_is_not_limited_is_not_written() {
        let text = |limits: Limits| serde_json::to_string(&limits).expect("JSON");
        assert_eq!(text(Limits::default()), "{}");
        let some = Limits { memory_bytes: Some(7), cpu_millis: Some(9) };
        assert_eq!(text(some), r#"{"memory_bytes":7,"cpu_millis":9}"#);
        assert_eq!(serde_json::from_str::<Limits>("{}").expect("limits"), Limits::default());
    }
}
