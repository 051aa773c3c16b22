//! Backups in the app's store: brought there from servers, listed, deleted.
//!
//! `backups/ENV/SERVICE/ID.json`, the manifest, is written after `ID.sealed` and deleted before it: what has a manifest is
//! whole. Nothing here remembers anything: killed at any point, the next collection goes on, and a server keeps its file
//! until it is told that the store has it. Credentials for the store are never put on a server.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use jecloud_disk::{DiskError, durable, fault, tree};
use jecloud_model::backup::{BackupState, Manifest};
use jecloud_model::backup_policy::{BackupPolicy, to_delete};
use jecloud_model::ids::{AppName, BackupId, Digest, EnvironmentName, ServiceName};
use jecloud_model::time::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::keys;
use crate::machines::{Machine, MachineError, at_once};
use crate::object_store::{Cause, ObjectStore, Precondition, PutResult, StoreError};
use crate::protocol::{FoundBackup, Server};

/// A sealed file without a manifest that is so old is nobody's who is at work.
const LEFT_OVER: Duration = Duration::from_secs(24 * 3600);

/// How often writing a manifest is tried of which it is not known whether it is there.
const ATTEMPTS: usize = 5;

/// What the store has of backups.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listing {
    /// Whole ones, the newest first.
    pub manifests: Vec<Manifest>,
    /// Keys of manifests that this JeCloud cannot read.
    pub unreadable: Vec<String>,
    /// Keys of sealed files without a manifest, with the time of their arrival: somebody is at work, or was killed.
    pub unfinished: Vec<(String, Timestamp)>,
}

/// Something that happened while backups were collected.
#[derive(Debug, Clone, PartialEq)]
pub enum Collecting {
    /// So many bytes of this one have come from the server.
    Fetching(Manifest, u64),
    /// So many bytes of this one are in the store.
    Storing(Manifest, u64),
    /// It is in the store, whole.
    Stored(Manifest),
}

/// Why a backup was not collected. The server still has it, and the next collection goes on.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The server.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This machine's disk.
    #[error("cannot keep a backup on this machine on its way to the store")]
    Disk(#[from] DiskError),
    /// What came is not what the server said it would be.
    #[error("backup {id} arrived as something else than its server said")]
    Different {
        /// Which.
        id: BackupId,
    },
}

impl CollectError {
    /// What the person can do; empty where the message says it all.
    pub fn hint(&self) -> String {
        match self {
            Self::Machine(error) => error.hint().to_owned(),
            Self::Store(error) => error.hint().to_owned(),
            Self::Disk(_) => "Make room on this machine: a backup passes through it, sealed.".to_owned(),
            Self::Different { .. } => "Try again: the server still has it.".to_owned(),
        }
    }
}

/// The backups of one app.
#[derive(Clone, Copy)]
pub struct Backups<'a> {
    store: &'a dyn ObjectStore,
    app: &'a AppName,
}

impl<'a> Backups<'a> {
    /// Those of `app` in its store.
    pub fn new(store: &'a dyn ObjectStore, app: &'a AppName) -> Self {
        Self { store, app }
    }

    /// All there are of an environment, or of all of them: also of such as were destroyed.
    ///
    /// # Errors
    ///
    /// When the store could not be asked.
    pub fn list(&self, environment: Option<&EnvironmentName>) -> Result<Listing, StoreError> {
        let objects = self.store.list(&keys::backups(environment))?;
        let manifests: BTreeSet<&str> = objects.iter().filter_map(|object| object.key.strip_suffix(".json")).collect();
        let unfinished = objects
            .iter()
            .filter(|object| object.key.strip_suffix(".sealed").is_some_and(|name| !manifests.contains(name)))
            .map(|object| (object.key.clone(), object.written))
            .collect();
        let keys: Vec<String> = manifests.iter().map(|name| format!("{name}.json")).collect();
        let mut listing = Listing { unfinished, ..Listing::default() };
        for (key, found) in keys.iter().zip(at_once(&keys, |key| self.store.get(key))) {
            let found = found.unwrap_or_else(|| Err(refused("read", key, "a bug".into())))?;
            // One that was deleted meanwhile is none any more.
            let Some(object) = found else { continue };
            match serde_json::from_slice::<Manifest>(&object.bytes) {
                Ok(manifest) if manifest.format == 1 && keys::manifest(&manifest) == *key => {
                    listing.manifests.push(manifest);
                }
                _ => listing.unreadable.push(key.clone()),
            }
        }
        listing.manifests.sort_by(|one, other| (other.created, &other.id).cmp(&(one.created, &one.id)));
        Ok(listing)
    }

    /// Takes to the store whatever backups a server has that are complete, and has the server forget them; also those that
    /// failed and that a newer good one has followed. `directory` is where they lie on their way, sealed.
    ///
    /// # Errors
    ///
    /// [`CollectError`]: those before are in the store.
    pub fn collect(
        &self,
        server: Server<'_>,
        machine: &dyn Machine,
        environment: &EnvironmentName,
        directory: &Path,
        report: &mut dyn FnMut(Collecting),
    ) -> Result<Vec<Manifest>, CollectError> {
        let found = server.backups(self.app, environment)?.backups;
        let mut collected = Vec::new();
        for FoundBackup { backup, file } in &found {
            let (BackupState::Done, Some(manifest), Some(file)) = (backup.state, &backup.manifest, file) else {
                continue;
            };
            if !self.store.exists(&keys::manifest(manifest))? {
                self.take(machine, manifest, file, directory, report)?;
                report(Collecting::Stored(manifest.clone()));
                collected.push(manifest.clone());
            }
            point("cloud.backup.forget")?;
            server.forget_backup(self.app, environment, &backup.id)?;
        }
        for FoundBackup { backup: failed, .. } in &found {
            let is_over = failed.state == BackupState::Failed
                && found.iter().any(|FoundBackup { backup, .. }| {
                    backup.state == BackupState::Done
                        && backup.service == failed.service
                        && backup.requested > failed.requested
                });
            if is_over {
                server.forget_backup(self.app, environment, &failed.id)?;
            }
        }
        Ok(collected)
    }

    /// Brings one from a server into the store.
    fn take(
        &self,
        machine: &dyn Machine,
        manifest: &Manifest,
        file: &Path,
        directory: &Path,
        report: &mut dyn FnMut(Collecting),
    ) -> Result<(), CollectError> {
        let key = keys::sealed(manifest);
        let here = directory.join(format!("{}.sealed", manifest.id));
        // Nobody else has this id: what is there was put there by somebody who was killed before the manifest.
        if !self.store.exists(&key)? {
            durable::create_dirs(directory, 0o700)?;
            sweep(directory)?;
            let fetched = fetch(machine, manifest, file, &here, &mut |done| {
                report(Collecting::Fetching(manifest.clone(), done));
            });
            let stored = fetched.and_then(|()| {
                point("cloud.backup.put")?;
                let progress = &mut |done| report(Collecting::Storing(manifest.clone(), done));
                Ok(self.store.put_file(&key, &here, progress)?)
            });
            durable::remove(&here)?;
            stored?;
        }
        durable::remove(&here)?;
        point("cloud.backup.manifest")?;
        Ok(self.put_manifest(manifest)?)
    }

    fn put_manifest(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let key = keys::manifest(manifest);
        let bytes = serde_json::to_vec_pretty(manifest).expect("a manifest is JSON");
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match self.store.put(&key, &bytes, &Precondition::IfNoneMatch)? {
                // It is there: nobody writes another one under this id.
                PutResult::Done(_) | PutResult::PreconditionFailed => return Ok(()),
                PutResult::Conflict | PutResult::NotFound => {}
                PutResult::Unknown(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| refused("write", &key, "somebody else writes it all the time".into())))
    }

    /// Deletes a backup for good.
    ///
    /// # Errors
    ///
    /// When it is not certain that it is gone.
    pub fn delete(&self, manifest: &Manifest) -> Result<(), StoreError> {
        // What has no manifest is no backup: nobody will try to restore half of it.
        store_point("cloud.backup.delete", &keys::manifest(manifest))?;
        self.store.delete(&keys::manifest(manifest))?;
        store_point("cloud.backup.delete-sealed", &keys::sealed(manifest))?;
        self.store.delete(&keys::sealed(manifest))
    }

    /// Deletes what the policies of an environment's services do not keep, and sealed files of which nothing will ever
    /// become a backup. `on_servers` is what the servers of the environment still have; none where one of them could not
    /// be asked. Returns what was deleted.
    ///
    /// # Errors
    ///
    /// When the store could not be asked, or it is not certain that something is gone.
    pub fn tidy(
        &self,
        environment: &EnvironmentName,
        policies: &BTreeMap<ServiceName, BackupPolicy>,
        on_servers: Option<&BTreeSet<BackupId>>,
        now: Timestamp,
    ) -> Result<Vec<Manifest>, StoreError> {
        let listing = self.list(Some(environment))?;
        let mut deleted = Vec::new();
        for (service, policy) in policies {
            let own: Vec<Manifest> =
                listing.manifests.iter().filter(|manifest| manifest.service == *service).cloned().collect();
            let doomed = to_delete(&own, policy.keep, now);
            for manifest in own.into_iter().filter(|manifest| doomed.contains(&manifest.id)) {
                self.delete(&manifest)?;
                deleted.push(manifest);
            }
        }
        let Some(on_servers) = on_servers else { return Ok(deleted) };
        for (key, written) in &listing.unfinished {
            let is_theirs = keys::backup_id(key).is_none_or(|id| on_servers.contains(&id));
            if !is_theirs && written.plus(LEFT_OVER) < now {
                self.store.delete(key)?;
            }
        }
        Ok(deleted)
    }
}

/// Reads the sealed file of a backup from a server. It has its name when it is what the manifest says, and not before.
///
/// # Errors
///
/// [`CollectError`]: then there is no such file.
pub fn fetch(
    machine: &dyn Machine,
    manifest: &Manifest,
    from: &Path,
    to: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(), CollectError> {
    durable::replace_with(to, 0o600, |out| {
        let mut hashing = Hashing { out, hash: Sha256::new() };
        machine.get_file(from, &mut hashing, progress)?;
        if Digest::from_sha256(hashing.hash.finalize().into()) != manifest.sha256 {
            return Err(CollectError::Different { id: manifest.id.clone() });
        }
        Ok(())
    })
}

/// Removes what those left behind on this machine who were killed, and whose backups somebody else has collected.
fn sweep(directory: &Path) -> Result<(), DiskError> {
    for name in tree::list(directory)? {
        let path = directory.join(name);
        let age = tree::modified(&path)?.and_then(|written| SystemTime::now().duration_since(written).ok());
        if age.is_some_and(|age| age > LEFT_OVER) {
            durable::remove(&path)?;
        }
    }
    Ok(())
}

struct Hashing<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn refused(doing: &str, key: &str, source: Cause) -> StoreError {
    StoreError::Refused { doing: format!("{doing} {key}"), source }
}

fn store_point(name: &'static str, key: &str) -> Result<(), StoreError> {
    fault::point(name).map_err(|source| refused("change", key, source.into()))
}

fn point(name: &'static str) -> Result<(), CollectError> {
    Ok(store_point(name, "backups")?)
}
