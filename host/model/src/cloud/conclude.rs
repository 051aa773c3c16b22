//! What became of a release, from what all its servers say.

use super::plan::SeenServer;
use super::server::ServerName;
use super::state::{EnvironmentState, RecordedRelease, ReleaseOutcome};
use crate::app::{Failure, Outcome};

/// The outcome of a pending release, if what was seen allows to say.
///
/// * It failed when it failed anywhere.
/// * It serves when it serves everywhere.
/// * One that is not wanted any more is aborted when no server may still come to run it.
/// * A wanted one that a server has left behind for something this state knows nothing of has failed.
pub(super) fn conclude<'a>(
    environment: &EnvironmentState,
    recorded: &RecordedRelease,
    seen: impl Fn(&ServerName) -> &'a SeenServer,
) -> Option<ReleaseOutcome> {
    let release = recorded.release.number;
    let several = environment.wanted_servers().count() > 1;
    let (mut all_seen, mut all_serve, mut any_pending) = (environment.wanted_servers().next().is_some(), true, false);
    let mut left_behind = None;
    for server in environment.wanted_servers() {
        let outcome = match seen(server) {
            SeenServer::Present(seen) => {
                seen.document.as_ref().map_or(Outcome::Unknown, |document| document.outcome(release))
            }
            SeenServer::Absent | SeenServer::Gone => Outcome::Unknown,
            SeenServer::Unknown => {
                all_seen = false;
                continue;
            }
        };
        all_serve &= outcome == Outcome::Serving;
        match outcome {
            Outcome::Failed(mut failure) => {
                if several {
                    failure.reason = format!("on server {server}: {}", failure.reason);
                }
                return Some(ReleaseOutcome::Failed(failure));
            }
            // What is held, and not wanted any more, will never be let go.
            Outcome::Pending { .. } => any_pending |= !seen(server).holds(release),
            Outcome::Superseded => left_behind = Some(server),
            Outcome::Unknown | Outcome::Serving => {}
        }
    }
    if environment.wanted == Some(release) {
        if let Some(server) = left_behind {
            return Some(ReleaseOutcome::Failed(
                Failure::because(format!(
                    "server {server} was told a newer release than {release} and takes nothing older"
                ))
                .hint(
                    "somebody deployed with a newer cloud state than this one: `jecloud state history` shows what \
                     there was; `jecloud deploy` deploys again under a number that is new",
                ),
            ));
        }
        return (all_seen && all_serve).then_some(ReleaseOutcome::Serving);
    }
    if !all_seen || any_pending {
        return None;
    }
    Some(if all_serve { ReleaseOutcome::Serving } else { ReleaseOutcome::Aborted })
}
