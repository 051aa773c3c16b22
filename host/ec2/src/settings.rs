//! What is known before anything is asked: where, what, and who asks.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jecloud_model::cloud::Place;
use jecloud_model::ids::{AppName, EnvironmentName, ServerGroup};

/// Who publishes the official images of Debian.
pub const DEBIAN: &str = "136693071363";

/// What servers run at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// This one: `ami-…`, which belongs to one region.
    Id(String),
    /// The newest of these.
    Newest {
        /// The number of the account that publishes it, or `amazon`.
        owner: String,
        /// With `*` for anything and `{arch}` for Debian's name of the architecture: `amd64` or `arm64`.
        name: String,
    },
}

impl Default for Image {
    /// Debian 12, from its makers.
    fn default() -> Self {
        Self::Newest { owner: DEBIAN.to_owned(), name: "debian-12-{arch}-*".to_owned() }
    }
}

impl fmt::Display for Image {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => formatter.write_str(id),
            Self::Newest { owner, name } => write!(formatter, "{name} of {owner}"),
        }
    }
}

/// Which address of a server is talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Through {
    /// Its public address.
    #[default]
    Public,
    /// Its address inside of the VPC, for people who have a way in. It has a public one all the same, to serve and to get
    /// packages.
    Private,
}

/// What servers of an app are like.
#[derive(Debug, Clone)]
pub struct Ec2Settings {
    /// Whose they are.
    pub app: AppName,
    /// The public half of the key that opens them, as an OpenSSH line: `ssh-ed25519 AAAA…`.
    pub public_key: String,
    /// Types of servers, by environment and group: `t4g.small`.
    pub types: BTreeMap<(EnvironmentName, ServerGroup), String>,
    /// The type where none is said.
    pub default_type: String,
    /// What they run at first.
    pub image: Image,
    /// The user of the image that may become root.
    pub user: String,
    /// The networks from which SSH is let in, in CIDR notation.
    pub ssh_from: Vec<String>,
    /// Which address is talked to.
    pub connect: Through,
    /// The size of the disk in GiB. Never less than the image needs.
    pub disk_gib: u32,
    /// More tags for servers, volumes, group and key. Those that begin with `jecloud:` or `aws:` are not taken.
    pub tags: BTreeMap<String, String>,
    /// How long a server may take from its launch until it is set up.
    pub boot_patience: Duration,
}

impl Ec2Settings {
    /// Small servers with Debian 12 and 20 GiB. SSH is let in from everywhere (`0.0.0.0/0`): the key protects it, and
    /// nobody's laptop has the same address for long.
    pub fn new(app: &AppName, public_key: &str) -> Self {
        Self {
            app: app.clone(),
            public_key: public_key.trim().to_owned(),
            types: BTreeMap::new(),
            default_type: "t3.small".to_owned(),
            image: Image::default(),
            user: "admin".to_owned(),
            ssh_from: vec!["0.0.0.0/0".to_owned()],
            connect: Through::Public,
            disk_gib: 20,
            tags: BTreeMap::new(),
            boot_patience: Duration::from_secs(600),
        }
    }

    /// The type of a server.
    pub fn type_of(&self, place: &Place) -> &str {
        let key = (place.environment.clone(), place.server.group.clone());
        self.types.get(&key).unwrap_or(&self.default_type)
    }
}
