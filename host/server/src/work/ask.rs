//! Deployed: the hooks are asked whether more is to be done. Each is a step function whose results are journaled, so
//! that a roll-forward that dies between two steps loses none.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jecloud_model::app::Failure;
use jecloud_model::hook::Next;
use jecloud_model::ids::ServiceName;

use super::Work;
use crate::environment;
use crate::error::ServerError;
use crate::hooks::Asked;
use crate::tables;

/// A hook that is not done after so many answers never is.
const MOST_ANSWERS: usize = 1000;

/// Nor one that is not done after this time.
const DEADLINE: Duration = Duration::from_secs(30 * 60);

pub(super) fn perform(work: &Work<'_>) -> Result<BTreeMap<ServiceName, BTreeMap<String, String>>, ServerError> {
    let begin = Instant::now();
    let release = work.place.release(work.number)?;
    let prepared = work.place.prepared(work.number)?;
    for asked in Asked::of_server(work.server, &release, work.place)? {
        if work.place.journal(work.number)?.done.contains(asked.service) {
            continue;
        }
        let mut answers = 0;
        loop {
            let results = work.place.journal(work.number)?.results.get(asked.service).cloned().unwrap_or_default();
            let context = asked.context(&release, work.document, work.document.current_version.as_ref());
            match asked.deployed(&context, &results)? {
                Next::Done => break,
                Next::Again(commands) => {
                    let surroundings = environment::Surroundings::new(work.place, work.user, &release, asked.service)?;
                    let filling = surroundings.filling();
                    let runner = surroundings.runner(work, &filling);
                    let round = results.len();
                    let mut new = Vec::new();
                    for command in &commands {
                        new.push(runner.run_once(&format!("deployed-{round}"), command)?);
                    }
                    let mut journal = work.place.journal(work.number)?;
                    journal.results.entry(asked.service.clone()).or_default().extend(new);
                    work.place.write_journal(work.number, &journal)?;
                }
                Next::WaitMs(milliseconds) => wait(work, Duration::from_millis(milliseconds.into()))?,
            }
            answers += 1;
            if answers >= MOST_ANSWERS || begin.elapsed() >= DEADLINE {
                return Err(Failure::because(format!(
                    "the hook of service {} was not done after {answers} answers and {} seconds",
                    asked.service,
                    begin.elapsed().as_secs()
                ))
                .into());
            }
        }
        let mut journal = work.place.journal(work.number)?;
        journal.done.push(asked.service.clone());
        work.place.write_journal(work.number, &journal)?;
    }
    Ok(prepared.map(|prepared| prepared.remember).unwrap_or_default())
}

fn wait(work: &Work<'_>, duration: Duration) -> Result<(), ServerError> {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        if (work.cancel)() {
            return Err(jecloud_model::app::Stale(work.number).into());
        }
        tables::pause();
    }
    Ok(())
}
