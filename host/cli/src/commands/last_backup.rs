//! What `jecloud destroy` says of the data that it deletes, and the backup that it makes before.

use jecloud_model::cloud::{CloudState, EnvironmentState};
use jecloud_model::ids::ServiceName;
use jecloud_model::processes::ProcessState;

use crate::backups::{self, Made, Wanted};
use crate::failure::Failure;
use crate::output::{Progress, bold, duration, say, size};
use crate::session::Session;

/// A line for each service with data that can be backed up: how much that was, and what would be left.
pub(crate) fn data_in_words(
    session: &Session,
    state: Option<&CloudState>,
    environment: &EnvironmentState,
    no_backup: bool,
) -> Vec<String> {
    let policies = backups::policies(environment);
    if policies.is_empty() {
        return Vec::new();
    }
    let sight = backups::look(session, state, &session.environment);
    let mut lines: Vec<String> = policies
        .keys()
        .map(|service| match sight.newest(service) {
            Some(newest) => format!(
                "  {}: {} when it was backed up {} ago ({}; {})",
                bold(service.as_str()),
                size(newest.bytes),
                duration(backups::now().since(newest.created)),
                newest.id,
                backups::contents_in_words(&newest.contents)
            ),
            None => format!("  {}: there is no backup of it", bold(service.as_str())),
        })
        .collect();
    lines.push(if no_backup {
        "No last backup is made. Backups that there are stay in the store.".to_owned()
    } else {
        "A last backup is made of each before. Backups stay in the store.".to_owned()
    });
    lines
}

/// Makes a last backup of every service that runs and can be backed up.
///
/// # Errors
///
/// Where a service runs and there is no backup of it: then nothing may be deleted.
pub(crate) fn make(session: &Session, state: &CloudState, environment: &EnvironmentState) -> Result<(), Failure> {
    let policies = backups::policies(environment);
    let Some(serving) = environment.serving_release().filter(|_| !policies.is_empty()) else { return Ok(()) };
    let running = super::status::of_one(session)?.and_then(|seen| seen.processes()).unwrap_or_default();
    let runs = |service: &ServiceName| {
        running.iter().any(|(_, process)| process.service == *service && process.state == ProcessState::Running)
    };
    let mut wanted = Vec::new();
    for (service, policy) in policies {
        let (mut servers, _) = backups::servers_of(session, environment, &serving.release, &service);
        if servers.is_empty() || !runs(&service) {
            say(&format!("note: {service} does not run, or cannot be reached: no last backup of it is made."));
            continue;
        }
        wanted.push(Wanted { service, server: servers.swap_remove(0), verify: policy.verify });
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let mut progress = Progress::new(false);
    for Made { service, result } in backups::make(session, state, wanted, &mut progress)? {
        if let Err(failure) = result {
            let what = format!("there is no last backup of {service}: {}", failure.what);
            let flag = session.environment_flag();
            return Err(Failure { what, ..failure }
                .world("Nothing was deleted; everything runs on.")
                .hint(format!("`jecloud destroy{flag} --no-backup` deletes it all the same.")));
        }
    }
    Ok(())
}
