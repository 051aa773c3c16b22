//! What a server can be asked: the commands of `jecloud update-server`, with their answers.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jecloud_model::app::AppDocument;
use jecloud_model::backup::{Manifest, Restore, ServerBackup};
use jecloud_model::cloud::Basis;
use jecloud_model::events::Event;
use jecloud_model::ids::{AppName, BackupId, Digest, EnvironmentName, ReleaseNumber, ServiceName, VersionId};
use jecloud_model::secrets::SecretValue;
use jecloud_model::topology::{Order, Told};
use jecloud_seal::Key;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::machines::{Machine, MachineError, Output};

/// How long a server may take for an answer that needs no work.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long taking an archive may take: it is verified and made durable.
const TAKE_TIMEOUT: Duration = Duration::from_secs(900);

/// How long a roll-forward may take that we wait for: as long as the longest build.
const ROLL_FORWARD_TIMEOUT: Duration = Duration::from_secs(3600);

/// The exit status of `update-server` where somebody else has gone on, as of every command that has lost a race.
const OUTDATED: i32 = 3;

/// A server, spoken to in its own words.
#[derive(Clone, Copy)]
pub struct Server<'a> {
    machine: &'a dyn Machine,
    name: &'a str,
    basis: Option<&'a Basis>,
}

/// The answer to `status`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct ServerStatus {
    /// What there is on the server: of all apps, or of the one that was asked for.
    #[serde(default)]
    pub environments: Vec<EnvironmentStatus>,
}

/// One environment on a server.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct EnvironmentStatus {
    /// Whose.
    pub app: AppName,
    /// Which.
    pub environment: EnvironmentName,
    /// `app.json`, if there is one.
    #[serde(default)]
    pub document: Option<AppDocument>,
    /// What the server says of the releases that it runs or deploys.
    #[serde(default)]
    pub told: BTreeMap<ReleaseNumber, Told>,
    /// From which state of which cloud the server was told something about the app the last time.
    #[serde(default)]
    pub basis: Option<Basis>,
}

/// The question and the answer of `want`: which of these does the server lack?
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wants {
    /// Versions.
    #[serde(default)]
    pub versions: BTreeSet<VersionId>,
    /// Hooks.
    #[serde(default)]
    pub hooks: BTreeSet<Digest>,
}

/// The answer to `backups`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServerBackups {
    /// Those that the server has not forgotten yet.
    pub backups: Vec<FoundBackup>,
    /// The restore that goes on, or the last one.
    pub restore: Option<Restore>,
}

/// A backup on a server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FoundBackup {
    /// What the server says of it.
    #[serde(flatten)]
    pub backup: ServerBackup,
    /// Where the sealed file is on the server, if there is one.
    #[serde(default)]
    pub file: Option<PathBuf>,
}

/// The answer to `rollforward`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RolledForward {
    /// Whether JeCloud's own processes were replaced by newer ones.
    pub renewed: bool,
    /// Processes that did not run and were started: `shop production web.1`.
    pub started: Vec<String>,
}

/// Archives belong to an environment, so the question names it.
#[derive(Serialize)]
struct Question<'a> {
    app: &'a AppName,
    environment: &'a EnvironmentName,
    #[serde(flatten)]
    wants: &'a Wants,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
    #[serde(default)]
    details: Vec<String>,
    #[serde(default)]
    hint: String,
}

impl ErrorAnswer {
    /// All that it says of why.
    fn why(&self) -> String {
        match self.details.as_slice() {
            [] => self.error.clone(),
            details => format!("{}: {}", self.error, details.join("; ")),
        }
    }
}

impl<'a> Server<'a> {
    /// A server with its name for messages.
    pub fn new(machine: &'a dyn Machine, name: &'a str) -> Self {
        Self { machine, name, basis: None }
    }

    /// The same, told from this state: it does nothing for one that is older than what it knows.
    #[must_use]
    pub fn based_on(self, basis: &'a Basis) -> Self {
        Self { basis: Some(basis), ..self }
    }

    /// What there is of one environment; none where there is nothing.
    ///
    /// # Errors
    ///
    /// See [`MachineError`]; so for all that follow.
    pub fn status(
        &self,
        app: &AppName,
        environment: &EnvironmentName,
    ) -> Result<Option<EnvironmentStatus>, MachineError> {
        let args = ["status", "--app", app.as_str(), "--environment", environment.as_str()];
        let status: ServerStatus = self.ask(&args, None, ANSWER_TIMEOUT)?;
        Ok(status.environments.into_iter().find(|status| status.app == *app && status.environment == *environment))
    }

    /// Which of these the server lacks, of the environment that is asked for.
    pub fn want(&self, app: &AppName, environment: &EnvironmentName, wants: &Wants) -> Result<Wants, MachineError> {
        let question = Question { app, environment, wants };
        let question = serde_json::to_vec(&question).expect("texts are JSON");
        self.ask(&["want"], Some(&question), ANSWER_TIMEOUT)
    }

    /// Has the server take a version's archive from a path on it.
    pub fn put_archive(
        &self,
        app: &AppName,
        environment: &EnvironmentName,
        version: &VersionId,
        file: &Path,
    ) -> Result<(), MachineError> {
        let file = file.to_string_lossy();
        self.tell(&["put-archive", app.as_str(), environment.as_str(), version.as_str(), &file], None, TAKE_TIMEOUT)
    }

    /// Has the server take a hook from a path on it.
    pub fn put_hook(&self, digest: &Digest, file: &Path) -> Result<(), MachineError> {
        self.tell(&["put-hook", digest.as_str(), &file.to_string_lossy()], None, TAKE_TIMEOUT)
    }

    /// Gives the server the secrets of an environment: all that it needs for a release, and no others.
    pub fn put_secrets(
        &self,
        app: &AppName,
        environment: &EnvironmentName,
        secrets: &BTreeMap<String, SecretValue>,
    ) -> Result<(), MachineError> {
        let text = serde_json::to_vec(secrets).expect("texts are JSON");
        self.tell(&["put-secrets", app.as_str(), environment.as_str()], Some(&text), ANSWER_TIMEOUT)
    }

    /// Tells the server to deploy a release, and sees to it that it works on that. Returns at once.
    pub fn deploy(&self, order: &Order) -> Result<(), MachineError> {
        let text = serde_json::to_vec(order).expect("an order is JSON");
        self.tell(&["deploy", order.release.version.as_str()], Some(&text), ANSWER_TIMEOUT)
    }

    /// The release commands of other servers have run.
    pub fn proceed(
        &self,
        app: &AppName,
        environment: &EnvironmentName,
        release: ReleaseNumber,
    ) -> Result<(), MachineError> {
        self.tell_of_release("proceed", app, environment, release)
    }

    /// All servers are ready.
    pub fn commit(
        &self,
        app: &AppName,
        environment: &EnvironmentName,
        release: ReleaseNumber,
    ) -> Result<(), MachineError> {
        self.tell_of_release("commit", app, environment, release)
    }

    /// The release failed elsewhere: the server gives it up.
    pub fn abort(
        &self,
        app: &AppName,
        environment: &EnvironmentName,
        release: ReleaseNumber,
    ) -> Result<(), MachineError> {
        self.tell_of_release("abort", app, environment, release)
    }

    /// All events of a release, those that have been too, until its end or until the caller breaks off. Lines that
    /// are no events are passed over: a newer server may say more.
    pub fn follow(
        &self,
        app: &AppName,
        environment: &EnvironmentName,
        release: ReleaseNumber,
        on_event: &mut dyn FnMut(Event) -> ControlFlow<()>,
        cancel: &dyn Fn() -> bool,
    ) -> Result<(), MachineError> {
        let release = release.0.to_string();
        let args = ["follow", app.as_str(), environment.as_str(), &release];
        let mut on_line = |line: &str| match serde_json::from_str::<Event>(line) {
            Ok(event) => on_event(event),
            Err(_) => ControlFlow::Continue(()),
        };
        self.machine.follow(&args, &mut on_line, cancel)
    }

    /// Gives the server the key that backups are sealed with: 64 hex digits.
    pub fn put_backup_key(&self, app: &AppName, environment: &EnvironmentName, key: &Key) -> Result<(), MachineError> {
        let args = ["put-backup-key", app.as_str(), environment.as_str()];
        self.tell(&args, Some(key.to_hex().as_bytes()), ANSWER_TIMEOUT)
    }

    /// Has the server make a backup of a service: that it is wanted is recorded, and what comes of it is told by
    /// [`Server::backups`].
    pub fn backup(
        &self,
        app: &AppName,
        environment: &EnvironmentName,
        service: &ServiceName,
        id: &BackupId,
        verify: bool,
    ) -> Result<(), MachineError> {
        let mut args = vec!["backup", app.as_str(), environment.as_str(), service.as_str(), id.as_str()];
        args.extend(verify.then_some("--verify"));
        self.tell(&args, None, ANSWER_TIMEOUT)
    }

    /// How far backups are, and the restore, if there was one.
    pub fn backups(&self, app: &AppName, environment: &EnvironmentName) -> Result<ServerBackups, MachineError> {
        self.ask(&["backups", app.as_str(), environment.as_str()], None, ANSWER_TIMEOUT)
    }

    /// A backup is in the store, or not wanted: the server deletes what it has of it.
    pub fn forget_backup(
        &self,
        app: &AppName,
        environment: &EnvironmentName,
        id: &BackupId,
    ) -> Result<(), MachineError> {
        self.tell(&["forget-backup", app.as_str(), environment.as_str(), id.as_str()], None, ANSWER_TIMEOUT)
    }

    /// Has the server replace the data of a service by what is in the sealed file at a path on it. That it is wanted is
    /// recorded, and what comes of it is told by [`Server::backups`].
    pub fn restore(
        &self,
        app: &AppName,
        environment: &EnvironmentName,
        service: &ServiceName,
        manifest: &Manifest,
        file: &Path,
    ) -> Result<(), MachineError> {
        let text = serde_json::to_vec(manifest).expect("a manifest is JSON");
        let file = file.to_string_lossy();
        let args = ["restore", app.as_str(), environment.as_str(), service.as_str(), &file];
        self.tell(&args, Some(&text), TAKE_TIMEOUT)
    }

    /// Deletes everything of an environment from the server.
    pub fn destroy(&self, app: &AppName, environment: &EnvironmentName) -> Result<(), MachineError> {
        self.tell(&["destroy", app.as_str(), environment.as_str()], None, TAKE_TIMEOUT)
    }

    /// Has the server do whatever there is to do, and waits for it. Returns what that was.
    pub fn roll_forward(&self) -> Result<RolledForward, MachineError> {
        self.ask(&["rollforward"], None, ROLL_FORWARD_TIMEOUT)
    }

    /// Tells what becomes of a release that the server was told before.
    fn tell_of_release(
        &self,
        command: &str,
        app: &AppName,
        environment: &EnvironmentName,
        release: ReleaseNumber,
    ) -> Result<(), MachineError> {
        let release = release.0.to_string();
        self.tell(&[command, app.as_str(), environment.as_str(), &release], None, ANSWER_TIMEOUT)
    }

    fn tell(&self, args: &[&str], stdin: Option<&[u8]>, timeout: Duration) -> Result<(), MachineError> {
        let basis = self.basis.map(Basis::to_string);
        let args: Vec<&str> = match &basis {
            Some(basis) => [args, &["--basis", basis]].concat(),
            None => args.to_vec(),
        };
        check(args[0], &self.machine.call(&args, stdin, timeout)?).map_err(|error| self.named(error))
    }

    /// Runs `update-server ARGS` and reads its answer, which is JSON.
    ///
    /// # Errors
    ///
    /// See [`MachineError`].
    pub fn ask<T: DeserializeOwned>(
        &self,
        args: &[&str],
        stdin: Option<&[u8]>,
        timeout: Duration,
    ) -> Result<T, MachineError> {
        let output = self.machine.call(args, stdin, timeout)?;
        check(args[0], &output).map_err(|error| self.named(error))?;
        serde_json::from_slice(&output.stdout).map_err(|error| {
            let answer = format!("{error} in {}", end_of(&output.stdout));
            MachineError::Garbled { server: self.name.to_owned(), command: args[0].to_owned(), answer }
        })
    }

    fn named(&self, error: MachineError) -> MachineError {
        match error {
            MachineError::Garbled { command, answer, .. } => {
                MachineError::Garbled { server: self.name.to_owned(), command, answer }
            }
            other => other,
        }
    }
}

/// Whether a command of `update-server` succeeded; else its own words.
///
/// # Errors
///
/// [`MachineError::Refused`] with what it said, [`MachineError::Garbled`] where that is no answer.
pub fn check(command: &str, output: &Output) -> Result<(), MachineError> {
    if output.status == 0 {
        return Ok(());
    }
    // The answer is the last line: what a hook's commands wrote may come before it.
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let answer = serde_json::from_slice::<ErrorAnswer>(&output.stdout).or_else(|_| serde_json::from_str(last));
    match answer {
        Ok(answer) if output.status == OUTDATED => {
            Err(MachineError::Outdated { error: answer.why(), hint: answer.hint })
        }
        Ok(answer) => Err(MachineError::Refused { error: answer.why(), hint: answer.hint }),
        Err(_) => {
            let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
            let answer = format!("exit status {}, {}", output.status, end_of(said));
            Err(MachineError::Garbled { server: "local".to_owned(), command: command.to_owned(), answer })
        }
    }
}

/// The answer of a server that says no to whoever follows something: it is told from the lines before it.
#[derive(Debug, Default)]
pub struct LastWords(Option<String>);

/// What is kept of an answer: more than any has.
const LONGEST_ANSWER: usize = 64 << 10;

impl LastWords {
    /// Whether a line is one of the answer, which begins with a brace that no other line is: it is kept then.
    pub fn take(&mut self, line: &str) -> bool {
        if line == "{" {
            self.0 = Some(String::new());
        }
        let Some(words) = &mut self.0 else { return false };
        if words.len() + line.len() < LONGEST_ANSWER {
            words.push_str(line);
            words.push('\n');
        }
        true
    }

    /// The answer, for [`check`].
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.unwrap_or_default().into_bytes()
    }
}

/// The last 300 characters of what a command wrote, in one line.
fn end_of(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim().replace('\n', " ");
    let skip = text.chars().count().saturating_sub(300);
    if text.is_empty() { "and nothing more".to_owned() } else { text.chars().skip(skip).collect() }
}
