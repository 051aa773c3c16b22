//! What a deployment would do on a server, as `jecloud plan` shows it. It comes from the same answers of the same
//! hooks, checked by the same rules, as what a deployment does.

use serde::{Deserialize, Serialize};

use crate::app::Failure;
use crate::hook::{Health, Identity, Source};
use crate::ids::{ProcessName, ServiceName};
use crate::limits::Limits;

/// The plan of all services of a release on one server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployPlan {
    /// In the order in which they are asked.
    pub services: Vec<ServicePlan>,
    /// What a person has to be told about all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Why the deployment would fail; what was planned until then is above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// The plan of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePlan {
    /// Which.
    pub service: ServiceName,
    /// The hook's name and version.
    pub hook: String,
    /// Packages that must be there.
    pub packages: Vec<PlannedPackage>,
    /// Files that would be written.
    pub files: Vec<PlannedFile>,
    /// Commands, in the order in which they would run.
    pub commands: Vec<PlannedCommand>,
    /// Processes that would be started.
    pub processes: Vec<PlannedProcess>,
    /// Requests that would be sent to them.
    pub routes: Vec<PlannedRoute>,
    /// Names of the variables for the app and the other services.
    pub values: Vec<String>,
    /// What the hook has to say.
    pub notes: Vec<String>,
}

/// A package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in wit/types.wit")]
pub struct PlannedPackage {
    pub name: String,
    pub version: String,
    pub source: Source,
    pub pin: bool,
    /// The version that `version` comes to, where the question was about an upgrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in wit/types.wit")]
pub struct PlannedFile {
    pub path: String,
    pub mode: u16,
    /// Of the template.
    pub bytes: usize,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in wit/types.wit")]
pub struct PlannedCommand {
    /// `check`, `build`, `release`.
    pub phase: String,
    pub title: String,
    /// Templates.
    pub argv: Vec<String>,
    pub run_as: Identity,
    /// Whether its products are kept from an earlier release, so that it would not run.
    pub kept: bool,
}

/// A process type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in wit/types.wit")]
pub struct PlannedProcess {
    pub name: ProcessName,
    pub count: u32,
    /// Templates.
    pub argv: Vec<String>,
    pub run_as: Identity,
    pub ports: Vec<String>,
    pub health: Health,
    /// What the person says.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in wit/types.wit")]
pub struct PlannedRoute {
    pub path_prefix: String,
    pub process: ProcessName,
    pub port: String,
}
