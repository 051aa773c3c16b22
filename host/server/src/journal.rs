//! Which commands of a release were run, and what became of them.
//!
//! A command is run once per release: one whose result is recorded is not run again by a later roll-forward. One
//! that a roll-forward died in is run again, because nobody knows how far it came.

use std::collections::BTreeMap;

use jecloud_model::hook::CommandResult;
use jecloud_model::ids::ServiceName;
use serde::{Deserialize, Serialize};

/// `releases/N/journal.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// By `phase/id`, per service.
    #[serde(default)]
    pub commands: BTreeMap<ServiceName, BTreeMap<String, CommandResult>>,
    /// What `deployed` asked for so far, in order, per service.
    #[serde(default)]
    pub results: BTreeMap<ServiceName, Vec<CommandResult>>,
    /// Services whose `deployed` has said that it is done.
    #[serde(default)]
    pub done: Vec<ServiceName>,
}

impl Journal {
    /// The recorded result of a command.
    pub fn result(&self, service: &ServiceName, key: &str) -> Option<&CommandResult> {
        self.commands.get(service)?.get(key)
    }

    /// Records a result.
    pub fn record(&mut self, service: &ServiceName, key: String, result: CommandResult) {
        self.commands.entry(service.clone()).or_default().insert(key, result);
    }
}
