//! `state.json`: what is wanted in the cloud of one app, and what was done.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::server::{ServerName, ServerRecord};
use crate::app::Failure;
use crate::format::{Format, TooOld};
use crate::ids::{
    AppName, Digest, EnvironmentName, Generation, OperationId, ProcessName, ReleaseNumber, ServerGroup, VersionId,
};
use crate::release::Release;
use crate::time::Timestamp;

/// How many operation ids are remembered: DESIGN §5. A writer that has not heard of its write looks for its id here.
pub const KEPT_OPERATIONS: usize = 256;

/// How many releases of an environment are kept, besides those that are referenced.
pub const KEPT_RELEASES: usize = 50;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudState {
    /// See [`Format`].
    #[serde(flatten)]
    pub format: Format,
    /// Names this cloud: the id of the operation that wrote the state first.
    pub cloud_id: OperationId,
    /// How often it was written.
    pub generation: Generation,
    /// Whose cloud it is.
    pub app: AppName,
    /// Its environments.
    #[serde(default)]
    pub environments: BTreeMap<EnvironmentName, EnvironmentState>,
    /// The operations that were applied last, at most [`KEPT_OPERATIONS`], the newest last.
    #[serde(default)]
    pub recent_operations: Vec<OperationId>,
    /// Keys that a newer JeCloud wrote.
    #[serde(flatten)]
    pub more: BTreeMap<String, serde_json::Value>,
}

/// One environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentState {
    /// The release that should run. Only goes up, except that it falls back to `serving` when a release fails.
    #[serde(default)]
    pub wanted: Option<ReleaseNumber>,
    /// The newest release that all servers together were allowed to switch to.
    #[serde(default)]
    pub committed: Option<ReleaseNumber>,
    /// The newest release that is known to have served everywhere.
    #[serde(default)]
    pub serving: Option<ReleaseNumber>,
    /// The number of the next release.
    pub next_release: ReleaseNumber,
    /// Everything of it is to be deleted, and then forgotten.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub destroying: bool,
    /// How many servers of which group are wanted.
    #[serde(default)]
    pub scale: BTreeMap<ServerGroup, u32>,
    /// What `jecloud scale` lays over the counts of jecloud.toml in the next releases.
    #[serde(default, skip_serializing_if = "Scaled::is_empty")]
    pub scaled: Scaled,
    /// The servers there are, or that are being made.
    #[serde(default)]
    pub servers: BTreeMap<ServerName, ServerRecord>,
    /// Variables that `jecloud env set` lays over those of jecloud.toml in the next releases. No secrets.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// In the order of their numbers.
    #[serde(default)]
    pub releases: Vec<RecordedRelease>,
    /// Keys that a newer JeCloud wrote.
    #[serde(flatten)]
    pub more: BTreeMap<String, serde_json::Value>,
}

/// Counts that were wished for with `jecloud scale`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scaled {
    /// Of servers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub servers: BTreeMap<ServerGroup, u32>,
    /// Of processes, on each server.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub processes: BTreeMap<ProcessName, u32>,
}

impl Scaled {
    /// Whether nothing was wished for.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty() && self.processes.is_empty()
    }
}

/// A release and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedRelease {
    /// As it was recorded.
    pub release: Release,
    /// What became of it.
    pub outcome: ReleaseOutcome,
    /// When that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// How many servers of which group it runs on: what is wanted again when it comes back. Empty in what was recorded
    /// before there were groups.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scale: BTreeMap<ServerGroup, u32>,
    /// Keys that a newer JeCloud wrote.
    #[serde(flatten)]
    pub more: BTreeMap<String, serde_json::Value>,
}

/// What became of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseOutcome {
    /// It is recorded, and nothing is known yet.
    Recorded,
    /// It serves.
    Serving,
    /// It has served, and another one took its place.
    Superseded,
    /// It failed.
    Failed(Failure),
    /// It was given up for another one before it served.
    Aborted,
}

/// Why a text is not a cloud state that may be worked with.
#[derive(Debug, thiserror::Error)]
pub enum InvalidState {
    /// Not JSON, or cut off, or a key is missing or of the wrong type.
    #[error("it is damaged")]
    Damaged(#[source] serde_json::Error),
    /// A newer JeCloud wrote it.
    #[error(transparent)]
    TooOld(TooOld),
    /// It belongs to somebody else.
    #[error("it belongs to the app {found}, not to {expected}")]
    OtherApp {
        /// Whose it is.
        found: AppName,
        /// Whose it should be.
        expected: AppName,
    },
    /// It contradicts itself.
    #[error("it contradicts itself: {0}")]
    Contradiction(String),
}

impl CloudState {
    /// The state before the first operation, which gives the cloud its id.
    pub fn found(app: &AppName, first: &OperationId) -> Self {
        Self {
            format: Format::default(),
            cloud_id: first.clone(),
            generation: Generation(0),
            app: app.clone(),
            environments: BTreeMap::new(),
            recent_operations: Vec::new(),
            more: BTreeMap::new(),
        }
    }

    /// Reads and checks a state.
    ///
    /// # Errors
    ///
    /// When it is not one, not that of `app`, or one that this JeCloud would damage by writing it.
    pub fn parse(bytes: &[u8], app: &AppName) -> Result<Self, InvalidState> {
        // The format first: what a newer JeCloud wrote may look damaged to this one.
        let format: Format = serde_json::from_slice(bytes).map_err(InvalidState::Damaged)?;
        format.check_writable().map_err(InvalidState::TooOld)?;
        let state: Self = serde_json::from_slice(bytes).map_err(InvalidState::Damaged)?;
        if state.app != *app {
            return Err(InvalidState::OtherApp { found: state.app, expected: app.clone() });
        }
        for (name, environment) in &state.environments {
            environment.check(name, app).map_err(InvalidState::Contradiction)?;
        }
        Ok(state)
    }

    /// As it is stored: indented, so that a person can read and edit it, with a newline at the end.
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("keys are texts and numbers are finite");
        text.push('\n');
        text
    }

    /// The number that the next release of an environment must have.
    pub fn next_release(&self, environment: &EnvironmentName) -> ReleaseNumber {
        self.environments.get(environment).map_or(ReleaseNumber(1), |environment| environment.next_release)
    }

    /// Whether an operation was applied, as far back as operations are remembered.
    pub fn has_applied(&self, operation: &OperationId) -> bool {
        self.recent_operations.contains(operation)
    }

    /// The versions that any recorded release needs.
    pub fn referenced_versions(&self) -> std::collections::BTreeSet<&VersionId> {
        self.all_releases().map(|recorded| &recorded.release.version).collect()
    }

    /// The hooks that any recorded release needs.
    pub fn referenced_hooks(&self) -> std::collections::BTreeSet<&Digest> {
        self.all_releases()
            .flat_map(|recorded| recorded.release.services.values())
            .map(|service| &service.hook)
            .collect()
    }

    fn all_releases(&self) -> impl Iterator<Item = &RecordedRelease> {
        self.environments.values().flat_map(|environment| &environment.releases)
    }
}

impl EnvironmentState {
    /// An environment in which nothing was deployed yet.
    pub(super) fn empty() -> Self {
        Self { next_release: ReleaseNumber(1), ..Self::default() }
    }

    /// Whether there should be such a server. One that is recorded all the same is removed when it is not needed any
    /// more.
    pub fn wants(&self, server: &ServerName) -> bool {
        self.scale.get(&server.group).is_some_and(|count| server.index <= *count)
    }

    /// The servers that are recorded and wanted.
    pub fn wanted_servers(&self) -> impl Iterator<Item = &ServerName> {
        self.servers.keys().filter(|server| self.wants(server))
    }

    /// The release of a number.
    pub fn release(&self, number: ReleaseNumber) -> Option<&RecordedRelease> {
        self.position(number).map(|position| &self.releases[position])
    }

    /// The release that was recorded last.
    pub fn newest(&self) -> Option<&RecordedRelease> {
        self.releases.last()
    }

    /// The release that should run.
    pub fn wanted_release(&self) -> Option<&RecordedRelease> {
        self.wanted.and_then(|number| self.release(number))
    }

    /// The release that is known to serve.
    pub fn serving_release(&self) -> Option<&RecordedRelease> {
        self.serving.and_then(|number| self.release(number))
    }

    /// What `rollback` without an argument returns to: the newest release before the serving one that served too
    /// and differs from it.
    pub fn previous_release(&self) -> Option<&RecordedRelease> {
        let serving = self.serving_release()?;
        self.releases.iter().rev().skip_while(|recorded| recorded.release.number >= serving.release.number).find(
            |recorded| {
                recorded.outcome == ReleaseOutcome::Superseded
                    && !serving.release.would_be_the_same(&recorded.release, &BTreeMap::new())
            },
        )
    }

    pub(super) fn position(&self, number: ReleaseNumber) -> Option<usize> {
        self.releases.binary_search_by_key(&number, |recorded| recorded.release.number).ok()
    }

    fn check(&self, name: &EnvironmentName, app: &AppName) -> Result<(), String> {
        for pair in self.releases.windows(2) {
            if pair[0].release.number >= pair[1].release.number {
                return Err(format!("the releases of {name} are not in the order of their numbers"));
            }
        }
        if let Some(newest) = self.newest().filter(|newest| newest.release.number >= self.next_release) {
            let number = newest.release.number;
            return Err(format!("next_release of {name} is {}, and {number} is recorded", self.next_release.0));
        }
        for (key, number) in [("wanted", self.wanted), ("committed", self.committed), ("serving", self.serving)] {
            if let Some(number) = number.filter(|number| self.release(*number).is_none()) {
                return Err(format!("{key} of {name} is {}, which is not among its releases", number.0));
            }
        }
        if let Some(stray) =
            self.releases.iter().find(|stray| stray.release.app != *app || stray.release.environment != *name)
        {
            return Err(format!("release {} of {name} belongs to another app or environment", stray.release.number));
        }
        Ok(())
    }
}

impl RecordedRelease {
    /// Whether nothing is known of it yet.
    pub fn is_pending(&self) -> bool {
        self.outcome == ReleaseOutcome::Recorded
    }
}
