//! Changes of the cloud state, as pure functions.
//!
//! Several people and machines change one state without a lock. So every change says what it presupposes, is
//! applied to whatever the state has become meanwhile, and is refused where it does not fit any more.

use std::collections::BTreeMap;

use super::server::{ServerName, ServerRecord};
use super::state::{
    CloudState, EnvironmentState, KEPT_OPERATIONS, KEPT_RELEASES, RecordedRelease, ReleaseOutcome, Scaled,
};
use crate::format::FORMAT;
use crate::ids::{AppName, EnvironmentName, OperationId, ReleaseNumber, ServerGroup};
use crate::release::Release;
use crate::time::Timestamp;

/// A change with its id: however often it is sent, it is applied once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Random.
    pub id: OperationId,
    /// What is to be changed.
    pub change: Change,
}

/// What is to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Record a release and want it. Makes the environment where there is none yet.
    RecordRelease {
        /// The newest release of the environment when the caller looked; none if there was none. Its number is not
        /// that of `release` less one where numbers were skipped.
        expected: Option<ReleaseNumber>,
        /// With [`CloudState::next_release`] as its number.
        release: Box<Release>,
        /// How many servers of which group there should be.
        scale: BTreeMap<ServerGroup, u32>,
    },
    /// Record the content of a release once more as the newest release, and want it: servers that were told a
    /// newer one take nothing older.
    Repeat {
        /// Where.
        environment: EnvironmentName,
        /// Must be what is wanted.
        release: ReleaseNumber,
    },
    /// Record the content of the release that serves once more, because what some server has to know of the others has
    /// changed: those for which it has deploy it, the others go on with what they run.
    Refresh {
        /// Where.
        environment: EnvironmentName,
        /// Must be what is wanted and serves.
        release: ReleaseNumber,
    },
    /// Give out no release number up to this one: a server knows it.
    SkipReleases {
        /// Where.
        environment: EnvironmentName,
        /// The highest number that a server knows.
        known: ReleaseNumber,
    },
    /// Record what became of a release.
    RecordOutcome {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        release: ReleaseNumber,
        /// Not `Recorded`.
        outcome: ReleaseOutcome,
    },
    /// All servers are ready to switch: from here on they may.
    Commit {
        /// Where.
        environment: EnvironmentName,
        /// Must be what is wanted.
        release: ReleaseNumber,
    },
    /// Set variables. Makes the environment where there is none yet.
    SetEnv {
        /// Where.
        environment: EnvironmentName,
        /// The variables.
        variables: BTreeMap<String, String>,
    },
    /// Unset variables. One that is not set is no error.
    UnsetEnv {
        /// Where.
        environment: EnvironmentName,
        /// Their names.
        variables: Vec<String>,
    },
    /// Delete everything of an environment.
    Destroy {
        /// Which.
        environment: EnvironmentName,
    },
    /// Everything of an environment is deleted: forget it.
    Destroyed {
        /// Which.
        environment: EnvironmentName,
    },
    /// Want so many servers of these groups from now on.
    Scale {
        /// Where.
        environment: EnvironmentName,
        /// The groups that change, with how many servers of each there should be.
        scale: BTreeMap<ServerGroup, u32>,
        /// What holds in the next releases, whatever jecloud.toml says.
        scaled: Scaled,
    },
    /// Record what is going to be made as a server, or what was made. Its failures are forgotten.
    RecordServer {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        server: ServerName,
        /// What must be recorded of it now; none where nothing must be. Two that are about to make a server agree in
        /// this way which of their requests it is made from.
        replaces: Option<serde_json::Map<String, serde_json::Value>>,
        /// See [`super::ServerRecord::details`].
        details: serde_json::Map<String, serde_json::Value>,
    },
    /// A server does not exist any more: forget it.
    ForgetServer {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        server: ServerName,
        /// What was recorded of the one that is gone: another one may have been made under its name meanwhile.
        details: serde_json::Map<String, serde_json::Value>,
    },
    /// Record whether the provider of a server does not show it, from now on.
    RecordUnseen {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        server: ServerName,
        /// What was recorded of the one that was looked for.
        details: serde_json::Map<String, serde_json::Value>,
        /// Whether it is unseen. The first who says so gives the time.
        unseen: bool,
    },
    /// Something failed at a server: count it and back off.
    RecordServerFailure {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        server: ServerName,
        /// In words.
        reason: String,
        /// The release that it concerns, where it concerns one.
        release: Option<ReleaseNumber>,
    },
}

/// Why a change does not fit. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Somebody else recorded a release since the caller looked.
    #[error("somebody else deployed release {newest} to {environment} meanwhile")]
    LostRace {
        /// Where.
        environment: EnvironmentName,
        /// The newest release by now.
        newest: ReleaseNumber,
    },
    /// The number of a new release is not the next one.
    #[error("the next release of {environment} is {next}, not {asked}")]
    WrongNumber {
        /// Where.
        environment: EnvironmentName,
        /// What it should be.
        next: ReleaseNumber,
        /// What it is.
        asked: ReleaseNumber,
    },
    /// A release of one app was to be recorded in the cloud of another.
    #[error("the release belongs to the app {found}, and this is the cloud of {expected}")]
    OtherApp {
        /// Whose the release is.
        found: AppName,
        /// Whose the cloud is.
        expected: AppName,
    },
    /// There is no such environment.
    #[error("there is no environment {0}")]
    NoEnvironment(EnvironmentName),
    /// The environment is being destroyed.
    #[error("the environment {0} is being destroyed")]
    Destroying(EnvironmentName),
    /// The environment is not being destroyed, so it cannot have been.
    #[error("the environment {0} is not being destroyed")]
    NotDestroying(EnvironmentName),
    /// There is no such release.
    #[error("there is no release {release} in {environment}")]
    NoRelease {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        release: ReleaseNumber,
    },
    /// There is no such server.
    #[error("there is no server {server} in {environment}")]
    NoServer {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        server: ServerName,
    },
    /// The state already says this, or says something newer.
    #[error("that is out of date: {environment} has moved on")]
    Stale {
        /// Where.
        environment: EnvironmentName,
    },
}

/// Applies an operation. One that was applied before changes nothing and succeeds.
///
/// # Errors
///
/// When the change does not fit the state.
pub fn apply(state: &CloudState, operation: &Operation, now: Timestamp) -> Result<CloudState, Rejected> {
    if state.has_applied(&operation.id) {
        return Ok(state.clone());
    }
    let mut state = state.clone();
    state.change(&operation.change, now)?;
    state.written_by(&operation.id);
    Ok(state)
}

impl CloudState {
    /// What every write does: the next generation, and the operation remembered.
    pub fn written_by(&mut self, operation: &OperationId) {
        self.format.format = FORMAT;
        self.generation = self.generation.next();
        self.recent_operations.push(operation.clone());
        let surplus = self.recent_operations.len().saturating_sub(KEPT_OPERATIONS);
        self.recent_operations.drain(..surplus);
    }

    fn change(&mut self, change: &Change, now: Timestamp) -> Result<(), Rejected> {
        match change {
            Change::RecordRelease { expected, release, scale } => self.record_release(*expected, release, scale),
            Change::Repeat { environment, release } => {
                self.living(environment)?.repeat(environment, *release, now).map(drop)
            }
            Change::Refresh { environment, release } => self.living(environment)?.refresh(environment, *release, now),
            Change::SkipReleases { environment, known } => {
                let stale = Rejected::Stale { environment: environment.clone() };
                let state = self.living(environment)?;
                if *known < state.next_release {
                    return Err(stale);
                }
                state.next_release = ReleaseNumber(known.0.saturating_add(1));
                Ok(())
            }
            Change::RecordOutcome { environment, release, outcome } => {
                self.known(environment)?.record_outcome(environment, *release, outcome, now)
            }
            Change::Commit { environment, release } => self.living(environment)?.commit(environment, *release),
            Change::SetEnv { environment, variables } => {
                self.living_or_new(environment)?.env.extend(variables.clone());
                Ok(())
            }
            Change::UnsetEnv { environment, variables } => {
                let state = self.living(environment)?;
                for variable in variables {
                    state.env.remove(variable);
                }
                Ok(())
            }
            Change::Destroy { environment } => {
                self.known(environment)?.destroying = true;
                Ok(())
            }
            Change::Destroyed { environment } => {
                if !self.known(environment)?.destroying {
                    return Err(Rejected::NotDestroying(environment.clone()));
                }
                self.environments.remove(environment);
                Ok(())
            }
            Change::Scale { environment, scale, scaled } => {
                let state = self.living(environment)?;
                state.scale.extend(scale.clone());
                for of_release in state.releases.iter_mut().map(|recorded| &mut recorded.scale) {
                    let known = scale.iter().filter(|(group, _)| of_release.contains_key(*group));
                    let known: Vec<_> = known.map(|(group, count)| (group.clone(), *count)).collect();
                    of_release.extend(known);
                }
                state.scaled.clone_from(scaled);
                Ok(())
            }
            Change::RecordServer { environment, server, replaces, details } => {
                let servers = &mut self.living(environment)?.servers;
                if servers.get(server).map(|record| &record.details) != replaces.as_ref() {
                    return Err(Rejected::Stale { environment: environment.clone() });
                }
                let record = servers.entry(server.clone()).or_default();
                record.details.clone_from(details);
                (record.trouble, record.unseen_since) = (None, None);
                Ok(())
            }
            Change::ForgetServer { environment, server, details } => {
                let servers = &mut self.known(environment)?.servers;
                if servers.get(server).is_none_or(|record| record.details != *details) {
                    return Err(Rejected::Stale { environment: environment.clone() });
                }
                servers.remove(server);
                Ok(())
            }
            Change::RecordUnseen { environment, server, details, unseen } => {
                let stale = Rejected::Stale { environment: environment.clone() };
                let record = self.known(environment)?.servers.get_mut(server);
                let fits =
                    |record: &&mut ServerRecord| record.details == *details && record.unseen_since.is_some() != *unseen;
                record.filter(fits).ok_or(stale)?.unseen_since = unseen.then_some(now);
                Ok(())
            }
            Change::RecordServerFailure { environment, server, reason, release } => {
                let missing = || Rejected::NoServer { environment: environment.clone(), server: server.clone() };
                let record = self.known(environment)?.servers.get_mut(server).ok_or_else(missing)?;
                record.fail(reason, *release, now);
                Ok(())
            }
        }
    }

    fn known(&mut self, environment: &EnvironmentName) -> Result<&mut EnvironmentState, Rejected> {
        self.environments.get_mut(environment).ok_or_else(|| Rejected::NoEnvironment(environment.clone()))
    }

    fn living(&mut self, environment: &EnvironmentName) -> Result<&mut EnvironmentState, Rejected> {
        let state = self.known(environment)?;
        if state.destroying { Err(Rejected::Destroying(environment.clone())) } else { Ok(state) }
    }

    fn living_or_new(&mut self, environment: &EnvironmentName) -> Result<&mut EnvironmentState, Rejected> {
        self.environments.entry(environment.clone()).or_insert_with(EnvironmentState::empty);
        self.living(environment)
    }

    fn record_release(
        &mut self,
        expected: Option<ReleaseNumber>,
        release: &Release,
        scale: &BTreeMap<ServerGroup, u32>,
    ) -> Result<(), Rejected> {
        if release.app != self.app {
            return Err(Rejected::OtherApp { found: release.app.clone(), expected: self.app.clone() });
        }
        let state = self.living_or_new(&release.environment)?;
        let newest = state.newest().map(|newest| newest.release.number);
        if newest != expected {
            let newest = newest.unwrap_or_default();
            return Err(Rejected::LostRace { environment: release.environment.clone(), newest });
        }
        if release.number != state.next_release {
            return Err(Rejected::WrongNumber {
                environment: release.environment.clone(),
                next: state.next_release,
                asked: release.number,
            });
        }
        state.scale.clone_from(scale);
        state.push(release.clone());
        Ok(())
    }
}

impl EnvironmentState {
    /// Makes a release the newest one and the wanted one. What was pending stays so until its end is seen: it may
    /// have come to serve in this very moment.
    fn push(&mut self, release: Release) {
        self.wanted = Some(release.number);
        self.next_release = ReleaseNumber(release.number.0.saturating_add(1));
        self.releases.push(RecordedRelease {
            release,
            outcome: ReleaseOutcome::Recorded,
            finished: None,
            scale: self.scale.clone(),
            more: BTreeMap::new(),
        });
        self.trim();
    }

    fn trim(&mut self) {
        let surplus = self.releases.len().saturating_sub(KEPT_RELEASES);
        let referenced = [self.wanted, self.committed, self.serving];
        let mut index = 0;
        self.releases.retain(|recorded| {
            index += 1;
            index > surplus || recorded.is_pending() || referenced.contains(&Some(recorded.release.number))
        });
    }

    fn refresh(
        &mut self,
        environment: &EnvironmentName,
        number: ReleaseNumber,
        now: Timestamp,
    ) -> Result<(), Rejected> {
        if self.serving != Some(number) {
            return Err(Rejected::Stale { environment: environment.clone() });
        }
        let content = self.repeat(environment, number, now)?;
        if let Some(newest) = self.releases.last_mut() {
            newest.release.refreshes = Some(content);
        }
        Ok(())
    }

    /// Returns the release whose content is repeated.
    fn repeat(
        &mut self,
        environment: &EnvironmentName,
        number: ReleaseNumber,
        now: Timestamp,
    ) -> Result<ReleaseNumber, Rejected> {
        if self.wanted != Some(number) {
            return Err(Rejected::Stale { environment: environment.clone() });
        }
        let missing = Rejected::NoRelease { environment: environment.clone(), release: number };
        let mut release = self.release(number).ok_or(missing)?.release.clone();
        let content = release.content();
        release.repeats = Some(number);
        release.refreshes = None;
        release.number = self.next_release;
        release.hold = self.servers.len() > 1;
        release.created = now;
        self.push(release);
        Ok(content)
    }

    fn commit(&mut self, environment: &EnvironmentName, release: ReleaseNumber) -> Result<(), Rejected> {
        let pending = self.release(release).is_some_and(RecordedRelease::is_pending);
        if self.wanted != Some(release) || !pending || self.committed >= Some(release) {
            return Err(Rejected::Stale { environment: environment.clone() });
        }
        self.committed = Some(release);
        Ok(())
    }

    fn record_outcome(
        &mut self,
        environment: &EnvironmentName,
        number: ReleaseNumber,
        outcome: &ReleaseOutcome,
        now: Timestamp,
    ) -> Result<(), Rejected> {
        let missing = Rejected::NoRelease { environment: environment.clone(), release: number };
        let position = self.position(number).ok_or(missing)?;
        // Only what is pending gets an outcome: an end that somebody else has recorded stands.
        if !self.releases[position].is_pending() || *outcome == ReleaseOutcome::Recorded {
            return Err(Rejected::Stale { environment: environment.clone() });
        }
        let mut outcome = outcome.clone();
        if outcome == ReleaseOutcome::Serving {
            if self.serving > Some(number) {
                outcome = ReleaseOutcome::Superseded;
            } else {
                self.serve(number);
            }
        }
        let ended = outcome != ReleaseOutcome::Serving;
        self.releases[position].outcome = outcome;
        self.releases[position].finished = Some(now);
        if ended && self.wanted == Some(number) {
            self.wanted = self.serving;
            // What failed may have run on other groups than what serves.
            let scale = self.serving_release().map(|serving| serving.scale.clone());
            if let Some(scale) = scale.filter(|scale| !scale.is_empty()) {
                self.scale = scale;
            }
        }
        Ok(())
    }

    /// A release took the place of the one that served.
    fn serve(&mut self, number: ReleaseNumber) {
        if let Some(position) = self.serving.and_then(|before| self.position(before)) {
            self.releases[position].outcome = ReleaseOutcome::Superseded;
        }
        self.serving = Some(number);
        self.wanted = self.wanted.max(self.serving);
        for server in self.servers.values_mut() {
            server.trouble = None;
        }
    }
}
