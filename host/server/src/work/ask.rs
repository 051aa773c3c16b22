//! Deployed: the release has started on all servers. Services that span several are given the shape that is wanted, and the
//! hooks are asked whether more is to be done.

use std::collections::BTreeMap;

use jecloud_model::hook::{Context, Member};
use jecloud_model::ids::ServiceName;
use jecloud_model::prepared::Prepared;

use super::Work;
use super::steps::OfRelease;
use crate::commands::Runner;
use crate::environment::Surroundings;
use crate::error::ServerError;
use crate::hooks::Asked;

/// The step functions.
const DEPLOYED: &str = "deployed";
/// See [`DEPLOYED`].
const RESHAPE: &str = "reshape";

pub(super) fn perform(work: &Work<'_>) -> Result<BTreeMap<ServiceName, BTreeMap<String, String>>, ServerError> {
    let release = work.place.release(work.number)?;
    let Some(prepared) = work.place.prepared(work.number)? else { return Ok(BTreeMap::new()) };
    for asked in Asked::of_server(work.server, &release, work.place)? {
        if work.place.journal(work.number)?.steps(DEPLOYED, asked.service).done {
            continue;
        }
        let ports = prepared.ports(asked.service);
        let surroundings = Surroundings::new(work.place, work.user, &release, asked.service)?;
        let filling = surroundings.filling_with(&ports);
        let context = asked.context(&release, work.document, work.document.current_version.as_ref());
        reshape(work, &asked, &context, &prepared, &surroundings.runner_of_service(work, &filling))?;
        let runner = surroundings.runner(work, &filling);
        OfRelease { work, function: DEPLOYED, asked: &asked, runner: &runner }
            .drive(&|results| asked.deployed(&context, results, &ports))?;
    }
    Ok(prepared.remember)
}

/// Goes from the members that a service has to those that it should have: from its first server, and nowhere else.
fn reshape(
    work: &Work<'_>,
    asked: &Asked<'_>,
    context: &Context,
    prepared: &Prepared,
    runner: &Runner<'_>,
) -> Result<(), ServerError> {
    let topology = work.place.topology(work.number)?;
    let Some(addresses) = topology.members.get(asked.service) else { return Ok(()) };
    if !asked.exports().topology || !topology.runs_once(asked.service) {
        return Ok(());
    }
    let wanted = prepared.members(asked.service, addresses);
    let known = work.place.document()?.members.get(asked.service).cloned();
    if known.as_ref() == Some(&wanted) && is_unchanged(work, asked) {
        return Ok(());
    }
    let present = known.unwrap_or_else(|| wanted.first().cloned().into_iter().collect());
    let ports = prepared.ports(asked.service);
    OfRelease { work, function: RESHAPE, asked, runner }
        .drive(&|results| asked.reshape(context, (&present, &wanted), results, &ports))?;
    record(work, asked.service, wanted)
}

/// Whether the person asks for the same, and the same hook is asked, as in the release that serves until now: which of the
/// servers have members is for settings to say.
fn is_unchanged(work: &Work<'_>, asked: &Asked<'_>) -> bool {
    let before = work.document.current_release.and_then(|release| work.place.release(release).ok());
    let before = before.and_then(|release| release.services.get(asked.service).cloned());
    before.is_some_and(|before| before.settings == asked.wish.settings && before.hook == asked.wish.hook)
}

fn record(work: &Work<'_>, service: &ServiceName, members: Vec<Member>) -> Result<(), ServerError> {
    let recorded = work.place.change(|document| {
        document.members.insert(service.clone(), members);
        Ok::<(), std::convert::Infallible>(())
    })?;
    recorded.unwrap_or_else(|never| match never {});
    Ok(())
}
