//! What the preparation of a release on a server comes to: processes and routes, complete down to the ports.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hook::Member;
use crate::ids::{InstanceId, ProcessName, ReleaseNumber, ServiceName, VersionId};
use crate::processes::ProcessSpec;

/// `releases/N/prepared.json`. Written once, as the last act of preparing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// 1.
    pub format: u32,
    /// Which release.
    pub release: ReleaseNumber,
    /// Its version.
    pub version: VersionId,
    /// All instances. Those whose id names the release run beside those of other releases; the others exist once.
    pub processes: Vec<ProcessSpec>,
    /// Which requests go where, by process type and the name of its port.
    pub routes: Vec<PreparedRoute>,
    /// Host names that the front answers for.
    pub hosts: Vec<String>,
    /// Exact versions that were resolved, by service.
    pub pins: BTreeMap<ServiceName, BTreeMap<String, String>>,
    /// What each hook wants to be told next time.
    pub remember: BTreeMap<ServiceName, BTreeMap<String, String>>,
    /// Keys under which build results are kept that this release uses, by service.
    pub kept: BTreeMap<ServiceName, Vec<String>>,
    /// Variables that services give to the app and to each other, as templates in which only secrets are left.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// Those of them that services give which belong to this server, by service: what other servers are told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gives: BTreeMap<ServiceName, BTreeMap<String, String>>,
}

/// A route before instances are put in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedRoute {
    /// The process type.
    pub process: ProcessName,
    /// Its named port.
    pub port: String,
    /// `/` for all.
    pub path_prefix: String,
}

impl Prepared {
    /// The instances that a route leads to.
    pub fn backends<'a>(&'a self, route: &'a PreparedRoute) -> impl Iterator<Item = (&'a InstanceId, u16)> + 'a {
        self.processes
            .iter()
            .filter(move |spec| spec.id.process == route.process)
            .filter_map(move |spec| Some((&spec.id, *spec.ports.get(&route.port)?)))
    }

    /// The processes of a service that outlive releases.
    pub fn outliving(&self, service: &ServiceName) -> impl Iterator<Item = &ProcessSpec> {
        self.processes.iter().filter(move |spec| spec.service == *service && spec.id.release.is_none())
    }

    /// The ports of a service's processes by name, where only one process has a port of that name: those of its first
    /// instance.
    pub fn ports(&self, service: &ServiceName) -> BTreeMap<String, u16> {
        let first = |spec: &&ProcessSpec| spec.service == *service && spec.id.index == 1;
        let mut named: BTreeMap<&str, Vec<u16>> = BTreeMap::new();
        for spec in self.processes.iter().filter(first) {
            for (name, port) in &spec.ports {
                named.entry(name).or_default().push(*port);
            }
        }
        let only = |(name, ports): (&str, Vec<u16>)| match ports.as_slice() {
            [port] => Some((name.to_owned(), *port)),
            _ => None,
        };
        named.into_iter().filter_map(only).collect()
    }

    /// The members of a service on servers with these addresses: on each the same processes as here that outlive releases,
    /// at their fixed ports. Which of them are members is the hook's to say.
    pub fn members(&self, service: &ServiceName, addresses: &[String]) -> Vec<Member> {
        let fixed: Vec<(String, u16)> = self
            .outliving(service)
            .flat_map(|spec| spec.ports.iter().map(|(name, port)| (spec.id.short(), name, *port)))
            .filter(|(_, name, port)| **name == port.to_string())
            .map(|(process, _, port)| (process, port))
            .collect();
        let of_server = |address: &String| {
            let of_process = |(process, port): &(String, u16)| {
                let host = if address.contains(':') { format!("[{address}]") } else { address.clone() };
                Member { process: process.clone(), address: format!("{host}:{port}") }
            };
            fixed.iter().map(of_process).collect::<Vec<_>>()
        };
        addresses.iter().flat_map(of_server).collect()
    }
}
