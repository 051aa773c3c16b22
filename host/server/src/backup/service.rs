//! A service as it runs, and its hook, asked step by step how its data is saved and brought back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use jecloud_disk::durable;
use jecloud_model::app::Failure;
use jecloud_model::hook::{Command, CommandResult, Context, OptionValue, Step};
use jecloud_model::ids::{ReleaseNumber, ServiceName};
use jecloud_model::prepared::Prepared;
use jecloud_model::release::Release;
use serde::{Deserialize, Serialize};

use crate::commands::Runner;
use crate::environment::Surroundings;
use crate::error::ServerError;
use crate::hooks::Asked;
use crate::journal::Steps;
use crate::place::Place;
use crate::server::Server;
use crate::work::Work;
use crate::work::steps::{Journaled, drive, wait};

/// The ports of a service by name.
pub(super) type Ports = BTreeMap<String, u16>;

/// What is known of the release that serves.
pub(super) struct Serving {
    pub(super) release: Release,
    pub(super) prepared: Prepared,
}

impl Serving {
    /// Reads it.
    pub(super) fn read(place: &Place, number: ReleaseNumber) -> Result<Self, ServerError> {
        let release = place.release(number)?;
        let lost = || ServerError::Missing { path: place.root.release(number).join("prepared.json") };
        Ok(Self { release, prepared: place.prepared(number)?.ok_or_else(lost)? })
    }

    /// The service with its hook, which can save its data. `what` is what cannot be done otherwise.
    pub(super) fn asked<'a>(
        &'a self,
        server: &Server,
        place: &Place,
        service: &ServiceName,
        what: &str,
    ) -> Result<Asked<'a>, ServerError> {
        let names: Vec<String> = self.release.services.keys().map(ToString::to_string).collect();
        let all = Asked::of_server(server, &self.release, place)?;
        let Some(asked) = all.into_iter().find(|asked| asked.service == service) else {
            let why = match self.release.services.contains_key(service) {
                true => "it does not run on this server".to_owned(),
                false => format!("there is no such service; there is {}", names.join(" and ")),
            };
            return Err(Failure::because(format!("{what}: {why}"))
                .hint("Nothing was changed. `jecloud status` shows what runs where.")
                .into());
        };
        if !asked.exports().backup {
            return Err(Failure::because(format!("{what}: its hook does not know how to save data"))
                .hint("Nothing was changed. A hook that has the interface `backup` can be backed up.")
                .into());
        }
        Ok(asked)
    }

    /// Whether the service has processes here that outlive releases.
    pub(super) fn runs(&self, service: &ServiceName) -> bool {
        self.prepared.outliving(service).next().is_some()
    }
}

/// What the hook is shown; where a backup is brought back, with the version that wrote it.
pub(super) fn context(asked: &Asked<'_>, work: &Work<'_>, serving: &Serving, wrote: Option<&str>) -> Context {
    let mut context = asked.context(&serving.release, work.document, work.document.current_version.as_ref());
    if let Some(wrote) = wrote {
        context.options.insert("backup-version".to_owned(), OptionValue::Text(wrote.to_owned()));
    }
    context
}

/// Where the results of a step function are kept.
pub(super) enum Kept {
    /// Nowhere: an attempt that died is begun anew.
    Nowhere,
    /// In this file: the next attempt goes on where one died.
    In(PathBuf),
}

/// Drives a step function of the service's hook. Commands run as the service's own.
pub(super) fn driven<T>(
    asked: &Asked<'_>,
    work: &Work<'_>,
    serving: &Serving,
    context: &Context,
    (function, kept): (&str, Kept),
    ask: impl Fn(&Asked<'_>, &Context, &[CommandResult], &Ports) -> Result<Step<T>, ServerError>,
) -> Result<T, ServerError> {
    let ports = serving.prepared.ports(asked.service);
    let surroundings = Surroundings::new(work.place, work.user, &serving.release, asked.service)?;
    let filling = surroundings.filling_with(&ports);
    let runner = Runner { is_told: false, ..surroundings.runner_of_service(work, &filling) };
    let pause = |duration| wait(work, duration);
    let ask = |results: &[CommandResult]| ask(asked, context, results, &ports);
    match kept {
        Kept::Nowhere => {
            let journal = InMemory { steps: RefCell::default(), runner: &runner };
            drive(asked, function, &journal, &ask, &pause)
        }
        Kept::In(path) => drive(asked, function, &InFile { path, function, runner: &runner }, &ask, &pause),
    }
}

struct InMemory<'a> {
    steps: RefCell<Steps>,
    runner: &'a Runner<'a>,
}

impl Journaled for InMemory<'_> {
    fn read(&self) -> Result<Steps, ServerError> {
        Ok(self.steps.borrow().clone())
    }

    fn write(&self, steps: Steps) -> Result<(), ServerError> {
        *self.steps.borrow_mut() = steps;
        Ok(())
    }

    fn run(&self, _round: usize, command: &Command) -> Result<CommandResult, ServerError> {
        self.runner.run(command)
    }
}

/// `backups/restore.steps.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct HookJournal {
    /// How far functions are, by name.
    #[serde(default)]
    functions: BTreeMap<String, Steps>,
    /// What became of commands, by function, round and id.
    #[serde(default)]
    commands: BTreeMap<String, CommandResult>,
}

struct InFile<'a> {
    path: PathBuf,
    function: &'a str,
    runner: &'a Runner<'a>,
}

impl InFile<'_> {
    fn journal(&self) -> Result<HookJournal, ServerError> {
        Ok(durable::read_json(&self.path)?.unwrap_or_default())
    }

    fn write(&self, journal: &HookJournal) -> Result<(), ServerError> {
        // It has what commands said.
        Ok(durable::write_json(&self.path, journal, 0o600)?)
    }
}

impl Journaled for InFile<'_> {
    fn read(&self) -> Result<Steps, ServerError> {
        Ok(self.journal()?.functions.remove(self.function).unwrap_or_default())
    }

    fn write(&self, steps: Steps) -> Result<(), ServerError> {
        let mut journal = self.journal()?;
        journal.functions.insert(self.function.to_owned(), steps);
        self.write(&journal)
    }

    fn run(&self, round: usize, command: &Command) -> Result<CommandResult, ServerError> {
        let key = format!("{}-{round}/{}", self.function, command.id);
        if let Some(result) = self.journal()?.commands.remove(&key) {
            return Ok(result);
        }
        let result = self.runner.run(command)?;
        let mut journal = self.journal()?;
        journal.commands.insert(key, result.clone());
        self.write(&journal)?;
        Ok(result)
    }
}
