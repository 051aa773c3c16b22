//! Starting: the planner has had the new processes started beside the old ones; here their health is awaited.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jecloud_model::app::Failure;
use jecloud_model::hook::{Health, Identity};
use jecloud_model::ids::InstanceId;
use jecloud_model::processes::{Exit, ProcessSpec, ProcessState, ProcessStatus};
use jecloud_model::time::Timestamp;

use super::Work;
use super::steps::OfRelease;
use crate::clock::now;
use crate::environment::Surroundings;
use crate::error::ServerError;
use crate::health::{Finding, probe};
use crate::hooks::Asked;
use crate::listening;
use crate::tables;

/// How many lines of its log a person is shown of a process that failed.
const SHOWN_LINES: usize = 10;

/// How often what outlives releases may end while it is waited for: one that cannot begin is not given all the time that
/// one gets which has much to read.
const MOST_CRASHES: u64 = 3;

/// How long a process must stay up after its port has opened: `port-open` in `wit/types.wit`. It is part of the time of
/// every deployment.
const STAYS_UP: Duration = Duration::from_millis(250);

/// The step function that is asked when they have.
const STARTED: &str = "started";

/// Those that outlive releases: what the app needs. When they work, their hooks do what has to be done before it comes.
pub(super) fn services(work: &Work<'_>) -> Result<String, ServerError> {
    let names = awaited(work, |spec| spec.id.release.is_none())?;
    if !names.is_empty() {
        set_up(work)?;
    }
    Ok(names)
}

fn set_up(work: &Work<'_>) -> Result<(), ServerError> {
    let Some(prepared) = work.place.prepared(work.number)? else { return Ok(()) };
    let release = work.place.release(work.number)?;
    for asked in Asked::of_server(work.server, &release, work.place)? {
        let runs = prepared.outliving(asked.service).next().is_some();
        let done = work.place.journal(work.number)?.steps(STARTED, asked.service).done;
        if !asked.exports().setup || !runs || done {
            continue;
        }
        let ports = prepared.ports(asked.service);
        let surroundings = Surroundings::new(work.place, work.user, &release, asked.service)?;
        let filling = surroundings.filling_with(&ports);
        let runner = surroundings.runner_of_service(work, &filling);
        let context = asked.context(&release, work.document, work.document.current_version.as_ref());
        OfRelease { work, function: STARTED, asked: &asked, runner: &runner }
            .drive(&|results| asked.started(&context, results, &ports))?;
    }
    Ok(())
}

/// All others.
pub(super) fn perform(work: &Work<'_>) -> Result<String, ServerError> {
    awaited(work, |spec| spec.id.release.is_some())
}

/// Waits until the processes of a release that are meant work, and names them.
pub(crate) fn awaited(work: &Work<'_>, which: impl Fn(&ProcessSpec) -> bool) -> Result<String, ServerError> {
    let Some(prepared) = work.place.prepared(work.number)? else {
        return Err(Failure::because("what was prepared for this release is gone from the server")
            .hint("Deploy again.")
            .into());
    };
    let begin = now();
    let all: Vec<&ProcessSpec> = prepared.processes.iter().filter(|spec| which(spec)).collect();
    let mut waiting = all.clone();
    let mut restarts_before: BTreeMap<&InstanceId, u64> = BTreeMap::new();
    let mut listening_since: BTreeMap<&InstanceId, Instant> = BTreeMap::new();
    while !waiting.is_empty() {
        let statuses = work.server.processes.reconcile()?;
        let mut still = Vec::new();
        for spec in waiting {
            let status = statuses.iter().find(|status| {
                status.id == spec.id && status.app == work.place.app && status.environment == work.place.environment
            });
            let restarts = status.map_or(0, |status| status.restarts);
            let crashes = restarts.saturating_sub(*restarts_before.entry(&spec.id).or_insert(restarts));
            let is_up = is_healthy(work, spec, status, crashes, begin)? && {
                // An open port says little: many an app listens first and falls over its configuration then.
                let since = listening_since.entry(&spec.id).or_insert_with(Instant::now);
                !matches!(spec.health, Health::PortOpen(_)) || since.elapsed() >= STAYS_UP
            };
            if !is_up {
                still.push(spec);
            }
        }
        waiting = still;
        if waiting.is_empty() {
            break;
        }
        if (work.cancel)() {
            return Err(jecloud_model::app::Stale(work.number).into());
        }
        tables::pause();
    }
    let names: Vec<String> = all.iter().map(|spec| spec.id.short()).collect();
    Ok(names.join(" "))
}

/// Whether a process works; an error where it cannot be expected to work any more.
fn is_healthy(
    work: &Work<'_>,
    spec: &ProcessSpec,
    status: Option<&ProcessStatus>,
    crashes: u64,
    begin: Timestamp,
) -> Result<bool, ServerError> {
    let deadline = begin.plus(Duration::from_millis(spec.start_timeout_ms.into()));
    let finding = match status {
        None => Finding::NotYet("was not started".to_owned()),
        // One that belongs to this release has never run before: a restart is a crash. One that outlives releases
        // may have a past.
        Some(status)
            if match spec.id.release {
                Some(_) => status.restarts > 0 || status.state == ProcessState::BackOff,
                None => status.state == ProcessState::BackOff && crashes >= MOST_CRASHES,
            } =>
        {
            let how = status.last_exit.as_ref().map_or_else(|| "ended".to_owned(), in_words);
            return Err(failed(work, spec, None, &how).into());
        }
        Some(status) if status.state == ProcessState::Running => {
            let user = if spec.run_as == Identity::App { work.user } else { None };
            probe(spec, status, user, &work.place.root, now())
        }
        Some(_) => Finding::NotYet("is not running".to_owned()),
    };
    match finding {
        Finding::Healthy => Ok(true),
        Finding::NotYet(why) if now() >= deadline => {
            let seconds = spec.start_timeout_ms / 1000;
            let pid = status.and_then(|status| status.pid);
            Err(failed(work, spec, pid, &format!("{why}, {seconds} seconds after its start")).into())
        }
        Finding::NotYet(_) => Ok(false),
    }
}

fn failed(work: &Work<'_>, spec: &ProcessSpec, pid: Option<u32>, why: &str) -> Failure {
    let shown = work.server.processes.last_lines(work.place, &spec.id, SHOWN_LINES);
    let hint = match spec.ports.get("http") {
        Some(_) if why.contains("listen") => {
            let others: Vec<String> = pid.map(listening::ports).iter().flatten().map(u16::to_string).collect();
            let instead = match others.as_slice() {
                [] => String::new(),
                others => format!(" It listens on {} instead.", others.join(" and ")),
            };
            format!("The app must listen on the port in the PORT environment variable.{instead}")
        }
        _ => String::new(),
    };
    Failure::because(format!("{} {why}", spec.id.short())).details(shown).hint(hint)
}

fn in_words(exit: &Exit) -> String {
    match exit {
        Exit::Status(status) => format!("exited with status {status} right after its start"),
        Exit::Signal(signal) => format!("was ended by signal {signal} right after its start"),
        Exit::Unknown => "ended right after its start".to_owned(),
        Exit::NotStarted(why) => format!("could not be started: {why}"),
    }
}
