//! What one process remembers of launches. None of it is needed to be safe: without it more is unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jecloud_model::cloud::{Place, UNTIL_VISIBLE};
use jecloud_model::time::Timestamp;

use crate::details::Full;

/// So often a process gives up a launch of one server for a new one, before it leaves that to another process: whatever
/// ends machines while they start would go on to do so.
const RENEWALS: u32 = 3;

/// By client token, but for places.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    /// The instance that was launched.
    launched: BTreeMap<String, String>,
    /// When what was launched here and is not recorded yet was first not to be seen, since it was last seen. Who knows
    /// nothing of it launches it again from the same request, and comes to know of it.
    absent_since: BTreeMap<String, Timestamp>,
    /// Launches that EC2 refused for good: nothing was launched by them.
    refused: BTreeMap<String, Refusal>,
    /// What was given up, by place.
    renewed: BTreeMap<Place, BTreeSet<String>>,
    full: Full,
}

/// Why a launch was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Something that the request names exists no more, or its zone is full: another request may do better.
    Request,
    /// Anything else: the same request may do later.
    Other,
}

impl Memory {
    fn get(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn launched(&self, token: &str, id: &str) {
        let mut remembered = self.get();
        remembered.launched.insert(token.to_owned(), id.to_owned());
        remembered.refused.remove(token);
    }

    pub(crate) fn instance(&self, token: &str) -> Option<String> {
        self.get().launched.get(token).cloned()
    }

    pub(crate) fn seen(&self, token: &str) {
        self.get().absent_since.remove(token);
    }

    /// It was not to be seen. Whether that is certain by now.
    pub(crate) fn not_seen(&self, token: &str, now: Timestamp) -> bool {
        let since = *self.get().absent_since.entry(token.to_owned()).or_insert(now);
        now.since(since) >= UNTIL_VISIBLE
    }

    pub(crate) fn refused(&self, token: &str, refusal: Refusal) {
        self.get().refused.insert(token.to_owned(), refusal);
    }

    /// A new attempt begins, of which nobody knows yet what it comes to.
    pub(crate) fn attempted(&self, token: &str) {
        self.get().refused.remove(token);
    }

    pub(crate) fn refusal(&self, token: &str) -> Option<Refusal> {
        self.get().refused.get(token).copied()
    }

    pub(crate) fn is_full(&self, instance_type: &str, zone: &str) {
        self.get().full.insert((instance_type.to_owned(), zone.to_owned()));
    }

    pub(crate) fn full(&self) -> Full {
        self.get().full.clone()
    }

    /// Whether another launch may take the place of this one.
    pub(crate) fn may_renew(&self, place: &Place, token: &str) -> bool {
        let mut remembered = self.get();
        let renewed = remembered.renewed.entry(place.clone()).or_default();
        renewed.contains(token) || (renewed.len() < RENEWALS as usize && renewed.insert(token.to_owned()))
    }

    /// It is set up.
    pub(crate) fn succeeded(&self, place: &Place) {
        self.get().renewed.remove(place);
    }
}
