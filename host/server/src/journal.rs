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
    /// How far step functions are: by the function's name, per service.
    #[serde(default)]
    pub steps: BTreeMap<String, BTreeMap<ServiceName, Steps>>,
}

/// How far a step function of a hook is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// What became of everything that it asked for so far, in order.
    #[serde(default)]
    pub results: Vec<CommandResult>,
    /// Whether it has said that it is done.
    #[serde(default)]
    pub done: bool,
}

impl Journal {
    /// How far a step function is.
    pub fn steps(&self, function: &str, service: &ServiceName) -> Steps {
        self.steps.get(function).and_then(|services| services.get(service)).cloned().unwrap_or_default()
    }

    /// Records how far it is.
    pub fn record_steps(&mut self, function: &str, service: &ServiceName, steps: Steps) {
        self.steps.entry(function.to_owned()).or_default().insert(service.clone(), steps);
    }

    /// The recorded result of a command.
    pub fn result(&self, service: &ServiceName, key: &str) -> Option<&CommandResult> {
        self.commands.get(service)?.get(key)
    }

    /// Records a result.
    pub fn record(&mut self, service: &ServiceName, key: String, result: CommandResult) {
        self.commands.entry(service.clone()).or_default().insert(key, result);
    }
}
