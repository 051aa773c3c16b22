//! `app.json`: what is wanted of one app and environment on a server, and how far it is.
//!
//! All changes go through the methods here, each of which is a pure transition: the roll-forward reads the
//! document under its lock, applies one, and writes it back. A transition that does not fit any more (because
//! somebody deployed something else meanwhile) is [`Stale`] and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::format::Format;
use crate::hook::Member;
use crate::ids::{ReleaseNumber, ServiceName, VersionId};
use crate::time::Timestamp;

/// How many failed deployments are remembered, and how many aborted ones.
pub const KEPT_FAILURES: usize = 100;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppDocument {
    /// See [`Format`].
    #[serde(flatten)]
    pub format: Format,
    /// The version that serves and whose deployment is complete.
    pub current_version: Option<VersionId>,
    /// The release that it belongs to.
    #[serde(default)]
    pub current_release: Option<ReleaseNumber>,
    /// The deployment that is going on.
    pub deployment: Option<Deployment>,
    /// Versions whose deployment was given up for another one; the newest last.
    #[serde(default)]
    pub aborted_deployment_versions: Vec<VersionId>,
    /// The newest last.
    #[serde(default)]
    pub recent_failed_deployments: Vec<FailedDeployment>,
    /// Releases that serve no new requests and whose processes still run.
    #[serde(default)]
    pub draining: Vec<Draining>,
    /// The highest release number this server was ever told. Lower ones are refused.
    #[serde(default)]
    pub newest_release: ReleaseNumber,
    /// What the hooks of the current release want to be told next time.
    #[serde(default)]
    pub remembered: BTreeMap<ServiceName, BTreeMap<String, String>>,
    /// Of services that span servers and are shaped from this one: the members that the last `reshape` has come to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<ServiceName, Vec<Member>>,
    /// Keys that a newer JeCloud wrote.
    #[serde(flatten)]
    pub more: BTreeMap<String, serde_json::Value>,
}

/// A deployment that is going on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// What is being deployed.
    pub version: VersionId,
    /// As which release.
    pub release: ReleaseNumber,
    /// When this server was told.
    pub request_date: Timestamp,
    /// When a roll-forward began with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Timestamp>,
    /// How far it is.
    pub state: DeploymentState,
    /// Whether it stays in `ready` until it is committed.
    #[serde(default)]
    pub hold: bool,
    /// Whether it stays in `prepared` until the server is told that the release commands of others have run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follows: bool,
}

/// Where a deployment stops until the server is told to go on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gates {
    /// Before anything of it starts: see [`AppDocument::proceed`].
    pub follows: bool,
    /// Before the switch: see [`AppDocument::commit`].
    pub hold: bool,
}

/// How far a deployment is. In this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentState {
    /// The archive is verified and unpacked.
    ExtractingSources,
    /// What the hooks require is installed.
    InstallingPackages,
    /// Hooks plan; files are written, checks and builds run.
    Preparing,
    /// Nothing is left but to start, which waits for the release commands of other servers: only where there are such.
    Prepared,
    /// Processes that outlive releases start, or are replaced where something of them changes: what the app needs is there
    /// before the app is.
    StartingServices,
    /// New processes start beside the old ones.
    Starting,
    /// All is well and waits for the other servers: only where several switch together.
    Ready,
    /// From here on there is no way back but a switch back: link and routes lead to the new version.
    Switching,
    /// The hooks are asked whether more is to be done.
    Deployed,
}

impl DeploymentState {
    /// The states in order.
    pub const ALL: [Self; 9] = [
        Self::ExtractingSources,
        Self::InstallingPackages,
        Self::Preparing,
        Self::Prepared,
        Self::StartingServices,
        Self::Starting,
        Self::Ready,
        Self::Switching,
        Self::Deployed,
    ];

    /// Whether requests go to the new version.
    pub fn is_switched(self) -> bool {
        self >= Self::Switching
    }

    /// Whether all commands have run that come before the start of processes.
    pub fn is_prepared(self) -> bool {
        self >= Self::Prepared
    }

    /// Whether new processes run: those of the release in [`Self::Starting`] and later.
    pub fn is_started(self) -> bool {
        self >= Self::StartingServices
    }
}

impl fmt::Display for DeploymentState {
    /// As in documents: `extracting-sources`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ExtractingSources => "extracting-sources",
            Self::InstallingPackages => "installing-packages",
            Self::Preparing => "preparing",
            Self::Prepared => "prepared",
            Self::StartingServices => "starting-services",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Switching => "switching",
            Self::Deployed => "deployed",
        })
    }
}

/// A deployment that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedDeployment {
    /// What was to be deployed.
    pub version: VersionId,
    /// As which release.
    pub release: ReleaseNumber,
    /// When this server was told.
    pub request_date: Timestamp,
    /// When it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Timestamp>,
    /// When it failed.
    pub fail_date: Timestamp,
    /// In which state.
    pub state: DeploymentState,
    /// Why.
    #[serde(flatten)]
    pub failure: Failure,
}

/// Why something failed, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// One or two sentences without a final full stop.
    pub reason: String,
    /// The last lines that the process or command wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// What to do; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

impl Failure {
    /// A failure with a reason only.
    pub fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), details: Vec::new(), hint: String::new() }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The same with details.
    #[must_use]
    pub fn details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }
}

/// A release whose processes get no new requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    /// Which.
    pub release: ReleaseNumber,
    /// Since when.
    pub since: Timestamp,
}

/// The document says something else by now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("release {0} is no longer being deployed here")]
pub struct Stale(pub ReleaseNumber);

/// Why a request to deploy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefused {
    /// Nothing moves backwards.
    #[error("release {asked} is older than release {newest}, which this server was already told to run")]
    Backwards {
        /// What was asked for.
        asked: ReleaseNumber,
        /// What is known.
        newest: ReleaseNumber,
    },
    /// The number belongs to another version.
    #[error("release {release} is version {known} here, not {asked}")]
    OtherVersion {
        /// Which.
        release: ReleaseNumber,
        /// What this server was told before.
        known: String,
        /// What it was told now.
        asked: String,
    },
}

/// What became of a request to deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    /// It is recorded, and this deployment was given up for it.
    Recorded {
        /// The release that was being deployed.
        aborted: Option<ReleaseNumber>,
    },
    /// This server was told before.
    Known,
}

/// What a server has to say about a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// This server never heard of it.
    Unknown,
    /// It is being deployed.
    Pending {
        /// How far it is.
        state: DeploymentState,
    },
    /// It serves.
    Serving,
    /// It failed.
    Failed(Failure),
    /// Another one took its place, before or after it served.
    Superseded,
}

impl AppDocument {
    /// Records the wish to deploy a release. A deployment that is going on is aborted if it is not switched yet;
    /// one that is switched has served, and counts as complete.
    pub fn request(
        &mut self,
        version: &VersionId,
        release: ReleaseNumber,
        gates: Gates,
        now: Timestamp,
    ) -> Result<Requested, RequestRefused> {
        if release < self.newest_release {
            return Err(RequestRefused::Backwards { asked: release, newest: self.newest_release });
        }
        if release == self.newest_release && release != ReleaseNumber(0) {
            return match self.version_of(release) {
                Some(known) if known != version => Err(RequestRefused::OtherVersion {
                    release,
                    known: known.short().to_owned(),
                    asked: version.short().to_owned(),
                }),
                _ => Ok(Requested::Known),
            };
        }
        let mut aborted = None;
        if let Some(deployment) = self.deployment.clone() {
            if deployment.state.is_switched() {
                self.complete(deployment, now);
            } else {
                aborted = Some(deployment.release);
                push_bounded(&mut self.aborted_deployment_versions, deployment.version);
            }
        }
        self.newest_release = release;
        self.deployment = Some(Deployment {
            version: version.clone(),
            release,
            request_date: now,
            start_date: None,
            state: DeploymentState::ExtractingSources,
            hold: gates.hold,
            follows: gates.follows,
        });
        Ok(Requested::Recorded { aborted })
    }

    /// A roll-forward begins to work on the deployment.
    pub fn start(&mut self, release: ReleaseNumber, now: Timestamp) -> Result<(), Stale> {
        self.deploying(release)?.start_date.get_or_insert(now);
        Ok(())
    }

    /// The work of a state is done. Done twice it changes nothing the second time.
    pub fn finish_state(&mut self, release: ReleaseNumber, state: DeploymentState) -> Result<(), Stale> {
        let deployment = self.deploying(release)?;
        if deployment.state == state {
            deployment.state = match state {
                DeploymentState::ExtractingSources => DeploymentState::InstallingPackages,
                DeploymentState::InstallingPackages => DeploymentState::Preparing,
                DeploymentState::Preparing if deployment.follows => DeploymentState::Prepared,
                DeploymentState::Preparing | DeploymentState::Prepared => DeploymentState::StartingServices,
                DeploymentState::StartingServices => DeploymentState::Starting,
                DeploymentState::Starting if deployment.hold => DeploymentState::Ready,
                DeploymentState::Starting | DeploymentState::Ready => DeploymentState::Switching,
                DeploymentState::Switching | DeploymentState::Deployed => DeploymentState::Deployed,
            };
        }
        Ok(())
    }

    /// The release commands of other servers have run: the deployment may go on past `prepared`.
    pub fn proceed(&mut self, release: ReleaseNumber) -> Result<(), Stale> {
        if self.current_release == Some(release) {
            return Ok(());
        }
        self.deploying(release)?.follows = false;
        self.finish_state(release, DeploymentState::Prepared)
    }

    /// All servers are ready: the deployment may go on past `ready`.
    pub fn commit(&mut self, release: ReleaseNumber) -> Result<(), Stale> {
        if self.current_release == Some(release) {
            return Ok(());
        }
        self.deploying(release)?.hold = false;
        self.finish_state(release, DeploymentState::Ready)
    }

    /// Gives a deployment up that is not switched yet; one that is switched, or not there, stays as it is. Whether it
    /// was given up.
    pub fn abort(&mut self, release: ReleaseNumber) -> bool {
        let unswitched = self.deployment.take_if(|found| found.release == release && !found.state.is_switched());
        let Some(deployment) = unswitched else { return false };
        push_bounded(&mut self.aborted_deployment_versions, deployment.version);
        true
    }

    /// The hooks have nothing more to do: the release is the current one, the one before it drains.
    pub fn succeed(
        &mut self,
        release: ReleaseNumber,
        remembered: BTreeMap<ServiceName, BTreeMap<String, String>>,
        now: Timestamp,
    ) -> Result<(), Stale> {
        let deployment = self.deploying(release)?.clone();
        self.complete(deployment, now);
        self.remembered = remembered;
        Ok(())
    }

    fn complete(&mut self, deployment: Deployment, now: Timestamp) {
        if let Some(previous) = self.current_release.filter(|previous| *previous != deployment.release) {
            self.drain(previous, now);
        }
        self.current_version = Some(deployment.version);
        self.current_release = Some(deployment.release);
        self.deployment = None;
    }

    /// The deployment failed; if it was switched, its processes drain.
    pub fn fail(&mut self, release: ReleaseNumber, failure: Failure, now: Timestamp) -> Result<(), Stale> {
        let deployment = self.deploying(release)?.clone();
        if deployment.state.is_switched() {
            self.drain(release, now);
        }
        push_bounded(
            &mut self.recent_failed_deployments,
            FailedDeployment {
                version: deployment.version,
                release,
                request_date: deployment.request_date,
                start_date: deployment.start_date,
                fail_date: now,
                state: deployment.state,
                failure,
            },
        );
        self.deployment = None;
        Ok(())
    }

    fn drain(&mut self, release: ReleaseNumber, now: Timestamp) {
        if self.draining.iter().all(|draining| draining.release != release) {
            self.draining.push(Draining { release, since: now });
        }
    }

    /// A release has drained: its processes may end.
    pub fn drained(&mut self, release: ReleaseNumber) {
        self.draining.retain(|draining| draining.release != release);
    }

    /// The release that new requests go to.
    pub fn serving_release(&self) -> Option<ReleaseNumber> {
        match &self.deployment {
            Some(deployment) if deployment.state.is_switched() => Some(deployment.release),
            _ => self.current_release,
        }
    }

    /// The version that new requests go to: what `current` should name.
    pub fn serving_version(&self) -> Option<&VersionId> {
        match &self.deployment {
            Some(deployment) if deployment.state.is_switched() => Some(&deployment.version),
            _ => self.current_version.as_ref(),
        }
    }

    /// The releases whose processes should run.
    pub fn running_releases(&self) -> BTreeSet<ReleaseNumber> {
        self.current_release
            .into_iter()
            .chain(self.deployment.iter().filter(|deployment| deployment.state.is_started()).map(|d| d.release))
            .chain(self.draining.iter().map(|draining| draining.release))
            .collect()
    }

    /// What is known here about a release.
    pub fn outcome(&self, release: ReleaseNumber) -> Outcome {
        if let Some(deployment) = self.deployment.as_ref().filter(|deployment| deployment.release == release) {
            return Outcome::Pending { state: deployment.state };
        }
        if self.current_release == Some(release) {
            return Outcome::Serving;
        }
        if let Some(failed) = self.recent_failed_deployments.iter().rev().find(|failed| failed.release == release) {
            return Outcome::Failed(failed.failure.clone());
        }
        if release <= self.newest_release { Outcome::Superseded } else { Outcome::Unknown }
    }

    fn version_of(&self, release: ReleaseNumber) -> Option<&VersionId> {
        if self.current_release == Some(release) {
            return self.current_version.as_ref();
        }
        let deploying = self.deployment.as_ref().filter(|deployment| deployment.release == release);
        let failed = self.recent_failed_deployments.iter().find(|failed| failed.release == release);
        deploying.map(|deployment| &deployment.version).or(failed.map(|failed| &failed.version))
    }

    fn deploying(&mut self, release: ReleaseNumber) -> Result<&mut Deployment, Stale> {
        self.deployment.as_mut().filter(|deployment| deployment.release == release).ok_or(Stale(release))
    }
}

fn push_bounded<T>(list: &mut Vec<T>, item: T) {
    list.push(item);
    let surplus = list.len().saturating_sub(KEPT_FAILURES);
    list.drain(..surplus);
}
