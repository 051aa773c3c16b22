//! Running what a plan asks to be run: once per release, with its results journaled, and once per key where what was
//! produced is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jecloud_disk::{durable, tree};
use jecloud_launch::{Ended, Environment, Launch, RunLimits, User};
use jecloud_model::app::Failure;
use jecloud_model::events::What;
use jecloud_model::hook::{Command, CommandResult, Identity};
use jecloud_model::ids::{Digest, ReleaseNumber, ServiceName, VersionId};

use crate::error::ServerError;
use crate::fill::Filling;
use crate::place::Place;

/// How much of each stream is kept of a command: `command-result` in `wit/types.wit`.
const KEPT_OUTPUT: usize = 64 * 1024;

/// How many lines of a failed command a person is shown.
const SHOWN_LINES: usize = 10;

/// Where and how the commands of one service run.
pub(crate) struct Runner<'a> {
    /// For journal and events.
    pub place: &'a Place,
    /// Whether those who follow the release hear of what is run.
    pub is_told: bool,
    /// For which release.
    pub release: ReleaseNumber,
    /// Of which service.
    pub service: &'a ServiceName,
    /// For templates.
    pub filling: &'a Filling<'a>,
    /// The variables that come before the command's own, and those that come after.
    pub env_before: &'a BTreeMap<String, String>,
    /// See `env_before`.
    pub env_after: &'a BTreeMap<String, String>,
    /// The app's user, where JeCloud is root.
    pub app_user: Option<User>,
    /// Whether the deployment is not wanted any more.
    pub cancel: &'a dyn Fn() -> bool,
}

impl Runner<'_> {
    /// Builds: runs commands in order, as [`Runner::run_all`] does, but those that were run in this version's directory
    /// before are not run again, whichever release they were run for. So a rollback runs nothing, and a new release of
    /// the version that serves changes nothing below its processes. Variables do not count: as with a slug, changing
    /// one starts processes anew and builds nothing.
    pub(crate) fn build_all(&self, phase: &str, version: &VersionId, commands: &[Command]) -> Result<(), ServerError> {
        let path = self.place.root.built(version);
        for command in commands {
            let argv = self.filling.argv(&command.id, &command.argv)?;
            let what = (self.service, phase, &command.id, argv, &command.once, &command.cwd, &command.produces);
            let key = Digest::of(format!("{what:?}").as_bytes());
            let mut built: BTreeSet<Digest> = durable::read_json(&path)?.unwrap_or_default();
            if built.contains(&key) {
                continue;
            }
            self.run_all(phase, std::slice::from_ref(command))?;
            built.insert(key);
            durable::write_json(&path, &built, 0o644)?;
        }
        Ok(())
    }

    /// Runs commands in order; the first that fails fails the deployment.
    pub(crate) fn run_all(&self, phase: &str, commands: &[Command]) -> Result<(), ServerError> {
        for command in commands {
            let result = self.run_once(phase, command)?;
            if result.exit_status != Some(0) {
                return Err(self.failure(command, &result).into());
            }
        }
        Ok(())
    }

    /// Runs a command unless its result is journaled, and journals it. What it comes to is the caller's to judge.
    pub(crate) fn run_once(&self, phase: &str, command: &Command) -> Result<CommandResult, ServerError> {
        let key = format!("{phase}/{}", command.id);
        if let Some(result) = self.place.journal(self.release)?.result(self.service, &key) {
            return Ok(result.clone());
        }
        let result = match self.kept(command) {
            Some(kept) => self.with_kept(command, &kept)?,
            None => self.run(command)?,
        };
        if (self.cancel)() {
            return Err(jecloud_model::app::Stale(self.release).into());
        }
        let mut journal = self.place.journal(self.release)?;
        journal.record(self.service, key, result.clone());
        self.place.write_journal(self.release, &journal)?;
        Ok(result)
    }

    /// Where the products of a command with a `once` key are kept.
    fn kept(&self, command: &Command) -> Option<PathBuf> {
        kept_name(&command.once).map(|name| self.filling.data.join("kept").join(name))
    }

    /// Puts what was produced before in place, or produces it and keeps a copy.
    fn with_kept(&self, command: &Command, kept: &Path) -> Result<CommandResult, ServerError> {
        let owner = self.app_user.map(|user| (user.uid, user.gid));
        if !tree::exists(kept)? {
            let result = self.run(command)?;
            if result.exit_status == Some(0) {
                let incoming = kept.with_extension("incoming");
                tree::remove(&incoming)?;
                durable::create_dirs(&incoming, 0o755)?;
                for (index, path) in command.produces.iter().enumerate() {
                    let from = self.filling.source.join(path);
                    if tree::exists(&from)? {
                        tree::copy(&from, &incoming.join(index.to_string()), None)?;
                    }
                }
                tree::sync(&incoming)?;
                tree::rename(&incoming, kept)?;
            }
            return Ok(result);
        }
        for (index, path) in command.produces.iter().enumerate() {
            let (from, to) = (kept.join(index.to_string()), self.filling.source.join(path));
            tree::remove(&to)?;
            if tree::exists(&from)? {
                tree::copy(&from, &to, owner)?;
            }
        }
        self.tell(What::Note { text: format!("{}: unchanged, kept", command.title) });
        Ok(CommandResult { id: command.id.clone(), exit_status: Some(0), stdout: String::new(), stderr: String::new() })
    }

    /// Runs a command, whether or not it was run before.
    pub(crate) fn run(&self, command: &Command) -> Result<CommandResult, ServerError> {
        let line = format!("{} {}", command.id, command.title);
        let argv = self.filling.argv(&line, &command.argv)?;
        let Some((program, arguments)) = argv.split_first() else {
            return Err(Failure::because(format!("{line}: there is no program to run")).into());
        };
        let cwd = match command.cwd.as_str() {
            "" => self.filling.source.display().to_string(),
            template => self.filling.text(&line, template)?,
        };
        let mut env = way_out();
        env.extend(self.env_before.clone());
        env.extend(self.filling.environment(&line, &command.env)?);
        env.extend(self.env_after.clone());
        let user = match command.run_as {
            Identity::App => self.app_user,
            Identity::Root => None,
        };
        self.tell(What::Command { service: self.service.clone(), title: command.title.clone() });
        jecloud_disk::fault::point("command.run")
            .map_err(|source| ServerError::Io { action: "run a command", source })?;
        let launch = Launch::new(program)
            .args(arguments)
            .cwd(cwd)
            .user(user)
            .env(Environment::exactly(crate::secrets::filled(&self.place.root, &env)?));
        let limits = RunLimits { timeout: Duration::from_millis(command.timeout_ms.into()), keep_bytes: KEPT_OUTPUT };
        let finished = jecloud_launch::run(launch, limits, self.cancel, &mut |_, line| {
            self.tell(What::Output { line: line.to_owned() });
        })?;
        let exit_status = match finished.status {
            Ended::Exit(status) => Some(status),
            Ended::Signal(signal) => Some(128 + signal),
            Ended::TimedOut => None,
            Ended::Cancelled => return Err(jecloud_model::app::Stale(self.release).into()),
        };
        Ok(CommandResult {
            id: command.id.clone(),
            exit_status,
            stdout: String::from_utf8_lossy(&finished.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&finished.stderr).into_owned(),
        })
    }

    fn tell(&self, what: What) {
        if self.is_told {
            self.place.tell(self.release, what);
        }
    }

    /// Why a command that failed fails the deployment.
    pub(crate) fn failure(&self, command: &Command, result: &CommandResult) -> Failure {
        let what = match result.exit_status {
            Some(status) => format!("exited with status {status}"),
            None => format!("took longer than {} seconds and was ended", command.timeout_ms / 1000),
        };
        let program = command.argv.first().map_or("", String::as_str);
        let program = program.rsplit('/').next().unwrap_or(program);
        // Some tools say what is wrong on the one, some on the other.
        let last = |text: &str, count: usize| -> Vec<String> {
            let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
            lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
        };
        let errors = last(&result.stderr, SHOWN_LINES);
        let mut details = last(&result.stdout, SHOWN_LINES.saturating_sub(errors.len()).max(SHOWN_LINES / 2));
        details.extend(errors);
        Failure::because(format!("{}: {program} {what}", command.title)).details(details)
    }
}

/// The variables of this process that say how to reach the world outside, as templates: commands fetch things, and a
/// server behind a proxy, or with a certificate authority of its own, has no other way to tell them.
fn way_out() -> BTreeMap<String, String> {
    const NAMES: [&str; 9] = [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "ALL_PROXY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ];
    let set = |name: &str| Some((name.to_owned(), jecloud_model::template::escape(&std::env::var(name).ok()?)));
    NAMES.into_iter().filter_map(set).collect()
}

/// The name under which the products of a `once` key are kept: any text is a key, not any text is a file name.
pub(crate) fn kept_name(once: &str) -> Option<String> {
    (!once.is_empty()).then(|| Digest::of(once.as_bytes()).short().to_owned())
}
