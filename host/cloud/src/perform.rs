//! Performing steps of the plan. Nothing is decided here.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use jecloud_disk::fault;
use jecloud_model::app::DeploymentState;
use jecloud_model::cloud::{Basis, CloudState, CloudStep, Objects, Place, ServerRecord, Until};
use jecloud_model::events::What;
use jecloud_model::ids::{AppName, Digest, ReleaseNumber, VersionId};
use jecloud_model::release::Release;
use jecloud_model::secrets::SecretValue;
use jecloud_model::topology::{Order, Topology};

use crate::backup_key::backup_key;
use crate::keys;
use crate::machines::{Details, Machine, MachineError, Machines};
use crate::object_store::{Cause, ObjectStore, StoreError};
use crate::progress::{ObjectName, Progress};
use crate::protocol::Server;
use crate::secrets::SecretsFile;
use crate::world::World;

/// Files of this machine from which objects can be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Archives.
    pub archives: BTreeMap<VersionId, PathBuf>,
    /// Hooks.
    pub hooks: BTreeMap<Digest, PathBuf>,
}

impl Sources {
    pub(crate) fn at_hand(&self) -> Objects<()> {
        Objects {
            versions: self.archives.keys().map(|version| (version.clone(), ())).collect(),
            hooks: self.hooks.keys().map(|hook| (hook.clone(), ())).collect(),
        }
    }
}

/// How far each release was followed at each place: events that were reported are not reported again.
#[derive(Default)]
pub(crate) struct Followed(Mutex<BTreeMap<(Place, ReleaseNumber), Arc<AtomicUsize>>>);

impl Followed {
    fn of(&self, place: &Place, release: ReleaseNumber) -> Arc<AtomicUsize> {
        let mut all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.entry((place.clone(), release)).or_default().clone()
    }
}

/// What a step at one server came to.
pub(crate) enum Performed {
    /// It is done; this is to be recorded of the server.
    Created(Details),
    /// It is done, and this server is to be forgotten, of which this was recorded.
    Removed(Details),
    /// It is done.
    Done,
    /// What was waited for has not come to an end.
    Unfinished,
}

/// What steps at one server need.
pub(crate) struct Workplace<'a> {
    pub(crate) store: &'a dyn ObjectStore,
    pub(crate) machines: &'a dyn Machines,
    pub(crate) world: &'a dyn World,
    pub(crate) state: &'a CloudState,
    /// From which state the steps follow. It may be older than `state`.
    pub(crate) basis: &'a Basis,
    pub(crate) place: &'a Place,
    pub(crate) machine: Option<&'a dyn Machine>,
    pub(crate) followed: &'a Followed,
    /// Whether a server that is waited for is told once more what to do: a roll-forward of it may have died.
    pub(crate) nudge: bool,
    pub(crate) progress: Sender<Progress>,
    pub(crate) cancel: &'a (dyn Fn() -> bool + Sync),
    /// Set when a release failed somewhere that all servers have to be ready for: nobody need wait for the others.
    pub(crate) in_vain: &'a AtomicBool,
}

impl Workplace<'_> {
    fn say(&self, progress: Progress) {
        // Whoever listens may have gone.
        let _ = self.progress.send(progress);
    }

    fn app(&self) -> &AppName {
        &self.state.app
    }

    fn record(&self) -> Option<&ServerRecord> {
        self.state.environments.get(&self.place.environment)?.servers.get(&self.place.server)
    }

    fn release(&self, number: ReleaseNumber) -> Option<&Release> {
        self.state.environments.get(&self.place.environment)?.release(number).map(|recorded| &recorded.release)
    }

    /// Performs a step that concerns this place.
    pub(crate) fn perform(&self, step: &CloudStep) -> Result<Performed, MachineError> {
        let environment = &self.place.environment;
        let name = self.place.server.to_string();
        let record = self.record().ok_or_else(|| lost(&name))?;
        if let CloudStep::CreateServer(place) = step {
            self.say(Progress::Creating(place.clone()));
            point("cloud.server.create", &name)?;
            let details = self.machines.create(place, record)?;
            self.say(Progress::Created(place.clone()));
            return Ok(Performed::Created(details));
        }
        if let CloudStep::RemoveServer(place) = step {
            point("cloud.server.remove", &name)?;
            self.machines.remove(place, record)?;
            self.say(Progress::Removed(place.clone()));
            return Ok(Performed::Removed(record.details.clone()));
        }
        let machine = self.machine.ok_or_else(|| lost(&name))?;
        if !matches!(step, CloudStep::AwaitServer { .. }) {
            machine.renew()?;
        }
        let server = Server::new(machine, &name).based_on(self.basis);
        match step {
            CloudStep::PutHook(_, digest) => {
                let object = ObjectName::Hook(digest.clone());
                let file = self.put(&name, &keys::hook(digest), &object)?;
                server.put_hook(digest, &file)?;
                self.say(Progress::Put { place: self.place.clone(), object });
            }
            CloudStep::PutArchive(_, version) => {
                let object = ObjectName::Archive(version.clone());
                let file = self.put(&name, &keys::archive(version), &object)?;
                server.put_archive(self.app(), environment, version, &file)?;
                self.say(Progress::Put { place: self.place.clone(), object });
            }
            CloudStep::HandRelease(_, number, topology) => {
                let release = self.release(*number).ok_or_else(|| lost(&name))?.clone();
                if !release.secrets.is_empty() {
                    point("cloud.server.secrets", &name)?;
                    server.put_secrets(self.app(), environment, &self.secrets(&name, &release, topology)?)?;
                }
                if release.services.values().any(|service| service.backup.is_some()) {
                    self.put_backup_key(&name, server)?;
                }
                point("cloud.server.hand", &name)?;
                server.deploy(&Order { release, topology: Some((**topology).clone()) })?;
                self.say(Progress::Handed { place: self.place.clone(), release: *number });
            }
            CloudStep::AwaitServer { release, until, .. } => return self.wait(server, *release, *until),
            CloudStep::ProceedOnServer(_, release) => {
                point("cloud.server.proceed", &name)?;
                server.proceed(self.app(), environment, *release)?;
            }
            CloudStep::CommitServer(_, release) => {
                point("cloud.server.commit", &name)?;
                server.commit(self.app(), environment, *release)?;
            }
            CloudStep::AbortOnServer(_, release) => {
                point("cloud.server.abort", &name)?;
                server.abort(self.app(), environment, *release)?;
            }
            CloudStep::DestroyOnServer(place) => {
                point("cloud.server.destroy", &name)?;
                server.destroy(self.app(), environment)?;
                self.say(Progress::Destroyed(place.clone()));
            }
            other => unreachable!("{other:?} does not concern one server"),
        }
        Ok(Performed::Done)
    }

    /// Gives the server what backups are sealed with, so that it can make them by itself. Where the store has no key that
    /// can be used, that is no reason not to deploy: people are told, and the server has the key that it had.
    fn put_backup_key(&self, name: &str, server: Server<'_>) -> Result<(), MachineError> {
        point("cloud.server.backup-key", name)?;
        match backup_key(self.store) {
            Ok(key) => server.put_backup_key(self.app(), &self.place.environment, &key),
            Err(error) => {
                let (reason, hint) = (jecloud_model::chain(&error), error.hint().to_owned());
                self.say(Progress::Trouble { place: self.place.clone(), reason, hint });
                Ok(())
            }
        }
    }

    /// The values that this server needs for a release, as they are now: a release from before a secret was changed gets
    /// the new one. What serves until then may be started again meanwhile, and keeps what it needs.
    fn secrets(
        &self,
        name: &str,
        release: &Release,
        topology: &Topology,
    ) -> Result<BTreeMap<String, SecretValue>, MachineError> {
        let environment = self.state.environments.get(&self.place.environment);
        let serving = environment.and_then(|environment| environment.serving_release()).map(|serving| &serving.release);
        let file = SecretsFile::new(self.store, &self.place.environment, self.world);
        let secrets = file.read().map_err(|source| MachineError::Object { server: name.to_owned(), source })?;
        let mut values = secrets.values_of(release.secrets_on(topology)).map_err(|missing| MachineError::Refused {
            error: format!("{} needs the secret {missing}, which is not there any more", release.number),
            hint: format!("Set it with `jecloud env set --secret {missing}`, or deploy what does not need it."),
        })?;
        let before = serving.map(|serving| serving.secrets_on(topology)).unwrap_or_default();
        let still_there = before.into_iter().filter(|name| secrets.secrets.contains_key(*name));
        values.extend(secrets.values_of(still_there).unwrap_or_default());
        Ok(values)
    }

    fn put(&self, name: &str, key: &str, object: &ObjectName) -> Result<PathBuf, MachineError> {
        point("cloud.server.put", name)?;
        let machine = self.machine.ok_or_else(|| lost(name))?;
        let mut progress = |done| {
            self.say(Progress::Putting { place: self.place.clone(), object: object.clone(), done });
        };
        machine.put_file(self.store, key, &mut progress)
    }

    fn wait(&self, server: Server<'_>, number: ReleaseNumber, until: Until) -> Result<Performed, MachineError> {
        if let Some(release) = self.release(number).filter(|_| self.nudge) {
            // It knows: this is only so that somebody works on it.
            server.deploy(&Order { release: release.clone(), topology: None })?;
        }
        let far_enough = |state: DeploymentState| match until {
            Until::Prepared => state.is_prepared(),
            Until::Ready => state == DeploymentState::Ready,
            Until::End => false,
        };
        let with_others = until != Until::End;
        let followed = self.followed.of(self.place, number);
        let (mut seen, mut ended) = (0, false);
        let mut on_event = |event: jecloud_model::events::Event| {
            let enough = matches!(event.what, What::Entered { state } if far_enough(state));
            ended = event.what.is_end() || enough;
            if with_others && event.what.is_end() {
                self.in_vain.store(true, Ordering::Relaxed);
            }
            seen += 1;
            if seen > followed.load(Ordering::Relaxed) {
                followed.store(seen, Ordering::Relaxed);
                self.say(Progress::Event { place: self.place.clone(), release: number, event });
            }
            if ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let cancel = || (self.cancel)() || (with_others && self.in_vain.load(Ordering::Relaxed));
        server.follow(self.app(), &self.place.environment, number, &mut on_event, &cancel)?;
        Ok(if ended { Performed::Done } else { Performed::Unfinished })
    }
}

/// Puts something that is at hand into the store.
pub(crate) fn store_object(
    store: &dyn ObjectStore,
    sources: &Sources,
    object: &ObjectName,
    say: &mut dyn FnMut(Progress),
) -> Result<(), StoreError> {
    let (key, file) = match object {
        ObjectName::Archive(version) => (keys::archive(version), sources.archives.get(version)),
        ObjectName::Hook(digest) => (keys::hook(digest), sources.hooks.get(digest)),
    };
    // The planner has seen in `at_hand` that it is there.
    let Some(file) = file else { return Ok(()) };
    store_point("cloud.store.put", &key)?;
    store.put_file(&key, file, &mut |done| say(Progress::Storing { object: object.clone(), done }))?;
    say(Progress::Stored(object.clone()));
    Ok(())
}

/// Deletes objects; how many.
pub(crate) fn delete_objects(store: &dyn ObjectStore, objects: &Objects<()>) -> Result<usize, StoreError> {
    let versions = objects.versions.keys().map(keys::archive);
    let doomed: Vec<String> = versions.chain(objects.hooks.keys().map(keys::hook)).collect();
    for key in &doomed {
        store_point("cloud.store.delete", key)?;
        store.delete(key)?;
    }
    Ok(doomed.len())
}

fn store_point(name: &'static str, key: &str) -> Result<(), StoreError> {
    let doing = || format!("change {key} in the store");
    fault::point(name).map_err(|source| StoreError::Refused { doing: doing(), source: source.into() })
}

fn point(name: &'static str, server: &str) -> Result<(), MachineError> {
    let failed = |source: std::io::Error| MachineError::Unreachable {
        server: server.to_owned(),
        doing: name.to_owned(),
        source: Cause::from(source),
    };
    fault::point(name).map_err(failed)
}

/// The state does not hold any more what the plan was made from.
fn lost(server: &str) -> MachineError {
    MachineError::Unreachable {
        server: server.to_owned(),
        doing: "work at it".to_owned(),
        source: Cause::from("it is not in the cloud state any more"),
    }
}
