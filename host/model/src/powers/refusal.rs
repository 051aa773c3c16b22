//! Why a line of an answer is not done.

use std::fmt;

use super::Allowed;
use crate::hook::Identity;

/// One power, as it is named in a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Power {
    /// To have a package of the distribution installed.
    Package(String),
    /// To fetch archives from below a URL.
    Repository(String),
    /// To have a program run.
    Program(String, Identity),
    /// To listen on a fixed port.
    Port(u16),
    /// To write below an absolute path.
    Path(String),
    /// To have a secret filled in.
    Secret(String),
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Package(name) => write!(f, "install the package {name} of the distribution"),
            Self::Repository(url) => write!(f, "fetch archives from {url}"),
            Self::Program(program, Identity::App) => write!(f, "run {program} as the app's user"),
            Self::Program(program, Identity::Root) => write!(f, "run {program} as root"),
            Self::Port(port) => write!(f, "listen on port {port}"),
            Self::Path(path) => write!(f, "write below {path}"),
            Self::Secret(name) => write!(f, "be given the secret {name}"),
        }
    }
}

/// One line of a hook's answer that is not done, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Where it stands: `build[1] install dependencies`.
    pub line: String,
    /// The power that is missing, in words; `None` where no power could allow it.
    pub power: Option<String>,
    /// What is wrong, as a half-sentence.
    pub reason: String,
    /// The command that grants the power; `None` where none can.
    pub grant: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.reason)?;
        match &self.grant {
            Some(grant) => write!(f, "; `{grant}` shows the power and asks for it"),
            None => Ok(()),
        }
    }
}

/// Collects the refusals of one answer.
pub(super) struct Findings<'a> {
    pub(super) allowed: Allowed<'a>,
    refusals: Vec<Refusal>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(allowed: Allowed<'a>) -> Self {
        Self { allowed, refusals: Vec::new() }
    }

    pub(super) fn into_result(self) -> Result<(), Vec<Refusal>> {
        if self.refusals.is_empty() { Ok(()) } else { Err(self.refusals) }
    }

    /// Something that no power could allow.
    pub(super) fn refuse(&mut self, line: &str, reason: impl Into<String>) {
        self.refusals.push(Refusal { line: line.to_owned(), power: None, reason: reason.into(), grant: None });
    }

    /// Demands a power. What was not even declared is the hook's mistake, and nothing grants it.
    pub(super) fn need(&mut self, line: &str, power: &Power) {
        if self.allowed.declared.covers(power) && self.allowed.granted.covers(power) {
            return;
        }
        let (reason, grant) = if self.allowed.declared.covers(power) {
            let grant = format!("jecloud hook add {}", self.allowed.service);
            (format!("the power to {power} was not granted"), Some(grant))
        } else {
            (format!("the hook does not declare the power to {power}"), None)
        };
        let power = Some(power.to_string());
        self.refusals.push(Refusal { line: line.to_owned(), power, reason, grant });
    }

    /// Refuses more than `limit` of something.
    pub(super) fn count(&mut self, line: &str, what: &str, count: usize, limit: usize) {
        if count > limit {
            self.refuse(line, format!("{count} {what} are more than the {limit} that are allowed"));
        }
    }

    /// Refuses a number outside of a range.
    pub(super) fn range(&mut self, line: &str, what: &str, value: u32, range: std::ops::RangeInclusive<u32>) {
        if !range.contains(&value) {
            self.refuse(line, format!("{what} {value} is not between {} and {}", range.start(), range.end()));
        }
    }

    /// Refuses a text that does not fit on one line of a terminal: it is shown to people as it stands.
    pub(super) fn one_line(&mut self, line: &str, what: &str, text: &str) {
        if text.chars().any(is_unprintable) {
            self.refuse(line, format!("{what} has line breaks or control characters"));
        }
        self.count(line, &format!("characters of {what}"), text.chars().count(), self.allowed.limits.line_chars);
    }
}

/// Control characters, and those that change the direction of the text around them: with either, a terminal shows
/// something else than what is there.
pub(super) fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
