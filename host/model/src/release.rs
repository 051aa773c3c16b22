//! A release: everything that a server must be told to run a version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::backup_policy::BackupPolicy;
use crate::format::Format;
use crate::hook::Powers;
use crate::ids::{AppName, Digest, EnvironmentName, ProcessName, ReleaseNumber, ServerGroup, ServiceName, VersionId};
use crate::limits::Limits;
use crate::time::Timestamp;

/// One act of deploying. Never changes once it is recorded: the cloud state and every server hold the same one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// See [`Format`].
    #[serde(flatten)]
    pub format: Format,
    /// Whose.
    pub app: AppName,
    /// In which environment.
    pub environment: EnvironmentName,
    /// Which.
    #[serde(rename = "release")]
    pub number: ReleaseNumber,
    /// The source tree.
    pub version: VersionId,
    /// The services with their hooks, settings, powers and pins.
    pub services: BTreeMap<ServiceName, ReleaseService>,
    /// What the person says about processes.
    pub processes: BTreeMap<ProcessName, ProcessWish>,
    /// Variables of all processes and commands.
    pub env: BTreeMap<String, String>,
    /// The secrets that it uses, by name. Their values are nowhere in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, ReleaseSecret>,
    /// Host names that the front answers for.
    pub hosts: Vec<String>,
    /// Whether the server waits, before it switches, until it is told that all servers are ready.
    pub hold: bool,
    /// When the release was recorded.
    pub created: Timestamp,
    /// Who recorded it: `user@machine`.
    pub created_by: String,
    /// For a rollback: the release whose content this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<ReleaseNumber>,
    /// The release whose content this one has, where it was recorded only because what some server must know of the
    /// others has changed: a server for which nothing has changed goes on with what it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refreshes: Option<ReleaseNumber>,
}

/// A service of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseService {
    /// The component.
    pub hook: Digest,
    /// Checked against the hook's schema.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// What the person granted.
    pub powers: Powers,
    /// Exact versions from jecloud.lock.
    pub pins: BTreeMap<String, String>,
    /// The group of servers that it belongs to; none: it runs on all servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<ServerGroup>,
    /// The variables that it gives to what runs on other servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gives: Vec<String>,
    /// Whether its hook asks for the servers that it runs on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub peers: bool,
    /// How its data is backed up; none where its hook cannot do that, or did not say so to the JeCloud that recorded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupPolicy>,
    /// Whether it is something of its own, as a database is, and nothing of the app's code runs for it: it gives
    /// variables, and its hook wants to see none of the app's files.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub apart: bool,
}

/// A secret that a release uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseSecret {
    /// How new it is: see [`crate::secrets::Secret::revision`].
    pub revision: u64,
    /// Whether all processes and commands get it as the variable of its name.
    pub variable: bool,
}

/// What the person says about a process type, over what its hook says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessWish {
    /// How many instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// The path of an HTTP health check on its first port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// The group of servers that it runs on; none: where its service does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<ServerGroup>,
    /// What each instance may use. Documents from before there were limits have none.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
}

impl Release {
    /// The release whose content this one has, but for a rollback: its own, or that which it refreshes.
    pub fn content(&self) -> ReleaseNumber {
        self.refreshes.unwrap_or(self.number)
    }

    /// Whether deploying `other` would run the same as this release, which resolved to the exact versions `resolved`:
    /// everything counts but number, time and person. Pins of `other` may be what this one resolved to, because that is
    /// what was written into jecloud.lock.
    pub fn would_be_the_same(&self, other: &Self, resolved: &BTreeMap<ServiceName, BTreeMap<String, String>>) -> bool {
        let services_are_the_same = self.services.len() == other.services.len()
            && self.services.iter().all(|(name, own)| {
                other.services.get(name).is_some_and(|others| {
                    let pins_are_the_same = own.pins == others.pins || resolved.get(name) == Some(&others.pins);
                    pins_are_the_same && *own == ReleaseService { pins: own.pins.clone(), ..others.clone() }
                })
            });
        services_are_the_same
            && self.app == other.app
            && self.environment == other.environment
            && self.version == other.version
            && self.processes == other.processes
            && self.env == other.env
            && self.secrets == other.secrets
            && self.hosts == other.hosts
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn release(pins: &[(&str, &str)]) -> Release {
        let pins = pins.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect();
        let service = ReleaseService {
            hook: Digest::of(b"hook"),
            settings: serde_json::Map::new(),
            powers: Powers::default(),
            pins,
            on: None,
            gives: vec![],
            peers: false,
            backup: None,
            apart: false,
        };
        Release {
            format: Format::default(),
            app: "shop".parse().expect("valid"),
            environment: EnvironmentName::production(),
            number: ReleaseNumber(1),
            version: VersionId::from_sha256([7; 32]),
            services: BTreeMap::from([("runtime".parse().expect("valid"), service)]),
            processes: BTreeMap::new(),
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            hosts: vec![],
            hold: false,
            created: Timestamp::from_millisecond(0),
            created_by: "ada@here".to_owned(),
            repeats: None,
            refreshes: None,
        }
    }

    #[test]
    fn pins_that_were_resolved_are_no_change() {
        let resolved = BTreeMap::from([(
            "runtime".parse().expect("valid"),
            BTreeMap::from([("runtime".to_owned(), "20.1.0".to_owned())]),
        )]);
        let (unpinned, pinned) = (release(&[]), release(&[("runtime", "20.1.0")]));
        assert!(unpinned.would_be_the_same(&pinned, &resolved));
        assert!(pinned.would_be_the_same(&pinned, &resolved));
        assert!(pinned.would_be_the_same(&pinned, &BTreeMap::new()));
        // Somebody deleted jecloud.lock, or changed it: everything is resolved anew.
        assert!(!pinned.would_be_the_same(&unpinned, &resolved));
        assert!(!unpinned.would_be_the_same(&release(&[("runtime", "22.0.0")]), &resolved));
        assert!(!unpinned.would_be_the_same(&pinned, &BTreeMap::new()));
    }

    #[test]
    fn everything_else_counts() {
        let one = release(&[]);
        let check = |change: fn(&mut Release)| {
            let mut other = release(&[]);
            change(&mut other);
            one.would_be_the_same(&other, &BTreeMap::new())
        };
        assert!(check(|other| other.number = ReleaseNumber(2)));
        assert!(check(|other| other.created_by = "bob@there".to_owned()));
        assert!(!check(|other| other.version = VersionId::from_sha256([8; 32])));
        assert!(!check(|other| drop(other.env.insert("A".to_owned(), "1".to_owned()))));
        assert!(!check(|other| {
            other.secrets.insert("TOKEN".to_owned(), ReleaseSecret { revision: 2, variable: true });
        }));
        assert!(!check(|other| other.services.clear()));
        assert!(!check(|other| other.services.values_mut().for_each(|service| service.on = "db".parse().ok())));
        let worker: fn(&mut Release) = |other| {
            let wish = ProcessWish { on: "jobs".parse().ok(), ..ProcessWish::default() };
            other.processes.insert("worker".parse().expect("valid"), wish);
        };
        assert!(!check(worker));
        assert!(!check(|other| {
            let limits = Limits { memory_bytes: Some(1 << 30), cpu_millis: None };
            other.processes.insert("web".parse().expect("valid"), ProcessWish { limits, ..ProcessWish::default() });
        }));
        assert!(!check(|other| other.hosts.push("x.localhost".to_owned())));
        assert!(!check(|other| other.services.values_mut().for_each(|service| service.hook = Digest::of(b"other"))));
    }
}
