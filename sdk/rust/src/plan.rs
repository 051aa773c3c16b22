//! What a hook wants done for a deployment.

use std::collections::BTreeMap;

use crate::{Command, OptionValue, Options, Process};

/// What a hook wants done for a deployment: the answer to `prepare_deploy`.
///
/// ```
/// use jecloud_sdk::{Command, Plan, Process};
///
/// let plan = Plan::new()
///     .file("{data}/redis.conf", "port {port:redis}\n", 0o644)
///     .check(Command::new("syntax", "check the configuration").argv(["redis-server", "{data}/redis.conf", "--check-system"]))
///     .process(Process::new("redis").argv(["redis-server", "{data}/redis.conf"]).port("redis").not_beside())
///     .value("REDIS_URL", "redis://127.0.0.1:{port:redis}");
/// assert_eq!(plan.processes.len(), 1);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Written before anything runs.
    pub files: Vec<File>,
    /// Run first, in order; a failure fails the deployment. They must change nothing.
    pub checks: Vec<Command>,
    /// Run in order after the checks.
    pub build: Vec<Command>,
    /// Run in order after every build of every service, before processes start: migrations.
    pub release: Vec<Command>,
    /// Long-running commands.
    pub processes: Vec<Process>,
    /// Requests that the front sends to them.
    pub routes: Vec<Route>,
    /// Environment variables for the app and the other services. [Templates](crate::template).
    pub values: BTreeMap<String, String>,
    /// Given back as [`crate::Context::remembered`] once this release serves; at most 64 KiB together.
    pub remember: BTreeMap<String, String>,
    /// Shown to the person, one line each: guesses that were made, and what to write where to change them.
    pub notes: Vec<String>,
    /// No keys are known in 0.1.0.
    pub options: Options,
}

/// A file that the host writes before anything runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Below `{data}` or `{source}`, or at a path for which a power was granted. A template.
    pub path: String,
    /// A template.
    pub content: String,
    /// Permission bits: 0o644, 0o600, 0o755.
    pub mode: u16,
}

/// Requests that the front sends to a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The process type.
    pub process: String,
    /// One of its named ports.
    pub port: String,
    /// `/` for all.
    pub path_prefix: String,
    /// No keys are known in 0.1.0.
    pub options: Options,
}

impl Plan {
    /// A plan that does nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file: its path, content (templates) and permission bits.
    #[must_use]
    pub fn file(mut self, path: impl Into<String>, content: impl Into<String>, mode: u16) -> Self {
        self.files.push(File { path: path.into(), content: content.into(), mode });
        self
    }

    /// Adds a command that looks whether the deployment can succeed, and changes nothing.
    #[must_use]
    pub fn check(mut self, command: Command) -> Self {
        self.checks.push(command);
        self
    }

    /// Adds a command that builds the version.
    #[must_use]
    pub fn build(mut self, command: Command) -> Self {
        self.build.push(command);
        self
    }

    /// Adds a command that runs last before processes start: a migration.
    #[must_use]
    pub fn release(mut self, command: Command) -> Self {
        self.release.push(command);
        self
    }

    /// Adds a long-running command.
    #[must_use]
    pub fn process(mut self, process: Process) -> Self {
        self.processes.push(process);
        self
    }

    /// Sends the requests whose path begins with `path_prefix` to the named port of a process.
    #[must_use]
    pub fn route(
        mut self,
        path_prefix: impl Into<String>,
        process: impl Into<String>,
        port: impl Into<String>,
    ) -> Self {
        self.routes.push(Route {
            process: process.into(),
            port: port.into(),
            path_prefix: path_prefix.into(),
            options: Options::new(),
        });
        self
    }

    /// Adds an environment variable for the app and the other services. A template.
    #[must_use]
    pub fn value(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.values.insert(name.into(), value.into());
        self
    }

    /// Remembers a text until the next deployment.
    #[must_use]
    pub fn remember(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.remember.insert(name.into(), value.into());
        self
    }

    /// Adds a line for the person: a guess that was made, and what to write where to change it.
    #[must_use]
    pub fn note(mut self, line: impl Into<String>) -> Self {
        self.notes.push(line.into());
        self
    }

    /// Has a backup of the service, as it runs, made before anything of this plan is started: the deployment fails where
    /// that cannot be done. For a change that has no way back.
    #[must_use]
    pub fn backup_first(self) -> Self {
        self.option("backup-first", true)
    }

    /// Sets an option.
    #[must_use]
    pub fn option(mut self, key: impl Into<String>, value: impl Into<OptionValue>) -> Self {
        self.options.insert(key.into(), value.into());
        self
    }
}
