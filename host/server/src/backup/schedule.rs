//! Backups that the server makes by itself, as the release says.

use std::collections::BTreeMap;

use jecloud_disk::durable;
use jecloud_model::app::AppDocument;
use jecloud_model::backup::{BackupState, Manifest, ServerBackup};
use jecloud_model::backup_policy::{LastScheduled, to_delete};
use jecloud_model::ids::{BackupId, ServiceName};
use jecloud_model::time::Timestamp;

use super::new_id;
use super::told::forget_locked;
use crate::clock::now;
use crate::error::ServerError;
use crate::place::Place;

/// `backup-schedule.json`: when a scheduled backup of each service was asked for the last time. Backups themselves are
/// forgotten when they are collected.
type Known = BTreeMap<ServiceName, Timestamp>;

/// Records that the backups that are due are wanted, and forgets scheduled ones that nobody has collected and that would
/// not be kept in the store either, so that they do not fill the disk. Whether something is wanted now that was not.
pub(crate) fn perform(place: &Place, document: &AppDocument) -> Result<bool, ServerError> {
    let (Some(number), None) = (document.current_release, &document.deployment) else { return Ok(false) };
    // What a backup is tried out in is not backed up itself.
    if place.environment.is_scratch() {
        return Ok(false);
    }
    let Ok(release) = place.release(number) else { return Ok(false) };
    let policies = release.services.iter().filter_map(|(name, service)| {
        let policy = service.backup.as_ref()?;
        Some((name, policy, policy.schedule?))
    });
    let policies: Vec<_> = policies.collect();
    // Without a key there is nothing to seal them with; people are told that they are overdue.
    if policies.is_empty() || place.backup_key()?.is_none() {
        return Ok(false);
    }
    let topology = place.topology(number)?;
    let _lock = place.lock()?;
    if place.restore()?.is_some_and(|restore| !restore.state.is_end()) {
        return Ok(false);
    }
    let path = place.root.backup_schedule();
    let before: Known = durable::read_json(&path)?.unwrap_or_default();
    let (mut known, mut is_wanted) = (before.clone(), false);
    let backups = place.backups()?;
    for (service, policy, schedule) in policies {
        // Of several servers of a service one has what all have: the one that runs its release commands.
        if !topology.runs_once(service) {
            continue;
        }
        let own: Vec<&ServerBackup> = backups.values().filter(|backup| backup.service == *service).collect();
        let newest = own.iter().filter(|backup| backup.scheduled).max_by_key(|backup| backup.requested);
        let requested = newest.map(|backup| backup.requested).max(known.get(service).copied());
        let last = requested.map(|requested| LastScheduled {
            requested,
            failed: newest.is_some_and(|newest| newest.requested == requested && newest.state == BackupState::Failed),
        });
        known.extend(requested.map(|requested| (service.clone(), requested)));
        forget_surplus(place, &own, policy.keep)?;
        let is_busy = own.iter().any(|backup| !backup.state.is_end());
        if !is_busy && schedule.next(last, release.created) <= now() {
            let wanted = ServerBackup::wanted(new_id()?, service.clone(), policy.verify, true, now());
            place.write_backup(&wanted)?;
            known.insert(service.clone(), wanted.requested);
            is_wanted = true;
        }
    }
    if known != before {
        durable::write_json(&path, &known, 0o600)?;
    }
    Ok(is_wanted)
}

/// The caller holds [`Place::lock`].
fn forget_surplus(
    place: &Place,
    backups: &[&ServerBackup],
    keep: jecloud_model::backup_policy::Keep,
) -> Result<(), ServerError> {
    let done = backups.iter().filter(|backup| backup.state == BackupState::Done);
    let manifests: Vec<Manifest> = done.filter_map(|backup| backup.manifest.clone()).collect();
    let surplus: Vec<BackupId> = to_delete(&manifests, keep, now());
    surplus.iter().try_for_each(|id| forget_locked(place, id))
}
