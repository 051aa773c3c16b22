//! Ports for processes.
//!
//! They lie below the range from which Linux takes the ports of outgoing connections (32768 and up, see
//! `ip_local_port_range`), so that no client on this machine can sit on one by accident.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

/// Where ports are taken from.
pub(crate) const RANGE: RangeInclusive<u16> = 20_000..=32_000;

/// The first free port that nobody else was given, beginning at a place that depends on `seed`, so that two servers
/// on one machine rarely look at the same ones. None where all are taken.
pub(crate) fn choose(seed: u64, taken: &BTreeSet<u16>, is_free: &dyn Fn(u16) -> bool) -> Option<u16> {
    let width = u64::from(RANGE.end() - RANGE.start()) + 1;
    (0..width)
        .filter_map(|offset| u16::try_from((seed + offset) % width).ok())
        .map(|offset| RANGE.start() + offset)
        .find(|port| !taken.contains(port) && is_free(*port))
}

/// Whether a process could listen on it now.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_around_and_skips_what_is_taken() {
        let all = |_: u16| true;
        assert_eq!(choose(0, &BTreeSet::new(), &all), Some(20_000));
        assert_eq!(choose(0, &BTreeSet::from([20_000, 20_001]), &all), Some(20_002));
        assert_eq!(choose(12_000, &BTreeSet::from([32_000]), &all), Some(20_000));
        assert_eq!(choose(5, &BTreeSet::new(), &|_| false), None);
    }

    /// Fails when `is_free` does not look at the machine.
    #[test]
    fn a_port_in_use_is_not_free() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        assert!(!is_free(listener.local_addr().expect("an address").port()));
    }
}
