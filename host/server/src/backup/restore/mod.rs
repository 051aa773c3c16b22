//! Bringing a backup back, a file per state.

mod check;
mod put_back;
mod replace;
mod unseal;

use jecloud_disk::{durable, tree};
use jecloud_model::app::{AppDocument, Failure};
use jecloud_model::backup::{Restore, RestoreState};
use jecloud_seal::Key;

use super::scratch::Scratch;
use super::service::Serving;
use crate::error::ServerError;
use crate::hooks::Asked;
use crate::place::Place;
use crate::rollforward::Glance;
use crate::server::Server;
use crate::work::Work;

/// Does the work of the state that it is in, and records that it is done, or that it failed.
///
/// # Errors
///
/// What stops this attempt without saying anything about the backup: it is in the same state afterwards.
pub(crate) fn perform(server: &Server, place: &Place, document: &AppDocument) -> Result<(), ServerError> {
    let Some(restore) = place.restore()? else { return Ok(()) };
    if restore.is_putting_back() {
        return put_back::perform(server, place, &restore);
    }
    let done = worked(server, place, document, &restore);
    match done.map_err(ServerError::into_failure) {
        Ok(()) => {}
        Err(Err(error)) => return Err(error),
        Err(Ok(failure)) => {
            let failure = in_words(failure, &restore);
            place.change_restore(|restore| restore.fail(failure))?;
        }
    }
    match place.restore()?.is_none_or(|restore| restore.state.is_end()) {
        true => clean(place, &restore),
        false => Ok(()),
    }
}

fn worked(server: &Server, place: &Place, document: &AppDocument, restore: &Restore) -> Result<(), ServerError> {
    let Some(number) = document.current_release else {
        return Err(Failure::because("nothing is deployed on this server any more").into());
    };
    // Only who destroys the environment ends it.
    let cancel = Glance::new(place, |document| document.current_release.is_none());
    let cancel: &dyn Fn() -> bool = &|| cancel.is_due();
    let user = jecloud_supervisor::user_of(&server.root, &place.app, &place.environment)?;
    let work = Work { server, place, document, number, user, cancel };
    match restore.state {
        RestoreState::Unsealing => unseal::perform(&work, restore)?,
        RestoreState::Replacing => replace::perform(&work, restore)?,
        RestoreState::Checking => check::perform(&work, restore)?,
        RestoreState::Done | RestoreState::Failed => {}
    }
    place.change_restore(|now| now.finish_state(restore.state))
}

/// What cannot be done where something of this cannot be done.
fn what(restore: &Restore) -> String {
    format!("the backup {} cannot be brought back into {}", restore.manifest.id, restore.service)
}

fn asked<'a>(work: &Work<'_>, serving: &'a Serving, restore: &Restore) -> Result<Asked<'a>, ServerError> {
    serving.asked(work.server, work.place, &restore.service, &what(restore))
}

/// The failure, and what there is now.
fn in_words(failure: Failure, restore: &Restore) -> Failure {
    let world = match restore.state {
        RestoreState::Unsealing => "Nothing was changed: the service runs on with the data that it has.",
        _ => "The service gets back the data that it had before.",
    };
    let reason = format!("while {}: {}", doing(restore.state), failure.reason);
    let hint = match failure.hint.is_empty() {
        true => "`jecloud backups` shows what else can be brought back.",
        false => failure.hint.as_str(),
    };
    Failure::because(reason).details(failure.details).hint(format!("{world} {hint}"))
}

fn doing(state: RestoreState) -> &'static str {
    match state {
        RestoreState::Unsealing => "opening the backup",
        RestoreState::Replacing => "replacing the data",
        _ => "looking at the data that was brought back",
    }
}

/// The sealed file, and what it is opened with: those of the backup itself where this is a scratch instance of it.
fn sealed(work: &Work<'_>) -> Result<(std::path::PathBuf, Option<Key>), ServerError> {
    match Scratch::of(work.place)? {
        Some(scratch) => {
            let origin = scratch.origin(&work.server.root, work.place);
            Ok((origin.root.backup_file(&scratch.backup), origin.backup_key()?))
        }
        None => Ok((work.place.root.restore_file(), work.place.backup_key()?)),
    }
}

/// Removes what only bringing it back needed. Whoever dies here leaves it to the next roll-forward.
pub(super) fn clean(place: &Place, restore: &Restore) -> Result<(), ServerError> {
    let root = &place.root;
    let service = &restore.service;
    for path in [root.service_restoring(service), root.service_before(service), super::directory(place, service)] {
        tree::remove(&path)?;
    }
    for path in [root.restore_file(), root.restore_steps()] {
        durable::remove(&path)?;
    }
    Ok(())
}
