//! Servers that a person has.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jecloud_model::cloud::{Place, ServerName};
use jecloud_model::ids::EnvironmentName;
use jecloud_remote::{
    Connection, HostKey, HostKeyRule, Identity, Jump, Objects, OwnKeys, RemoteError, Session, SshMachines, Target,
};

use super::{binaries, listen};
use crate::failure::{Code, Failure};
use crate::home::Home;
use crate::project::{Project, config_failure};

/// How long the server through which the others are reached may take.
const JUMP: Duration = Duration::from_secs(30);

/// The servers that a person has.
pub(super) fn machines(project: &Project, environment: &EnvironmentName, home: &Home) -> Result<SshMachines, Failure> {
    let wished = project.environment(environment);
    let mut hosts = BTreeMap::new();
    for (group, servers) in &wished.servers {
        if servers.hosts.is_empty() {
            let message = format!("provider = \"ssh\" needs `hosts` in [servers.{group}]");
            let error = project.config.error_at(environment, &["cloud", "provider"], message);
            return Err(config_failure(&[error])
                .hint("Name them there: hosts = [\"root@192.0.2.1\"]. Each becomes a server of its own."));
        }
        for (index, host) in (1..).zip(&servers.hosts) {
            let target = target(project, environment, &["servers", group.as_str(), "hosts"], host)?;
            let server = ServerName { group: group.clone(), index };
            hosts.insert(Place { environment: environment.clone(), server }, target);
        }
    }
    let identity = Identity::Own(OwnKeys::from_environment(wished.cloud.key.as_deref().map(Path::new)));
    let objects = Arc::new(Objects::new(home.path().join("fetched")));
    let mut machines = SshMachines::new(hosts, identity.clone(), objects);
    machines.listen = listen(&wished);
    machines.binaries = binaries(project, &wished);
    if let Some(jump) = &wished.cloud.jump {
        let target = target(project, environment, &["cloud", "jump"], jump)?;
        machines.via = Some(through(target, identity, home)?);
    }
    Ok(machines)
}

fn target(project: &Project, environment: &EnvironmentName, path: &[&str], text: &str) -> Result<Target, Failure> {
    text.parse().map_err(|error: jecloud_remote::TargetError| {
        config_failure(&[project.config.error_at(environment, path, error.to_string())])
    })
}

/// The server through which the others are reached. Its key is pinned at first contact, on this machine.
fn through(target: Target, identity: Identity, home: &Home) -> Result<Arc<Jump>, Failure> {
    let failed = |error: &RemoteError| {
        let attempt = "the server through which the others are reached does not let us in";
        Failure::from_error(Code::NotReachable, attempt, error).world("Nothing was changed.").hint(error.hint())
    };
    let pins = home.path().join("known-jump-hosts.json");
    let mut known: BTreeMap<String, String> = jecloud_disk::durable::read_json(&pins)?.unwrap_or_default();
    let name = target.to_string();
    let key = match known.get(&name) {
        Some(key) => key.parse::<HostKey>().map_err(|error| failed(&error))?,
        None => {
            let connection = Connection::new(target.clone(), identity.clone(), HostKeyRule::FirstContact);
            let session =
                Session::wait(&connection, Instant::now() + JUMP, &|| false).map_err(|error| failed(&error))?;
            let key = session.host_key().clone();
            known.insert(name, key.to_string());
            jecloud_disk::durable::write_json(&pins, &known, 0o600)?;
            key
        }
    };
    Ok(Arc::new(Jump::new(Connection::new(target, identity, HostKeyRule::Pinned(key)))))
}
