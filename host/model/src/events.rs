//! What a server tells about a deployment while it goes on: `releases/N/events.jsonl`, one JSON object a line.
//!
//! Events are for people and their tools. Nothing is decided from them: what is true is in `app.json`.

use serde::{Deserialize, Serialize};

use crate::app::DeploymentState;
use crate::ids::ServiceName;
use crate::time::Timestamp;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// A state was entered. May come twice for one state when a roll-forward died in it.
    Entered {
        /// Which.
        state: DeploymentState,
    },
    /// A state was left because its work is done.
    Finished {
        /// Which.
        state: DeploymentState,
        /// What there is to say about it: `3 packages`, `web.1 web.2`. May be empty.
        detail: String,
        /// How long it took this time, in milliseconds.
        took_ms: u64,
    },
    /// A command of a hook's plan was begun.
    Command {
        /// Whose.
        service: ServiceName,
        /// `install dependencies`.
        title: String,
    },
    /// A line that such a command wrote.
    Output {
        /// Without the newline.
        line: String,
    },
    /// Something a person should know: guesses of a hook, restarts.
    Note {
        /// One line.
        text: String,
    },
    /// The end: it serves.
    Serving,
    /// The end: it failed.
    Failed {
        /// Why, as in `recent_failed_deployments`.
        reason: String,
        /// The last lines that the process or command wrote.
        details: Vec<String>,
        /// What to do; may be empty.
        hint: String,
    },
    /// The end: another deployment came.
    Aborted,
}

impl What {
    /// Whether no more events follow.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Serving | Self::Failed { .. } | Self::Aborted)
    }
}
