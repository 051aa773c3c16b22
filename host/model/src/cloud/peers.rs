//! The servers of an environment, as each other sees them: who has to be how far before whom, and what a server is told
//! of the others.
//!
//! All of it is derived from the state and from what was seen. Nothing is concluded from what was not seen: what would
//! need to know it is none.

use std::collections::BTreeMap;

use super::seen::{SeenEnvironment, SeenServer};
use super::server::ServerName;
use super::state::{EnvironmentState, RecordedRelease};
use crate::app::{DeploymentState, Outcome};
use crate::ids::{ReleaseNumber, ServerGroup, ServiceName};
use crate::topology::Topology;

/// One environment and what was seen of its servers.
#[derive(Clone, Copy)]
pub(super) struct Peers<'a> {
    pub(super) environment: &'a EnvironmentState,
    pub(super) servers: &'a BTreeMap<ServerName, SeenServer>,
}

impl<'a> Peers<'a> {
    pub(super) fn seen(&self, server: &ServerName) -> &'a SeenServer {
        self.servers.get(server).unwrap_or(&SeenServer::Unknown)
    }

    fn says(&self, server: &ServerName) -> Option<&'a SeenEnvironment> {
        self.seen(server).environment()
    }

    /// What is known of a release at a server. One that differs from what the server runs in nothing that matters to it
    /// serves there, although it was never told.
    pub(super) fn outcome(&self, server: &ServerName, recorded: &RecordedRelease) -> Outcome {
        let Some(document) = self.says(server).and_then(|seen| seen.document.as_ref()) else { return Outcome::Unknown };
        match document.outcome(recorded.release.number) {
            Outcome::Unknown if self.goes_on_with(server, recorded).is_some() => Outcome::Serving,
            outcome => outcome,
        }
    }

    /// The release that a server runs and that is as good as this one: its content is the same, and what the server was
    /// told of the others with it still holds.
    fn goes_on_with(&self, server: &ServerName, recorded: &RecordedRelease) -> Option<ReleaseNumber> {
        let content = recorded.release.refreshes?;
        let seen = self.says(server)?;
        let document = seen.document.as_ref().filter(|document| document.deployment.is_none())?;
        let current = document.current_release?;
        let has_content = |found: &RecordedRelease| found.release.content() == content;
        if current != content && !self.environment.release(current).is_some_and(has_content) {
            return None;
        }
        let told = seen.told.get(&current).map(|told| &told.topology);
        let now = self.topology(server, recorded)?;
        let holds = told.map_or_else(|| now.is_the_same(&Topology::default()), |told| now.is_the_same(told));
        holds.then_some(current)
    }

    /// Under which number a server runs a release, once all that it starts for it has started.
    fn runs_as(&self, server: &ServerName, recorded: &RecordedRelease) -> Option<ReleaseNumber> {
        let number = recorded.release.number;
        match self.says(server)?.document.as_ref()?.outcome(number) {
            Outcome::Pending { state } if state >= DeploymentState::Ready => Some(number),
            Outcome::Serving => Some(number),
            Outcome::Unknown => self.goes_on_with(server, recorded),
            Outcome::Pending { .. } | Outcome::Failed(_) | Outcome::Superseded => None,
        }
    }

    fn of_group(&self, group: &ServerGroup) -> impl Iterator<Item = &'a ServerName> + use<'a> {
        let environment = self.environment;
        let [from, to] = [0, u32::MAX].map(|index| ServerName { group: group.clone(), index });
        environment.servers.range(from..=to).map(|(server, _)| server).filter(|server| environment.wants(server))
    }

    /// The server that runs the release commands of a service.
    fn leader(&self, on: Option<&ServerGroup>) -> Option<&'a ServerName> {
        match on {
            Some(group) => self.of_group(group).next(),
            None => self.environment.wanted_servers().next(),
        }
    }

    /// Whether there may still be release commands to run. A release that comes back brings none.
    fn has_release_commands(recorded: &RecordedRelease) -> bool {
        recorded.is_pending() && recorded.release.repeats.is_none()
    }

    /// What a server has to be told of the others with a release; none while that is not known.
    pub(super) fn topology(&self, server: &ServerName, recorded: &RecordedRelease) -> Option<Topology> {
        let release = &recorded.release;
        let group = &server.group;
        if release.wait_for_each_other().is_some() {
            return None;
        }
        let follows = !self.may_start(server, recorded);
        let mut topology = Topology { server: Some(server.clone()), follows, ..Topology::default() };
        for giver in release.needs(group) {
            // All of a group give the same, but for the address: that of the first is as good as any.
            let first = self.of_group(giver).next()?;
            let number = self.runs_as(first, recorded)?;
            let said = &self.says(first)?.told.get(&number)?.gives;
            let services = release.services.iter().filter(|(_, service)| service.on.as_ref() == Some(giver));
            for (name, service) in services {
                let given = said.get(name).into_iter().flatten().filter(|(key, _)| service.gives.contains(key));
                topology.values.extend(given.map(|(key, value)| (key.clone(), value.clone())));
            }
        }
        let here = release.services.iter().filter(|(_, service)| service.belongs_to(Some(group)));
        for (name, service) in here {
            if self.leader(service.on.as_ref()) == Some(server) {
                topology.once.insert(name.clone());
            }
            if service.peers {
                let members = self.members(service.on.as_ref())?;
                topology.members.insert(ServiceName::clone(name), members);
            }
        }
        topology.shared = release.gives_from(group);
        if topology.shared || !topology.members.is_empty() {
            topology.address = Some(self.says(server)?.address.clone()?);
        }
        Some(topology)
    }

    fn members(&self, on: Option<&ServerGroup>) -> Option<Vec<String>> {
        let servers = self.environment.wanted_servers().filter(|server| on.is_none_or(|on| server.group == *on));
        servers.map(|server| self.says(server)?.address.clone()).collect()
    }

    /// Whether those that have to be first are far enough for a server to begin with a release: servers whose services
    /// it needs have started them, and where it has release commands of its own, those that come before them have run.
    pub(super) fn may_begin(&self, server: &ServerName, recorded: &RecordedRelease) -> bool {
        let needs = recorded.release.needs(&server.group);
        let started = |server: &ServerName| self.runs_as(server, recorded).is_some();
        // Where the release serves, one of several that has a trouble keeps no other from coming.
        let needed = needs.into_iter().all(|group| {
            let mut servers = self.of_group(group);
            if recorded.is_pending() { servers.all(started) } else { servers.next().is_some_and(started) }
        });
        needed && (!self.leads(server, recorded) || self.may_start(server, recorded))
    }

    /// Whether all release commands have run that come before anything starts on a server.
    pub(super) fn may_start(&self, server: &ServerName, recorded: &RecordedRelease) -> bool {
        self.leaders_of(server, recorded).all(|leader| self.is_prepared(leader, recorded))
    }

    fn is_prepared(&self, server: &ServerName, recorded: &RecordedRelease) -> bool {
        match self.outcome(server, recorded) {
            Outcome::Pending { state } => state.is_prepared(),
            Outcome::Serving => true,
            Outcome::Unknown | Outcome::Failed(_) | Outcome::Superseded => false,
        }
    }

    /// The other servers whose release commands come before anything starts on this one.
    fn leaders_of(
        &self,
        server: &ServerName,
        recorded: &RecordedRelease,
    ) -> impl Iterator<Item = &'a ServerName> + use<'a> {
        let release = &recorded.release;
        let own = release.services.values().filter(|service| service.belongs_to(Some(&server.group)));
        let of_others = release.follows(&server.group).into_iter().map(Some);
        let groups: Vec<Option<&ServerGroup>> = own.map(|service| service.on.as_ref()).chain(of_others).collect();
        let is_any = Self::has_release_commands(recorded);
        let leaders: Vec<&ServerName> = groups.into_iter().filter_map(|on| self.leader(on)).collect();
        let server = server.clone();
        leaders.into_iter().filter(move |leader| is_any && **leader != server)
    }

    /// Whether the release commands of any service are run by this server.
    fn leads(&self, server: &ServerName, recorded: &RecordedRelease) -> bool {
        recorded.release.services.values().any(|service| self.leader(service.on.as_ref()) == Some(server))
    }

    /// Whether others wait for the release commands of this server.
    pub(super) fn is_followed(&self, server: &ServerName, recorded: &RecordedRelease) -> bool {
        let mut others = self.environment.wanted_servers();
        // Only of those few that lead all others are looked at.
        self.leads(server, recorded)
            && others.any(|other| self.leaders_of(other, recorded).any(|leader| leader == server))
    }

    /// Whether a server that serves a release was told something else of the others than what is true by now.
    pub(super) fn has_changed(&self, server: &ServerName, recorded: &RecordedRelease) -> bool {
        let Some(number) = self.runs_as(server, recorded) else { return false };
        let Some(now) = self.topology(server, recorded) else { return false };
        let told = self.says(server).and_then(|seen| seen.told.get(&number));
        !told.map_or_else(|| now.is_the_same(&Topology::default()), |told| now.is_the_same(&told.topology))
    }
}
