//! The planner of the server roll-forward: what is to be done next for one app and environment.
//!
//! Process table, routes and the `current` link are pure functions of `app.json` and the prepared releases: the
//! planner compares what should be with what was seen, and repairs the difference first. Then comes the one piece
//! of work that the deployment's state demands. Nothing remembers how far a run came but the documents, so it
//! makes no difference which roll-forward does the next step, or whether the one before died in it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::app::{AppDocument, DeploymentState};
use crate::backup::{BackupState, KEPT_FAILURES, Restore, RestoreState, ServerBackup};
use crate::format::FORMAT;
use crate::ids::{AppName, BackupId, EnvironmentName, InstanceId, ReleaseNumber, VersionId};
use crate::prepared::Prepared;
use crate::processes::{ProcessSpec, ProcessTable};
use crate::routes::{Backend, Route, RouteTable};
use crate::time::Timestamp;

/// How long requests in flight may take to end after the switch: DESIGN, "draining".
pub const DRAIN_TIME: Duration = Duration::from_secs(30);

/// How long versions are kept that nothing references: a week, as people roll back within one.
pub const KEEP_VERSIONS_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many of the newest versions are kept however old they are.
pub const KEEP_VERSIONS: usize = 5;

/// What was seen of one app and environment on the server.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// The version that `current` names.
    pub current_link: Option<VersionId>,
    /// `processes.json`; none if it does not exist or cannot be read.
    pub process_table: Option<ProcessTable>,
    /// The route table; none if it does not exist or cannot be read.
    pub route_table: Option<RouteTable>,
    /// The prepared documents of all running releases that have one.
    pub prepared: BTreeMap<ReleaseNumber, Prepared>,
    /// Requests in flight by release; none where the front could not be asked.
    pub in_flight: Option<BTreeMap<ReleaseNumber, u64>>,
    /// Versions that are unpacked or lie there as archives, with the time of their arrival.
    pub versions: BTreeMap<VersionId, Timestamp>,
    /// Releases that are recorded, with their versions.
    pub releases: BTreeMap<ReleaseNumber, VersionId>,
    /// Backups that are wanted, were made, or failed.
    pub backups: BTreeMap<BackupId, ServerBackup>,
    /// The backup that is brought back, or the last one that was.
    pub restore: Option<Restore>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Write `processes.json` and have the process manager act on it.
    WriteProcesses(ProcessTable),
    /// Point `current` at a version.
    LinkCurrent(VersionId),
    /// Write the route table and have the front use it.
    WriteRoutes(RouteTable),
    /// Do the work of a state of the deployment, then record that it is done, or that the deployment failed.
    Work(ReleaseNumber, DeploymentState),
    /// Do the work of a state of a backup, then record that it is done, or that there is none.
    Backup(BackupId, BackupState),
    /// Do the work of a state of bringing a backup back, then record that it is done, or that it failed.
    Restore(RestoreState),
    /// Forget backups that failed.
    ForgetBackups(BTreeSet<BackupId>),
    /// Record that a release has drained.
    RecordDrained(ReleaseNumber),
    /// Nothing can be done before this time, when things should be looked at again.
    WaitUntil(Timestamp),
    /// Delete versions with their archives.
    DeleteVersions(BTreeSet<VersionId>),
    /// Delete what is recorded of releases.
    DeleteReleases(BTreeSet<ReleaseNumber>),
}

/// How soon a drain is looked at again.
const DRAIN_GLANCE: Duration = Duration::from_millis(200);

/// The next steps, in order; empty where all is as it should be. Repairs come alone: what is planned after a
/// repair must have seen it.
pub fn plan(
    app: &AppName,
    environment: &EnvironmentName,
    document: &AppDocument,
    seen: &Seen,
    now: Timestamp,
) -> Vec<Step> {
    let repairs = repairs(app, environment, document, seen);
    if !repairs.is_empty() {
        return repairs;
    }
    let mut steps = Vec::new();
    let mut look_again: Option<Timestamp> = None;
    for draining in &document.draining {
        let in_flight = seen.in_flight.as_ref().map(|counts| counts.get(&draining.release).copied().unwrap_or(0));
        let end = draining.since.plus(DRAIN_TIME);
        if in_flight == Some(0) || now >= end {
            steps.push(Step::RecordDrained(draining.release));
        } else {
            let glance = now.plus(DRAIN_GLANCE).min(end);
            look_again = Some(look_again.map_or(glance, |other| other.min(glance)));
        }
    }
    // Data that is half replaced comes before everything: a deployment waits for it.
    let restore = seen.restore.as_ref();
    if let Some(restore) = restore.filter(|restore| restore.holds_the_service()) {
        steps.push(Step::Restore(restore.state));
    } else if let Some(deployment) = &document.deployment {
        let waits = match deployment.state {
            DeploymentState::Prepared => deployment.follows,
            DeploymentState::Ready => deployment.hold,
            _ => false,
        };
        if !waits {
            steps.push(Step::Work(deployment.release, deployment.state));
        }
    } else {
        steps.extend(of_backups(seen));
    }
    if steps.is_empty() {
        steps.extend(prune(document, seen, now));
    }
    if steps.is_empty() {
        steps.extend(look_again.map(Step::WaitUntil));
    }
    steps
}

/// What is to be done next for a backup, where nothing is being deployed. A copy that is complete is sealed before anything
/// else is put where it lies; what is verified needs the service no more, and can wait.
fn of_backups(seen: &Seen) -> Option<Step> {
    let in_state = |state: BackupState| {
        let found = seen.backups.iter().find(|(_, backup)| backup.state == state);
        found.map(|(id, _)| Step::Backup(id.clone(), state))
    };
    let restore = seen.restore.as_ref().filter(|restore| restore.state == RestoreState::Unsealing);
    in_state(BackupState::Sealing)
        .or_else(|| in_state(BackupState::Copying))
        .or_else(|| restore.map(|restore| Step::Restore(restore.state)))
        .or_else(|| in_state(BackupState::Verifying))
}

/// What has to be written so that processes, link and routes are as the document says. Processes come first and
/// go last: a route never leads to a process that does not run.
fn repairs(app: &AppName, environment: &EnvironmentName, document: &AppDocument, seen: &Seen) -> Vec<Step> {
    let mut steps = Vec::new();
    let routes = wanted_routes(app, environment, document, seen);
    let routes_change = routes.as_ref().is_some_and(|routes| seen.route_table.as_ref() != Some(routes));
    let processes = wanted_processes(app, environment, document, seen);
    let empty_and_absent = processes.processes.is_empty() && seen.process_table.is_none();
    if !empty_and_absent && seen.process_table.as_ref() != Some(&processes) {
        steps.push(Step::WriteProcesses(processes));
    }
    if let Some(version) = document.serving_version()
        && seen.current_link.as_ref() != Some(version)
        && seen.versions.contains_key(version)
    {
        steps.push(Step::LinkCurrent(version.clone()));
    }
    if let (true, Some(routes)) = (routes_change, routes) {
        steps.push(Step::WriteRoutes(routes));
    }
    steps
}

/// The processes that should run. Those that belong to no release are taken from the newest running one, and come before
/// its others; one that it has no use for stays until nobody runs who has. What runs for a release whose prepared document
/// is gone is left as it is. Those of a service whose data is being replaced do not run meanwhile.
pub fn wanted_processes(
    app: &AppName,
    environment: &EnvironmentName,
    document: &AppDocument,
    seen: &Seen,
) -> ProcessTable {
    // A release that failed after its switch still drains, and must not decide over what outlives releases.
    let leading = document
        .deployment
        .as_ref()
        .filter(|deployment| deployment.state.is_started())
        .map(|deployment| deployment.release)
        .or(document.current_release);
    let services_first = document
        .deployment
        .as_ref()
        .filter(|deployment| deployment.state == DeploymentState::StartingServices)
        .map(|deployment| deployment.release);
    let running_now = seen.process_table.iter().flat_map(|table| &table.processes);
    let mut processes: BTreeMap<InstanceId, ProcessSpec> = BTreeMap::new();
    for release in document.running_releases() {
        let specs: Vec<&ProcessSpec> = match seen.prepared.get(&release) {
            Some(prepared) => prepared.processes.iter().collect(),
            None => running_now.clone().filter(|spec| spec.id.release.is_none_or(|of| of == release)).collect(),
        };
        for spec in specs {
            match spec.id.release {
                Some(_) if Some(release) == services_first => {}
                None if Some(release) != leading => {
                    processes.entry(spec.id.clone()).or_insert_with(|| spec.clone());
                }
                _ => {
                    processes.insert(spec.id.clone(), spec.clone());
                }
            }
        }
    }
    if let Some(restore) = &seen.restore {
        processes.retain(|_, spec| !restore.stops(spec));
    }
    ProcessTable {
        format: FORMAT,
        app: app.clone(),
        environment: environment.clone(),
        processes: processes.into_values().collect(),
    }
}

/// The routes that should be in use; none where nothing ever served, or where what is known of the serving release
/// is gone and the routes stay as they are. After a first release failed there are none that lead anywhere.
pub fn wanted_routes(
    app: &AppName,
    environment: &EnvironmentName,
    document: &AppDocument,
    seen: &Seen,
) -> Option<RouteTable> {
    let Some(release) = document.serving_release() else {
        return seen.route_table.as_ref().map(|table| RouteTable { routes: Vec::new(), ..table.clone() });
    };
    let prepared = seen.prepared.get(&release)?;
    let routes = prepared
        .routes
        .iter()
        .map(|route| Route {
            path_prefix: route.path_prefix.clone(),
            backends: prepared
                .backends(route)
                .map(|(id, port)| Backend { id: id.clone(), address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) })
                .collect(),
        })
        .collect();
    Some(RouteTable {
        format: FORMAT,
        app: app.clone(),
        environment: environment.clone(),
        release,
        hosts: prepared.hosts.clone(),
        routes,
    })
}

/// Versions and releases that are neither referenced, nor young, nor among the newest.
fn prune(document: &AppDocument, seen: &Seen, now: Timestamp) -> Vec<Step> {
    let running = document.running_releases();
    let mut kept: BTreeSet<&VersionId> = BTreeSet::new();
    kept.extend(&document.current_version);
    kept.extend(&seen.current_link);
    kept.extend(document.deployment.as_ref().map(|deployment| &deployment.version));
    kept.extend(running.iter().filter_map(|release| seen.releases.get(release)));
    let mut by_age: Vec<(&Timestamp, &VersionId)> = seen.versions.iter().map(|(id, at)| (at, id)).collect();
    by_age.sort_by(|a, b| b.cmp(a));
    kept.extend(by_age.iter().take(KEEP_VERSIONS).map(|(_, version)| *version));
    let doomed: BTreeSet<VersionId> = by_age
        .iter()
        .filter(|(at, version)| !kept.contains(version) && now.since(**at) > KEEP_VERSIONS_FOR)
        .map(|(_, version)| (*version).clone())
        .collect();
    // What is recorded of a release goes with its version; the newest release is the server's memory of numbers.
    let releases: BTreeSet<ReleaseNumber> = seen
        .releases
        .iter()
        .filter(|(release, version)| {
            let version_is_gone = !seen.versions.contains_key(*version) || doomed.contains(*version);
            let is_deploying = document.deployment.as_ref().is_some_and(|d| d.release == **release);
            version_is_gone && !is_deploying && !running.contains(release) && **release < document.newest_release
        })
        .map(|(release, _)| *release)
        .collect();
    let mut steps = Vec::new();
    if !doomed.is_empty() {
        steps.push(Step::DeleteVersions(doomed));
    }
    if !releases.is_empty() {
        steps.push(Step::DeleteReleases(releases));
    }
    let failed = seen.backups.iter().filter(|(_, backup)| backup.state == BackupState::Failed);
    let forgotten: BTreeSet<BackupId> = failed.map(|(id, _)| id.clone()).rev().skip(KEPT_FAILURES).collect();
    if !forgotten.is_empty() {
        steps.push(Step::ForgetBackups(forgotten));
    }
    steps
}
