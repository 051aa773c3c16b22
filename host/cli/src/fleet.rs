//! The servers of an app, asked all at once.

use std::sync::Arc;
use std::time::Duration;

use jecloud_cloud::{Found, Machine, MachineError, Server};
use jecloud_model::cloud::{CloudState, EnvironmentState, Place, ServerName};
use jecloud_model::config::Provider;
use jecloud_model::ids::EnvironmentName;
use jecloud_server::api::{EnvironmentStatus, ServerStatus};

use crate::failure::{Code, Failure};
use crate::session::Session;

/// How long a server may take to say what is on it.
const ANSWER: Duration = Duration::from_secs(60);

/// A server that is recorded, and how it is reached; or why it is not.
pub(crate) struct Member {
    pub(crate) place: Place,
    pub(crate) machine: Result<Arc<dyn Machine>, String>,
}

/// A server that can be reached.
pub(crate) type Reached = (ServerName, Arc<dyn Machine>);

/// What a server says about one environment.
pub(crate) struct Report {
    /// None for this machine itself, which needs no name.
    pub(crate) server: Option<ServerName>,
    /// The name by which requests reach it; none for this machine itself.
    pub(crate) host: Option<String>,
    pub(crate) status: Result<Answer, String>,
}

/// A server's answer.
pub(crate) struct Answer {
    /// Where its front listens.
    pub(crate) addresses: Vec<std::net::SocketAddr>,
    /// None where there is nothing of the environment.
    pub(crate) environment: Option<EnvironmentStatus>,
}

/// The servers of an environment, in the order of their names.
pub(crate) fn members(session: &Session, name: &EnvironmentName, environment: &EnvironmentState) -> Vec<Member> {
    let machines = session.cloud().machines;
    let places: Vec<Place> =
        environment.servers.keys().map(|server| Place { environment: name.clone(), server: server.clone() }).collect();
    let asked: Vec<_> = places.iter().zip(environment.servers.values()).collect();
    let found = machines.find_all(&asked);
    let member = |(place, found)| {
        let machine = match found {
            Found::Present(machine) => Ok(machine),
            Found::Absent => Err("it was not set up yet".to_owned()),
            Found::Gone => Err("it does not exist any more".to_owned()),
            Found::Silent(error) | Found::Unseen(error) | Found::Unknown(error) => Err(error.to_advice()),
        };
        Member { place, machine }
    };
    places.into_iter().zip(found).map(member).collect()
}

/// The servers of the environment that is meant that can be reached; an error where there is none.
pub(crate) fn reachable(session: &Session) -> Result<Vec<Reached>, Failure> {
    let environment = session.environment_state()?;
    let mut found = Vec::new();
    let mut details = Vec::new();
    for Member { place, machine } in members(session, &session.environment, &environment) {
        match machine {
            Ok(machine) => found.push((place.server, machine)),
            Err(why) => details.push(format!("{}: {why}", place.server)),
        }
    }
    if found.is_empty() {
        return Err(Failure::new(Code::NotReachable, "no server can be reached")
            .details(details)
            .world("Nothing was changed.")
            .hint(format!("`jecloud fwd{}` sets up what is missing.", session.environment_flag())));
    }
    for line in details {
        crate::output::say(&format!("note: {line}"));
    }
    Ok(found)
}

/// What all servers of an environment say about it.
pub(crate) fn reports(session: &Session, state: &CloudState, name: &EnvironmentName) -> Vec<Report> {
    let Some(environment) = state.environments.get(name) else { return Vec::new() };
    let is_local = session.provider == Provider::Local;
    let members = members(session, name, environment);
    at_once(members, |Member { place, machine }| Report {
        host: machine.as_ref().ok().and_then(|machine| machine.host()),
        status: machine.and_then(|machine| ask(session, &place, &*machine).map_err(|error| error.to_advice())),
        server: (!is_local).then_some(place.server),
    })
}

fn ask(session: &Session, place: &Place, machine: &dyn Machine) -> Result<Answer, MachineError> {
    let name = place.server.to_string();
    let args = ["status", "--app", session.app.as_str(), "--environment", place.environment.as_str()];
    let status: ServerStatus = Server::new(machine, &name).ask(&args, None, ANSWER)?;
    let environment = status
        .environments
        .into_iter()
        .find(|status| status.app == session.app && status.environment == place.environment);
    Ok(Answer { addresses: status.addresses, environment })
}

/// Does the same for all of them at the same time; results come in the order of the items.
pub(crate) fn at_once<I: Send, R: Send>(items: Vec<I>, work: impl Fn(I) -> R + Sync) -> Vec<R> {
    if items.len() < 2 {
        return items.into_iter().map(work).collect();
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = items.into_iter().map(|item| scope.spawn(|| work(item))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
