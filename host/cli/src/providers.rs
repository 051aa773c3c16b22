//! From what jecloud.toml says about servers to those who make and find them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use jecloud_cloud::{DirectoryStore, ObjectStore};
use jecloud_model::cloud::{Place, ServerName};
use jecloud_model::config::{EnvironmentConfig, Provider, Store};
use jecloud_model::ids::{EnvironmentName, ServerGroup};
use jecloud_remote::{
    Connection, HostKey, HostKeyRule, Identity, Jump, Objects, OwnKeys, RemoteError, Session, SshMachines, Target,
};

use jecloud_s3::{S3Options, S3Store};

use crate::failure::{Code, Failure};
use crate::home::Home;
use crate::output::plural;
use crate::project::{Project, config_failure};

/// Where the front of a server listens, where nothing else is said.
const HTTP: u16 = 80;

/// How long the server through which the others are reached may take.
const JUMP: std::time::Duration = std::time::Duration::from_secs(30);

/// Where the state of a cloud with servers elsewhere lies.
pub(crate) fn store(wished: &EnvironmentConfig, home: &Home) -> Result<Arc<dyn ObjectStore>, Failure> {
    if wished.cloud.store != Some(Store::S3) {
        // Not among the clouds of this machine, which its own server rolls forward.
        return Ok(Arc::new(DirectoryStore::new(home.remote_cloud(&wished.app))));
    }
    let options =
        S3Options::new(&wished.app).region(wished.cloud.region.as_deref()).endpoint(wished.cloud.endpoint.as_deref());
    let store =
        S3Store::open(&options).map_err(|error| Failure::from_store("the app's store cannot be used", &error))?;
    Ok(Arc::new(store))
}

/// The servers that a person has.
pub(crate) fn ssh(project: &Project, environment: &EnvironmentName, home: &Home) -> Result<SshMachines, Failure> {
    let wished = project.environment(environment);
    let mut hosts = BTreeMap::new();
    for (group, servers) in &wished.servers {
        if servers.hosts.is_empty() {
            let message = format!("provider = \"ssh\" needs `hosts` in [servers.{group}]");
            let error = project.config.error_at(environment, &["servers", group.as_str()], message);
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
    machines.listen = match wished.cloud.listen.as_slice() {
        // One socket takes both kinds where the system has IPv6; where it has not, the other one remains.
        [] => [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
            .map(|address| SocketAddr::new(address, HTTP))
            .to_vec(),
        listen => listen.to_vec(),
    };
    if let Some(jump) = &wished.cloud.jump {
        let target = target(project, environment, &["cloud", "jump"], jump)?;
        machines.via = Some(through(target, identity, home)?);
    }
    Ok(machines)
}

/// Whether there can be so many servers.
pub(crate) fn check_scale(
    project: &Project,
    environment: &EnvironmentName,
    scale: &BTreeMap<ServerGroup, u32>,
) -> Result<(), Failure> {
    let wished = project.environment(environment);
    for (group, count) in scale {
        let named = wished.servers.get(group).map_or(0, |servers| servers.hosts.len());
        if wished.cloud.provider == Provider::Ssh && usize::try_from(*count).is_ok_and(|count| count > named) {
            let hosts = plural(named as u64, "host", "hosts");
            let message = format!("{count} servers are wanted, and [servers.{group}] names {hosts}");
            let error = project.config.error_at(environment, &["servers", group.as_str(), "hosts"], message);
            return Err(config_failure(&[error]).hint("Name one host for each, or want fewer."));
        }
    }
    Ok(())
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
