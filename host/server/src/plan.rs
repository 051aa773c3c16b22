//! The dry run: what a deployment would do here. It asks the hooks and checks their answers exactly as a deployment
//! does, and performs nothing.

use std::collections::BTreeMap;

use jecloud_disk::tree;
use jecloud_model::app::AppDocument;
use jecloud_model::deploy_plan::{
    DeployPlan, PlannedCommand, PlannedFile, PlannedPackage, PlannedProcess, PlannedRoute, ServicePlan,
};
use jecloud_model::hook::{Command, Package, Plan};
use jecloud_model::ids::{Digest, ServiceName};
use jecloud_model::release::Release;
use jecloud_model::topology::Topology;
use serde::{Deserialize, Serialize};

use crate::allocation;
use crate::commands::kept_name;
use crate::error::ServerError;
use crate::hooks::{Asked, Sources};
use crate::part;
use crate::pins;
use crate::place::Place;
use crate::server::Server;
use crate::wishes::{self, Planned};

/// What `update-server plan` is told: the release as it would be, and its source files that hooks may want to see.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanRequest {
    /// The release.
    pub release: Release,
    /// As which server this one would run it.
    #[serde(default)]
    pub topology: Topology,
    /// All paths of the source tree.
    pub paths: Vec<String>,
    /// The contents of those that any hook wants to see.
    pub contents: BTreeMap<String, Vec<u8>>,
    /// The components of its hooks, which need not be on the server yet.
    pub components: BTreeMap<Digest, Vec<u8>>,
    /// Services whose exact versions are looked for anew, with what they are pinned to: what is pinned counts as not
    /// installed, and the versions that there are as those of now.
    #[serde(default)]
    pub upgrade: BTreeMap<ServiceName, BTreeMap<String, String>>,
}

impl Sources for PlanRequest {
    fn paths(&self) -> Result<Vec<String>, ServerError> {
        Ok(self.paths.clone())
    }

    fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, ServerError> {
        Ok(self.contents.get(path).filter(|content| content.len() as u64 <= limit).cloned())
    }
}

/// Plans. A failure that the deployment would meet is part of the answer.
pub fn plan(server: &Server, request: &PlanRequest) -> Result<DeployPlan, ServerError> {
    let place = Place::new(&server.root, &request.release.app, &request.release.environment);
    let document = place.document()?;
    let mut answer = DeployPlan::default();
    match fill(server, &place, &document, request, &mut answer) {
        Ok(()) => Ok(answer),
        Err(error) => {
            answer.failure = Some(error.into_failure()?);
            Ok(answer)
        }
    }
}

fn fill(
    server: &Server,
    place: &Place,
    document: &AppDocument,
    request: &PlanRequest,
    answer: &mut DeployPlan,
) -> Result<(), ServerError> {
    let release = &request.release;
    let mut planned = Vec::new();
    let mut packages = Vec::new();
    let mut hooks = Vec::new();
    let component = |digest: &Digest| Ok(request.components.get(digest).cloned());
    let topology = &request.topology;
    answer.notes.extend(pins::refresh(request.upgrade.values()));
    let all = Asked::all(server, &component, release, topology, request)?;
    for asked in part::here(all, release, document, topology)? {
        let mut context = asked.context(release, document, document.current_version.as_ref());
        let upgraded = request.upgrade.get(asked.service);
        if let Some(pins) = upgraded {
            pins::forget(&mut context.facts, pins);
        }
        let required = asked.required_packages(&context)?;
        answer.notes.extend(pins::moved(asked.service, &asked.wish.pins, &pins::pinned(&required)));
        let planned_packages = required.into_iter().map(|required| package(required, upgraded.is_some()));
        packages.push(planned_packages.collect::<Result<Vec<_>, _>>()?);
        hooks.push(format!("{} {}", asked.description.name, asked.description.version));
        planned.push(Planned { service: asked.service.clone(), plan: asked.prepare_deploy(&context)? });
    }
    let overlaid = wishes::overlay(&mut planned, release);
    part::restrict(&mut planned, release, topology.group());
    answer.notes.extend(wishes::not_enforced(&release.processes, &*server.processes));
    for ((planned, packages), hook) in planned.iter().zip(packages).zip(hooks) {
        answer.services.push(ServicePlan {
            service: planned.service.clone(),
            hook,
            packages,
            commands: commands(place, planned)?,
            ..outline(planned.service.clone(), &planned.plan, release)
        });
    }
    overlaid?;
    let processes = planned.iter().flat_map(|planned| &planned.plan.processes);
    let ports = processes.flat_map(|process| process.ports.iter().map(|port| (&process.name, port)));
    allocation::check_fixed(server, place, release.number, document.current_release, ports)
}

/// For an upgrade with the exact version.
fn package(package: Package, upgraded: bool) -> Result<PlannedPackage, ServerError> {
    let exact = (upgraded && package.pin).then(|| pins::exact(&package)).transpose()?;
    let Package { name, version, source, pin, .. } = package;
    Ok(PlannedPackage { name, version, source, pin, exact })
}

fn commands(place: &Place, planned: &Planned) -> Result<Vec<PlannedCommand>, ServerError> {
    let kept = place.root.service(&planned.service).join("kept");
    let plan = &planned.plan;
    let phases = [("check", &plan.checks), ("build", &plan.build), ("release", &plan.release)];
    let mut all = Vec::new();
    for (phase, commands) in phases {
        for Command { title, argv, run_as, once, .. } in commands {
            let kept = match kept_name(once) {
                Some(name) => tree::exists(&kept.join(name))?,
                None => false,
            };
            all.push(PlannedCommand {
                phase: phase.to_owned(),
                title: title.clone(),
                argv: argv.clone(),
                run_as: *run_as,
                kept,
            });
        }
    }
    Ok(all)
}

/// All of a service's plan but its packages and commands.
fn outline(service: jecloud_model::ids::ServiceName, plan: &Plan, release: &Release) -> ServicePlan {
    let files = plan
        .files
        .iter()
        .map(|file| PlannedFile { path: file.path.clone(), mode: file.mode, bytes: file.content.len() })
        .collect();
    let processes = plan
        .processes
        .iter()
        .map(|process| PlannedProcess {
            name: process.name.clone(),
            count: process.replicas.saturating_mul(process.shards.max(1)),
            argv: process.argv.clone(),
            run_as: process.run_as,
            ports: process.ports.clone(),
            health: process.health.clone(),
            limits: release.processes.get(&process.name).map(|wish| wish.limits).unwrap_or_default(),
        })
        .collect();
    let routes = plan
        .routes
        .iter()
        .map(|route| PlannedRoute {
            path_prefix: route.path_prefix.clone(),
            process: route.process.clone(),
            port: route.port.clone(),
        })
        .collect();
    ServicePlan {
        service,
        hook: String::new(),
        packages: Vec::new(),
        files,
        commands: Vec::new(),
        processes,
        routes,
        values: plan.values.keys().cloned().collect(),
        notes: plan.notes.clone(),
    }
}
