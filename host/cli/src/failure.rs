//! Where errors become words and exit codes. Every failure shown has what was attempted, why it failed, what state
//! the world is in, and what to type next.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jecloud_cloud::{MachineError, StoreError};
use jecloud_model::cloud::Place;

/// Exit codes, as `jecloud --help` documents them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// It failed; what served before serves.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Somebody else was faster.
    LostRace = 3,
    /// The wish is recorded, and the server could not be reached.
    NotReachable = 4,
}

impl Code {
    /// Of a server that was asked for something: it said no, or it could not be asked.
    pub(crate) fn of(error: &MachineError) -> Self {
        if matches!(error, MachineError::Refused { .. }) { Self::Failed } else { Self::NotReachable }
    }
}

/// A failure as it is shown to a person.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: Code,
    /// What was attempted and why it failed, with causes; no final full stop.
    pub(crate) what: String,
    /// The lines that a process or command wrote, or a place in a file.
    pub(crate) details: Vec<String>,
    /// The state of the world: `r3 (841bc9d01fe3) still serves; nothing was switched`.
    pub(crate) world: String,
    /// What to do next; may be empty.
    pub(crate) hint: String,
}

impl Failure {
    /// A failure of this kind.
    pub(crate) fn new(code: Code, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), details: Vec::new(), world: String::new(), hint: String::new() }
    }

    /// Wrong usage or configuration.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Code::Usage, what).world("Nothing was changed.")
    }

    /// From an error with its causes: `attempt` says what was attempted, as in "cannot read the state".
    pub(crate) fn from_error(code: Code, attempt: &str, error: &dyn std::error::Error) -> Self {
        Self::new(code, format!("{attempt}: {}", jecloud_server::chain(error)))
    }

    /// From an error of the app's store, which may know what the person can do.
    pub(crate) fn from_store(attempt: &str, error: &StoreError) -> Self {
        Self::from_error(Code::Failed, attempt, error).hint(crate::session::sentence(error.hint()))
    }

    /// From what a server or its provider says.
    pub(crate) fn from_machine(code: Code, error: &MachineError) -> Self {
        Self::new(code, error.to_line()).hint(error.hint())
    }

    /// A roll-forward that could not do everything: what is in the way, by server.
    pub(crate) fn unfinished(what: impl Into<String>, troubles: &BTreeMap<Place, String>) -> Self {
        let details = troubles.iter().map(|(place, why)| format!("{}: {why}", place.server)).collect();
        Self::new(Code::NotReachable, what).details(details)
    }

    /// With the state of the world.
    pub(crate) fn world(mut self, world: impl Into<String>) -> Self {
        self.world = world.into();
        self
    }

    /// With what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// With lines.
    pub(crate) fn details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }

    /// The text, with these two styles for what stands out.
    pub(crate) fn render(&self) -> String {
        let red = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into()));
        let cyan = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Cyan.into()));
        let mut text = format!("{red}error:{red:#} {}\n", self.what);
        if !self.details.is_empty() {
            text.push('\n');
            for line in &self.details {
                let _ = writeln!(text, "  | {line}");
            }
        }
        if !self.world.is_empty() {
            let _ = writeln!(text, "\n{}", self.world);
        }
        if !self.hint.is_empty() {
            let _ = writeln!(text, "\n{cyan}hint:{cyan:#} {}", self.hint);
        }
        text
    }

    /// As JSON, for `--json`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "error": self.what,
            "details": self.details,
            "state": self.world,
            "hint": self.hint,
            "exit_code": self.code as i32,
        })
    }
}

impl From<jecloud_server::ServerError> for Failure {
    fn from(error: jecloud_server::ServerError) -> Self {
        let text = jecloud_server::chain(&error);
        let code = if error.is_outdated() { Code::LostRace } else { Code::Failed };
        if let jecloud_server::ServerError::Disk(error) = error {
            return error.into();
        }
        match error.into_failure() {
            Ok(failure) => Self::new(Code::Failed, failure.reason).details(failure.details).hint(failure.hint),
            Err(error) => Self::new(code, text).hint(error.hint()),
        }
    }
}

impl From<jecloud_disk::DiskError> for Failure {
    fn from(error: jecloud_disk::DiskError) -> Self {
        let hint = if error.is_denied() || error.is_read_only() {
            "Check who owns it and how it is mounted; JECLOUD_HOME names another place for what JeCloud keeps."
        } else if error.is_out_of_space() {
            "The disk is full: make room and try again."
        } else {
            ""
        };
        Self::new(Code::Failed, jecloud_server::chain(&error)).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_parts_are_shown() {
        let failure = Failure::new(Code::Failed, "release r2 failed: web.1 exited with status 1")
            .details(vec!["Error: no".to_owned()])
            .world("r1 (841bc9d01fe3) still serves.")
            .hint("Mend it.");
        let plain = anstream::adapter::strip_str(&failure.render()).to_string();
        insta::assert_snapshot!(plain, @r"
        error: release r2 failed: web.1 exited with status 1

          | Error: no

        r1 (841bc9d01fe3) still serves.

        hint: Mend it.
        ");
    }
}
