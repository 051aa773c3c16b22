//! `jecloud status`: what runs, where, and how well.

use jecloud_model::app::{AppDocument, DeploymentState};
use jecloud_model::ids::{AppName, EnvironmentName};
use jecloud_model::processes::{ProcessState, ProcessStatus};
use jecloud_model::time::Timestamp;
use jecloud_server::api::{EnvironmentStatus, ServerStatus};

use crate::args::Global;
use crate::failure::Failure;
use crate::output::{Table, bold, dim, duration, green, print, print_json, red, yellow};
use crate::project::Project;
use crate::session::Session;

pub(crate) fn run(global: &Global, json: bool) -> Result<(), Failure> {
    let project = Project::open_to_operate(global)?;
    let session = Session::open(&project, &global.env)?;
    let status = of_server(&session, None)?;
    if json {
        let environments: Vec<serde_json::Value> =
            status.environments.iter().map(|environment| as_json(&status, environment)).collect();
        print_json(&serde_json::json!({"app": session.app, "environments": environments}));
        return Ok(());
    }
    if status.environments.is_empty() {
        return Err(session.nothing_deployed());
    }
    for (index, environment) in status.environments.iter().enumerate() {
        if index > 0 {
            print("");
        }
        show(&session.app, &status, environment);
    }
    Ok(())
}

/// What the server says about the app: all its environments, or one.
pub(crate) fn of_server(session: &Session, environment: Option<&EnvironmentName>) -> Result<ServerStatus, Failure> {
    Ok(jecloud_server::api::status(&session.home.server(), Some(&session.app), environment)?)
}

/// The URL at which the environment is found; none where nothing takes requests.
pub(crate) fn url(session: &Session) -> Result<Option<String>, Failure> {
    let status = of_server(session, Some(&session.environment))?;
    Ok(status.environments.first().and_then(|environment| url_of(&status, environment)))
}

fn url_of(status: &ServerStatus, environment: &EnvironmentStatus) -> Option<String> {
    let takes_requests = environment
        .processes
        .as_ref()
        .is_none_or(|processes| processes.iter().any(|process| !process.ports.is_empty()));
    let host = environment.hosts.first().filter(|_| takes_requests)?;
    let port = status.addresses.first()?.port();
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

fn as_json(status: &ServerStatus, environment: &EnvironmentStatus) -> serde_json::Value {
    let processes: Vec<serde_json::Value> = environment
        .processes
        .iter()
        .flatten()
        .map(|process| {
            serde_json::json!({
                "name": process.id.short(),
                "instance": process.id,
                "service": process.service,
                "state": state_in_words(process.state),
                "pid": process.pid,
                "port": process.ports.values().next(),
                "restarts": process.restarts,
                "started": process.started,
            })
        })
        .collect();
    let document = &environment.document;
    serde_json::json!({
        "name": environment.environment,
        "url": url_of(status, environment),
        "current_version": document.current_version,
        "current_release": document.current_release,
        "deployment": document.deployment,
        "last_failure": document.recent_failed_deployments.last(),
        "processes": processes,
    })
}

fn show(app: &AppName, status: &ServerStatus, environment: &EnvironmentStatus) {
    let document = &environment.document;
    let serving = match (document.current_release, &document.current_version) {
        (Some(release), Some(version)) => format!("{release} ({}) serves", version.short()),
        _ => "nothing serves".to_owned(),
    };
    print(&format!("{} {}: {serving}", bold(app.as_str()), bold(environment.environment.as_str())));
    if let Some(url) = url_of(status, environment) {
        print(&url);
    }
    if let Some(text) = deployment_in_words(document) {
        print(&text);
    }
    print("");
    match &environment.processes {
        None => print(&format!("{} `jecloud fwd` starts it.", red("The process manager does not run."))),
        Some(processes) if processes.is_empty() => print("No processes."),
        Some(processes) => print(&table(processes)),
    }
}

/// What goes on, or what went wrong last, if that is newer than what serves.
fn deployment_in_words(document: &AppDocument) -> Option<String> {
    if let Some(deployment) = &document.deployment {
        let state = match deployment.state {
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
pub(crate) fn table(processes: &[ProcessStatus]) -> String {
    let now = Timestamp::from_system(std::time::SystemTime::now());
    let mut table = Table::new(["process", "service", "state", "pid", "port", "restarts", "up"]);
    for process in processes {
        let state = match process.state {
            ProcessState::Running => green("running"),
            ProcessState::BackOff => red("back-off"),
            other => yellow(state_in_words(other)),
        };
        let ports: Vec<String> = process.ports.values().map(u16::to_string).collect();
        table.row([
            process.id.to_string(),
            process.service.to_string(),
            state,
            process.pid.map_or_else(|| dim("-"), |pid| pid.to_string()),
            if ports.is_empty() { dim("-") } else { ports.join(" ") },
            process.restarts.to_string(),
            process.started.map_or_else(|| dim("-"), |started| duration(now.since(started))),
        ]);
    }
    table.render()
}
