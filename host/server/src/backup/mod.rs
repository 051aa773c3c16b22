//! Backups of services, and bringing them back: what a server can be told of them ([`request`] and its neighbours), and the
//! work of each state, a file per state.
//!
//! A deployment comes first: a copy that is being made is given up for it and begun anew afterwards, one that is being sealed
//! is sealed afterwards, and what is verified is verified meanwhile. Only data that is half replaced comes before a
//! deployment. Nothing here is remembered but in documents, so that whoever dies is followed by the next roll-forward.

mod copy;
pub(crate) mod first;
mod records;
pub(crate) mod restore;
pub(crate) mod schedule;
pub(crate) mod scratch;
mod seal;
mod service;
mod told;
mod verify;

use std::path::PathBuf;

use jecloud_disk::{durable, tree};
use jecloud_model::app::{AppDocument, Failure};
use jecloud_model::backup::{BackupState, ServerBackup};
use jecloud_model::ids::{BackupId, ServiceName};

use crate::error::ServerError;
use crate::place::Place;
use crate::rollforward::Glance;
use crate::server::Server;
use crate::work::Work;

pub use told::{BackupStatus, Backups, forget, list, put_key, request, restore};

/// What a person can do about a backup that does not stand its test.
const KEEP_LOOKING: &str =
    "The service runs on. Do not rely on this backup: ask for another one, and keep the older ones.";

/// Where the hook writes its copy, and finds the one that is brought back: `{data}/backup`.
fn directory(place: &Place, service: &ServiceName) -> PathBuf {
    place.root.service(service).join("backup")
}

/// What there cannot be where something of this cannot be done.
fn what(backup: &ServerBackup) -> String {
    format!("the backup {} of {}", backup.id, backup.service)
}

/// Does the work of a state of a backup, and records that it is done, or that there is none.
///
/// # Errors
///
/// What stops this attempt without saying anything about the backup: it is in the same state afterwards.
pub(crate) fn perform(
    server: &Server,
    place: &Place,
    document: &AppDocument,
    id: &BackupId,
    state: BackupState,
) -> Result<(), ServerError> {
    let Some(backup) = place.backup(id)?.filter(|backup| backup.state == state) else { return Ok(()) };
    let done = worked(server, place, document, &backup);
    match done.map_err(ServerError::into_failure) {
        Ok(()) => Ok(()),
        Err(Err(error)) => Err(error),
        Err(Ok(failure)) => {
            let hint = match failure.hint.is_empty() {
                true => "Ask for another one: `jecloud backup`.",
                false => failure.hint.as_str(),
            };
            let failure = Failure { hint: format!("The service runs on. {hint}"), ..failure.clone() };
            place.change_backup(id, |backup| backup.fail(failure))?;
            tree::remove(&directory(place, &backup.service))?;
            durable::remove(&place.root.backup_steps(id))?;
            Ok(())
        }
    }
}

fn worked(server: &Server, place: &Place, document: &AppDocument, backup: &ServerBackup) -> Result<(), ServerError> {
    let Some(number) = document.current_release else {
        return Err(Failure::because("nothing is deployed on this server any more").into());
    };
    let cancel =
        Glance::new(place, move |document| document.deployment.is_some() || document.current_release != Some(number));
    let cancel: &dyn Fn() -> bool = &|| cancel.is_due();
    let user = jecloud_supervisor::user_of(&server.root, &place.app, &place.environment)?;
    let work = Work { server, place, document, number, user, cancel };
    match backup.state {
        BackupState::Copying => copy::perform(&work, backup),
        BackupState::Sealing => seal::perform(&work, backup),
        BackupState::Verifying => verify::perform(&work, backup),
        BackupState::Done | BackupState::Failed => Ok(()),
    }
}

/// Forgets backups that failed and are no news any more.
pub(crate) fn forget_all(place: &Place, ids: &std::collections::BTreeSet<BackupId>) -> Result<(), ServerError> {
    let _lock = place.lock()?;
    ids.iter().try_for_each(|id| told::forget_locked(place, id))
}

/// A name for a backup that nobody outside has named.
fn new_id() -> Result<BackupId, ServerError> {
    let mut chance = [0; 4];
    let failed = |source| ServerError::Io { action: "name a backup", source };
    getrandom::fill(&mut chance).map_err(|error| failed(std::io::Error::other(error)))?;
    Ok(BackupId::new(crate::clock::now(), chance))
}

/// Removes what those left who died right before they would have removed it.
pub(crate) fn sweep(place: &Place) -> Result<(), ServerError> {
    if !tree::exists(&place.root.backups())? {
        return Ok(());
    }
    let _lock = place.lock()?;
    let restore = place.restore()?;
    match &restore {
        Some(restore) if !restore.state.is_end() => {}
        Some(restore) => sweep_restore(place, &restore.service)?,
        None => drop(durable::remove(&place.root.restore_file())?),
    }
    let is_restored = |service: &ServiceName| {
        restore.as_ref().is_some_and(|restore| !restore.state.is_end() && restore.service == *service)
    };
    let backups = place.backups()?;
    for backup in backups.values().filter(|backup| !backup.needs_copy() && !is_restored(&backup.service)) {
        if !backups.values().any(|other| other.service == backup.service && other.needs_copy()) {
            tree::remove(&directory(place, &backup.service))?;
        }
        durable::remove(&place.root.backup_steps(&backup.id))?;
    }
    Ok(())
}

/// What was left of bringing something back, where nothing is being brought back.
fn sweep_restore(place: &Place, service: &ServiceName) -> Result<(), ServerError> {
    for path in [place.root.service_restoring(service), place.root.service_before(service)] {
        tree::remove(&path)?;
    }
    for path in [place.root.restore_file(), place.root.restore_steps()] {
        durable::remove(&path)?;
    }
    Ok(())
}
