//! The compare-and-swap loop on stores that lose replies, and on a directory.

mod backups;
mod directory;
mod edits;
mod faulty;
mod overtaken;
mod writers;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use jecloud_cloud::World;
use jecloud_model::cloud::Change;
use jecloud_model::ids::{AppName, EnvironmentName};
use jecloud_model::time::Timestamp;

/// A clock that stands still, chance from a seed, and pauses that only let others go first.
pub(crate) struct TestWorld(Mutex<u64>);

impl TestWorld {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl World for TestWorld {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(1_000_000)
    }

    fn random(&self) -> [u8; 16] {
        let mut state = self.0.lock().unwrap();
        let mut bytes = [0; 16];
        for half in bytes.chunks_mut(8) {
            half.copy_from_slice(&next_random(&mut state).to_le_bytes());
        }
        bytes
    }

    fn pause(&self, _duration: Duration) {
        std::thread::yield_now();
    }
}

/// SplitMix64.
pub(crate) fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

pub(crate) fn app() -> AppName {
    "guestbook".parse().unwrap()
}

pub(crate) fn set(name: &str, value: &str) -> Change {
    let variables = BTreeMap::from([(name.to_owned(), value.to_owned())]);
    Change::SetEnv { environment: EnvironmentName::production(), variables }
}
