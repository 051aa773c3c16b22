//! The life of an app's servers: the real planner and the real state, rolled forward with EC2 in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jecloud_cloud::{Details, Found, Interactive, Machine, MachineError, Machines, ObjectStore, Output, World};
use jecloud_ec2::{CleanedUp, Connect, Ec2Machines, Ec2Settings, Running};
use jecloud_model::cloud::{
    Change, CloudState, CloudStep, Operation, Place, Scaled, SeenCloud, SeenServer, ServerName, ServerRecord, apply,
    plan,
};
use jecloud_model::ids::EnvironmentName;

use crate::cloud::{Ec2, Faults};

/// A machine does not answer so often before it does.
const BOOTING: u32 = 2;

/// After so long nothing is expected to happen any more.
const LONGEST: Duration = Duration::from_secs(2 * 3600);

/// Nor after so many rounds: time may stand still in each.
const MOST_ROUNDS: u32 = 2_000;

/// How a roll-forward ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Settled,
    Killed,
    Stuck,
}

/// The servers of the app `guestbook`, in one environment.
pub(crate) struct Life {
    pub(crate) ec2: Arc<Ec2>,
    pub(crate) state: CloudState,
    pub(crate) settings: Ec2Settings,
    pub(crate) network: Arc<Network>,
    operations: u64,
    /// What went wrong, in words.
    pub(crate) troubles: Vec<String>,
}

pub(crate) fn production() -> EnvironmentName {
    EnvironmentName::production()
}

pub(crate) fn place(server: &str) -> Place {
    Place { environment: production(), server: server.parse().unwrap() }
}

impl Life {
    /// With this many servers wanted, of which there is none.
    pub(crate) fn new(seed: u64, servers: u32) -> Self {
        let app = "guestbook".parse().unwrap();
        let mut life = Self {
            ec2: Ec2::new(seed),
            state: CloudState::found(&app, &"0".repeat(32).parse().unwrap()),
            settings: Ec2Settings::new(&app, "ssh-ed25519 AAAAC3Nza ada@laptop"),
            network: Arc::default(),
            operations: 0,
            troubles: Vec::new(),
        };
        assert!(life.change(Change::SetEnv { environment: production(), variables: BTreeMap::new() }));
        life.scale(servers);
        life
    }

    pub(crate) fn scale(&mut self, servers: u32) {
        let scale = BTreeMap::from([("app".parse().unwrap(), servers)]);
        assert!(self.change(Change::Scale { environment: production(), scale, scaled: Scaled::default() }));
    }

    pub(crate) fn destroy(&mut self) {
        assert!(self.change(Change::Destroy { environment: production() }));
    }

    pub(crate) fn faults(&self, faults: Faults) {
        let mut inside = self.ec2.get();
        (inside.faults, inside.calls) = (faults, 0);
    }

    /// A new process, which remembers nothing.
    pub(crate) fn machines(&self) -> Ec2Machines {
        let network = Box::new(Shared(self.network.clone()));
        Ec2Machines::new(self.settings.clone(), self.ec2.clone(), network, self.ec2.clock.clone())
    }

    fn change(&mut self, change: Change) -> bool {
        self.operations += 1;
        let id = format!("{:032x}", self.operations).parse().unwrap();
        match apply(&self.state, &Operation { id, change }, self.ec2.clock.now()) {
            Ok(state) => {
                self.state = state;
                true
            }
            Err(_) => false,
        }
    }

    pub(crate) fn record_server(&mut self, server: &str, details: Details) {
        let Place { environment, server } = place(server);
        assert!(self.change(Change::RecordServer { environment, server, replaces: None, details }));
    }

    pub(crate) fn record(&self, server: &str) -> Option<ServerRecord> {
        self.state.environments.get(&production())?.servers.get(&server.parse().unwrap()).cloned()
    }

    /// Rolls forward in one process to the end.
    pub(crate) fn settle(&mut self, machines: &Ec2Machines) -> End {
        let end = self.ec2.clock.now().plus(LONGEST);
        for _ in 0..MOST_ROUNDS {
            if self.ec2.clock.now() >= end {
                break;
            }
            let seen = self.look(machines);
            if self.ec2.is_killed() {
                return End::Killed;
            }
            let steps = plan(&self.state, &seen, self.ec2.clock.now());
            if steps.is_empty() {
                return End::Settled;
            }
            for step in steps {
                self.perform(machines, step);
                if self.ec2.is_killed() {
                    return End::Killed;
                }
            }
        }
        End::Stuck
    }

    /// A process that looks, records what that says, and ends before it does anything else.
    pub(crate) fn pass_by(&mut self) {
        let machines = self.machines();
        let seen = self.look(&machines);
        for step in plan(&self.state, &seen, self.ec2.clock.now()) {
            if let CloudStep::Record(change) = step {
                self.change(change);
            }
        }
    }

    /// One look at everything, as the planner is shown it.
    pub(crate) fn look(&mut self, machines: &Ec2Machines) -> SeenCloud {
        let mut seen = SeenCloud::default();
        for (name, environment) in &self.state.environments {
            let servers = seen.servers.entry(name.clone()).or_default();
            let place = |server: &ServerName| Place { environment: name.clone(), server: server.clone() };
            let places: Vec<Place> = environment.servers.keys().map(place).collect();
            let asked: Vec<_> = places.iter().zip(environment.servers.values()).collect();
            for (place, found) in places.iter().zip(machines.find_all(&asked)) {
                let found = match found {
                    Found::Present(_) => SeenServer::Present(Box::default()),
                    Found::Absent => SeenServer::Absent,
                    Found::Gone => SeenServer::Gone,
                    Found::Silent(error) => {
                        self.troubles.push(error.to_line());
                        SeenServer::Silent
                    }
                    Found::Unseen(error) => {
                        self.troubles.push(error.to_line());
                        SeenServer::Unseen
                    }
                    Found::Unknown(error) => {
                        self.troubles.push(error.to_line());
                        SeenServer::Unknown
                    }
                };
                servers.insert(place.server.clone(), found);
            }
        }
        seen
    }

    fn perform(&mut self, machines: &Ec2Machines, step: CloudStep) {
        match step {
            CloudStep::Record(change) => drop(self.change(change)),
            CloudStep::RecordServer(Place { environment, server }) => {
                match machines.details(&Place { environment: environment.clone(), server: server.clone() }) {
                    Ok(details) if !self.ec2.is_killed() => {
                        self.change(Change::RecordServer { environment, server, replaces: None, details });
                    }
                    Ok(_) => {}
                    Err(error) => {
                        self.troubles.push(error.to_line());
                        self.ec2.clock.pause(Duration::from_secs(5));
                    }
                }
            }
            CloudStep::CreateServer(place) => {
                let record = self.record(&place.server.to_string()).expect("a record");
                let made = machines.create(&place, &record);
                let Place { environment, server } = place.clone();
                let replaces = Some(record.details);
                self.conclude(&place, made, |details| Change::RecordServer { environment, server, replaces, details });
            }
            CloudStep::RemoveServer(place) => {
                let record = self.record(&place.server.to_string()).expect("a record");
                let removed = machines.remove(&place, &record);
                let (Place { environment, server }, details) = (place.clone(), record.details);
                self.conclude(&place, removed, |()| Change::ForgetServer { environment, server, details });
            }
            CloudStep::WaitUntil(until) => self.ec2.clock.pause(until.since(self.ec2.clock.now())),
            other => unreachable!("{other:?} without a release"),
        }
    }

    fn conclude<T>(&mut self, place: &Place, done: Result<T, MachineError>, change: impl FnOnce(T) -> Change) {
        // Who is dead records nothing.
        if self.ec2.is_killed() {
            return;
        }
        match done {
            Ok(done) => drop(self.change(change(done))),
            Err(error) => {
                let reason = error.to_line();
                self.troubles.push(reason.clone());
                let Place { environment, server } = place.clone();
                self.change(Change::RecordServerFailure { environment, server, reason, release: None });
            }
        }
    }

    /// The instances that cost money are exactly those that are recorded, each set up and present.
    pub(crate) fn check_all_is_well(&mut self, servers: u32) {
        let machines = self.machines();
        let seen = self.look(&machines);
        let servers_seen = &seen.servers[&production()];
        assert_eq!(servers_seen.len(), servers as usize);
        assert!(servers_seen.values().all(|seen| matches!(seen, SeenServer::Present(_))), "{servers_seen:?}");
        let recorded: BTreeSet<String> = self.state.environments[&production()]
            .servers
            .values()
            .map(|record| jecloud_ec2::instance_of(&record.details).expect("an instance").to_owned())
            .collect();
        assert_eq!(recorded, self.ec2.living().into_iter().collect());
    }

    /// Rolls forward and cleans up until nothing is left, and checks that.
    pub(crate) fn end(&mut self) {
        let machines = self.machines();
        assert_eq!(self.settle(&machines), End::Settled, "{:?}", self.troubles);
        assert!(self.state.environments.is_empty());
        assert_eq!(self.ec2.living(), Vec::<String>::new(), "orphans: {:?}", self.troubles);
        assert!(matches!(machines.clean_up().unwrap(), CleanedUp::Done(_)));
        let inside = self.ec2.get();
        assert!(inside.groups.is_empty() && inside.keys.is_empty(), "{:?} {:?}", inside.groups, inside.keys);
    }
}

/// What is behind the addresses.
#[derive(Default)]
pub(crate) struct Network {
    attempts: Mutex<BTreeMap<String, u32>>,
    /// An architecture for which there is no JeCloud.
    pub(crate) unfit: Mutex<Option<String>>,
}

struct Shared(Arc<Network>);

impl Connect for Shared {
    fn fits(&self, architecture: &str) -> Result<(), MachineError> {
        if self.0.unfit.lock().unwrap().as_deref() == Some(architecture) {
            let error = format!("the server needs a JeCloud for {architecture}");
            return Err(MachineError::Refused { error, hint: "Build one.".to_owned() });
        }
        Ok(())
    }

    fn set_up(&self, instance: &Running<'_>) -> Result<Option<Details>, MachineError> {
        assert!(instance.address.starts_with("192.0.2."), "{}", instance.address);
        assert_eq!(instance.user, "admin");
        let mut attempts = self.0.attempts.lock().unwrap();
        let attempts = attempts.entry(instance.id.to_owned()).or_default();
        *attempts += 1;
        if *attempts <= BOOTING {
            return Ok(None);
        }
        let console = (instance.console)()?.expect("a console");
        Ok(Some(Details::from_iter([("host_key".to_owned(), console.into())])))
    }

    fn machine(&self, instance: &Running<'_>) -> Result<Option<Arc<dyn Machine>>, MachineError> {
        assert_eq!(instance.connection["host_key"], format!("{} login:", instance.id), "another machine's key");
        Ok(Some(Arc::new(NeverAsked)))
    }
}

/// No release is on its way: nobody has anything to say to a machine.
struct NeverAsked;

impl Machine for NeverAsked {
    fn host(&self) -> Option<String> {
        unreachable!("nobody asks where requests go")
    }

    fn renew(&self) -> Result<(), MachineError> {
        unreachable!("nobody tells it anything")
    }

    fn interact(&self, _what: Interactive<'_>) -> Result<i32, MachineError> {
        unreachable!("nobody has a terminal here")
    }

    fn call(&self, args: &[&str], _stdin: Option<&[u8]>, _timeout: Duration) -> Result<Output, MachineError> {
        unreachable!("{args:?}")
    }

    fn follow(
        &self,
        args: &[&str],
        _on_line: &mut dyn FnMut(&str) -> ControlFlow<()>,
        _cancel: &dyn Fn() -> bool,
    ) -> Result<(), MachineError> {
        unreachable!("{args:?}")
    }

    fn put_file(
        &self,
        _store: &dyn ObjectStore,
        key: &str,
        _progress: &mut dyn FnMut(u64),
    ) -> Result<PathBuf, MachineError> {
        unreachable!("{key}")
    }

    fn get_file(&self, path: &Path, _to: &mut dyn Write, _progress: &mut dyn FnMut(u64)) -> Result<(), MachineError> {
        unreachable!("{}", path.display())
    }
}
