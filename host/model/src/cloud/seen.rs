//! What was seen of a cloud: what its planner is shown.

use std::collections::{BTreeMap, BTreeSet};

use super::server::{ServerName, ServerRecord};
use crate::app::{AppDocument, Gates};
use crate::ids::{Digest, EnvironmentName, ReleaseNumber, VersionId};
use crate::time::Timestamp;
use crate::topology::Told;

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeenCloud {
    /// The servers of the environments that were looked at: nothing is planned for others. A server that is not among
    /// those of its environment is unknown.
    pub servers: BTreeMap<EnvironmentName, BTreeMap<ServerName, SeenServer>>,
    /// What lies in the object store; none where it could not be asked.
    pub objects: Option<Objects<Timestamp>>,
    /// What this process could put into the store.
    pub at_hand: Objects<()>,
}

/// Archives and hooks, each with something known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objects<T> {
    /// Archives of versions.
    pub versions: BTreeMap<VersionId, T>,
    /// Hook components.
    pub hooks: BTreeMap<Digest, T>,
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Self { versions: BTreeMap::new(), hooks: BTreeMap::new() }
    }
}

/// What was seen of a server.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum SeenServer {
    /// It answers.
    Present(Box<SeenEnvironment>),
    /// It is certain that it does not exist yet, or was not set up to its end.
    Absent,
    /// It is certain that it existed and does not exist any more, nor ever will again.
    Gone,
    /// Its provider shows it, and it does not answer, or not as what it should be.
    Silent,
    /// Its provider was asked, and does not show what was set up once. One such look says nothing.
    Unseen,
    /// Nobody answered, or nobody asked.
    #[default]
    Unknown,
}

/// What a look says of the record of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing that is not recorded.
    Nothing,
    /// It does not exist any more.
    Gone,
    /// Whether it is unseen has changed.
    Unseen(bool),
}

impl SeenServer {
    /// What this look says, after what is recorded of the looks before. Nothing follows from a look in which nobody
    /// answered: neither that it is there, nor that it is not.
    pub(super) fn finding(&self, record: &ServerRecord, now: Timestamp) -> Finding {
        match (self, record.gone_from()) {
            (Self::Gone, _) => Finding::Gone,
            (Self::Unseen, Some(from)) if now >= from => Finding::Gone,
            (Self::Unseen, None) => Finding::Unseen(true),
            (Self::Present(_) | Self::Absent | Self::Silent, Some(_)) => Finding::Unseen(false),
            _ => Finding::Nothing,
        }
    }

    /// Whether it may be anything.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Silent | Self::Unseen | Self::Unknown)
    }

    /// What the server says, where it answers.
    pub(super) fn environment(&self) -> Option<&SeenEnvironment> {
        match self {
            Self::Present(seen) => Some(seen),
            Self::Absent | Self::Gone | Self::Silent | Self::Unseen | Self::Unknown => None,
        }
    }

    /// Where the server, deploying this release, will stop until it is told something.
    pub(super) fn gates(&self, release: ReleaseNumber) -> Gates {
        let deployment = self.environment().and_then(|seen| seen.document.as_ref()?.deployment.as_ref());
        let deployment = deployment.filter(|going| going.release == release && !going.state.is_switched());
        deployment.map_or_else(Gates::default, |going| Gates { follows: going.follows, hold: going.hold })
    }
}

/// What a server says about one environment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeenEnvironment {
    /// Whether there is anything of the environment on the server.
    pub exists: bool,
    /// Its `app.json`, if there is one.
    pub document: Option<AppDocument>,
    /// What the server lacks for the wanted release. Looked at only while the server was not told about it.
    pub lacks_versions: BTreeSet<VersionId>,
    /// The same for hooks.
    pub lacks_hooks: BTreeSet<Digest>,
    /// The address by which other servers reach it; none where that is not known.
    pub address: Option<String>,
    /// What it says of the releases that it runs or deploys.
    pub told: BTreeMap<ReleaseNumber, Told>,
}
