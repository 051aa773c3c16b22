//! Deployed: the hooks are asked whether more is to be done.

use std::collections::BTreeMap;

use jecloud_model::ids::ServiceName;

use super::Work;
use super::steps::{OfRelease, drive, wait};
use crate::environment;
use crate::error::ServerError;
use crate::hooks::Asked;

/// The step function.
const DEPLOYED: &str = "deployed";

pub(super) fn perform(work: &Work<'_>) -> Result<BTreeMap<ServiceName, BTreeMap<String, String>>, ServerError> {
    let release = work.place.release(work.number)?;
    let prepared = work.place.prepared(work.number)?;
    for asked in Asked::of_server(work.server, &release, work.place)? {
        if work.place.journal(work.number)?.steps(DEPLOYED, asked.service).done {
            continue;
        }
        let ports = prepared.as_ref().map(|prepared| prepared.ports(asked.service)).unwrap_or_default();
        let surroundings = environment::Surroundings::new(work.place, work.user, &release, asked.service)?;
        let filling = surroundings.filling_with(&ports);
        let runner = surroundings.runner(work, &filling);
        let context = asked.context(&release, work.document, work.document.current_version.as_ref());
        drive(
            &asked,
            DEPLOYED,
            &OfRelease { work, function: DEPLOYED, asked: &asked, runner: &runner },
            &|results| asked.deployed(&context, results, &ports),
            &|duration| wait(work, duration),
        )?;
    }
    Ok(prepared.map(|prepared| prepared.remember).unwrap_or_default())
}
