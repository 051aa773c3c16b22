//! A replica set whose members run on several servers.
//!
//! Every server of the group runs a mongod at the same port, so that one that is a member no more goes on until it is out
//! of the set; members are those on the first `replicas` servers. The set itself says who is in it: what is wanted is
//! compared with that, and a member comes or goes at a time.
//! <https://www.mongodb.com/docs/manual/reference/method/rs.reconfig/>

use jecloud_sdk::template::escape;
use jecloud_sdk::{Context, Problem};

use crate::settings::Settings;
use crate::{LOOPBACK, PORT, SET};

/// Where the mongod of every server of a group listens, so that the others know.
pub(crate) const FIXED_PORT: u16 = 27017;

/// Under which name the last plan said how many members there are.
pub(crate) const WERE: &str = "members";

/// The members that are wanted.
pub(crate) struct Members<'a> {
    hosts: Vec<&'a str>,
    host: &'a str,
}

impl<'a> Members<'a> {
    /// Those that the settings ask for; none where there is one mongod alone that knows of no others.
    ///
    /// # Errors
    /// When there are not enough servers, and where a set of several would be forgotten.
    pub(crate) fn of(context: &'a Context, settings: &Settings) -> Result<Option<Self>, Problem> {
        let service = context.service();
        let Some(replicas) = settings.replicas else {
            return match context.remembered(WERE) {
                None => Ok(None),
                Some(_) => Err(Problem::new("the data is that of a replica set on several servers").hint(format!(
                    "write `replicas = 1` below [services.{service}] in jecloud.toml to have one of them"
                ))),
            };
        };
        let hosts: Vec<&str> = context.fact("hosts").unwrap_or(LOOPBACK).split(' ').collect();
        if hosts.len() < replicas {
            let group = context.fact("group").unwrap_or("db");
            return Err(Problem::new(format!(
                "`replicas = {replicas}` needs as many servers, and there {}",
                if hosts.len() == 1 { "is 1".to_owned() } else { format!("are {}", hosts.len()) }
            ))
            .hint(format!(
                "write `on = \"{group}\"` below [services.{service}] and `count = {replicas}` below [servers.{group}] in \
                 jecloud.toml"
            )));
        }
        Ok(Some(Self { hosts: hosts[..replicas].to_vec(), host: context.fact("host").unwrap_or(LOOPBACK) }))
    }

    /// Whether this server is the one that the set is made on.
    pub(crate) fn is_first(&self) -> bool {
        self.hosts.first() == Some(&self.host)
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.hosts.len()
    }

    /// `10.0.0.1:27017,10.0.0.2:27017`, as a template.
    pub(crate) fn addresses(&self) -> String {
        let address = |host: &&str| format!("{}:{FIXED_PORT}", escape(host));
        self.hosts.iter().map(address).collect::<Vec<_>>().join(",")
    }
}

/// The name of mongod's port.
pub(crate) fn port_name(members: Option<&Members<'_>>) -> String {
    members.map_or_else(|| PORT.to_owned(), |_| FIXED_PORT.to_string())
}

/// mongod's port, as a template: chosen by the host where it is alone.
pub(crate) fn port(members: Option<&Members<'_>>) -> String {
    members.map_or_else(|| format!("{{port:{PORT}}}"), |_| FIXED_PORT.to_string())
}

/// Where the app finds the set, but for its user and database, as templates: addresses, and what is said of them.
pub(crate) fn place(members: Option<&Members<'_>>) -> (String, String) {
    let addresses = members.map_or_else(|| format!("{{host}}:{{port:{PORT}}}"), Members::addresses);
    (addresses, format!("replicaSet={SET}&authSource=admin"))
}
