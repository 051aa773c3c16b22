//! From what jecloud.toml says about servers to those who make and find them.

mod ec2;
mod ssh;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use jecloud_cloud::{DirectoryStore, LocalMachines, Machines, ObjectStore};
use jecloud_disk::tree;
use jecloud_ec2::Ec2Machines;
use jecloud_model::config::{ARCHITECTURES, EnvironmentConfig, Provider, Store};
use jecloud_model::ids::{EnvironmentName, ServerGroup};
use jecloud_remote::Binaries;
use jecloud_s3::{S3Options, S3Store};

use crate::failure::{Code, Failure};
use crate::home::Home;
use crate::output::plural;
use crate::project::{Project, config_failure};

/// Where the front of a server listens, where nothing else is said.
const HTTP: u16 = 80;

/// Where the state of a cloud with servers elsewhere lies: with EC2 always in S3, for whoever has the account.
pub(crate) fn store(wished: &EnvironmentConfig, home: &Home) -> Result<Arc<dyn ObjectStore>, Failure> {
    let is_in_s3 = wished.cloud.provider == Provider::Ec2 || wished.cloud.store == Some(Store::S3);
    if !is_in_s3 {
        // Not among the clouds of this machine, which its own server rolls forward.
        return Ok(Arc::new(DirectoryStore::new(home.remote_cloud(&wished.app))));
    }
    let options =
        S3Options::new(&wished.app).region(wished.cloud.region.as_deref()).endpoint(wished.cloud.endpoint.as_deref());
    let store =
        S3Store::open(&options).map_err(|error| Failure::from_store("the app's store cannot be used", &error))?;
    Ok(Arc::new(store))
}

/// Those who make and find servers.
pub(crate) enum Servers {
    /// This machine is the only one.
    Local(LocalMachines),
    /// They are there already.
    Ssh(Box<jecloud_remote::SshMachines>),
    /// They are made on EC2.
    Ec2(Box<ec2::Lazy>),
}

impl Servers {
    /// For an environment of a project with servers elsewhere.
    pub(crate) fn elsewhere(
        project: &Project,
        environment: &EnvironmentName,
        home: &Home,
        store: &Arc<dyn ObjectStore>,
    ) -> Result<Self, Failure> {
        Ok(match project.environment(environment).cloud.provider {
            Provider::Ec2 => Self::Ec2(Box::new(ec2::Lazy::new(project, environment, home, store))),
            Provider::Local | Provider::Ssh => Self::Ssh(Box::new(ssh::machines(project, environment, home)?)),
        })
    }

    /// For the cloud crate.
    pub(crate) fn machines(&self) -> &dyn Machines {
        match self {
            Self::Local(machines) => machines,
            Self::Ssh(machines) => &**machines,
            Self::Ec2(machines) => &**machines,
        }
    }

    /// Those of EC2, connected; none where servers come from somewhere else.
    pub(crate) fn ec2(&self) -> Option<Result<&Ec2Machines, Failure>> {
        match self {
            Self::Local(_) | Self::Ssh(_) => None,
            Self::Ec2(machines) => {
                Some(machines.get().map_err(|error| Failure::from_machine(Code::NotReachable, &error)))
            }
        }
    }
}

/// Where the front of a server listens.
fn listen(wished: &EnvironmentConfig) -> Vec<SocketAddr> {
    match wished.cloud.listen.as_slice() {
        // One socket takes both kinds where the system has IPv6; where it has not, the other one remains.
        [] => [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
            .map(|address| SocketAddr::new(address, HTTP))
            .to_vec(),
        listen => listen.to_vec(),
    }
}

/// A directory with binaries for other architectures, `jecloud-ARCHITECTURE` each; jecloud.toml goes before it.
const BINARIES: &str = "JECLOUD_BINARIES";

/// Which JeCloud goes to which server: this one, or what the configuration or the environment names.
fn binaries(project: &Project, wished: &EnvironmentConfig) -> Binaries {
    let mut binaries = Binaries::default();
    if let Some(directory) = std::env::var_os(BINARIES).map(PathBuf::from) {
        let named = |name: &str| (name.to_owned(), directory.join(format!("jecloud-{name}")));
        let there = ARCHITECTURES.map(named).into_iter().filter(|(_, path)| tree::exists(path).unwrap_or(false));
        binaries.others.extend(there);
    }
    let named = wished.cloud.binaries.iter();
    binaries.others.extend(named.map(|(name, path)| (name.clone(), project.directory.join(path))));
    binaries
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
