//! What a process manager writes down for the next one: `sys/run/processes.json`.

use std::path::PathBuf;

use jecloud_disk::{DiskError, durable};
use jecloud_model::ids::{AppName, EnvironmentName};
use jecloud_model::layout::ServerRoot;
use jecloud_model::processes::Exit;
use jecloud_model::supervise::Seen;
use jecloud_model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// All processes that are known. It holds for one run of the machine only: after that all numbers mean other processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// 1.
    pub(crate) format: u32,
    /// See [`crate::machine::boot_id`].
    pub(crate) boot: String,
    /// The greatest number of a start that is in here, or was.
    pub(crate) newest_start: u64,
    pub(crate) processes: Vec<Remembered>,
}

/// One process, or the end of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    pub(crate) app: AppName,
    pub(crate) environment: EnvironmentName,
    #[serde(flatten)]
    pub(crate) seen: Seen,
    /// Only where there is a process: its number, and when it was started in the kernel's ticks.
    pub(crate) process: Option<(u32, u64)>,
    pub(crate) restarts: u64,
    pub(crate) started: Option<Timestamp>,
    pub(crate) last_exit: Option<Exit>,
}

fn path(root: &ServerRoot) -> PathBuf {
    root.run().join("processes.json")
}

impl Memory {
    /// What the last process manager wrote down in this run of the machine; none where it wrote nothing. A document
    /// that cannot be read is an error, after which the processes can still be found by their marks.
    pub(crate) fn read(root: &ServerRoot, boot: &str) -> Result<Option<Self>, DiskError> {
        let memory: Option<Self> = durable::read_json(&path(root))?;
        Ok(memory.filter(|memory| memory.boot == boot))
    }

    /// Writes it down durably. 0600: the environment of a process may tell what is nobody's business.
    pub(crate) fn write(&self, root: &ServerRoot) -> Result<(), DiskError> {
        durable::write_json(&path(root), self, 0o600)
    }
}
