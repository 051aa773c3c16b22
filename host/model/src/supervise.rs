//! What the process manager does next: a pure function from what is wanted and what is there.
//!
//! [`plan`] is asked again after every change, for one app and environment at a time; it remembers nothing. What the
//! process manager has to remember of a process is [`Seen`], whose changes are methods here, so that the rules of
//! its life are tested without any process.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::InstanceId;
use crate::processes::ProcessSpec;

/// How long a process that ended by itself waits before it is started again, by how often that happened in a row. The
/// first restart is immediate: most processes end for a reason that is over. The last entry is the longest wait.
pub const BACK_OFF: [Duration; 9] = [
    Duration::from_secs(0),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(5),
    Duration::from_secs(8),
    Duration::from_secs(13),
    Duration::from_secs(21),
    Duration::from_secs(30),
];

/// A process that ran this long works: when it ends after that, the row of failures begins anew.
pub const STEADY: Duration = Duration::from_secs(60);

/// A point in time as milliseconds since the machine was started, its sleep included. Nobody sets this clock: a
/// wall clock that is put back by an hour would make a restart wait for an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// So much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The time from `earlier` to this; zero where it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// A process that was started, until it is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What it was started from, which need not be what is wanted now.
    pub spec: ProcessSpec,
    /// Where it is in its life.
    pub phase: Phase,
    /// How often in a row it ended by itself; see [`BACK_OFF`].
    pub failures: u32,
}

/// Where a process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// There is a process.
    Running {
        /// When it was started.
        since: Moment,
    },
    /// There is a process, and it was asked to end.
    Stopping {
        /// When it was asked.
        since: Moment,
        /// Whether it was killed: there is nothing more to be done than to wait.
        killed: bool,
    },
    /// It ended by itself, or could not be started.
    Ended {
        /// When.
        at: Moment,
    },
}

/// Something to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a plan has a handful of steps, and most of them start something")]
pub enum Step {
    /// Send SIGTERM to the process and whatever it started.
    Terminate(InstanceId),
    /// Send SIGKILL to them.
    Kill(InstanceId),
    /// Forget a process that is not there any more and not wanted.
    Forget(InstanceId),
    /// Start a process. There is none of this id.
    Start(ProcessSpec),
    /// Unless something happens, there is nothing to do before this. At most one, the last step.
    WaitUntil(Moment),
}

impl Seen {
    /// A process was started. `before` is the one of this id that ended before, if it is remembered.
    pub fn started(spec: ProcessSpec, before: Option<&Self>, now: Moment) -> Self {
        let failures = before.filter(|before| before.spec == spec).map_or(0, |before| before.failures);
        Self { spec, phase: Phase::Running { since: now }, failures }
    }

    /// It was sent SIGTERM.
    #[must_use]
    pub fn terminated(self, now: Moment) -> Self {
        match self.phase {
            Phase::Running { .. } => Self { phase: Phase::Stopping { since: now, killed: false }, ..self },
            Phase::Stopping { .. } | Phase::Ended { .. } => self,
        }
    }

    /// It was sent SIGKILL.
    #[must_use]
    pub fn killed(self, now: Moment) -> Self {
        match self.phase {
            Phase::Running { .. } => Self { phase: Phase::Stopping { since: now, killed: true }, ..self },
            Phase::Stopping { since, .. } => Self { phase: Phase::Stopping { since, killed: true }, ..self },
            Phase::Ended { .. } => self,
        }
    }

    /// It is not there any more. What was asked to end is forgotten; what ended by itself is remembered, for its
    /// back-off.
    pub fn ended(self, now: Moment) -> Option<Self> {
        match self.phase {
            Phase::Running { since } => {
                let before = if now.since(since) >= STEADY { 0 } else { self.failures };
                Some(Self { phase: Phase::Ended { at: now }, failures: before.saturating_add(1), ..self })
            }
            Phase::Stopping { .. } => None,
            Phase::Ended { .. } => Some(self),
        }
    }

    /// When it may be started again; none while there is a process.
    pub fn due(&self) -> Option<Moment> {
        match self.phase {
            Phase::Ended { at } => Some(at.plus(back_off(self.failures))),
            Phase::Running { .. } | Phase::Stopping { .. } => None,
        }
    }
}

/// How long to wait after so many ends in a row.
pub fn back_off(failures: u32) -> Duration {
    let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    BACK_OFF[index.min(BACK_OFF.len() - 1)]
}

/// What to do now so that exactly the `wanted` processes run. Ids are unique in `seen`; of several wanted processes
/// with one id the first counts.
///
/// Guarantees: nothing is started that is not wanted; nothing is started while there is a process of its id; where
/// everything is as wanted the plan is empty.
pub fn plan(wanted: &[ProcessSpec], seen: &[Seen], now: Moment) -> Vec<Step> {
    let mut by_id: BTreeMap<&InstanceId, &ProcessSpec> = BTreeMap::new();
    for spec in wanted {
        by_id.entry(&spec.id).or_insert(spec);
    }
    let mut steps = Vec::new();
    let mut waits = Vec::new();
    // What is left in here in the end has no process and may be started.
    let mut starts = by_id.clone();
    for process in seen {
        let id = &process.spec.id;
        let spec = by_id.get(id).copied();
        let due = process.due();
        match process.phase {
            Phase::Running { .. } => {
                starts.remove(id);
                if spec != Some(&process.spec) {
                    steps.push(Step::Terminate(id.clone()));
                }
            }
            Phase::Stopping { since, killed } => {
                starts.remove(id);
                let kill_at = since.plus(Duration::from_millis(process.spec.stop_timeout_ms.into()));
                match (killed, now >= kill_at) {
                    (true, _) => {}
                    (false, true) => steps.push(Step::Kill(id.clone())),
                    (false, false) => waits.push(kill_at),
                }
            }
            Phase::Ended { .. } if spec.is_none() => steps.push(Step::Forget(id.clone())),
            Phase::Ended { .. } => {
                // A spec that is wanted only now never failed: it does not wait for what did.
                if let Some(due) = due.filter(|due| spec == Some(&process.spec) && now < *due) {
                    starts.remove(id);
                    waits.push(due);
                }
            }
        }
    }
    steps.extend(starts.into_values().cloned().map(Step::Start));
    steps.extend(waits.into_iter().min().map(Step::WaitUntil));
    steps
}

#[cfg(test)]
mod tests;
