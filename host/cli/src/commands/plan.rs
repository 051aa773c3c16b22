//! `jecloud plan`: exactly what deploy would do, from the same code.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jecloud_disk::source::SourceTree;
use jecloud_model::config::Provider;
use jecloud_model::deploy_plan::{DeployPlan, ServicePlan};
use jecloud_model::hook::{Health, Identity, Source};
use jecloud_model::ids::ServerGroup;
use jecloud_model::topology::Topology;
use jecloud_server::{PlanRequest, Server};

use crate::args::Global;
use crate::compose::Composed;
use crate::failure::{Code, Failure};
use crate::fleet;
use crate::hooks;
use crate::output::{bold, dim, plural, print, print_json, say, size, yellow};
use crate::project::Project;
use crate::session::{self, Session};

/// How long a server may take to ask its hooks and itself.
const TIMEOUT: Duration = Duration::from_secs(120);

pub(crate) fn run(global: &Global, dir: Option<&Path>, json: bool) -> Result<(), Failure> {
    let project = Project::open(global, dir)?;
    let session = Session::open(&project, &global.env)?;
    let known = session.state()?;
    let environment = known.as_ref().and_then(|state| state.environments.get(&session.environment));
    let tree = SourceTree::scan(&project.directory)?;
    let version = tree.version()?;
    let scale = super::deploy::scale(&project, &session, environment);
    let composed = super::deploy::composed(&session, &project, &tree, &version, known.as_ref(), &scale)?;
    let notes: Vec<&str> = composed.notes().collect();
    let release = &composed.release;
    let unchanged = super::deploy::unchanged(&session, known.as_ref(), release)?;
    let plans = asked(&session, request(&tree, &composed)?)?;
    if json {
        let own = project.environment(&session.environment).group(None).clone();
        let first = plans.iter().find(|(group, _)| group.as_ref() == Some(&own)).or(plans.first());
        let by_group =
            plans.iter().filter_map(|(group, plan)| Some((group.as_ref()?.to_string(), serde_json::json!(plan))));
        print_json(&serde_json::json!({
            "app": session.app, "environment": session.environment, "version": version,
            "release": release.number, "unchanged_since": unchanged, "notes": notes, "plan": first.map(|(_, plan)| plan),
            "groups": by_group.collect::<serde_json::Map<_, _>>(),
        }));
    } else {
        let what = format!("{}, {}", plural(tree.len(), "file", "files"), size(tree.bytes()));
        print(&format!(
            "{} {}: release {} of version {} ({what})",
            bold(session.app.as_str()),
            bold(global.env.as_str()),
            release.number,
            version.short()
        ));
        if let Some(number) = unchanged {
            print(&format!("Nothing changed since {number}, which serves: `jecloud deploy` would do nothing."));
        }
        for note in &notes {
            print(&format!("{} {note}", yellow("note:")));
        }
        for (group, plan) in &plans {
            if let Some(group) = group {
                print(&format!("\nOn each server of {}:", bold(group.as_str())));
            }
            print(&render(plan));
        }
    }
    match plans.into_iter().find_map(|(_, plan)| plan.failure) {
        None => Ok(()),
        Some(failure) => Err(Failure::new(Code::Failed, format!("the deployment would fail: {}", failure.reason))
            .details(failure.details)
            .world("Nothing was changed.")
            .hint(failure.hint)),
    }
}

/// What a server is asked.
pub(crate) fn request(tree: &SourceTree, composed: &Composed) -> Result<PlanRequest, Failure> {
    let components = composed.hooks.iter().map(|hook| (hook.digest.clone(), hook.wasm.clone()));
    Ok(PlanRequest {
        release: composed.release.clone(),
        topology: Topology::default(),
        paths: tree.paths().filter_map(|path| path.to_str().map(str::to_owned)).collect(),
        contents: hooks::visible(tree, &composed.hooks)?,
        components: components.collect(),
        upgrade: BTreeMap::new(),
    })
}

/// Asks this machine, or the servers: what they answer, by group where not everything runs on all of them.
pub(crate) fn asked(
    session: &Session,
    request: PlanRequest,
) -> Result<Vec<(Option<ServerGroup>, DeployPlan)>, Failure> {
    if session.provider != Provider::Local {
        return ask(session, request);
    }
    let root = session.home.server();
    let sandbox = session::sandbox(&root)?;
    let server = Server::open(root, session::executable()?, sandbox)?;
    Ok(vec![(None, jecloud_server::plan(&server, &request)?)])
}

/// Asks a server, or where not everything runs on all of them one of each group: all of a group are alike, so the first
/// speaks for the others.
fn ask(session: &Session, request: PlanRequest) -> Result<Vec<(Option<ServerGroup>, DeployPlan)>, Failure> {
    let servers = fleet::reachable(session).map_err(|failure| {
        failure.hint("What is done on a server is known when there is one: `jecloud deploy` sets it up.")
    })?;
    let groups: Vec<Option<ServerGroup>> = match request.release.is_split() {
        true => request.release.groups().into_iter().cloned().map(Some).collect(),
        false => vec![None],
    };
    let mut plans = Vec::new();
    for group in groups {
        let is_meant = |(name, _): &&fleet::Reached| group.as_ref().is_none_or(|group| name.group == *group);
        let Some((name, machine)) = servers.iter().find(is_meant) else {
            if let Some(group) = group {
                say(&format!("note: no server of {group} can be asked; `jecloud deploy` sets up what is missing"));
            }
            continue;
        };
        let once = request.release.services.keys().cloned().collect();
        let address = machine.peer_address().filter(|_| request.release.gives_from(&name.group));
        let topology = Topology { server: Some(name.clone()), once, address, ..Topology::default() };
        let text = serde_json::to_vec(&PlanRequest { topology, ..request.clone() }).unwrap_or_default();
        let plan = jecloud_cloud::Server::new(&**machine, &name.to_string())
            .ask(&["plan"], Some(&text), TIMEOUT)
            .map_err(|error| Failure::from_machine(Code::NotReachable, &error))?;
        plans.push((group, plan));
    }
    Ok(plans)
}

fn render(plan: &DeployPlan) -> String {
    let notes = plan.notes.iter().map(|note| format!("\n{} {note}", yellow("note:")));
    plan.services.iter().map(service).chain(notes).collect::<Vec<_>>().join("\n")
}

fn service(plan: &ServicePlan) -> String {
    let mut lines = vec![format!("\n{} {}", bold(plan.service.as_str()), dim(&format!("(hook {})", plan.hook)))];
    for note in &plan.notes {
        lines.push(format!("  {} {note}", yellow("note:")));
    }
    for package in &plan.packages {
        let version = if package.version.is_empty() { "any version" } else { &package.version };
        lines.push(match &package.source {
            Source::Present => format!("  use      {} {version}, which is on the machine", package.name),
            Source::Distribution => format!("  install  {} {version} from the distribution", package.name),
            Source::Archive(archive) => format!("  install  {} {version} from {}", package.name, archive.url),
        });
    }
    for file in &plan.files {
        lines.push(format!("  write    {} ({}, mode {:o})", file.path, size(file.bytes as u64), file.mode));
    }
    for command in &plan.commands {
        let root = if command.run_as == Identity::Root { " as root" } else { "" };
        let kept = if command.kept { " (unchanged: kept from before)" } else { "" };
        lines.push(format!("  {:8} {}: {}{root}{}", command.phase, command.title, words(&command.argv), dim(kept)));
    }
    for process in &plan.processes {
        let root = if process.run_as == Identity::Root { " as root" } else { "" };
        lines.push(format!("  start    {} × {}: {}{root}", process.count, process.name, words(&process.argv)));
        lines.push(format!("           until {}", health(&process.health)));
        if !process.limits.is_none() {
            lines.push(format!("           with at most {}", process.limits));
        }
    }
    for route in &plan.routes {
        lines.push(format!("  route    {} to {}", route.path_prefix, route.process));
    }
    if !plan.values.is_empty() {
        lines.push(format!("  give     {} to the app and the other services", plan.values.join(", ")));
    }
    lines.join("\n")
}

fn health(health: &Health) -> String {
    match health {
        Health::StaysUp => "it has been up for a second".to_owned(),
        Health::PortOpen(_) => "its port is open".to_owned(),
        Health::Http { path, .. } => format!("GET {path} answers with a status below 400"),
        Health::Command(argv) => format!("`{}` exits with 0", words(argv)),
    }
}

/// An argv as a person would type it.
fn words(argv: &[String]) -> String {
    let quoted: Vec<String> = argv
        .iter()
        .map(|word| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:={}@,+%".contains(&byte);
            if !word.is_empty() && word.bytes().all(plain) { word.clone() } else { format!("'{word}'") }
        })
        .collect();
    quoted.join(" ")
}
