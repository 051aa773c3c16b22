//! What the person says about processes, laid over what the hooks plan.

use std::collections::BTreeMap;

use jecloud_model::app::Failure;
use jecloud_model::hook::{Health, Plan};
use jecloud_model::ids::{ProcessName, ServiceName};
use jecloud_model::release::{ProcessWish, Release};
use jecloud_model::suggest;

use crate::process_manager::ProcessManager;

/// The plan of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    /// Which.
    pub service: ServiceName,
    /// What its hook wants done.
    pub plan: Plan,
}

/// Changes counts and health checks as `[processes.NAME]` says.
///
/// # Errors
///
/// A name that no service has a process for, with the nearest one, unless services are left out here; a health path for a process without a port.
pub(crate) fn overlay(planned: &mut [Planned], release: &Release) -> Result<(), Failure> {
    let names: Vec<String> =
        planned.iter().flat_map(|planned| &planned.plan.processes).map(|process| process.name.to_string()).collect();
    for (name, wish) in &release.processes {
        let mut processes = planned.iter_mut().flat_map(|planned| &mut planned.plan.processes);
        let Some(process) = processes.find(|process| process.name == *name) else {
            // It may belong to a service on other servers: `part::here` has asked all of them.
            if release.is_split() {
                continue;
            }
            return Err(unknown(name, &names));
        };
        if let Some(count) = wish.count {
            process.replicas = count;
        }
        if let Some(path) = &wish.health {
            let Some(port) = process.ports.first().cloned() else {
                return Err(Failure::because(format!(
                    "[processes.{name}] has a health path, and process {name} listens on no port"
                ))
                .hint("Only processes that serve HTTP can be asked for a path; remove `health`."));
            };
            process.health = Health::Http { port, path: path.clone() };
        }
    }
    Ok(())
}

/// What a person has to be told about the limits of these processes: that nobody keeps them here. None where there is
/// nothing to tell.
pub(crate) fn not_enforced(
    wishes: &BTreeMap<ProcessName, ProcessWish>,
    manager: &dyn ProcessManager,
) -> Option<String> {
    let limited = wishes.iter().filter(|(_, wish)| !wish.limits.is_none());
    let limited: Vec<String> = limited.map(|(name, wish)| format!("{name} ({})", wish.limits)).collect();
    (!limited.is_empty() && !manager.enforces_limits()).then(|| {
        format!(
            "limits are not enforced here, since JeCloud's own process manager runs the processes: {}",
            limited.join(", ")
        )
    })
}

pub(crate) fn unknown(name: &ProcessName, names: &[String]) -> Failure {
    let failure = Failure::because(format!("[processes.{name}] names a process that the app does not have"));
    match suggest::nearest(name.as_str(), names.iter().map(String::as_str)) {
        Some(near) => failure.hint(format!("Did you mean [processes.{near}]?")),
        None if names.is_empty() => failure.hint("It has none at all."),
        None => failure.hint(format!("It has: {}.", names.join(", "))),
    }
}
