//! The documents of one app and environment, read and written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jecloud_disk::lock::Lock;
use jecloud_disk::log::RotatingLog;
use jecloud_disk::{durable, tree};
use jecloud_model::app::AppDocument;
use jecloud_model::events::{Event, What};
use jecloud_model::ids::{AppName, EnvironmentName, ReleaseNumber};
use jecloud_model::layout::{EnvironmentRoot, ServerRoot};
use jecloud_model::prepared::Prepared;
use jecloud_model::release::Release;
use jecloud_model::topology::Topology;

use crate::clock::now;
use crate::error::ServerError;
use crate::journal::Journal;
use crate::users;

/// How long a change of `app.json` waits for another one: each holds the lock for a few milliseconds.
const DOCUMENT_LOCK_DEADLINE: Duration = Duration::from_secs(10);

/// One app and environment on this server.
#[derive(Debug, Clone)]
pub struct Place {
    /// Whose.
    pub app: AppName,
    /// In which environment.
    pub environment: EnvironmentName,
    /// Where.
    pub root: EnvironmentRoot,
}

impl Place {
    /// The place of an app and environment, whether or not anything is there.
    pub fn new(root: &ServerRoot, app: &AppName, environment: &EnvironmentName) -> Self {
        Self { app: app.clone(), environment: environment.clone(), root: root.environment(app, environment) }
    }

    /// All that are on this server, sorted.
    pub fn all(root: &ServerRoot) -> Result<Vec<Self>, ServerError> {
        let mut places = Vec::new();
        for app in names(root.path().to_owned())? {
            let Ok(app) = app.parse::<AppName>() else { continue };
            for environment in names(root.path().join(app.as_str()))? {
                let Ok(environment) = environment.parse::<EnvironmentName>() else { continue };
                let place = Self::new(root, &app, &environment);
                if tree::exists(&place.root.app_document())? {
                    places.push(place);
                }
            }
        }
        Ok(places)
    }

    /// Makes its directories where they are missing. Only whom they are given to may look into them.
    pub fn make(&self) -> Result<(), ServerError> {
        if let Some(app) = self.root.path().parent() {
            durable::create_dirs(app, 0o755)?;
        }
        durable::create_dirs(self.root.path(), users::PRIVATE)?;
        Ok(durable::create_dirs(&self.root.versions(), 0o755)?)
    }

    /// `app.json`; an empty one where there is none.
    pub fn document(&self) -> Result<AppDocument, ServerError> {
        Ok(durable::read_json(&self.root.app_document())?.unwrap_or_default())
    }

    /// Holds off everybody else who changes a document of the place.
    pub(crate) fn lock(&self) -> Result<Lock, ServerError> {
        Ok(Lock::acquire(&self.root.app_lock(), Instant::now() + DOCUMENT_LOCK_DEADLINE)?)
    }

    /// Changes `app.json` under its lock. An error of the change is returned, and nothing is written.
    pub fn change<T, E>(
        &self,
        change: impl FnOnce(&mut AppDocument) -> Result<T, E>,
    ) -> Result<Result<T, E>, ServerError> {
        let _lock = self.lock()?;
        let mut document = self.document()?;
        let before = document.clone();
        let answer = match change(&mut document) {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error)),
        };
        if document != before {
            document
                .format
                .check_writable()
                .map_err(|source| ServerError::Format { path: self.root.app_document(), source })?;
            document.format.format = jecloud_model::format::FORMAT;
            durable::write_json(&self.root.app_document(), &document, 0o644)?;
        }
        Ok(Ok(answer))
    }

    fn release_file(&self, release: ReleaseNumber, name: &str) -> PathBuf {
        self.root.release(release).join(name)
    }

    /// What this server was told about a release.
    pub fn release(&self, release: ReleaseNumber) -> Result<Release, ServerError> {
        let path = self.release_file(release, "release.json");
        durable::read_json(&path)?.ok_or(ServerError::Missing { path })
    }

    /// Records what this server is told about a release. May hold the person's environment variables: 0600.
    pub fn write_release(&self, release: &Release) -> Result<(), ServerError> {
        durable::create_dirs(&self.root.release(release.number), 0o700)?;
        Ok(durable::write_json(&self.release_file(release.number, "release.json"), release, 0o600)?)
    }

    /// What this server was told of itself and of the others with a release.
    pub fn topology(&self, release: ReleaseNumber) -> Result<Topology, ServerError> {
        Ok(durable::read_json(&self.release_file(release, "topology.json"))?.unwrap_or_default())
    }

    /// Records it.
    pub fn write_topology(&self, release: ReleaseNumber, topology: &Topology) -> Result<(), ServerError> {
        durable::create_dirs(&self.root.release(release), 0o700)?;
        Ok(durable::write_json(&self.release_file(release, "topology.json"), topology, 0o600)?)
    }

    /// The releases that are recorded here. One whose document cannot be read is left out: it is nobody's wish.
    pub fn releases(&self) -> Result<BTreeMap<ReleaseNumber, Release>, ServerError> {
        let mut releases = BTreeMap::new();
        for name in names(self.root.releases())? {
            let Ok(number) = name.parse::<u64>() else { continue };
            if let Ok(release) = self.release(ReleaseNumber(number)) {
                releases.insert(ReleaseNumber(number), release);
            }
        }
        Ok(releases)
    }

    /// What the preparation of a release came to; none before its end.
    pub fn prepared(&self, release: ReleaseNumber) -> Result<Option<Prepared>, ServerError> {
        Ok(durable::read_json(&self.release_file(release, "prepared.json"))?)
    }

    /// Records what the preparation came to.
    pub fn write_prepared(&self, prepared: &Prepared) -> Result<(), ServerError> {
        Ok(durable::write_json(&self.release_file(prepared.release, "prepared.json"), prepared, 0o600)?)
    }

    /// What commands of a release were run.
    pub fn journal(&self, release: ReleaseNumber) -> Result<Journal, ServerError> {
        Ok(durable::read_json(&self.release_file(release, "journal.json"))?.unwrap_or_default())
    }

    /// Records it.
    pub fn write_journal(&self, release: ReleaseNumber, journal: &Journal) -> Result<(), ServerError> {
        Ok(durable::write_json(&self.release_file(release, "journal.json"), journal, 0o600)?)
    }

    /// Where the events of a release are.
    pub fn events(&self, release: ReleaseNumber) -> PathBuf {
        self.release_file(release, "events.jsonl")
    }

    /// Tells those who follow a deployment. That they hear it is not promised: a failure to write is nobody's
    /// failure to deploy.
    pub fn tell(&self, release: ReleaseNumber, what: What) {
        let event = Event { at: now(), what };
        if let Ok(line) = serde_json::to_string(&event) {
            let _ = RotatingLog::open(&self.events(release), u64::MAX, 1).and_then(|mut log| log.append_line(&line));
        }
    }
}

/// The names in a directory, sorted; none where there is no such directory.
fn names(directory: PathBuf) -> Result<Vec<String>, ServerError> {
    let names = tree::list(&directory)?.into_iter().filter_map(|name| name.into_string().ok());
    Ok(names.filter(|name| !name.starts_with('.')).collect())
}
