//! What `/proc` says about processes.

use std::path::{Path, PathBuf};

use jecloud_disk::{durable, tree};

/// Environments are read up to this size: a quarter of the stack, which is as large as the kernel lets them be by
/// default.
const LARGEST_ENVIRONMENT: u64 = 2 << 20;

/// What tells one process from another that has its number later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// `Z` is a process that has ended and was not waited for.
    pub(crate) state: u8,
    /// Its process group.
    pub(crate) group: u32,
    /// When it was started, in ticks since the machine was.
    pub(crate) start_time: u64,
}

impl Stat {
    /// Whether there still is something that runs.
    pub(crate) fn lives(&self) -> bool {
        !matches!(self.state, b'Z' | b'X')
    }
}

/// Names the time from one start of the machine to the next.
pub(crate) fn boot_id() -> Option<String> {
    Some(durable::read_text(Path::new("/proc/sys/kernel/random/boot_id")).ok()??.trim().to_owned())
}

/// All numbers of processes that there are.
pub(crate) fn pids() -> Vec<u32> {
    let names = tree::list(Path::new("/proc")).unwrap_or_default();
    names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect()
}

/// See [`Stat`]; none for a process that is not there.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    let bytes = durable::read_at_most(&directory(pid).join("stat"), 8192).ok()??;
    parse_stat(&bytes)
}

fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    // The second field is the program's name in parentheses, and may itself hold parentheses and spaces.
    let after_name = bytes.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(bytes.get(after_name + 2..)?).ok()?;
    // The fields from the third on.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        group: fields.get(2)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

/// The value of a variable in the environment that a process was started with; none also where it may not be read.
pub(crate) fn variable(pid: u32, name: &str) -> Option<String> {
    let bytes = durable::read_at_most(&directory(pid).join("environ"), LARGEST_ENVIRONMENT).ok()??;
    bytes.split(|byte| *byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        String::from_utf8(value.to_vec()).ok()
    })
}

fn directory(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_confuse() {
        let line = b"17 (a) R 1 (b) S 1 16 16 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 2 3\n";
        assert_eq!(parse_stat(line), Some(Stat { state: b'S', group: 16, start_time: 4711 }));
    }

    #[test]
    fn this_process_is_found() {
        let own = std::process::id();
        assert!(pids().contains(&own));
        assert!(stat(own).is_some_and(|stat| stat.lives() && stat.start_time > 0));
        assert_eq!(variable(own, "PATH"), std::env::var("PATH").ok());
        assert!(boot_id().is_some_and(|id| id.len() == 36));
        assert_eq!(stat(u32::MAX), None);
    }
}
