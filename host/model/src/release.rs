//! A release: everything that a server must be told to run a version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::format::Format;
use crate::hook::Powers;
use crate::ids::{AppName, Digest, EnvironmentName, ProcessName, ReleaseNumber, ServiceName, VersionId};
use crate::time::Timestamp;

/// One act of deploying. Never changes once it is recorded: the cloud state and every server hold the same one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// See [`Format`].
    #[serde(flatten)]
    pub format: Format,
    /// Whose.
    pub app: AppName,
    /// In which environment.
    pub environment: EnvironmentName,
    /// Which.
    #[serde(rename = "release")]
    pub number: ReleaseNumber,
    /// The source tree.
    pub version: VersionId,
    /// The services with their hooks, settings, powers and pins.
    pub services: BTreeMap<ServiceName, ReleaseService>,
    /// What the person says about processes.
    pub processes: BTreeMap<ProcessName, ProcessWish>,
    /// Variables of all processes and commands.
    pub env: BTreeMap<String, String>,
    /// Host names that the front answers for.
    pub hosts: Vec<String>,
    /// Whether the server waits, before it switches, until it is told that all servers are ready.
    pub hold: bool,
    /// When the release was recorded.
    pub created: Timestamp,
    /// Who recorded it: `user@machine`.
    pub created_by: String,
    /// For a rollback: the release whose content this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<ReleaseNumber>,
}

/// A service of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseService {
    /// The component.
    pub hook: Digest,
    /// Checked against the hook's schema.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// What the person granted.
    pub powers: Powers,
    /// Exact versions from jecloud.lock.
    pub pins: BTreeMap<String, String>,
}

/// What the person says about a process type, over what its hook says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessWish {
    /// How many instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// The path of an HTTP health check on its first port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
}

impl Release {
    /// Whether two releases would run the same: everything but number, time and person.
    pub fn same_content(&self, other: &Self) -> bool {
        self.app == other.app
            && self.environment == other.environment
            && self.version == other.version
            && self.services == other.services
            && self.processes == other.processes
            && self.env == other.env
            && self.hosts == other.hosts
    }
}
