//! `jecloud.toml`: what a person says about an app.
//!
//! [`Config::parse`] reads it and says everything that is wrong with it at once; [`Config::environment`] gives what
//! holds in one environment. Nothing but the app's name needs to be written.

mod backups;
mod error;
mod layer;
mod read;
mod section;
mod template;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use error::ConfigError;
pub(crate) use error::merge_conflict;
pub use read::check_variable;
use section::dotted;
pub(crate) use section::{Document, Ignored, Section};
pub use template::{Detected, app_name_from_directory, template};

use crate::backup_policy::{BackupPolicy, BackupWish};
use crate::ids::{AppName, Digest, EnvironmentName, ProcessName, ServerGroup, ServiceName};
use crate::limits::Limits;
use crate::suggest::nearest;
use layer::Layer;

/// The name of the file, beside the app's sources.
pub const FILE_NAME: &str = "jecloud.toml";

/// The group of servers that there is where none is declared, and that runs what has no `on`.
const DEFAULT_GROUP: &str = "app";

/// A whole `jecloud.toml`, checked.
#[derive(Debug, Clone)]
pub struct Config {
    app: AppName,
    base: Layer,
    environments: BTreeMap<EnvironmentName, Layer>,
    source: SourceText,
}

/// The text a [`Config`] was read from, to point into.
#[derive(Debug, Clone)]
struct SourceText {
    file: String,
    text: String,
    places: BTreeMap<Vec<String>, Written>,
}

/// Where a key with its value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    key: Range<usize>,
    /// Of a table the name of it.
    value: Range<usize>,
}

/// What holds in one environment.
///
/// It is part of what a release records, so it can be stored: keys that are added later have defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentConfig {
    /// The same in every environment.
    pub app: AppName,
    /// Where it runs.
    #[serde(default)]
    pub cloud: CloudConfig,
    /// Never empty. See also [`EnvironmentConfig::group`].
    pub servers: BTreeMap<ServerGroup, ServerConfig>,
    /// Empty where the person names none; then the built-in hooks whose `detect` matches are used.
    #[serde(default)]
    pub services: BTreeMap<ServiceName, ServiceConfig>,
    /// What the person wants otherwise than the hook that defines the process.
    #[serde(default)]
    pub processes: BTreeMap<ProcessName, ProcessConfig>,
    /// How often servers back services up by themselves.
    #[serde(default, skip_serializing_if = "BackupsConfig::is_silent")]
    pub backups: BackupsConfig,
    /// Variables for the app. Names are `[A-Za-z_][A-Za-z0-9_]*` and none that JeCloud sets itself.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// `[cloud]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CloudConfig {
    /// Who makes the servers.
    pub provider: Provider,
    /// Where, in the provider's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Where the front listens; empty: where JeCloud chooses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<SocketAddr>,
    /// Where state and archives lie, for servers reached by SSH: none is a directory of this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,
    /// For a store in S3 that is not Amazon's: its URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// For EC2: which address of a server is talked to.
    #[serde(skip_serializing_if = "Reach::is_public")]
    pub connect: Reach,
    /// For EC2: the id of the image that servers are made from. None: the newest Debian 12.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// For EC2: the user of that image who may become root. None: that of Debian's images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// For EC2: the networks from which SSH is let in, in CIDR notation. Empty: from everywhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ssh_from: Vec<String>,
    /// For servers reached by SSH: the file of the person's private key. None: what the agent has, and the usual files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// For servers reached by SSH: the server through which the others are reached, as `[user@]host[:port]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jump: Option<String>,
    /// For servers of another architecture than the machine that deploys: the JeCloud for them, by the names that
    /// `uname -m` has ([`ARCHITECTURES`]). Paths are relative to the app's directory.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub binaries: BTreeMap<String, String>,
}

/// The architectures that servers may have, by the names that `uname -m` has for them.
pub const ARCHITECTURES: [&str; 3] = ["x86_64", "aarch64", "riscv64"];

/// Who makes the servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// This machine, in a directory.
    #[default]
    Local,
    /// Amazon EC2.
    Ec2,
    /// Machines that exist already.
    Ssh,
}

impl Provider {
    const ALL: [Provider; 3] = [Provider::Local, Provider::Ec2, Provider::Ssh];

    /// As it is written in `jecloud.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Provider::Local => "local",
            Provider::Ec2 => "ec2",
            Provider::Ssh => "ssh",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where the state of a cloud and its archives lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    /// In a directory of the machine that deploys.
    Directory,
    /// In Amazon S3, or in a store that speaks its protocol.
    S3,
}

impl Store {
    const ALL: [Store; 2] = [Store::Directory, Store::S3];

    /// As it is written in `jecloud.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Store::Directory => "directory",
            Store::S3 => "s3",
        }
    }
}

/// Which address of a server is talked to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Its public one.
    #[default]
    Public,
    /// The one inside of its network.
    Private,
}

impl Reach {
    const ALL: [Reach; 2] = [Reach::Public, Reach::Private];

    /// As it is written in `jecloud.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reach::Public => "public",
            Reach::Private => "private",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls takes a reference")]
    fn is_public(&self) -> bool {
        *self == Self::Public
    }
}

/// `[servers.GROUP]`: servers that are all alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerConfig {
    /// How many: 1 to 100, 1 where nothing is said.
    pub count: u32,
    /// The machine type, in the provider's words: `t4g.small`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub machine_type: Option<String>,
    /// For `provider = "ssh"`: where the servers are, each as `[user@]host[:port]`; at least `count` of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { count: 1, machine_type: None, hosts: Vec::new() }
    }
}

/// `[services.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceConfig {
    /// The hook's component; none: the built-in hook of that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<Digest>,
    /// The group of servers it runs on. See [`EnvironmentConfig::group`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<ServerGroup>,
    /// All other keys, for the hook, whose schema they are checked against elsewhere. Dates are texts.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub settings: Map<String, Value>,
}

/// `[processes.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessConfig {
    /// How many: 0 to 100; none: as many as the hook says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// A path that answers with a status below 400 when the process works; begins with `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// The group of servers it runs on. See [`EnvironmentConfig::group`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<ServerGroup>,
    /// What each instance may use: `memory = "512M"`, `cpu = 1.5`.
    #[serde(skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
}

/// `[backups]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BackupsConfig {
    /// For every service whose hook can back its data up.
    #[serde(flatten)]
    pub all: BackupWish,
    /// `[backups.SERVICE]`, laid over that.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<ServiceName, BackupWish>,
}

impl BackupsConfig {
    /// What holds for a service whose hook can back its data up.
    pub fn of(&self, service: &ServiceName) -> BackupPolicy {
        self.all.clone().overlaid(self.services.get(service).cloned().unwrap_or_default()).resolve()
    }

    fn is_silent(&self) -> bool {
        *self == Self::default()
    }
}

impl EnvironmentConfig {
    /// The group of servers on which something with this `on` runs: without one, the group `app`, or the only group.
    pub fn group<'a>(&'a self, on: Option<&'a ServerGroup>) -> &'a ServerGroup {
        on.or_else(|| self.servers.keys().find(|name| name.as_str() == DEFAULT_GROUP))
            .or_else(|| self.servers.keys().next())
            .expect("a configuration has at least one group of servers")
    }
}

impl EnvironmentConfig {
    /// Groups of servers on which nothing runs: no `on` names them, and they are not where that runs which has none.
    pub fn idle_groups(&self) -> Vec<&ServerGroup> {
        let of_services = self.services.values().map(|service| self.group(service.on.as_ref()));
        let of_processes = self.processes.values().filter_map(|process| process.on.as_ref());
        // Where no service is named, those that the directory is recognised by have no `on`.
        let detected = self.services.is_empty().then(|| self.group(None));
        let used: Vec<&ServerGroup> = of_services.chain(of_processes).chain(detected).collect();
        self.servers.keys().filter(|group| !used.contains(group)).collect()
    }
}

impl Config {
    /// Reads the text of a `jecloud.toml`.
    ///
    /// `file_name` is how the file is called in errors. On failure everything that is wrong is given, sorted by
    /// place, at least one error.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, Vec<ConfigError>> {
        read::config(text, file_name)
    }

    /// As much of a `jecloud.toml` as is right, and what is wrong with the rest: enough to find the app where it runs
    /// and to bring an earlier release back while the file is broken, and not for deploying anything.
    ///
    /// # Errors
    ///
    /// As [`Config::parse`], where it is not beyond doubt whose cloud is meant: the app's name or a word about its
    /// cloud is among what is wrong.
    pub fn parse_what_is_right(text: &str, file_name: &str) -> Result<(Self, Vec<ConfigError>), Vec<ConfigError>> {
        read::what_is_right(text, file_name)
    }

    /// The app's name.
    pub fn app(&self) -> &AppName {
        &self.app
    }

    /// The names of the `[environments.NAME]` tables. Others may be used as well: nothing is laid over then.
    pub fn environments(&self) -> impl Iterator<Item = &EnvironmentName> {
        self.environments.keys()
    }

    /// What holds in an environment: its own table laid over what holds everywhere. Tables are merged, values
    /// replaced; nothing can be taken away.
    pub fn environment(&self, name: &EnvironmentName) -> EnvironmentConfig {
        let layer = match self.environments.get(name) {
            Some(over) => self.base.clone().overlaid(over.clone()),
            None => self.base.clone(),
        };
        layer.resolve(self.app.clone())
    }

    /// The declared environment (or `production`) that a person who asked for `name` may have meant; none where
    /// `name` is declared itself, is `production`, or is near to nothing.
    pub fn unknown_environment_hint(&self, name: &EnvironmentName) -> Option<EnvironmentName> {
        let production = EnvironmentName::production();
        if *name == production || self.environments.contains_key(name) {
            return None;
        }
        let known = || self.environments.keys().chain([&production]);
        let near = nearest(name.as_str(), known().map(EnvironmentName::as_str))?;
        known().find(|known| known.as_str() == near).cloned()
    }

    /// An error at the value under a key, for those who check more than this crate can: a hook's settings against
    /// their schema.
    ///
    /// `path` is as within an environment: `["services", "clock", "zone"]`. It is looked for where it was written
    /// for this environment, then where it was written for all; where it is not written at all, the nearest table
    /// around it is pointed at.
    pub fn error_at(&self, environment: &EnvironmentName, path: &[&str], message: String) -> ConfigError {
        self.error(environment, path, message, |written| written.value.clone())
    }

    /// As [`Config::error_at`], at the key itself: for one that should not be there.
    pub fn error_at_key(&self, environment: &EnvironmentName, path: &[&str], message: String) -> ConfigError {
        self.error(environment, path, message, |written| written.key.clone())
    }

    fn error(
        &self,
        environment: &EnvironmentName,
        path: &[&str],
        message: String,
        span: impl Fn(&Written) -> Range<usize>,
    ) -> ConfigError {
        let for_all: Vec<String> = path.iter().map(|&segment| segment.to_owned()).collect();
        let for_one: Vec<String> =
            ["environments", environment.as_str()].iter().map(|&s| s.to_owned()).chain(for_all.clone()).collect();
        let places = &self.source.places;
        let found = (1..=path.len()).rev().find_map(|length| {
            [&for_one[..length + 2], &for_all[..length]]
                .into_iter()
                .find_map(|key| places.get(key).map(|written| (key, span(written))))
        });
        let (key, span) = found.unwrap_or((&for_all, 0..0));
        let key = key.iter().fold(String::new(), |path, name| dotted(&path, name));
        ConfigError::new(&self.source.file, &self.source.text, span, &key, message)
    }
}

#[cfg(test)]
mod messages;
#[cfg(test)]
mod tests;
