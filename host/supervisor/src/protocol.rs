//! The words on the control socket: one JSON value a line, one answer a line.

use std::path::PathBuf;

use jecloud_model::processes::ProcessStatus;
use serde::{Deserialize, Serialize};

/// The socket's name in `sys/run`.
pub(crate) const SOCKET: &str = "supervisor.sock";

/// No request is longer than this.
pub(crate) const LONGEST_REQUEST: u64 = 4096;

/// No answer is longer than this: thousands of processes.
pub(crate) const LONGEST_ANSWER: u64 = 16 << 20;

/// What a process manager can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    /// What it does.
    Status,
    /// To look at all tables now, begin what follows from them, and then say what it does.
    Reconcile,
    /// To end all processes and the front, then itself. The answer comes when the processes have ended.
    Shutdown,
    /// To leave everything running to a process manager of another binary, which it starts and gives its sockets.
    Renew {
        /// The `jecloud` to start.
        exe: PathBuf,
    },
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// To `status` and `reconcile`.
    Statuses(Vec<ProcessStatus>),
    /// To `shutdown`.
    Ended,
    /// To `renew`: it begins to.
    Leaving,
    /// To what it does not know: it may be older than the one who asks.
    NotUnderstood,
}
