//! What became of a release, from what all its servers say.

use super::peers::Peers;
use super::state::{RecordedRelease, ReleaseOutcome};
use crate::app::{Failure, Gates, Outcome};

/// The outcome of a pending release, if what was seen allows to say.
///
/// * It failed when it failed anywhere.
/// * It serves when it serves everywhere.
/// * One that is not wanted any more is aborted when no server may still come to run it.
/// * A wanted one that a server has left behind for something this state knows nothing of has failed.
/// * One in which groups of servers wait for each other has failed.
pub(super) fn conclude(peers: &Peers<'_>, recorded: &RecordedRelease) -> Option<ReleaseOutcome> {
    let environment = peers.environment;
    let release = recorded.release.number;
    if let Some((one, other)) = recorded.release.wait_for_each_other() {
        return Some(ReleaseOutcome::Failed(
            Failure::because(format!(
                "the groups {one} and {other} need each other's services, so that none can be first"
            ))
            .hint("give the services that others need a group of their own with `on`"),
        ));
    }
    let several = environment.wanted_servers().count() > 1;
    let (mut all_seen, mut all_serve, mut any_pending) = (environment.wanted_servers().next().is_some(), true, false);
    let mut left_behind = None;
    for server in environment.wanted_servers() {
        if peers.seen(server).is_unknown() {
            all_seen = false;
            continue;
        }
        let outcome = peers.outcome(server, recorded);
        all_serve &= outcome == Outcome::Serving;
        match outcome {
            Outcome::Failed(mut failure) => {
                if several {
                    failure.reason = format!("on server {server}: {}", failure.reason);
                }
                return Some(ReleaseOutcome::Failed(failure));
            }
            // What is held, and not wanted any more, will never be let go.
            Outcome::Pending { .. } => any_pending |= peers.seen(server).gates(release) == Gates::default(),
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
