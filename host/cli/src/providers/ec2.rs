//! Servers that are made on Amazon EC2: with which key they are opened, and how they are set up once they run.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jecloud_cloud::{
    Details, Found, Machine, MachineError, Machines, ObjectStore, Precondition, PutResult, SystemWorld,
};
use jecloud_ec2::{Access, AwsApi, Connect, Ec2Machines, Ec2Settings, Running, Through};
use jecloud_model::cloud::{Place, ServerRecord};
use jecloud_model::config::Reach;
use jecloud_model::ids::EnvironmentName;
use jecloud_remote::{
    Binaries, Connection, HostKey, HostKeyRule, Identity, KeyPair, Objects, Places, RemoteError, RemoteMachine,
    Session, Target,
};

use crate::home::Home;
use crate::project::Project;

/// The key pair of an app, an object of its own: never in the state.
const KEY_PAIR: &str = "ssh-key";

/// The port of SSH.
const SSH: u16 = 22;

/// How long one attempt to reach a server that may be booting takes. EC2 is asked again between two.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Ec2Machines that connect when they are first needed: an app that was never deployed has no key pair, and asking for
/// its status makes none.
pub(crate) struct Lazy {
    settings: Ec2Settings,
    access: Access,
    setup: SetUp,
    store: Arc<dyn ObjectStore>,
    made: OnceLock<Ec2Machines>,
}

/// What every server is set up with.
#[derive(Clone)]
struct SetUp {
    objects: Arc<Objects>,
    places: Places,
    binaries: Binaries,
    listen: Vec<std::net::SocketAddr>,
}

impl Lazy {
    /// With what the project says. Nothing is asked yet.
    pub(super) fn new(
        project: &Project,
        environment: &EnvironmentName,
        home: &Home,
        store: &Arc<dyn ObjectStore>,
    ) -> Self {
        let mut settings = Ec2Settings::new(project.config.app(), "");
        // A roll-forward may look at all environments.
        for name in project.config.environments().chain([environment]) {
            for (group, servers) in project.environment(name).servers {
                if let Some(machine_type) = servers.machine_type {
                    settings.types.insert((name.clone(), group), machine_type);
                }
            }
        }
        let wished = project.environment(environment);
        if wished.cloud.connect == Reach::Private {
            settings.connect = Through::Private;
        }
        if let Some(image) = &wished.cloud.image {
            settings.image = jecloud_ec2::Image::Id(image.clone());
        }
        if let Some(user) = &wished.cloud.user {
            settings.user.clone_from(user);
        }
        if !wished.cloud.ssh_from.is_empty() {
            settings.ssh_from.clone_from(&wished.cloud.ssh_from);
        }
        let access = Access { region: wished.cloud.region.clone(), ..Access::default() };
        let setup = SetUp {
            objects: Arc::new(Objects::new(home.path().join("fetched"))),
            places: Places::default(),
            binaries: super::binaries(project, &wished),
            listen: super::listen(&wished),
        };
        Self { settings, access, setup, store: Arc::clone(store), made: OnceLock::new() }
    }

    /// Connected.
    pub(super) fn get(&self) -> Result<&Ec2Machines, MachineError> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let key_pair = key_pair(&*self.store, self.settings.app.as_str())?;
        let mut settings = self.settings.clone();
        settings.public_key = key_pair.public_line();
        let api = AwsApi::new(&self.access)
            .map_err(|error| MachineError::Refused { error: jecloud_server::chain(&error), hint: error.hint() })?;
        let ssh = Ssh { identity: Identity::Key(key_pair), setup: self.setup.clone() };
        let machines = Ec2Machines::new(settings, Arc::new(api), Box::new(ssh), Arc::new(SystemWorld));
        Ok(self.made.get_or_init(|| machines))
    }
}

/// The key pair of the app. Two that make one at the same time use the one that was there first.
fn key_pair(store: &dyn ObjectStore, app: &str) -> Result<KeyPair, MachineError> {
    let unusable = |error: &RemoteError| MachineError::Refused {
        error: format!("the SSH key of the app in {} cannot be used: {}", store.describe(), error.to_line()),
        hint: "Servers that were made with it let nobody in any more; restore the object, or make new servers."
            .to_owned(),
    };
    let object = |source| MachineError::Object { server: "of the app".to_owned(), source };
    for _ in 0..3 {
        if let Some(found) = store.get(KEY_PAIR).map_err(object)? {
            return KeyPair::from_private_text(&found.bytes).map_err(|error| unusable(&error));
        }
        let made = KeyPair::generate(&format!("jecloud {app}")).map_err(|error| unusable(&error))?;
        let text = made.to_private_text().map_err(|error| unusable(&error))?;
        let put = store.put(KEY_PAIR, text.as_bytes(), &Precondition::IfNoneMatch).map_err(object)?;
        if matches!(put, PutResult::Done(_)) {
            return Ok(made);
        }
        // Somebody else was faster, or it is not known: the next look tells.
    }
    Err(MachineError::Refused {
        error: format!("the SSH key of the app cannot be put into {}", store.describe()),
        hint: "Try again: others may be writing at the same time.".to_owned(),
    })
}

impl Machines for Lazy {
    fn details(&self, place: &Place) -> Result<Details, MachineError> {
        self.get()?.details(place)
    }

    fn create(&self, place: &Place, record: &ServerRecord) -> Result<Details, MachineError> {
        self.get()?.create(place, record)
    }

    fn find(&self, place: &Place, record: &ServerRecord) -> Found {
        match self.get() {
            Ok(machines) => machines.find(place, record),
            Err(error) => Found::Unknown(error),
        }
    }

    fn find_all(&self, asked: &[(&Place, &ServerRecord)]) -> Vec<Found> {
        match self.get() {
            Ok(machines) => machines.find_all(asked),
            // Each is told so.
            Err(_) => asked.iter().map(|(place, record)| self.find(place, record)).collect(),
        }
    }

    fn remove(&self, place: &Place, record: &ServerRecord) -> Result<(), MachineError> {
        self.get()?.remove(place, record)
    }
}

/// Reaches instances by SSH and installs JeCloud on them.
struct Ssh {
    identity: Identity,
    setup: SetUp,
}

impl Ssh {
    fn connection(&self, running: &Running<'_>, host_key: HostKeyRule) -> Connection {
        let target = Target { user: running.user.to_owned(), host: running.address.to_owned(), port: SSH };
        Connection::new(target, self.identity.clone(), host_key)
    }

    fn remote(&self, running: &Running<'_>, host_key: &HostKey) -> RemoteMachine {
        let connection = self.connection(running, HostKeyRule::Pinned(host_key.clone()));
        let name = running.place.server.to_string();
        RemoteMachine::new(name, connection, self.setup.places.clone(), Arc::clone(&self.setup.objects))
            .with_peer_address(running.private_address)
            .with_setup(self.setup.binaries.clone(), self.setup.listen.clone())
    }
}

impl Connect for Ssh {
    fn fits(&self, architecture: &str) -> Result<(), MachineError> {
        // EC2's name and that of `uname -m`.
        let name = if architecture == "arm64" { "aarch64" } else { architecture };
        self.setup.binaries.for_architecture(name).map(drop)
    }

    fn set_up(&self, running: &Running<'_>) -> Result<Option<Details>, MachineError> {
        let rule = match HostKey::recorded(running.place, running.connection)? {
            Some(key) => HostKeyRule::Pinned(key),
            None => announced(running).map_or(HostKeyRule::FirstContact, HostKeyRule::Announced),
        };
        let connection = self.connection(running, rule);
        let session = match Session::wait(&connection, Instant::now() + ATTEMPT, &|| false) {
            Ok(session) => session,
            // It boots, or its image has not taken the key yet.
            Err(
                RemoteError::Unreachable { .. }
                | RemoteError::Lost { .. }
                | RemoteError::TimedOut { .. }
                | RemoteError::Denied { .. },
            ) => return Ok(None),
            Err(error) => return Err(error.into_machine(&running.place.server.to_string())),
        };
        let host_key = session.host_key().clone();
        let machine = self.remote(running, &host_key).with_session(session);
        machine.set_up(&self.setup.binaries, &self.setup.listen)?;
        let mut details = Details::new();
        host_key.record(&mut details);
        Ok(Some(details))
    }

    fn machine(&self, running: &Running<'_>) -> Result<Option<Arc<dyn Machine>>, MachineError> {
        let Some(host_key) = HostKey::recorded(running.place, running.connection)? else { return Ok(None) };
        let machine = self.remote(running, &host_key);
        Ok(machine.is_initialised()?.then(|| Arc::new(machine) as Arc<dyn Machine>))
    }
}

/// The fingerprints of the host keys that the server wrote to its console when it booted, as cloud-init does; none where
/// EC2 does not have them (yet).
fn announced(running: &Running<'_>) -> Option<Vec<String>> {
    let console = (running.console)().ok().flatten()?;
    let fingerprints = jecloud_remote::fingerprints_on_console(&console);
    (!fingerprints.is_empty()).then_some(fingerprints)
}
