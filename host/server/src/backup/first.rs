//! A backup before anything of a deployment is started: what the plan of a hook asks for with `backup-first`.

use std::collections::BTreeMap;

use jecloud_disk::durable;
use jecloud_model::app::Failure;
use jecloud_model::backup::{BackupState, ServerBackup};
use jecloud_model::ids::{BackupId, ServiceName};

use super::service::Serving;
use super::{copy, seal};
use crate::clock::now;
use crate::error::ServerError;
use crate::work::Work;

/// Makes a backup of a service as it serves, and keeps it, unless that was done for this deployment before. Where the
/// service does not run yet there is nothing to save.
///
/// # Errors
///
/// A [`Failure`] where there can be none: the deployment must not go on.
pub(crate) fn perform(work: &Work<'_>, service: &ServiceName) -> Result<(), ServerError> {
    let Some(number) = work.document.current_release else { return Ok(()) };
    if !Serving::read(work.place, number)?.runs(service) {
        return Ok(());
    }
    let place = work.place;
    if place.backup_key()?.is_none() {
        return Err(Failure::because(format!(
            "the hook of service {service} wants a backup made before this, and nobody has brought the key to seal it with"
        ))
        .hint(format!("Type `jecloud backup {service}` once, which brings the key, then deploy again."))
        .into());
    }
    let id = name(work, service)?;
    {
        let _lock = place.lock()?;
        if place.backup(&id)?.is_none() {
            place.write_backup(&ServerBackup::wanted(id.clone(), service.clone(), false, false, now()))?;
        }
    }
    // Copies of others lie where this one will.
    for other in place.backups()?.into_values().filter(|other| other.service == *service && other.id != id) {
        place.change_backup(&other.id, ServerBackup::begin_anew)?;
    }
    let serving = Work { number, ..*work };
    loop {
        let Some(backup) = place.backup(&id)? else { return Ok(()) };
        match backup.state {
            BackupState::Copying => copy::perform(&serving, &backup)?,
            BackupState::Sealing => seal::perform(&serving, &backup)?,
            BackupState::Verifying | BackupState::Done => return Ok(()),
            BackupState::Failed => {
                let failure = backup.failure.unwrap_or_else(|| Failure::because("nobody knows why"));
                return Err(failure.into());
            }
        }
    }
}

/// The backup of this deployment: chosen once.
fn name(work: &Work<'_>, service: &ServiceName) -> Result<BackupId, ServerError> {
    let path = work.place.root.release(work.number).join("backups-first.json");
    let mut names: BTreeMap<ServiceName, BackupId> = durable::read_json(&path)?.unwrap_or_default();
    if let Some(name) = names.get(service) {
        return Ok(name.clone());
    }
    let name = super::new_id()?;
    names.insert(service.clone(), name.clone());
    durable::write_json(&path, &names, 0o644)?;
    Ok(name)
}
