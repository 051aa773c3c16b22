//! `jecloud upgrade`: which newer versions there are of what jecloud.lock holds, and moving to them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use jecloud_disk::source::SourceTree;
use jecloud_model::deploy_plan::DeployPlan;
use jecloud_model::hook::Powers;
use jecloud_model::ids::{Digest, ServerGroup, ServiceName};
use jecloud_model::lock::Lock;
use jecloud_model::suggest;

use super::plan;
use crate::args::Global;
use crate::compose::Composed;
use crate::failure::{Code, Failure};
use crate::hooks;
use crate::output::{Table, ask, print, print_json, say, yellow};
use crate::project::{LOCK, Project};
use crate::session::{self, Session};

/// What `--check` ends with where there is something newer. Other codes are those of all commands.
const NEWER: u8 = 10;

/// Exact versions by name.
type Pins = BTreeMap<String, String>;

/// What a person wants to know or have done.
#[derive(Debug)]
pub(crate) struct Wish {
    /// Of these services; none: of all.
    pub(crate) services: Vec<ServiceName>,
    /// Whether nothing is to be changed.
    pub(crate) check: bool,
    pub(crate) json: bool,
}

/// One version that would be another one.
struct Change {
    service: ServiceName,
    what: String,
    from: Option<String>,
    to: Option<String>,
}

pub(crate) fn run(global: &Global, wish: &Wish) -> Result<ExitCode, Failure> {
    let project = Project::open(global, None)?;
    let session = Session::open(&project, &global.env)?;
    let found = look(&project, &session, &wish.services)?;
    if !wish.json {
        show(&found);
    }
    let mut code = ExitCode::SUCCESS;
    let mut wrote = false;
    if wish.check {
        if !found.changes.is_empty() {
            code = ExitCode::from(NEWER);
        }
    } else if !found.changes.is_empty() {
        if global.yes || !wish.json && ask(&format!("Write this into {LOCK}?")) {
            wrote = project.write_lock(&found.lock)?;
        } else if !wish.json {
            return Err(Failure::usage("the upgrade was not confirmed")
                .hint(format!("`jecloud upgrade{} --yes` makes it without a question.", named(&wish.services))));
        } else {
            code = ExitCode::from(Code::Usage as u8);
        }
    }
    if wish.json {
        let changes = found.changes.iter().map(|Change { service, what, from, to }| {
            serde_json::json!({"service": service, "package": what, "from": from, "to": to})
        });
        print_json(&serde_json::json!({
            "app": session.app, "environment": session.environment, "changes": changes.collect::<Vec<_>>(),
            "notes": found.notes, "wrote": wrote,
        }));
    } else if wrote {
        let flag = session.environment_flag();
        print(&format!("Wrote {LOCK}. `jecloud deploy{flag}` makes it so; until then nothing changes."));
    }
    Ok(code)
}

/// The services as they were typed, each after a blank.
fn named(services: &[ServiceName]) -> String {
    services.iter().map(|service| format!(" {service}")).collect()
}

/// What there is.
struct Found {
    changes: Vec<Change>,
    notes: Vec<String>,
    /// With the changes in it.
    lock: Lock,
}

fn look(project: &Project, session: &Session, wanted: &[ServiceName]) -> Result<Found, Failure> {
    let known = session.state()?;
    let environment = known.as_ref().and_then(|state| state.environments.get(&session.environment));
    let scale = super::deploy::scale(project, session, environment);
    let tree = SourceTree::scan(&project.directory)?;
    let version = tree.version()?;
    // As if nothing of it were pinned.
    let is_wanted = |service: &ServiceName| wanted.is_empty() || wanted.contains(service);
    let anew = Project {
        lock: without_pins(session, &project.lock, &is_wanted)?,
        config: project.config.clone(),
        directory: project.directory.clone(),
    };
    let composed = super::deploy::composed(session, &anew, &tree, &version, known.as_ref(), &scale)?;
    let names: Vec<&str> = composed.release.services.keys().map(ServiceName::as_str).collect();
    if let Some(unknown) = wanted.iter().find(|service| !composed.release.services.contains_key(service)) {
        let near = suggest::did_you_mean(unknown.as_str(), names.iter().copied());
        return Err(Failure::usage(format!("{} has no service {unknown}{near}", session.app))
            .hint(format!("Its services are: {}.", names.join(", "))));
    }
    let mut notes: Vec<String> = composed.notes().map(str::to_owned).collect();
    let mut before: BTreeMap<ServiceName, Pins> = BTreeMap::new();
    for service in composed.release.services.keys().filter(|service| is_wanted(service)) {
        match project.lock.pins(service) {
            none if none.is_empty() && project.lock.builtin(service).is_none() => {
                notes.push(format!("nothing of service {service} is pinned yet: the next deployment does that"));
            }
            pins => drop(before.insert(service.clone(), pins)),
        }
    }
    let mut lock = project.lock.clone();
    let mut changes = Vec::new();
    for hook in composed.hooks.iter().filter(|hook| hook.builtin && before.contains_key(&hook.service)) {
        let Some(locked) = project.lock.builtin(&hook.service).filter(|locked| locked.digest != hook.digest) else {
            continue;
        };
        notes.extend(more_powers(&hook.service, &hook.description.powers, &locked.powers));
        let in_words = |version: &str, digest: &Digest| Some(format!("{version} ({})", digest.short()));
        changes.push(Change {
            service: hook.service.clone(),
            what: "hook".to_owned(),
            from: in_words(&locked.version, &locked.digest),
            to: in_words(&hook.description.version, &hook.digest),
        });
        lock.set_hook(&hook.service, Some(hook.locked()));
    }
    if before.values().any(|pins| !pins.is_empty()) {
        let after = versions(session, &tree, &composed, &before, &mut notes)?;
        for (service, after) in after {
            let before = before.get(&service).cloned().unwrap_or_default();
            changes.extend(compared(&service, &before, &after));
            lock.set_pins(&service, after);
        }
    }
    if !changes.is_empty() {
        would_do(&Project { lock: lock.clone(), ..anew }, session, &tree)?;
    }
    changes.sort_by(|a, b| (&a.service, &a.what).cmp(&(&b.service, &b.what)));
    Ok(Found { changes, notes, lock })
}

/// The lock without the pins of these services, and without the hooks that came with a JeCloud which is not newer.
fn without_pins(session: &Session, lock: &Lock, is_wanted: &dyn Fn(&ServiceName) -> bool) -> Result<Lock, Failure> {
    let sandbox = session::sandbox(&session.home.server())?;
    let brought = hooks::builtins(&sandbox)?;
    let mut without = lock.clone();
    for service in lock.services().filter(|service| is_wanted(service)) {
        without.set_pins(service, Pins::new());
        let brought = brought.iter().find(|(builtin, _)| builtin.name == service.as_str());
        if let (Some(locked), Some((_, brought))) = (lock.builtin(service), brought)
            && !hooks::is_older(&brought.version, &locked.version)
        {
            without.set_hook(service, None);
        }
    }
    Ok(without)
}

/// What the servers would install now, by service; `before` is what is pinned.
fn versions(
    session: &Session,
    tree: &SourceTree,
    composed: &Composed,
    before: &BTreeMap<ServiceName, Pins>,
    notes: &mut Vec<String>,
) -> Result<BTreeMap<ServiceName, Pins>, Failure> {
    let mut request = plan::request(tree, composed)?;
    request.upgrade.clone_from(before);
    let plans = plan::asked(session, request)?;
    would_fail(&plans)?;
    let mut all: BTreeMap<ServiceName, Pins> = BTreeMap::new();
    let mut said = BTreeSet::new();
    for (_, plan) in plans {
        said.extend(plan.notes);
        for service in plan.services.into_iter().filter(|found| before.contains_key(&found.service)) {
            let pins = all.entry(service.service.clone()).or_default();
            for package in service.packages.into_iter().filter(|package| package.pin) {
                let exact = package.exact.ok_or_else(|| {
                    Failure::new(Code::Failed, "a server's JeCloud is too old to be asked for newer versions")
                        .world("Nothing was changed.")
                        .hint("`jecloud fwd` brings this one there.")
                })?;
                let first = pins.entry(package.name.clone()).or_insert_with(|| exact.clone());
                if *first != exact {
                    said.insert(format!(
                        "servers differ: service {} would get {} {first} on some and {exact} on others",
                        service.service, package.name
                    ));
                }
            }
        }
    }
    notes.extend(said);
    Ok(all)
}

/// Makes sure that a deployment with these pins would not fail for them.
fn would_do(project: &Project, session: &Session, tree: &SourceTree) -> Result<(), Failure> {
    let known = session.state()?;
    let environment = known.as_ref().and_then(|state| state.environments.get(&session.environment));
    let scale = super::deploy::scale(project, session, environment);
    let composed = super::deploy::composed(session, project, tree, &tree.version()?, known.as_ref(), &scale)?;
    would_fail(&plan::asked(session, plan::request(tree, &composed)?)?)
}

fn would_fail(plans: &[(Option<ServerGroup>, DeployPlan)]) -> Result<(), Failure> {
    let Some(failure) = plans.iter().find_map(|(_, plan)| plan.failure.clone()) else { return Ok(()) };
    Err(Failure::new(Code::Failed, format!("a deployment with the newest versions would fail: {}", failure.reason))
        .details(failure.details)
        .world(format!("{LOCK} is as it was; nothing was changed."))
        .hint(failure.hint))
}

fn compared(service: &ServiceName, before: &Pins, after: &Pins) -> Vec<Change> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |name: &String| {
        let (from, to) = (before.get(name).cloned(), after.get(name).cloned());
        (from != to).then(|| Change { service: service.clone(), what: name.clone(), from, to })
    };
    names.into_iter().filter_map(change).collect()
}

/// What a newer hook may do that the older one might not.
fn more_powers(service: &ServiceName, new: &Powers, old: &Powers) -> Option<String> {
    let more = new.missing_from(old);
    (!more.is_empty()).then(|| format!("the newer hook of service {service} may also {}", more.in_words().join(", ")))
}

fn show(found: &Found) {
    for note in &found.notes {
        say(&format!("{} {note}", yellow("note:")));
    }
    if found.changes.is_empty() {
        print(&format!("There is nothing newer than what {LOCK} holds."));
        return;
    }
    let mut table = Table::new(["service", "package", "from", "to"]);
    for Change { service, what, from, to } in &found.changes {
        let in_words = |version: &Option<String>| version.clone().unwrap_or_else(|| "-".to_owned());
        table.row([service.to_string(), what.clone(), in_words(from), in_words(to)]);
    }
    print(&table.render());
}
