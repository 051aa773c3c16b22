//! `jecloud status`: what runs, where, and how well.

use std::collections::BTreeSet;

use jecloud_model::app::{AppDocument, DeploymentState};
use jecloud_model::cloud::{CloudState, EnvironmentState, ServerName};
use jecloud_model::ids::EnvironmentName;
use jecloud_model::processes::{ProcessState, ProcessStatus};
use jecloud_model::time::Timestamp;
use jecloud_server::api::EnvironmentStatus;

use super::backups_now::{self, BackupsNow};
use crate::args::Global;
use crate::failure::Failure;
use crate::fleet::{self, Answer, Report};
use crate::output::{Table, bold, dim, duration, green, print, print_json, red, yellow};
use crate::project::Project;
use crate::session::Session;

pub(crate) fn run(global: &Global, json: bool) -> Result<(), Failure> {
    let project = Project::open_to_operate(global)?;
    let session = Session::open(&project, &global.env)?;
    let state = session.state()?;
    let seen = of_all(&session)?;
    let backups: Vec<BackupsNow> =
        seen.iter().map(|seen| backups_now::of(&session, state.as_ref(), &seen.name)).collect();
    if json {
        let with_backups = |(seen, backups): (&Seen, &BackupsNow)| {
            let mut value = as_json(seen);
            value["backups"] = backups.to_json();
            value
        };
        let environments: Vec<serde_json::Value> = seen.iter().zip(&backups).map(with_backups).collect();
        print_json(&serde_json::json!({"app": session.app, "environments": environments}));
        return Ok(());
    }
    if seen.is_empty() {
        return Err(session.nothing_deployed());
    }
    for (index, environment) in seen.iter().enumerate() {
        if index > 0 {
            print("");
        }
        show(&session, environment);
        backups[index].lines(&session, &environment.name).iter().for_each(|line| print(line));
    }
    Ok(())
}

/// What is known of an environment: what the state says, and what its servers say.
pub(crate) struct Seen {
    name: EnvironmentName,
    state: EnvironmentState,
    /// In the order of the servers' names. Never empty.
    reports: Vec<Report>,
}

/// All environments of which there is anything.
fn of_all(session: &Session) -> Result<Vec<Seen>, Failure> {
    let Some(state) = session.state()? else { return Ok(Vec::new()) };
    Ok(state.environments.keys().filter_map(|name| seen(session, &state, name)).collect())
}

/// The environment that is meant; none where there is nothing of it.
pub(crate) fn of_one(session: &Session) -> Result<Option<Seen>, Failure> {
    Ok(session.state()?.and_then(|state| seen(session, &state, &session.environment)))
}

fn seen(session: &Session, state: &CloudState, name: &EnvironmentName) -> Option<Seen> {
    let environment = state.environments.get(name)?;
    let mut reports = fleet::reports(session, state, name);
    // A server that answers and knows nothing of the environment has nothing to say about it.
    reports.retain(|report| report.status.as_ref().map_or(true, |answer| answer.environment.is_some()));
    (!reports.is_empty()).then(|| Seen { name: name.clone(), state: environment.clone(), reports })
}

impl Seen {
    fn answers(&self) -> impl Iterator<Item = (&Report, &Answer, &EnvironmentStatus)> {
        self.reports.iter().filter_map(|report| {
            let answer = report.status.as_ref().ok()?;
            Some((report, answer, answer.environment.as_ref()?))
        })
    }

    /// What the server says that runs the newest release: one for which nothing had changed goes on with an older one.
    fn document(&self) -> Option<&AppDocument> {
        let mut newest: Option<&AppDocument> = None;
        for (_, _, status) in self.answers() {
            if newest.is_none_or(|newest| status.document.current_release > newest.current_release) {
                newest = Some(&status.document);
            }
        }
        newest
    }

    /// Where requests are taken: one URL for each server that has anything to take them.
    fn urls(&self) -> Vec<String> {
        self.answers().filter_map(|(report, answer, status)| url_of(report, answer, status)).collect()
    }

    /// Every process with its server; none where no process manager runs.
    pub(crate) fn processes(&self) -> Option<Vec<(Option<ServerName>, ProcessStatus)>> {
        let mut all = None;
        for (report, _, status) in self.answers() {
            let Some(processes) = &status.processes else { continue };
            let processes = processes.iter().map(|process| (report.server.clone(), process.clone()));
            all.get_or_insert_with(Vec::new).extend(processes);
        }
        all
    }
}

/// The URLs at which the environment is found; none where nothing takes requests.
pub(crate) fn urls(session: &Session) -> Result<Vec<String>, Failure> {
    Ok(of_one(session)?.map(|seen| seen.urls()).unwrap_or_default())
}

fn url_of(report: &Report, answer: &Answer, environment: &EnvironmentStatus) -> Option<String> {
    let takes_requests = environment
        .processes
        .as_ref()
        .is_none_or(|processes| processes.iter().any(|process| !process.ports.is_empty()));
    let local = environment.hosts.first().filter(|_| takes_requests)?;
    let host = match &report.host {
        Some(host) if host.contains(':') => format!("[{host}]"),
        Some(host) => host.clone(),
        None => local.clone(),
    };
    let port = answer.addresses.first()?.port();
    Some(if port == 80 { format!("http://{host}") } else { format!("http://{host}:{port}") })
}

fn state_in_words(state: ProcessState) -> &'static str {
    match state {
        ProcessState::Waiting => "waiting",
        ProcessState::Running => "running",
        ProcessState::BackOff => "back-off",
        ProcessState::Stopping => "stopping",
    }
}

fn as_json(seen: &Seen) -> serde_json::Value {
    let processes: Vec<serde_json::Value> = seen
        .processes()
        .into_iter()
        .flatten()
        .map(|(server, process)| {
            serde_json::json!({
                "name": process.id.short(),
                "instance": process.id,
                "server": server,
                "group": server.as_ref().map(|server| &server.group),
                "service": process.service,
                "state": state_in_words(process.state),
                "pid": process.pid,
                "port": process.ports.values().next(),
                "restarts": process.restarts,
                "started": process.started,
            })
        })
        .collect();
    let servers: Vec<serde_json::Value> = seen.reports.iter().filter_map(server_as_json).collect();
    let document = seen.document();
    let urls = seen.urls();
    serde_json::json!({
        "name": seen.name,
        "url": urls.first(),
        "urls": urls,
        "current_version": document.and_then(|document| document.current_version.as_ref()),
        "current_release": document.and_then(|document| document.current_release),
        "deployment": document.and_then(|document| document.deployment.as_ref()),
        "last_failure": document.and_then(|document| document.recent_failed_deployments.last()),
        "servers": servers,
        "processes": processes,
    })
}

fn server_as_json(report: &Report) -> Option<serde_json::Value> {
    let server = report.server.as_ref()?;
    Some(match &report.status {
        Ok(answer) => serde_json::json!({
            "name": server,
            "group": server.group,
            "host": report.host,
            "current_release": answer.environment.as_ref().and_then(|status| status.document.current_release),
            "deployment": answer.environment.as_ref().and_then(|status| status.document.deployment.as_ref()),
        }),
        Err(why) => serde_json::json!({"name": server, "group": server.group, "host": report.host, "unreachable": why}),
    })
}

fn show(session: &Session, seen: &Seen) {
    let document = seen.document();
    let serving =
        match document.and_then(|document| Some((document.current_release?, document.current_version.as_ref()?))) {
            Some((release, version)) => format!("{release} ({}) serves", version.short()),
            None if document.is_none() => match seen.state.serving {
                Some(release) => format!("{release} served when a server was last heard of"),
                None => "nothing is known".to_owned(),
            },
            None => "nothing serves".to_owned(),
        };
    print(&format!("{} {}: {serving}", bold(session.app.as_str()), bold(seen.name.as_str())));
    seen.urls().iter().for_each(|url| print(url));
    if let Some(text) = document.and_then(deployment_in_words) {
        print(&text);
    }
    for report in &seen.reports {
        if let Err(why) = &report.status {
            let server = report.server.as_ref().map_or_else(|| "this machine".to_owned(), ToString::to_string);
            print(&red(&format!("{server} does not answer: {why}")));
        }
    }
    let notes: BTreeSet<&String> = seen.answers().flat_map(|(_, _, status)| &status.notes).collect();
    for note in notes {
        print(&format!("{} {note}", yellow("note:")));
    }
    print("");
    match seen.processes() {
        None => print(&format!("{} `jecloud fwd` starts it.", red("The process manager does not run."))),
        Some(processes) if processes.is_empty() => print("No processes."),
        Some(processes) => print(&table(&processes)),
    }
}

/// What goes on, or what went wrong last, if that is newer than what serves.
fn deployment_in_words(document: &AppDocument) -> Option<String> {
    if let Some(deployment) = &document.deployment {
        let state = match deployment.state {
            DeploymentState::Prepared => "prepared, waiting for the release commands of another server".to_owned(),
            DeploymentState::Ready => "ready, waiting for the other servers".to_owned(),
            other => other.to_string(),
        };
        let words = format!("{} ({}) is being deployed: {state}", deployment.release, deployment.version.short());
        return Some(yellow(&words));
    }
    let failed = document.recent_failed_deployments.last()?;
    (Some(failed.release) > document.current_release).then(|| {
        let words = format!("{} ({}) failed: {}", failed.release, failed.version.short(), failed.failure.reason);
        red(&words)
    })
}

/// The processes as people see them.
pub(crate) fn table(processes: &[(Option<ServerName>, ProcessStatus)]) -> String {
    let now = Timestamp::from_system(std::time::SystemTime::now());
    let has_servers = processes.iter().any(|(server, _)| server.is_some());
    let heading = ["process", "service", "state", "pid", "port", "restarts", "up"];
    let mut table = Table::new(has_servers.then_some("server").into_iter().chain(heading));
    for (server, process) in processes {
        let state = match process.state {
            ProcessState::Running => green("running"),
            ProcessState::BackOff => red("back-off"),
            other => yellow(state_in_words(other)),
        };
        let ports: Vec<String> = process.ports.values().map(u16::to_string).collect();
        let server = has_servers.then(|| server.as_ref().map(ToString::to_string).unwrap_or_default());
        table.row(server.into_iter().chain([
            process.id.to_string(),
            process.service.to_string(),
            state,
            process.pid.map_or_else(|| dim("-"), |pid| pid.to_string()),
            if ports.is_empty() { dim("-") } else { ports.join(" ") },
            process.restarts.to_string(),
            process.started.map_or_else(|| dim("-"), |started| duration(now.since(started))),
        ]));
    }
    table.render()
}
