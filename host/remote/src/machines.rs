//! Servers that a person has: `provider = "ssh"`.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jecloud_cloud::{Details, Found, Machine, MachineError, Machines};
use jecloud_model::cloud::{Place, ServerRecord};

use crate::binaries::Binaries;
use crate::connect::{Connection, Jump, Timing, lock};
use crate::host_key::{HostKey, HostKeyRule};
use crate::identity::Identity;
use crate::machine::{Places, RemoteMachine};
use crate::objects::Objects;
use crate::session::Session;
use crate::target::Target;

/// Under which the target of a server is recorded.
const ADDRESS: &str = "address";

/// How long a server may take to be reached for the first time: it may be booting.
const FIRST_CONTACT: Duration = Duration::from_secs(120);

/// Servers that a person has. What is recorded of one is where it is and, once it is set up, its host key.
pub struct SshMachines {
    hosts: BTreeMap<Place, Target>,
    identity: Identity,
    /// A server through which the others are reached.
    pub via: Option<Arc<Jump>>,
    /// How long things may take.
    pub timing: Timing,
    /// Where things are on the servers.
    pub places: Places,
    /// Which binary goes to which server.
    pub binaries: Binaries,
    /// The addresses for the front, where the configuration names them.
    pub listen: Vec<SocketAddr>,
    objects: Arc<Objects>,
    known: Mutex<HashMap<Place, Known>>,
}

/// A server that was met, and how.
struct Known {
    target: Target,
    host_key: HostKey,
    machine: Arc<RemoteMachine>,
}

impl SshMachines {
    /// `hosts` says which server is which: what the configuration has. `objects` is where objects of the store wait.
    pub fn new(hosts: BTreeMap<Place, Target>, identity: Identity, objects: Arc<Objects>) -> Self {
        Self {
            hosts,
            identity,
            via: None,
            timing: Timing::default(),
            places: Places::default(),
            binaries: Binaries::default(),
            listen: Vec::new(),
            objects,
            known: Mutex::default(),
        }
    }

    /// A server that was set up, for a terminal on it, say; none before that. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`MachineError::Refused`] where what is recorded of it makes no sense.
    pub fn remote(&self, place: &Place, record: &ServerRecord) -> Result<Option<Arc<RemoteMachine>>, MachineError> {
        let target = target_of(place, &record.details)?;
        let host_key = HostKey::recorded(place, &record.details)?;
        Ok(host_key.map(|host_key| self.machine(place, &target, &host_key, None)))
    }

    fn connection(&self, target: Target, host_key: HostKeyRule) -> Connection {
        let identity = self.identity.clone();
        Connection { target, identity, host_key, via: self.via.clone(), timing: self.timing }
    }

    /// The machine with this key, with its connection where it was met before.
    fn machine(
        &self,
        place: &Place,
        target: &Target,
        host_key: &HostKey,
        session: Option<Session>,
    ) -> Arc<RemoteMachine> {
        let mut known = lock(&self.known);
        if let Some(known) = known.get(place).filter(|known| known.target == *target && known.host_key == *host_key) {
            return known.machine.clone();
        }
        let connection = self.connection(target.clone(), HostKeyRule::Pinned(host_key.clone()));
        let name = place.server.to_string();
        let mut machine = RemoteMachine::new(name, connection, self.places.clone(), self.objects.clone())
            .with_setup(self.binaries.clone(), self.listen.clone());
        if let Some(session) = session {
            machine = machine.with_session(session);
        }
        let machine = Arc::new(machine);
        let met = Known { target: target.clone(), host_key: host_key.clone(), machine: machine.clone() };
        known.insert(place.clone(), met);
        machine
    }

    /// The host key that this process has met there: an attempt to set it up that failed has met it too.
    fn met(&self, place: &Place, target: &Target) -> Option<HostKey> {
        let known = lock(&self.known);
        known.get(place).filter(|known| known.target == *target).map(|known| known.host_key.clone())
    }
}

/// The target that is recorded of a server.
fn target_of(place: &Place, details: &Details) -> Result<Target, MachineError> {
    let recorded = details.get(ADDRESS).and_then(|address| address.as_str()).unwrap_or_default();
    recorded.parse().map_err(|error: crate::TargetError| MachineError::Refused {
        error: format!("the cloud state does not say where server {} is: {error}", place.server),
        hint: "`jecloud state edit` lets you correct its address.".to_owned(),
    })
}

impl Machines for SshMachines {
    fn details(&self, place: &Place) -> Result<Details, MachineError> {
        let target = self.hosts.get(place).ok_or_else(|| MachineError::Refused {
            error: format!("there is no host for server {} of {}", place.server, place.environment),
            hint: "Name one more host in jecloud.toml, or scale down.".to_owned(),
        })?;
        Ok(Details::from_iter([(ADDRESS.to_owned(), target.to_string().into())]))
    }

    fn create(&self, place: &Place, record: &ServerRecord) -> Result<Details, MachineError> {
        let target = target_of(place, &record.details)?;
        let pinned = HostKey::recorded(place, &record.details)?.or_else(|| self.met(place, &target));
        let rule = pinned.map_or(HostKeyRule::FirstContact, HostKeyRule::Pinned);
        let connection = self.connection(target.clone(), rule);
        let session = Session::wait(&connection, Instant::now() + FIRST_CONTACT, &|| false)
            .map_err(|error| error.into_machine(&place.server.to_string()))?;
        let host_key = session.host_key().clone();
        let machine = self.machine(place, &target, &host_key, Some(session));
        machine.set_up(&self.binaries, &self.listen)?;
        let mut details = record.details.clone();
        host_key.record(&mut details);
        Ok(details)
    }

    fn find(&self, place: &Place, record: &ServerRecord) -> Found {
        let machine = match self.remote(place, record) {
            Ok(Some(machine)) => machine,
            Ok(None) => return Found::Absent,
            Err(error) => return Found::Unknown(error),
        };
        match machine.is_initialised() {
            Ok(true) => Found::Present(machine as Arc<dyn Machine>),
            Ok(false) => Found::Absent,
            Err(error) => Found::Unknown(error),
        }
    }

    /// The machine is the person's: it stays, with JeCloud on it, and is not known here any more.
    fn remove(&self, place: &Place, _record: &ServerRecord) -> Result<(), MachineError> {
        lock(&self.known).remove(place);
        Ok(())
    }
}
