//! Long-running commands.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::command::millis;
use crate::{Identity, OptionValue, Options};

/// How the host finds out that a process works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It stays up for a second.
    StaysUp,
    /// The named port accepts connections.
    PortOpen(String),
    /// A GET of the path on the named port answers with a status below 400.
    Http {
        /// The named port.
        port: String,
        /// The path.
        path: String,
    },
    /// The command exits with 0. Templates.
    Command(Vec<String>),
}

/// A long-running command.
///
/// ```
/// use jecloud_sdk::{Health, Process};
///
/// let web = Process::new("web").argv(["node", "server.js"]).port("http").env("PORT", "{port:http}").health_http("http", "/up");
/// assert_eq!(web.ports, ["http"]);
/// assert_eq!(Process::new("worker").health, Health::StaysUp);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The process type, as in a Procfile: `web`.
    pub name: String,
    /// The program and its arguments. [Templates](crate::template).
    pub argv: Vec<String>,
    /// Variables beside the host's own few. Templates.
    pub env: BTreeMap<String, String>,
    /// The working directory. A template. Empty: `{source}`.
    pub cwd: String,
    /// Names of the ports it listens on. The host chooses a free port for each, or uses a granted fixed one where the
    /// name is a number.
    pub ports: Vec<String>,
    /// How the host finds out that it works.
    pub health: Health,
    /// How long the health check may take to succeed after the start, in milliseconds; at most 10 minutes.
    pub start_timeout_ms: u32,
    /// From SIGTERM to SIGKILL, in milliseconds; at most 10 minutes.
    pub stop_timeout_ms: u32,
    /// As whom it runs.
    pub run_as: Identity,
    /// How many instances run where the person does not say.
    pub replicas: u32,
    /// Groups of replicas that hold different data; 1 where it means nothing.
    pub shards: u32,
    /// Whether a deployment starts a new one beside the old one (app code), or leaves the running one alone as long as
    /// its definition is the same (a database).
    pub beside: bool,
    /// No keys are known in 0.1.0.
    pub options: Options,
}

/// How long a process may take to become healthy where the hook does not say: a minute.
const DEFAULT_START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a process has to end where the hook does not say: the 30 seconds that requests in flight have.
const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(30);

impl Process {
    /// One instance of app code that works when it stays up, as the app's user in `{source}`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            argv: Vec::new(),
            env: BTreeMap::new(),
            cwd: String::new(),
            ports: Vec::new(),
            health: Health::StaysUp,
            start_timeout_ms: millis(DEFAULT_START_TIMEOUT),
            stop_timeout_ms: millis(DEFAULT_STOP_TIMEOUT),
            run_as: Identity::App,
            replicas: 1,
            shards: 1,
            beside: true,
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

    /// Adds a named port that it listens on. It learns the number from `{port:NAME}`.
    #[must_use]
    pub fn port(mut self, name: impl Into<String>) -> Self {
        self.ports.push(name.into());
        self
    }

    /// It works when the named port accepts connections.
    #[must_use]
    pub fn health_port(mut self, port: impl Into<String>) -> Self {
        self.health = Health::PortOpen(port.into());
        self
    }

    /// It works when a GET of the path on the named port answers with a status below 400.
    #[must_use]
    pub fn health_http(mut self, port: impl Into<String>, path: impl Into<String>) -> Self {
        self.health = Health::Http { port: port.into(), path: path.into() };
        self
    }

    /// It works when this command exits with 0. Templates.
    #[must_use]
    pub fn health_command<S: Into<String>>(mut self, argv: impl IntoIterator<Item = S>) -> Self {
        self.health = Health::Command(argv.into_iter().map(Into::into).collect());
        self
    }

    /// Sets how long it may take to become healthy; at most 10 minutes.
    #[must_use]
    pub fn start_timeout(mut self, time: Duration) -> Self {
        self.start_timeout_ms = millis(time);
        self
    }

    /// Sets how long it has from SIGTERM to SIGKILL; at most 10 minutes.
    #[must_use]
    pub fn stop_timeout(mut self, time: Duration) -> Self {
        self.stop_timeout_ms = millis(time);
        self
    }

    /// Runs it as the administrator.
    #[must_use]
    pub fn as_root(mut self) -> Self {
        self.run_as = Identity::Root;
        self
    }

    /// Sets how many instances run where the person does not say.
    #[must_use]
    pub fn replicas(mut self, count: u32) -> Self {
        self.replicas = count;
        self
    }

    /// Sets into how many groups of replicas the data is divided.
    #[must_use]
    pub fn shards(mut self, count: u32) -> Self {
        self.shards = count;
        self
    }

    /// Never runs a new one beside the old one: for databases and whatever else must exist once.
    #[must_use]
    pub fn not_beside(mut self) -> Self {
        self.beside = false;
        self
    }

    /// Sets an option.
    #[must_use]
    pub fn option(mut self, key: impl Into<String>, value: impl Into<OptionValue>) -> Self {
        self.options.insert(key.into(), value.into());
        self
    }
}
