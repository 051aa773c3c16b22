//! What a deployment would be: `deploy` and `plan` share every line of this.

use std::collections::{BTreeMap, BTreeSet};

use jecloud_disk::source::SourceTree;
use jecloud_model::config::{EnvironmentConfig, Provider};
use jecloud_model::format::Format;
use jecloud_model::hook::{Description, OptionValue};
use jecloud_model::ids::{AppName, EnvironmentName, ProcessName, ReleaseNumber, ServiceName, VersionId};
use jecloud_model::release::{ProcessWish, Release, ReleaseService};
use jecloud_model::secrets::Secrets;
use jecloud_model::suggest::did_you_mean;
use jecloud_model::time::Timestamp;
use jecloud_sandbox::Sandbox;

use crate::failure::Failure;
use crate::hooks::{self, Components, Resolved};
use crate::project::Project;

/// A release that nobody has recorded yet, and what it needs.
pub(crate) struct Composed {
    /// Its number is what the caller said.
    pub(crate) release: Release,
    /// The hooks of its services.
    pub(crate) hooks: Vec<Resolved>,
    /// Secrets that its hooks ask for and that nobody has made yet.
    pub(crate) missing_secrets: BTreeSet<String>,
}

impl Composed {
    /// What a person has to be told of its hooks.
    pub(crate) fn notes(&self) -> impl Iterator<Item = &str> {
        self.hooks.iter().filter_map(|hook| hook.note.as_deref())
    }
}

/// What goes into a release besides the project.
pub(crate) struct Circumstances<'a> {
    /// Which number it would have.
    pub(crate) number: ReleaseNumber,
    /// What `jecloud env set` recorded.
    pub(crate) env: &'a BTreeMap<String, String>,
    /// The secrets of the environment.
    pub(crate) secrets: &'a Secrets,
    /// What `jecloud scale` recorded of processes.
    pub(crate) scaled: &'a BTreeMap<ProcessName, u32>,
    /// Whether several servers have to switch together.
    pub(crate) hold: bool,
    /// Now.
    pub(crate) now: Timestamp,
}

/// Whether a service has to know all servers that it runs on, and is prepared anew when they change.
fn wants_peers(description: &Description, settings: &serde_json::Map<String, serde_json::Value>) -> bool {
    let asks = description.facts.iter().any(|fact| fact == "hosts");
    match description.options.get("hosts-with") {
        Some(OptionValue::Texts(keys)) => asks && keys.iter().any(|key| settings.contains_key(key)),
        _ => asks,
    }
}

/// Composes the release that deploying this tree would record.
pub(crate) fn compose(
    project: &Project,
    environment: &EnvironmentName,
    tree: &SourceTree,
    version: VersionId,
    sandbox: &Sandbox,
    components: &dyn Components,
    circumstances: &Circumstances<'_>,
) -> Result<Composed, Failure> {
    let wished: EnvironmentConfig = project.environment(environment);
    let resolved = hooks::resolve(sandbox, components, &project.config, environment, &wished, &project.lock, tree)?;
    // On this machine all groups are this machine.
    let several = wished.servers.len() > 1 && wished.cloud.provider != Provider::Local;
    let backed_up = backed_up(sandbox, &resolved)?;
    check_backups(project, environment, &wished, &resolved, &backed_up)?;
    let services = resolved
        .iter()
        .map(|resolved| {
            let wish = wished.services.get(&resolved.service);
            let options = &resolved.description.options;
            let gives = match options.get("gives") {
                Some(OptionValue::Texts(names)) => names.clone(),
                _ => Vec::new(),
            };
            let service = ReleaseService {
                on: several.then(|| wished.group(wish.and_then(|wish| wish.on.as_ref())).clone()),
                apart: !gives.is_empty() && resolved.description.inputs.is_empty(),
                gives,
                peers: wants_peers(&resolved.description, &resolved.settings),
                hook: resolved.digest.clone(),
                settings: resolved.settings.clone(),
                powers: resolved.granted.clone(),
                pins: project.lock.pins(&resolved.service),
                backup: backed_up.contains(&resolved.service).then(|| wished.backups.of(&resolved.service)),
            };
            (resolved.service.clone(), service)
        })
        .collect();
    let mut processes: BTreeMap<ProcessName, ProcessWish> = wished
        .processes
        .iter()
        .map(|(name, process)| {
            let (count, health, limits) = (process.count, process.health.clone(), process.limits);
            let on = process.on.clone().filter(|_| several);
            (name.clone(), ProcessWish { count, health, limits, on })
        })
        .collect();
    for (name, count) in circumstances.scaled {
        processes.entry(name.clone()).or_default().count = Some(*count);
    }
    let mut env = wished.env.clone();
    env.extend(circumstances.env.clone());
    let mut release = Release {
        format: Format::default(),
        app: wished.app.clone(),
        environment: environment.clone(),
        number: circumstances.number,
        version,
        services,
        processes,
        env,
        secrets: BTreeMap::new(),
        hosts: vec![host_name(&wished.app, environment)],
        hold: circumstances.hold,
        created: circumstances.now,
        created_by: person(),
        repeats: None,
        refreshes: None,
    };
    if let Some((one, other)) = release.wait_for_each_other() {
        return Err(Failure::usage(format!(
            "services on {one} need variables of services on {other}, and the other way round, so that none can be first"
        ))
        .world("Nothing was recorded.")
        .hint("Give the services that others need a group of their own: `on = \"db\"`."));
    }
    let (used, missing_secrets) = circumstances.secrets.used_by(&release);
    release.secrets = used;
    Ok(Composed { release, hooks: resolved, missing_secrets })
}

/// The services whose hooks can back their data up.
fn backed_up(sandbox: &Sandbox, resolved: &[Resolved]) -> Result<BTreeSet<ServiceName>, Failure> {
    let mut services = BTreeSet::new();
    for resolved in resolved {
        if hooks::backs_up(sandbox, &resolved.wasm)? {
            services.insert(resolved.service.clone());
        }
    }
    Ok(services)
}

/// Whether every `[backups.SERVICE]` is about a service that can be backed up. A schedule that never comes is worse than
/// none.
fn check_backups(
    project: &Project,
    environment: &EnvironmentName,
    wished: &EnvironmentConfig,
    resolved: &[Resolved],
    backed_up: &BTreeSet<ServiceName>,
) -> Result<(), Failure> {
    let mut errors = Vec::new();
    for service in wished.backups.services.keys().filter(|service| !backed_up.contains(*service)) {
        let message = if resolved.iter().any(|resolved| resolved.service == *service) {
            format!("the hook of {service} cannot back its data up")
        } else {
            let near = did_you_mean(service.as_str(), backed_up.iter().map(ServiceName::as_str));
            format!("there is no service {service}{near}")
        };
        errors.push(project.config.error_at_key(environment, &["backups", service.as_str()], message));
    }
    if errors.is_empty() { Ok(()) } else { Err(crate::project::config_failure(&errors)) }
}

/// A release once more, as a new one that somebody wants now. Its number is given when it is recorded.
pub(crate) fn anew(release: &Release) -> Release {
    Release {
        repeats: None,
        refreshes: None,
        created: Timestamp::from_system(std::time::SystemTime::now()),
        created_by: person(),
        ..release.clone()
    }
}

/// The host name under which an environment is found on this machine. Names below `localhost` lead to the machine
/// itself (RFC 6761), so they work without any DNS.
pub(crate) fn host_name(app: &AppName, environment: &EnvironmentName) -> String {
    if *environment == EnvironmentName::production() {
        format!("{app}.localhost")
    } else {
        format!("{environment}.{app}.localhost")
    }
}

/// Who deploys: `user@machine`.
fn person() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let user =
        user.unwrap_or_else(|_| if jecloud_launch::is_root() { "root".to_owned() } else { "somebody".to_owned() });
    let machine = rustix::system::uname();
    format!("{user}@{}", machine.nodename().to_string_lossy())
}
