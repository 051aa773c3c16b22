//! Backups that the server makes by itself: what the release says about them is looked at whenever there is nothing else to
//! do, which is once a minute at least.

use std::collections::BTreeMap;

use jecloud_disk::durable;
use jecloud_model::app::AppDocument;
use jecloud_model::backup::{BackupState, ServerBackup};
use jecloud_model::backup_policy::LastScheduled;
use jecloud_model::ids::ServiceName;
use jecloud_model::time::Timestamp;

use super::service::Serving;
use crate::clock::now;
use crate::error::ServerError;
use crate::place::Place;

/// When the last one of each service was asked for: `backups/scheduled.json`. It outlives the backups themselves, which are
/// forgotten when they are in the object store.
type Asked = BTreeMap<ServiceName, Timestamp>;

/// Records the backups that are due; whether there are any.
///
/// # Errors
///
/// Where documents cannot be read or written.
pub(crate) fn record_due(place: &Place, document: &AppDocument) -> Result<bool, ServerError> {
    let (Some(number), None, false) = (document.current_release, &document.deployment, place.environment.is_scratch())
    else {
        return Ok(false);
    };
    let release = place.release(number)?;
    if release.services.values().all(|wish| wish.backup.as_ref().is_none_or(|policy| policy.schedule.is_none())) {
        return Ok(false);
    }
    let serving = Serving::read(place, number)?;
    let path = place.root.backups().join("scheduled.json");
    let mut due = false;
    let _lock = place.lock()?;
    if place.restore()?.is_some_and(|restore| !restore.state.is_end()) {
        return Ok(false);
    }
    let known: Asked = durable::read_json(&path)?.unwrap_or_default();
    let mut asked = known.clone();
    let backups = place.backups()?;
    for (service, wish) in &release.services {
        let policy = wish.backup.as_ref();
        let Some((policy, schedule)) = policy.and_then(|policy| Some((policy, policy.schedule?))) else { continue };
        if !serving.runs(service) {
            continue;
        }
        let newest = backups.values().filter(|backup| backup.scheduled && backup.service == *service).next_back();
        // The document of a backup is written before this one is.
        let last = newest.map(|backup| backup.requested).into_iter().chain(known.get(service).copied()).max();
        if let Some(last) = last {
            asked.insert(service.clone(), last);
        }
        let failed = newest.is_some_and(|backup| backup.state == BackupState::Failed && Some(backup.requested) == last);
        let last = last.map(|requested| LastScheduled { requested, failed });
        let going = newest.is_some_and(|backup| !backup.state.is_end());
        if going || schedule.next(last, release.created) > now() {
            continue;
        }
        let wanted = ServerBackup::wanted(super::new_id()?, service.clone(), policy.verify, true, now());
        asked.insert(service.clone(), wanted.requested);
        place.write_backup(&wanted)?;
        due = true;
    }
    if asked != known {
        durable::create_dirs(&place.root.backups(), 0o700)?;
        durable::write_json(&path, &asked, 0o600)?;
    }
    Ok(due)
}
