//! Which part of a release runs on which servers, and what a server is told of the others along with a release.
//!
//! The release itself is the same for all. What differs is derived, purely, by [`crate::cloud::plan`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::cloud::ServerName;
use crate::ids::{ProcessName, ServerGroup, ServiceName};
use crate::release::{Release, ReleaseSecret, ReleaseService};
use crate::template::{Placeholder, Template};

/// What a server is told of itself and of the others along with a release: everything that what runs on it depends on
/// besides the release. Nothing here is secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Topology {
    /// Which server it is; none where nobody said: everything runs on it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerName>,
    /// The services whose release commands run here, and on no other server.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub once: BTreeSet<ServiceName>,
    /// Whether nothing may start here before the server is told that the release commands of others have run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follows: bool,
    /// The address by which other servers reach it; none where nothing on it is meant for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether servers of other groups are given variables of services here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// Of services here that ask for it: the addresses of all servers that they run on, in the order of their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<ServiceName, Vec<String>>,
    /// Variables that services on other servers give, as templates in which only secrets are left.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
}

impl Topology {
    /// The group that the server belongs to.
    pub fn group(&self) -> Option<&ServerGroup> {
        self.server.as_ref().map(|server| &server.group)
    }

    /// The address by which what needs this server's services reaches them.
    pub fn host(&self) -> &str {
        self.address.as_deref().unwrap_or("127.0.0.1")
    }

    /// Whether the release commands of a service run here.
    pub fn runs_once(&self, service: &ServiceName) -> bool {
        self.server.is_none() || self.once.contains(service)
    }

    /// Whether the server would run the same if it were told `other` instead. Where and when the release commands ran
    /// makes no difference afterwards.
    pub fn is_the_same(&self, other: &Self) -> bool {
        self.address == other.address
            && self.shared == other.shared
            && self.members == other.members
            && self.values == other.values
    }
}

/// What a server is told: `update-server deploy` reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The same for all servers.
    #[serde(flatten)]
    pub release: Release,
    /// For this one; none where it is told once more what it knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<Topology>,
}

/// What a server says about a release that it runs or deploys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// What it was told with it.
    pub topology: Topology,
    /// The variables that its services give, with its address and ports, as templates in which only secrets are left.
    pub gives: BTreeMap<ServiceName, BTreeMap<String, String>>,
}

impl ReleaseService {
    /// Whether a group is the service's own: whether it runs there even where none of its processes does.
    pub fn belongs_to(&self, group: Option<&ServerGroup>) -> bool {
        match (&self.on, group) {
            (Some(on), Some(group)) => on == group,
            _ => true,
        }
    }
}

impl Release {
    /// Whether not everything runs on all servers.
    pub fn is_split(&self) -> bool {
        self.services.values().any(|service| service.on.is_some())
            || self.processes.values().any(|wish| wish.on.is_some())
    }

    /// Whether a process of a service runs on the servers of a group: where its own `on` says, else where the service
    /// runs.
    pub fn runs(&self, service: &ServiceName, process: &ProcessName, group: Option<&ServerGroup>) -> bool {
        let on = self.processes.get(process).and_then(|wish| wish.on.as_ref());
        let on = on.or_else(|| self.services.get(service).and_then(|service| service.on.as_ref()));
        match (on, group) {
            (Some(on), Some(group)) => on == group,
            _ => true,
        }
    }

    /// The groups whose services give variables that what runs on `group` needs: they become ready before it.
    ///
    /// What gives variables itself is taken to need none; everything else needs all of them.
    pub fn needs(&self, group: &ServerGroup) -> BTreeSet<&ServerGroup> {
        if !self.takes(group) {
            return BTreeSet::new();
        }
        self.givers().into_iter().filter(|giver| *giver != group).collect()
    }

    /// The groups whose release commands run before anything starts on `group`: those of services of which it may run a
    /// process.
    pub fn follows(&self, group: &ServerGroup) -> BTreeSet<&ServerGroup> {
        let of_services = self.services.values().filter_map(|service| service.on.as_ref());
        let before = |other: &&ServerGroup| self.position(other) < self.position(group);
        if self.has_process_on(group) { of_services.filter(before).collect() } else { BTreeSet::new() }
    }

    /// The services that may have a process on a server of a group, or of which nobody but their hooks knows that they
    /// have none there: those that belong to the group, and all where processes are put onto it by their names.
    fn may_run(&self, group: Option<&ServerGroup>) -> impl Iterator<Item = (&ServiceName, &ReleaseService)> {
        let any = group.is_some_and(|group| self.has_process_on(group));
        self.services.iter().filter(move |(_, service)| any || service.belongs_to(group))
    }

    /// Whether a server of a group has to ask the hook of a service: where it may run something of it. Where processes are
    /// named, those that run the app ask all, because nobody else finds out that a name is that of none.
    pub fn asks(&self, service: &ServiceName, group: Option<&ServerGroup>) -> bool {
        let looks_for_names = |group: &ServerGroup| {
            let takers = self.groups().into_iter().any(|group| self.takes(group));
            !self.processes.is_empty() && (self.takes(group) || !takers)
        };
        group.is_some_and(looks_for_names) || self.may_run(group).any(|(name, _)| name == service)
    }

    /// The secrets that a server needs for what may run on it: those that hooks of these services have filled in, those in
    /// values that services on other servers give, and the variables, where it may run the app's code.
    pub fn secrets_on(&self, topology: &Topology) -> BTreeSet<&str> {
        let group = topology.group();
        let mut asked: BTreeSet<String> = BTreeSet::new();
        for template in topology.values.values().filter_map(|value| Template::parse(value).ok()) {
            let secrets = template.placeholders().filter_map(|placeholder| match placeholder {
                Placeholder::Secret(name) => Some(name.clone()),
                _ => None,
            });
            asked.extend(secrets);
        }
        asked.extend(self.may_run(group).flat_map(|(_, service)| service.powers.secrets.clone()));
        let of_app = self.may_run(group).any(|(_, service)| !service.apart);
        let is_needed = |(name, secret): &(&String, &ReleaseSecret)| {
            !self.is_split() || group.is_none() || (secret.variable && of_app) || asked.contains(*name)
        };
        self.secrets.iter().filter(is_needed).map(|(name, _)| name.as_str()).collect()
    }

    /// Whether a service that belongs to `group` gives variables to servers of other groups.
    pub fn gives_from(&self, group: &ServerGroup) -> bool {
        let mut takers = self.groups().into_iter().filter(|taker| *taker != group && self.takes(taker));
        self.givers().contains(group) && takers.next().is_some()
    }

    /// Groups that need each other's variables, so that neither can be first; none where all is well.
    pub fn wait_for_each_other(&self) -> Option<(&ServerGroup, &ServerGroup)> {
        let mut both = self.givers().into_iter().filter(|group| self.takes(group));
        both.next().zip(both.next())
    }

    /// All groups that anything runs on, where that is said.
    pub fn groups(&self) -> BTreeSet<&ServerGroup> {
        let of_services = self.services.values().filter_map(|service| service.on.as_ref());
        of_services.chain(self.processes.values().filter_map(|wish| wish.on.as_ref())).collect()
    }

    fn givers(&self) -> BTreeSet<&ServerGroup> {
        let giving = self.services.values().filter(|service| !service.gives.is_empty());
        giving.filter_map(|service| service.on.as_ref()).collect()
    }

    fn takes(&self, group: &ServerGroup) -> bool {
        let takes = |service: &ReleaseService| service.on.as_ref() == Some(group) && service.gives.is_empty();
        self.services.values().any(takes) || self.has_process_on(group)
    }

    fn has_process_on(&self, group: &ServerGroup) -> bool {
        self.processes.values().any(|wish| wish.on.as_ref() == Some(group))
    }

    /// In which order groups begin, where one waits for another: those that only give, those that give and take, those
    /// that services belong to, the others; among equals by name.
    fn position<'a>(&self, group: &'a ServerGroup) -> (u8, &'a ServerGroup) {
        let gives = self.givers().contains(group);
        let rank = match (gives, self.takes(group)) {
            (true, false) => 0,
            (true, true) => 1,
            (false, _) if self.services.values().any(|service| service.on.as_ref() == Some(group)) => 2,
            (false, _) => 3,
        };
        (rank, group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::ProcessWish;
    use crate::release::tests::release;

    fn group(name: &str) -> ServerGroup {
        name.parse().expect("valid")
    }

    /// Services with their group and what they give; processes with their group.
    fn split(services: &[(&str, &str, &[&str])], processes: &[(&str, &str)]) -> Release {
        let mut release = release(&[]);
        let plain = release.services.values().next().cloned().expect("a service");
        release.services = services
            .iter()
            .map(|(name, on, gives)| {
                let gives = gives.iter().map(|name| (*name).to_owned()).collect();
                (name.parse().expect("valid"), ReleaseService { on: Some(group(on)), gives, ..plain.clone() })
            })
            .collect();
        release.processes = processes
            .iter()
            .map(|(name, on)| {
                let on = (!on.is_empty()).then(|| group(on));
                (name.parse().expect("valid"), ProcessWish { on, ..ProcessWish::default() })
            })
            .collect();
        release
    }

    fn names(groups: &BTreeSet<&ServerGroup>) -> String {
        groups.iter().map(|group| group.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_process_runs_where_it_says_or_where_its_service_does() {
        let release =
            split(&[("node", "app", &[]), ("redis", "db", &["REDIS_URL"])], &[("worker", "jobs"), ("web", "")]);
        let runs = |service: &str, process: &str, on: &str| {
            release.runs(&service.parse().unwrap(), &process.parse().unwrap(), Some(&group(on)))
        };
        for (service, process, on) in [("node", "web", "app"), ("node", "worker", "jobs"), ("redis", "redis", "db")] {
            for other in ["app", "jobs", "db"] {
                assert_eq!(runs(service, process, other), other == on, "{process} on {other}");
            }
        }
        // Where nobody says which server it is, and for documents from before there were groups, it is everything.
        assert!(release.runs(&"node".parse().unwrap(), &"worker".parse().unwrap(), None));
        let before = super::super::release::tests::release(&[]);
        assert!(!before.is_split());
        assert!(before.runs(&"runtime".parse().unwrap(), &"web".parse().unwrap(), Some(&group("db"))));
        assert!(before.services.values().all(|service| service.belongs_to(Some(&group("db")))));
    }

    #[test]
    fn who_gives_comes_before_who_needs() {
        let databases = [("node", "app", &[][..]), ("redis", "cache", &["A"]), ("mongodb", "db", &["B"])];
        let release = split(&databases, &[("worker", "jobs")]);
        assert_eq!(names(&release.needs(&group("app"))), "cache db");
        assert_eq!(names(&release.needs(&group("jobs"))), "cache db");
        assert_eq!(names(&release.needs(&group("db"))), "", "what gives needs nothing");
        assert_eq!(names(&release.follows(&group("jobs"))), "app cache db");
        assert_eq!(names(&release.follows(&group("app"))), "", "nothing there belongs to another group");
        assert!(release.gives_from(&group("db")) && !release.gives_from(&group("app")));
        assert_eq!(release.wait_for_each_other(), None);

        let together = split(&[("node", "app", &[]), ("redis", "app", &["A"])], &[]);
        assert!(!together.gives_from(&group("app")), "nobody else is there");
        assert_eq!(names(&together.needs(&group("app"))), "");
    }

    /// Node on `app`, and on `db` a Redis that nothing of the app runs for; a variable, a secret of each hook, and one that
    /// only an environment before this one used.
    fn with_secrets(processes: &[(&str, &str)]) -> Release {
        let mut release = split(&[("node", "app", &[]), ("redis", "db", &["REDIS_URL"])], processes);
        for (service, secret) in [("node", "node-key"), ("redis", "redis-password")] {
            let service = release.services.get_mut(&service.parse::<ServiceName>().unwrap()).unwrap();
            service.powers.secrets = vec![secret.to_owned()];
            service.apart = secret == "redis-password";
        }
        for (name, variable) in [("TOKEN", true), ("node-key", false), ("redis-password", false)] {
            release.secrets.insert(name.to_owned(), ReleaseSecret { revision: 1, variable });
        }
        release
    }

    fn secrets(release: &Release, server: &str, given: &str) -> String {
        let values = BTreeMap::from([("REDIS_URL".to_owned(), given.to_owned())]);
        let topology = Topology { server: server.parse().ok(), values, ..Topology::default() };
        release.secrets_on(&topology).into_iter().collect::<Vec<_>>().join(" ")
    }

    /// Fails where a server gets what only others need, and where it lacks what it may need itself.
    #[test]
    fn a_server_gets_the_secrets_that_it_may_need() {
        let url = "redis://:{secret:redis-password}@10.0.0.2:6379";
        let mut release = with_secrets(&[("web", "")]);
        assert_eq!(secrets(&release, "db-1", ""), "redis-password");
        assert_eq!(secrets(&release, "app-1", ""), "TOKEN node-key");
        assert_eq!(secrets(&release, "app-1", url), "TOKEN node-key redis-password");
        // Whose process this is only the hooks know.
        let moved = with_secrets(&[("worker", "jobs")]);
        assert_eq!(secrets(&moved, "jobs-1", ""), "TOKEN node-key redis-password");
        assert_eq!(secrets(&moved, "db-1", ""), "redis-password");
        // Something may run the app's code beside the database; where nobody said which server it is, and where all are
        // the same, it needs all.
        release.services.get_mut(&"redis".parse::<ServiceName>().unwrap()).unwrap().apart = false;
        assert_eq!(secrets(&release, "db-1", ""), "TOKEN redis-password");
        assert_eq!(secrets(&release, "", ""), "TOKEN node-key redis-password");
        let mut whole = with_secrets(&[]);
        whole.services.values_mut().for_each(|service| service.on = None);
        assert_eq!(secrets(&whole, "db-1", ""), "TOKEN node-key redis-password");
    }

    /// Fails where a server has to have all hooks, where one lacks a hook whose process may run on it, and where nobody
    /// has all of them although there is a name to be looked for.
    #[test]
    fn a_server_asks_the_hooks_that_it_has_to() {
        let asked = |release: &Release, on: &str| {
            let on: Option<ServerGroup> = on.parse().ok();
            let names = release.services.keys().filter(|name| release.asks(name, on.as_ref()));
            names.map(ServiceName::as_str).collect::<Vec<_>>().join(" ")
        };
        let plain = with_secrets(&[]);
        assert_eq!([asked(&plain, "app"), asked(&plain, "db"), asked(&plain, "")], ["node", "redis", "node redis"]);
        let named = with_secrets(&[("web", "")]);
        assert_eq!([asked(&named, "app"), asked(&named, "db")], ["node redis", "redis"]);
        let moved = with_secrets(&[("worker", "jobs")]);
        assert_eq!(["app", "db", "jobs"].map(|on| asked(&moved, on)), ["node redis", "redis", "node redis"]);
        let onto_redis = with_secrets(&[("worker", "db")]);
        assert_eq!([asked(&onto_redis, "app"), asked(&onto_redis, "db")], ["node redis", "node redis"]);
        // All give something: none of them would look for the name.
        let only_givers = split(&[("a", "x", &["A"]), ("b", "y", &["B"])], &[("p", "")]);
        assert_eq!([asked(&only_givers, "x"), asked(&only_givers, "y")], ["a b", "a b"]);
    }

    #[test]
    fn groups_that_need_each_other_are_found() {
        let services = [("a", "x", &[][..]), ("b", "x", &["B"]), ("c", "y", &[]), ("d", "y", &["D"])];
        let (x, y) = (group("x"), group("y"));
        assert_eq!(split(&services, &[]).wait_for_each_other(), Some((&x, &y)));
        assert_eq!(split(&services[..3], &[]).wait_for_each_other(), None);
        assert_eq!(split(&services[..2], &[("p", "y")]).wait_for_each_other(), None);
    }

    /// Whatever runs where: groups never wait for each other in a circle, but for the one that is refused.
    #[test]
    fn no_circle_of_waiting() {
        let groups = ["a", "b", "c"];
        // Four services: on which group, and whether it gives; two processes: on which group, or none.
        for code in 0..(6u32.pow(4) * 16) {
            let (services_code, processes_code) = (code / 16, code % 16);
            let services: Vec<(String, &str, &[&str])> = (0..4u32)
                .map(|index| {
                    let digit = (services_code / 6u32.pow(index)) % 6;
                    (format!("s{index}"), groups[(digit % 3) as usize], if digit < 3 { &[][..] } else { &["V"][..] })
                })
                .collect();
            let services: Vec<(&str, &str, &[&str])> =
                services.iter().map(|(name, on, gives)| (name.as_str(), *on, *gives)).collect();
            let on = |digit: u32| groups.get(digit as usize).copied().unwrap_or("");
            let release = split(&services, &[("p", on(processes_code % 4)), ("q", on(processes_code / 4))]);
            if release.wait_for_each_other().is_some() {
                continue;
            }
            let waits = |group: &ServerGroup| -> BTreeSet<ServerGroup> {
                release.needs(group).into_iter().chain(release.follows(group)).cloned().collect()
            };
            for start in groups {
                let start = group(start);
                let mut reached = waits(&start);
                for _ in 0..groups.len() {
                    let further: Vec<ServerGroup> = reached.iter().flat_map(&waits).collect();
                    reached.extend(further);
                }
                assert!(!reached.contains(&start), "{start} waits for itself: {release:#?}");
            }
        }
    }
}
