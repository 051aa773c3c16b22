//! What `update-server` can be told of backups: each call records or answers, and is done again without harm.

use std::path::{Path, PathBuf};

use jecloud_disk::{durable, tree};
use jecloud_model::app::Failure;
use jecloud_model::backup::{Manifest, Restore, ServerBackup};
use jecloud_model::ids::{BackupId, ServiceName};
use jecloud_seal::Key;
use serde::{Deserialize, Serialize};

use super::service::Serving;
use crate::api::spawn_roll_forward;
use crate::clock::now;
use crate::error::ServerError;
use crate::place::Place;
use crate::server::Server;

/// What a server says of the backups of an app and environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backups {
    /// In the order of time.
    pub backups: Vec<BackupStatus>,
    /// The backup that is brought back, or the last one that was.
    pub restore: Option<Restore>,
}

/// What a server says of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupStatus {
    /// What is recorded.
    #[serde(flatten)]
    pub backup: ServerBackup,
    /// Where the sealed file is; none before there is one.
    pub file: Option<PathBuf>,
}

/// Keeps the key that backups are sealed with.
///
/// # Errors
///
/// Where the disk does not take it.
pub fn put_key(place: &Place, key: &Key) -> Result<(), ServerError> {
    place.make()?;
    Ok(durable::replace(&place.root.backup_key(), key.to_hex().as_bytes(), 0o600)?)
}

/// Records the wish for a backup and has a roll-forward begin with it. Returns at once.
///
/// # Errors
///
/// [`ServerError::Deployment`] where there can be none: nothing serves, the service is not on this server or cannot be
/// backed up, there is no key, or a backup is just being brought back. Nothing was changed then.
pub fn request(
    server: &Server,
    place: &Place,
    service: &ServiceName,
    id: &BackupId,
    verify: bool,
    scheduled: bool,
) -> Result<(), ServerError> {
    let what = format!("there can be no backup of {service}");
    can_be_backed_up(server, place, service, &what)?;
    if place.backup_key()?.is_none() {
        return Err(Failure::because(format!("{what}: nobody has brought the key to seal it with"))
            .hint(
                "Nothing was changed. `jecloud backup` brings the key; `update-server put-backup-key` does it by hand.",
            )
            .into());
    }
    let wanted = ServerBackup::wanted(id.clone(), service.clone(), verify, scheduled, now());
    {
        let _lock = place.lock()?;
        refuse_while_restoring(place, &what)?;
        match place.backup(id)? {
            None => place.write_backup(&wanted)?,
            Some(known) if known.is_the_same_wish(&wanted) => {}
            Some(known) => {
                return Err(Failure::because(format!(
                    "{what} called {id}: there is one of {} that is called so, and it was to be made in another way",
                    known.service
                ))
                .hint("Nothing was changed. Ask again: another backup gets another name.")
                .into());
            }
        }
    }
    spawn_roll_forward(server, place)
}

/// What is known of all backups here.
///
/// # Errors
///
/// Where documents cannot be read.
pub fn list(place: &Place) -> Result<Backups, ServerError> {
    let with_file = |(id, backup): (BackupId, ServerBackup)| {
        let file = place.root.backup_file(&id);
        let is_there = backup.manifest.is_some() && tree::exists(&file)?;
        Ok(BackupStatus { backup, file: is_there.then_some(file) })
    };
    let backups = place.backups()?.into_iter().map(with_file).collect::<Result<_, ServerError>>()?;
    Ok(Backups { backups, restore: place.restore()? })
}

/// Removes a backup that is at its end, with its file. One that is not there is no error.
///
/// # Errors
///
/// [`ServerError::Deployment`] for one that is still being made.
pub fn forget(place: &Place, id: &BackupId) -> Result<(), ServerError> {
    if !tree::exists(place.root.path())? {
        return Ok(());
    }
    let _lock = place.lock()?;
    if let Some(backup) = place.backup(id)?
        && !backup.state.is_end()
    {
        return Err(Failure::because(format!("the backup {id} is not forgotten: it is still being made"))
            .details(vec![format!("it is in the state {}", backup.state)])
            .hint("It goes on. Wait for its end; `jecloud fwd` finishes what nobody works on.")
            .into());
    }
    forget_locked(place, id)
}

/// As [`forget`], whatever state it is in. The caller holds [`Place::lock`].
pub(super) fn forget_locked(place: &Place, id: &BackupId) -> Result<(), ServerError> {
    // The document last: without it nobody would find the file.
    durable::remove(&place.root.backup_file(id))?;
    durable::remove(&place.root.backup_steps(id))?;
    durable::remove(&place.root.backup_document(id))?;
    Ok(())
}

/// Takes a sealed file and has a roll-forward bring back what is in it. Returns at once.
///
/// # Errors
///
/// As [`request`]; also where the file is not the one that the manifest is of, or another backup is being brought back.
/// Nothing was changed then.
pub fn restore(
    server: &Server,
    place: &Place,
    service: &ServiceName,
    file: &Path,
    manifest: &Manifest,
) -> Result<(), ServerError> {
    let what = format!("the backup {} cannot be brought back into {service}", manifest.id);
    can_be_backed_up(server, place, service, &what)?;
    if place.backup_key()?.is_none() {
        return Err(Failure::because(format!("{what}: nobody has brought the key to open it with"))
            .hint("Nothing was changed. `jecloud restore` brings the key.")
            .into());
    }
    if manifest.app != place.app {
        return Err(Failure::because(format!("{what}: it is of the app {}", manifest.app))
            .hint("Nothing was changed. A backup can be brought back into any environment of its own app.")
            .into());
    }
    // What was uploaded is ours to move; on this machine it may be the object of the store itself.
    let is_ours = file.starts_with(server.root.sys().join("incoming"));
    record_restore(place, service, (file, is_ours), manifest, &what)?;
    spawn_roll_forward(server, place)
}

fn record_restore(
    place: &Place,
    service: &ServiceName,
    (file, is_ours): (&Path, bool),
    manifest: &Manifest,
    what: &str,
) -> Result<(), ServerError> {
    let _lock = place.lock()?;
    if let Some(known) = place.restore()?.filter(|known| !known.state.is_end()) {
        if known.service == *service && known.manifest.id == manifest.id && known.manifest.sha256 == manifest.sha256 {
            return Ok(());
        }
        return refuse_while_restoring(place, what);
    }
    let open = || durable::open(file)?.ok_or_else(|| ServerError::Missing { path: file.to_owned() });
    let bytes =
        open()?.metadata().map_err(|source| ServerError::Io { action: "look at the sealed file", source })?.len();
    if bytes != manifest.sealed_bytes {
        return Err(Failure::because(format!(
            "{what}: the file has {bytes} bytes, and what was sealed has {}",
            manifest.sealed_bytes
        ))
        .hint("Nothing was changed. Upload it once more.")
        .into());
    }
    super::sweep_restore(place, service)?;
    durable::create_dirs(&place.root.backups(), 0o700)?;
    let into = place.root.restore_file();
    // Its content is verified when it is unsealed.
    match is_ours.then(|| tree::rename(file, &into)) {
        Some(Ok(())) => tree::set_mode(&into, 0o600)?,
        // It is not ours to move, or lies on another disk.
        None | Some(Err(_)) => {
            let mut from = open()?;
            durable::replace_with(&into, 0o600, |out| {
                std::io::copy(&mut from, out)
                    .map_err(|source| ServerError::Io { action: "copy the sealed file", source })
            })?;
        }
    }
    place.write_restore(&Restore::wanted(service.clone(), manifest.clone(), now()))
}

/// Whether the service runs here and its hook knows how to save its data.
fn can_be_backed_up(server: &Server, place: &Place, service: &ServiceName, what: &str) -> Result<(), ServerError> {
    let nothing = || {
        Failure::because(format!("{what}: nothing of {} {} is deployed on this server", place.app, place.environment))
            .hint("Nothing was changed. Deploy first.")
    };
    let number = place.document()?.current_release.ok_or_else(nothing)?;
    Serving::read(place, number)?.asked(server, place, service, what).map(drop)
}

fn refuse_while_restoring(place: &Place, what: &str) -> Result<(), ServerError> {
    let Some(restore) = place.restore()?.filter(|restore| !restore.state.is_end()) else { return Ok(()) };
    Err(Failure::because(format!(
        "{what}: the backup {} is just being brought back into {}",
        restore.manifest.id, restore.service
    ))
    .details(vec![format!("it is in the state {}", restore.state)])
    .hint("Nothing was changed. Try again when that is done; `jecloud fwd` finishes what nobody works on.")
    .into())
}
