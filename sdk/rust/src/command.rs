//! Commands that the host runs, and what became of them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{OptionValue, Options};

/// As whom a command or process runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// The user of the app and environment, who owns nothing but what the app may write.
    #[default]
    App,
    /// The administrator of the server. Only with a granted power.
    Root,
}

/// A command. Never a shell string: to use a shell, have the power for one and name it.
///
/// ```
/// use jecloud_sdk::Command;
///
/// let install = Command::new("install", "install dependencies")
///     .argv(["npm", "ci"])
///     .env("NODE_ENV", "production")
///     .once("7c9f")
///     .produces("node_modules");
/// assert_eq!(install.timeout_ms, 600_000);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Unique within the plan: results are tied to it, people see it.
    pub id: String,
    /// What is being done, for people: `install dependencies`.
    pub title: String,
    /// The program and its arguments. [Templates](crate::template).
    pub argv: Vec<String>,
    /// Variables beside the host's own few. Templates.
    pub env: BTreeMap<String, String>,
    /// The working directory. A template. Empty: `{source}`.
    pub cwd: String,
    /// As whom it runs.
    pub run_as: Identity,
    /// It is ended after this time, in milliseconds, and has failed; at most an hour.
    pub timeout_ms: u32,
    /// Where it was done once under this key by this service in this environment, it is not done again: what it
    /// produced is put in place. Empty: done in every deployment.
    pub once: String,
    /// Directories below `{source}` that it makes and that are kept under the `once` key.
    pub produces: Vec<String>,
    /// No keys are known in 0.1.0.
    pub options: Options,
}

/// How long a command may take where the hook does not say: ten minutes.
const DEFAULT_COMMAND_TIMEOUT: Duration = Duration::from_secs(600);

impl Command {
    /// A command of the app's user in `{source}` that may take ten minutes.
    pub fn new(id: impl Into<String>, title: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            title: title.into(),
            argv: Vec::new(),
            env: BTreeMap::new(),
            cwd: String::new(),
            run_as: Identity::App,
            timeout_ms: millis(DEFAULT_COMMAND_TIMEOUT),
            once: String::new(),
            produces: Vec::new(),
            options: Options::new(),
        }
    }

    /// Sets the program and its arguments. Templates.
    #[must_use]
    pub fn argv<S: Into<String>>(mut self, argv: impl IntoIterator<Item = S>) -> Self {
        self.argv = argv.into_iter().map(Into::into).collect();
        self
    }

    /// Sets a variable. A template.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets several variables. Templates.
    #[must_use]
    pub fn envs<N: Into<String>, V: Into<String>>(mut self, pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        self.env.extend(pairs.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Sets the working directory. A template.
    #[must_use]
    pub fn cwd(mut self, directory: impl Into<String>) -> Self {
        self.cwd = directory.into();
        self
    }

    /// Runs it as the administrator.
    #[must_use]
    pub fn as_root(mut self) -> Self {
        self.run_as = Identity::Root;
        self
    }

    /// Sets how long it may take; at most an hour.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout_ms = millis(time);
        self
    }

    /// Does it once for this key.
    #[must_use]
    pub fn once(mut self, key: impl Into<String>) -> Self {
        self.once = key.into();
        self
    }

    /// Adds a directory below `{source}` that it makes and that is kept under the `once` key.
    #[must_use]
    pub fn produces(mut self, directory: impl Into<String>) -> Self {
        self.produces.push(directory.into());
        self
    }

    /// Sets an option.
    #[must_use]
    pub fn option(mut self, key: impl Into<String>, value: impl Into<OptionValue>) -> Self {
        self.options.insert(key.into(), value.into());
        self
    }
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandResult {
    /// The command's id.
    pub id: String,
    /// Its exit status; 128 + the signal's number if a signal ended it; none if it was ended for its time-out.
    pub exit_status: Option<i32>,
    /// The last 64 KiB of what it wrote.
    pub stdout: String,
    /// The last 64 KiB.
    pub stderr: String,
}

impl CommandResult {
    /// Whether it exited with 0.
    pub fn succeeded(&self) -> bool {
        self.exit_status == Some(0)
    }
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it is complete.
    Done,
    /// Run these, in order, then ask again with the results of all.
    Again(Vec<Command>),
    /// Ask again after this time (at most a minute), with the same results.
    Wait(Duration),
}

/// Whole milliseconds as the contract counts them; what is too long for it becomes the longest that it can say.
pub(crate) fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
