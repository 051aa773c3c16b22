//! Preparing: the hooks plan, and what must be there before processes start is made: files, checks, builds.

use std::collections::BTreeMap;

use jecloud_disk::{durable, tree};
use jecloud_model::app::Failure;
use jecloud_model::events::What;
use jecloud_model::format::FORMAT;
use jecloud_model::hook::{Health, OptionValue, Plan, Process};
use jecloud_model::ids::{InstanceId, ServiceName};
use jecloud_model::prepared::{Prepared, PreparedRoute};
use jecloud_model::processes::ProcessSpec;
use jecloud_model::release::Release;
use jecloud_model::topology::Topology;

use super::{Work, packages};
use crate::allocation::{Ports, ports_of};
use crate::backup::first;
use crate::commands::{Runner, kept_name};
use crate::environment::Surroundings;
use crate::error::ServerError;
use crate::fill::Filling;
use crate::hooks::Asked;
use crate::part;
use crate::wishes::{self, Planned};

pub(super) fn perform(work: &Work<'_>) -> Result<String, ServerError> {
    if work.place.prepared(work.number)?.is_some() {
        // The end of this state was reached before, but not recorded.
        return Ok(String::new());
    }
    let release = work.place.release(work.number)?;
    let source = work.place.root.version(&release.version);
    let topology = work.place.topology(work.number)?;
    let all = Asked::of_server(work.server, &release, work.place)?;
    let mut planned = Vec::new();
    let installed = pins(work)?;
    for asked in &all {
        let mut context = asked.context(&release, work.document, work.document.current_version.as_ref());
        // What was installed a moment ago is what the next deployment finds pinned: it must lead to the same plan.
        context.pins.extend(installed.get(asked.service).cloned().unwrap_or_default());
        let plan = asked.prepare_deploy(&context)?;
        let kept = [stays_here(&release, asked.service, &plan), no_secrets(&release, &topology, asked.service, &plan)];
        for text in plan.notes.iter().cloned().chain(kept.into_iter().flatten()) {
            work.place.tell(work.number, What::Note { text });
        }
        planned.push(Planned { service: asked.service.clone(), plan });
    }
    wishes::overlay(&mut planned, &release)?;
    part::restrict(&mut planned, &release, topology.group());
    if let Some(text) = wishes::not_enforced(&release.processes, &*work.server.processes) {
        work.place.tell(work.number, What::Note { text });
    }

    let ports = give_out_ports(work, &planned)?;
    let gives = gives(work, &release, &planned, &ports)?;
    let mut values = topology.values.clone();
    values.extend(gives.values().flatten().map(|(name, value)| (name.clone(), value.clone())));
    let mut surroundings = Vec::new();
    for Planned { service, plan } in &planned {
        let around = Surroundings::new(work.place, work.user, &release, service)?.with_values(&values);
        write_files(work, &around, plan, &ports)?;
        surroundings.push(around);
    }
    // All checks come before any build, all builds before any release command.
    let of_all = |run: &dyn Fn(&Runner<'_>, &Plan) -> Result<(), ServerError>| {
        surroundings.iter().zip(&planned).try_for_each(|(around, Planned { plan, .. })| {
            let filling = around.filling();
            run(&around.runner(work, &filling), plan)
        })
    };
    of_all(&|runner, plan| runner.build_all("checks", &release.version, &plan.checks))?;
    of_all(&|runner, plan| runner.build_all("build", &release.version, &plan.build))?;
    let wants_backup = |plan: &Plan| plan.options.get("backup-first") == Some(&OptionValue::Flag(true));
    for Planned { service, .. } in planned.iter().filter(|planned| wants_backup(&planned.plan)) {
        first::perform(work, service)?;
    }
    // A rollback brings nothing new that would have to be migrated to.
    if release.repeats.is_none() {
        of_all(&|runner, plan| match topology.runs_once(runner.service) {
            true => runner.run_all("release", &plan.release),
            false => Ok(()),
        })?;
    }
    if planned.iter().any(|planned| !planned.plan.build.is_empty()) {
        // What was built must be on the disk before `current` may ever name it.
        tree::sync(&source)?;
    }
    let prepared = assemble(work, &release, &planned, &surroundings, &ports, (values, gives))?;
    let count = prepared.processes.len();
    work.place.write_prepared(&prepared)?;
    Ok(format!("{count} {}", if count == 1 { "process" } else { "processes" }))
}

/// What is said of variables that could be needed on other servers and are not given to them.
fn stays_here(release: &Release, service: &ServiceName, plan: &Plan) -> Option<String> {
    let wish = release.services.get(service).filter(|_| release.groups().len() > 1)?;
    let kept: Vec<&str> = plan.values.keys().filter(|name| !wish.gives.contains(name)).map(String::as_str).collect();
    (!kept.is_empty()).then(|| {
        let kept = kept.join(", ");
        format!(
            "service {service} gives {kept} to its own servers only: its hook does not say that it gives it to others"
        )
    })
}

/// What is said of code that looks like the app's where none was to be expected: it does without the app's secrets.
fn no_secrets(release: &Release, topology: &Topology, service: &ServiceName, plan: &Plan) -> Option<String> {
    let here = release.secrets_on(topology);
    let absent = release.secrets.iter().filter(|(name, secret)| secret.variable && !here.contains(name.as_str()));
    let absent: Vec<&str> = absent.map(|(name, _)| name.as_str()).collect();
    (!absent.is_empty() && plan.processes.iter().any(|process| process.beside)).then(|| {
        let absent = absent.join(", ");
        format!("service {service} does without {absent}: its hook asks for no file of the app")
    })
}

/// The instances of a process type.
fn instances(work: &Work<'_>, process: &Process) -> Vec<InstanceId> {
    (1..=process.replicas.saturating_mul(process.shards.max(1)))
        .map(|index| InstanceId {
            process: process.name.clone(),
            index,
            release: process.beside.then_some(work.number),
        })
        .collect()
}

fn give_out_ports(work: &Work<'_>, planned: &[Planned]) -> Result<Ports, ServerError> {
    let needs: Vec<(InstanceId, Vec<String>)> = planned
        .iter()
        .flat_map(|planned| &planned.plan.processes)
        .flat_map(|process| instances(work, process).into_iter().map(|id| (id, process.ports.clone())))
        .collect();
    ports_of(work.server, work.place, work.number, work.document.current_release, &needs)
}

/// The variables that services which belong to this server give to the app and to each other, by service. A port in
/// them is that of the first instance.
fn gives(
    work: &Work<'_>,
    release: &Release,
    planned: &[Planned],
    ports: &Ports,
) -> Result<BTreeMap<ServiceName, BTreeMap<String, String>>, ServerError> {
    let topology = work.place.topology(work.number)?;
    let mut gives = BTreeMap::new();
    for Planned { service, plan } in planned {
        if !release.services.get(service).is_some_and(|wish| wish.belongs_to(topology.group())) {
            continue;
        }
        let around = Surroundings::new(work.place, work.user, release, service)?;
        let filling = outside_of_processes(work, &around, plan, ports);
        gives.insert(service.clone(), filling.environment("values", &plan.values)?);
    }
    Ok(gives)
}

/// For templates outside of any process, with ports by their names alone: those of first instances, and of the first process
/// that has the name.
fn outside_of_processes<'a>(work: &Work<'_>, around: &'a Surroundings<'_>, plan: &Plan, ports: &Ports) -> Filling<'a> {
    let mut named = BTreeMap::new();
    for process in plan.processes.iter().rev() {
        if let Some(first) = instances(work, process).first() {
            named.extend(ports.get(first).cloned().unwrap_or_default());
        }
    }
    Filling { ports: named, ..around.filling() }
}

fn write_files(work: &Work<'_>, around: &Surroundings<'_>, plan: &Plan, ports: &Ports) -> Result<(), ServerError> {
    let filling = outside_of_processes(work, around, plan, ports);
    for file in &plan.files {
        let line = format!("file {}", file.path);
        let path = std::path::PathBuf::from(filling.text(&line, &file.path)?);
        let content = filling.all_but_secrets(&line, &file.content)?;
        let content = crate::secrets::filled_text(&work.place.root, &line, &content)?;
        let (bytes, mode, owner) = (content.as_bytes(), file.mode.into(), work.owner());
        // What lies in between belongs to the app's user, who may have put links there.
        let inside = [&around.data, &around.source]
            .into_iter()
            .find_map(|root| Some((root, path.strip_prefix(root).ok()?.to_str()?)));
        if let Some((root, inside)) = inside {
            tree::write_within(root, inside, bytes, mode, owner)?;
            continue;
        }
        if let Some(parent) = path.parent() {
            durable::create_dirs(parent, 0o755)?;
        }
        durable::replace(&path, bytes, mode)?;
        if let Some((user, group)) = owner {
            tree::chown(&path, (user, group))?;
        }
    }
    Ok(())
}

fn assemble(
    work: &Work<'_>,
    release: &Release,
    planned: &[Planned],
    surroundings: &[Surroundings<'_>],
    ports: &Ports,
    (values, gives): (BTreeMap<String, String>, BTreeMap<ServiceName, BTreeMap<String, String>>),
) -> Result<Prepared, ServerError> {
    let mut prepared = Prepared {
        format: FORMAT,
        release: work.number,
        version: release.version.clone(),
        processes: Vec::new(),
        routes: Vec::new(),
        hosts: release.hosts.clone(),
        pins: pins(work)?,
        remember: BTreeMap::new(),
        kept: BTreeMap::new(),
        values,
        gives,
    };
    for (around, Planned { service, plan }) in surroundings.iter().zip(planned) {
        for process in &plan.processes {
            for id in instances(work, process) {
                let of_instance = ports.get(&id).cloned().unwrap_or_default();
                prepared.processes.push(spec(work, release, service, around, process, id, of_instance)?);
            }
        }
        prepared.routes.extend(plan.routes.iter().map(|route| PreparedRoute {
            process: route.process.clone(),
            port: route.port.clone(),
            path_prefix: route.path_prefix.clone(),
        }));
        prepared.remember.insert(service.clone(), plan.remember.clone());
        let kept = plan.build.iter().filter_map(|command| kept_name(&command.once)).collect();
        prepared.kept.insert(service.clone(), kept);
    }
    keep_running(work, &mut prepared)?;
    prepared.processes.sort_by(|a, b| a.id.cmp(&b.id));
    if let Some(pair) = prepared.processes.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(Failure::because(format!(
            "services {} and {} both have a process {}",
            pair[0].service, pair[1].service, pair[0].id.process
        ))
        .into());
    }
    Ok(prepared)
}

/// A process that outlives releases and is the same as before but for the version stays what it is: it runs on.
fn keep_running(work: &Work<'_>, prepared: &mut Prepared) -> Result<(), ServerError> {
    let Some(serving) = work.document.serving_release() else { return Ok(()) };
    let Some(before) = work.place.prepared(serving)? else { return Ok(()) };
    for spec in prepared.processes.iter_mut().filter(|spec| spec.id.release.is_none()) {
        let same = before.processes.iter().find(|before| {
            before.id == spec.id && **before == ProcessSpec { version: before.version.clone(), ..spec.clone() }
        });
        if let Some(before) = same {
            spec.clone_from(before);
        }
    }
    Ok(())
}

fn spec(
    work: &Work<'_>,
    release: &Release,
    service: &ServiceName,
    around: &Surroundings<'_>,
    process: &Process,
    id: InstanceId,
    ports: BTreeMap<String, u16>,
) -> Result<ProcessSpec, ServerError> {
    let line = format!("process {}", process.name);
    let filling = around.filling_of(&id, &ports);
    let own = filling.environment(&line, &process.env)?;
    let mut env = if process.beside { around.before.clone() } else { around.of_host.clone() };
    env.extend(own);
    // What is not the app's own code has no use for the app's variables, and is not started anew for them.
    if process.beside {
        env.extend(around.after.clone());
    }
    let cwd = match process.cwd.as_str() {
        "" => work.place.root.version(&release.version).display().to_string(),
        template => filling.text(&line, template)?,
    };
    let health = match &process.health {
        Health::Command(argv) => Health::Command(filling.argv(&line, argv)?),
        other => other.clone(),
    };
    Ok(ProcessSpec {
        argv: filling.argv(&line, &process.argv)?,
        id: id.clone(),
        service: service.clone(),
        version: release.version.clone(),
        env,
        cwd,
        run_as: process.run_as,
        ports,
        health,
        start_timeout_ms: process.start_timeout_ms,
        stop_timeout_ms: process.stop_timeout_ms,
        limits: release.processes.get(&process.name).map(|wish| wish.limits).unwrap_or_default(),
    })
}

/// The exact versions that were installed and are to be used from now on.
fn pins(work: &Work<'_>) -> Result<BTreeMap<ServiceName, BTreeMap<String, String>>, ServerError> {
    Ok(packages::read(work.place, work.number)?
        .into_iter()
        .map(|(service, installed)| {
            let pinned = installed.into_iter().filter(|package| package.pin);
            (service, pinned.map(|package| (package.name, package.version)).collect())
        })
        .collect())
}
