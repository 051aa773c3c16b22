//! What the process manager is told, and what it tells.
//!
//! The roll-forward writes one table per app and environment; the process manager makes reality match all of
//! them, again and again (level-triggered: it never depends on having seen a change). Nobody else starts or stops
//! a process of an app.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hook::{Health, Identity};
use crate::ids::{AppName, EnvironmentName, InstanceId, ServiceName, VersionId};
use crate::limits::Limits;
use crate::time::Timestamp;

/// `APP/ENV/processes.json`: all processes that should be running for one app and environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessTable {
    /// 1.
    pub format: u32,
    /// Whose processes these are.
    pub app: AppName,
    /// In which environment.
    pub environment: EnvironmentName,
    /// Sorted by id, ids unique.
    pub processes: Vec<ProcessSpec>,
}

/// One process that should be running.
///
/// A process whose spec changes under the same id is stopped, then started anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Unique within the table.
    pub id: InstanceId,
    /// The service whose hook asked for it.
    pub service: ServiceName,
    /// The version whose files it runs; of a process that outlives releases, the one with which it became what it is.
    pub version: VersionId,
    /// Program and arguments, complete. Only `{secret:NAME}` may still have to be filled in, in `env` alone.
    pub argv: Vec<String>,
    /// The complete environment: nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Absolute.
    pub cwd: String,
    /// As whom. `App` means: the app's user where the process manager is root, else whoever it is.
    pub run_as: Identity,
    /// The ports it was given, by name.
    pub ports: BTreeMap<String, u16>,
    /// How to find out whether it works.
    pub health: Health,
    /// How long after its start the health check may fail, in milliseconds.
    pub start_timeout_ms: u32,
    /// From SIGTERM to SIGKILL, in milliseconds.
    pub stop_timeout_ms: u32,
    /// What it may use of the server.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
}

/// What a process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessState {
    /// Not started yet.
    Waiting,
    /// There is a process.
    Running,
    /// It ended and is started again when its back-off is over.
    BackOff,
    /// It was asked to end and has not yet.
    Stopping,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It exited with this status.
    Status(i32),
    /// This signal ended it.
    Signal(i32),
    /// It ended while nobody who could learn its status was its parent.
    Unknown,
    /// It could not be started: why.
    NotStarted(String),
}

/// What the process manager says about one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Whose.
    pub app: AppName,
    /// In which environment.
    pub environment: EnvironmentName,
    /// Which.
    pub id: InstanceId,
    /// Whose hook asked for it.
    pub service: ServiceName,
    /// What it is doing.
    pub state: ProcessState,
    /// Only where there is a process.
    pub pid: Option<u32>,
    /// As in its spec.
    pub ports: BTreeMap<String, u16>,
    /// How often it was started again after it ended by itself.
    pub restarts: u64,
    /// When the process that runs now was started.
    pub started: Option<Timestamp>,
    /// How the one before it ended.
    pub last_exit: Option<Exit>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an older JeCloud wrote is read, and written as it was: the embedded process manager tells by it whether a
    /// process that runs is the one that is wanted. Fails when limits are written where there are none: an upgrade
    /// would start every process anew.
    #[test]
    fn specs_from_before_there_were_limits() {
        let version = "0".repeat(64);
        let old = format!(
            r#"{{"id":"web.1@1","service":"app","version":"{version}","argv":["x"],"env":{{}},"cwd":"/","run_as":"app","ports":{{}},"health":"stays-up","start_timeout_ms":1,"stop_timeout_ms":2}}"#
        );
        let spec: ProcessSpec = serde_json::from_str(&old).expect("it is read");
        assert!(spec.limits.is_none());
        assert_eq!(serde_json::to_string(&spec).expect("JSON"), old);
    }
}
