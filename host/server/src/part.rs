//! The part of a release that runs on this server, where not everything runs on all of them.

use std::collections::BTreeSet;

use jecloud_model::app::AppDocument;
use jecloud_model::hook::Plan;
use jecloud_model::ids::{ProcessName, ServerGroup, ServiceName};
use jecloud_model::release::Release;
use jecloud_model::topology::Topology;

use crate::error::ServerError;
use crate::hooks::Asked;
use crate::wishes::{self, Planned};

/// The services that are prepared on this server: those that belong to its group, and those that have a process which
/// runs here. Which service has it nobody but its hook knows: those that may have it are asked for their plans, and
/// nothing is done.
///
/// # Errors
///
/// Where no service has a process that the person names.
pub(crate) fn here<'a>(
    asked: Vec<Asked<'a>>,
    release: &Release,
    document: &AppDocument,
    topology: &Topology,
) -> Result<Vec<Asked<'a>>, ServerError> {
    if !release.is_split() || topology.server.is_none() {
        return Ok(asked);
    }
    let plan = |asked: &Asked<'_>| {
        let context = asked.context(release, document, document.current_version.as_ref());
        // One that cannot say it before its packages are there says it where it belongs.
        asked.prepare_deploy(&context).ok()
    };
    let plans: Vec<(ServiceName, Option<Plan>)> = match release.processes.is_empty() {
        true => asked.iter().map(|asked| (asked.service.clone(), None)).collect(),
        false => asked.iter().map(|asked| (asked.service.clone(), plan(asked))).collect(),
    };
    let chosen = choose(&plans, release, topology.group())?;
    Ok(asked.into_iter().filter(|asked| chosen.contains(asked.service)).collect())
}

/// As [`here`], from the plans as far as they are known.
fn choose(
    plans: &[(ServiceName, Option<Plan>)],
    release: &Release,
    group: Option<&ServerGroup>,
) -> Result<BTreeSet<ServiceName>, ServerError> {
    let all_known = plans.len() == release.services.len() && plans.iter().all(|(_, plan)| plan.is_some());
    let processes = |plan: &Option<Plan>| plan.iter().flat_map(|plan| &plan.processes).cloned().collect::<Vec<_>>();
    let names: Vec<String> =
        plans.iter().flat_map(|(_, plan)| processes(plan)).map(|process| process.name.to_string()).collect();
    let is_unknown = |name: &&ProcessName| all_known && !names.contains(&name.to_string());
    if let Some(name) = release.processes.keys().find(is_unknown) {
        return Err(wishes::unknown(name, &names).into());
    }
    let is_here = |(service, plan): &&(ServiceName, Option<Plan>)| {
        let belongs = release.services.get(service).is_some_and(|wish| wish.belongs_to(group));
        belongs || processes(plan).iter().any(|process| release.runs(service, &process.name, group))
    };
    Ok(plans.iter().filter(is_here).map(|(service, _)| service.clone()).collect())
}

/// Takes out of plans what runs on other servers: processes, and the routes to them.
pub(crate) fn restrict(planned: &mut [Planned], release: &Release, group: Option<&ServerGroup>) {
    for Planned { service, plan } in planned {
        let before: BTreeSet<_> = plan.processes.iter().map(|process| process.name.clone()).collect();
        plan.processes.retain(|process| release.runs(service, &process.name, group));
        let left = |name: &ProcessName| plan.processes.iter().any(|process| process.name == *name);
        plan.routes.retain(|route| !before.contains(&route.process) || left(&route.process));
    }
}

#[cfg(test)]
mod tests {
    use jecloud_model::hook::{Health, HookRoute, Identity, Options, Process};
    use serde_json::json;

    use super::*;

    fn process(name: &str) -> Process {
        Process {
            name: name.parse().expect("valid"),
            argv: vec!["node".to_owned()],
            env: Default::default(),
            cwd: String::new(),
            ports: vec!["http".to_owned()],
            health: Health::StaysUp,
            start_timeout_ms: 1000,
            stop_timeout_ms: 1000,
            run_as: Identity::App,
            replicas: 1,
            shards: 1,
            beside: true,
            options: Options::new(),
        }
    }

    fn plan(processes: &[&str]) -> Plan {
        let route = |name: &&str| HookRoute {
            process: name.parse().expect("valid"),
            port: "http".to_owned(),
            path_prefix: "/".to_owned(),
            options: Options::new(),
        };
        Plan {
            processes: processes.iter().map(|name| process(name)).collect(),
            routes: processes.iter().take(1).map(route).collect(),
            ..Plan::default()
        }
    }

    /// node on `app`, redis on `db`, and what is said of processes.
    fn release(processes: serde_json::Value) -> Release {
        let service = |on: &str| json!({"hook": "0".repeat(64), "settings": {}, "powers": {}, "pins": {}, "on": on});
        let release = json!({
            "format": 1, "min_writer": 1, "app": "shop", "environment": "production", "release": 1, "version": "0".repeat(64),
            "services": {"node": service("app"), "redis": service("db")}, "processes": processes, "env": {},
            "hosts": [], "hold": true, "created": "2026-11-24T12:00:00Z", "created_by": "ada@laptop",
        });
        serde_json::from_value(release).expect("a release")
    }

    fn group(name: &str) -> ServerGroup {
        name.parse().expect("valid")
    }

    #[test]
    fn a_service_is_prepared_where_it_belongs_and_where_its_processes_run() {
        let release = release(json!({"worker": {"on": "jobs"}, "web": {"count": 2}}));
        let plans = [("node", Some(plan(&["web", "worker"]))), ("redis", Some(plan(&["redis"])))];
        let plans: Vec<_> = plans.into_iter().map(|(name, plan)| (name.parse().expect("valid"), plan)).collect();
        let on = |name: &str| {
            let chosen = choose(&plans, &release, Some(&group(name))).expect("known processes");
            chosen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!((on("app"), on("jobs"), on("db")), ("node".into(), "node".into(), "redis".into()));
    }

    #[test]
    fn what_runs_elsewhere_is_taken_out_with_its_routes() {
        let release = release(json!({"worker": {"on": "jobs"}}));
        let left = |on: &str| {
            let mut planned = [Planned { service: "node".parse().expect("valid"), plan: plan(&["web", "worker"]) }];
            restrict(&mut planned, &release, Some(&group(on)));
            let plan = &planned[0].plan;
            (plan.processes.iter().map(|process| process.name.to_string()).collect::<Vec<_>>(), plan.routes.len())
        };
        assert_eq!(left("app"), (vec!["web".to_owned()], 1));
        assert_eq!(left("jobs"), (vec!["worker".to_owned()], 0));
        assert_eq!(left("db"), (vec![], 0));
    }

    /// Fails where a name is looked for among the services of this server only: `worker` is on none of `db`.
    #[test]
    fn a_process_that_no_service_has_is_refused_and_one_on_other_servers_is_not() {
        let plans = |redis: Option<Plan>| {
            [("node".parse().expect("valid"), Some(plan(&["web", "worker"]))), ("redis".parse().expect("valid"), redis)]
        };
        let misspelt = release(json!({"wroker": {"on": "jobs"}}));
        let error = choose(&plans(Some(plan(&["redis"]))), &misspelt, Some(&group("db"))).expect_err("no such process");
        assert!(error.to_string().contains("wroker"), "{error}");
        let right = release(json!({"worker": {"on": "jobs"}}));
        assert!(choose(&plans(Some(plan(&["redis"]))), &right, Some(&group("db"))).is_ok());
        // Where one does not say what it has, the name may be one of its processes.
        assert!(choose(&plans(None), &misspelt, Some(&group("db"))).is_ok());
    }
}
