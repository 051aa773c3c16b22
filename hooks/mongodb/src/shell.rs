//! What mongod is asked and told, by scripts that its shell runs. Secrets reach them in their environment alone.

use std::time::Duration;

use jecloud_sdk::{Command, CommandResult, Context, Plan, Problem, template};
use serde::Deserialize;

use crate::members::{self, Members};
use crate::settings::Settings;
use crate::version::Series;
use crate::{KEY, LOOPBACK, PASSWORD, SET, SHELL};

/// The shell's home: it keeps files of its own there.
const HOME: &str = "{data}/shell";

/// How long what takes as long with more data may take.
const TIMEOUT: Duration = Duration::from_secs(3 * 60);

/// How long what takes longer with more data may take.
const LONG: Duration = Duration::from_secs(60 * 60);

/// The shell's own configuration: it keeps no logs, tells nobody what it does, and asks for no newer shell.
/// <https://www.mongodb.com/docs/mongodb-shell/reference/customize-shell-settings/>
const CONFIGURATION: &str = r#"{"disableLogging": true, "enableTelemetry": false, "updateURL": ""}"#;

/// A script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Script {
    /// What others begin with.
    Connection,
    /// Says how it is.
    Look,
    /// Makes what is missing.
    SetUp,
    /// Lets a newer series use what the one before could not read.
    Raise,
    /// Takes members into the set and out of it.
    Reshape,
    /// Copies the files of the database, and says what is in them.
    Copy,
    /// Puts a copy in the place of the data.
    Restore,
    /// Says what is in the data.
    Contents,
}

impl Script {
    const ALL: [Self; 8] = [
        Self::Connection,
        Self::Look,
        Self::SetUp,
        Self::Raise,
        Self::Reshape,
        Self::Copy,
        Self::Restore,
        Self::Contents,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Look => "look",
            Self::SetUp => "set-up",
            Self::Raise => "raise",
            Self::Reshape => "reshape",
            Self::Copy => "copy",
            Self::Restore => "restore",
            Self::Contents => "contents",
        }
    }

    /// What it does, for people.
    fn title(self) -> &'static str {
        match self {
            Self::Connection => "connect to MongoDB",
            Self::Look => "look how MongoDB is",
            Self::SetUp => "set MongoDB up",
            Self::Raise => "let MongoDB use what is new in its version",
            Self::Reshape => "take members into the replica set and out of it",
            Self::Copy => "copy the data of MongoDB",
            Self::Restore => "put the copy in the place of the data",
            Self::Contents => "count what MongoDB has",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Connection => include_str!("shell/connection.js"),
            Self::Look => include_str!("shell/look.js"),
            Self::SetUp => include_str!("shell/set-up.js"),
            Self::Raise => include_str!("shell/raise.js"),
            Self::Reshape => include_str!("shell/reshape.js"),
            Self::Copy => include_str!("shell/copy.js"),
            Self::Restore => include_str!("shell/restore.js"),
            Self::Contents => include_str!("shell/contents.js"),
        }
    }

    /// How long it may take.
    fn timeout(self) -> Duration {
        match self {
            Self::Copy | Self::Restore | Self::Contents | Self::Reshape => LONG,
            Self::Connection | Self::Look | Self::SetUp | Self::Raise => TIMEOUT,
        }
    }
}

/// Adds the files that the shell needs.
pub(crate) fn files(plan: Plan) -> Plan {
    let plan = plan.file(format!("{HOME}/.mongodb/mongosh/config"), template::escape(CONFIGURATION), 0o600);
    Script::ALL.into_iter().fold(plan, |plan, script| {
        plan.file(format!("{HOME}/{}.js", script.name()), template::escape(script.text()), 0o600)
    })
}

/// The command that runs a script which needs no server.
pub(crate) fn offline(script: Script) -> Command {
    Command::new(script.name(), script.title())
        .argv([SHELL, "--quiet", "--norc", "--nodb", &format!("{HOME}/{}.js", script.name())])
        .cwd("{data}")
        .timeout(script.timeout())
        .env("HOME", HOME)
        .env("MONGODB_DATA", "{data}")
}

/// The command that runs a script.
pub(crate) fn run(script: Script, context: &Context, settings: &Settings) -> Command {
    // One that cannot be is refused before there is anything to run.
    let members = Members::of(context, settings).ok().flatten();
    offline(script)
        .env("MONGODB_MEMBERS", members.as_ref().map(Members::addresses).unwrap_or_default())
        .env("MONGODB_SET", SET)
        .env("MONGODB_KEY", format!("{{secret:{KEY}}}"))
        .env("MONGODB_HOST", context.fact("host").unwrap_or(LOOPBACK))
        .env("MONGODB_PORT", members::port(members.as_ref()))
        .env("MONGODB_DATABASE", settings.database(context))
        .env("MONGODB_USER", context.app())
        .env("MONGODB_PASSWORD", format!("{{secret:{PASSWORD}}}"))
}

/// The command that raises the data to a series.
pub(crate) fn raise(to: Series, context: &Context, settings: &Settings) -> Command {
    run(Script::Raise, context, settings).env("MONGODB_COMPATIBILITY", to.name())
}

/// How a mongod is: the last line that `look` and `set-up` print.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct State {
    /// `7.0.15`
    pub(crate) version: String,
    /// The series that may read the data: `7.0`. Empty where that cannot be known yet.
    pub(crate) compatibility: String,
    /// Whether it is the primary of a set in which it has its own address.
    pub(crate) set: bool,
    /// Whether the app gets in.
    pub(crate) user: bool,
}

impl State {
    pub(crate) fn is_set_up(&self) -> bool {
        self.set && self.user
    }

    /// From what came of a script.
    ///
    /// # Errors
    /// When it failed, with the last line of what it complained about.
    pub(crate) fn of(result: &CommandResult) -> Result<Self, Problem> {
        let text = printed(result)?;
        serde_json::from_str(text).map_err(|error| Problem::new(format!("MongoDB's shell said {text:?}: {error}")))
    }
}

/// The last line that a script printed.
///
/// # Errors
/// When it failed.
pub(crate) fn printed(result: &CommandResult) -> Result<&str, Problem> {
    let last = |text: &'_ str| text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
    if !result.succeeded() {
        let how = match result.exit_status {
            Some(status) => format!("ended with status {status}"),
            None => "took too long".to_owned(),
        };
        let why = last(&result.stderr).or_else(|| last(&result.stdout)).map(|why| format!(": {why}"));
        return Err(Problem::new(format!("the script {} {how}{}", result.id, why.unwrap_or_default()))
            .hint("`jecloud logs` shows what MongoDB itself says."));
    }
    Ok(result.stdout.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default())
}
