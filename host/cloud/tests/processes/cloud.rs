//! A cloud in a temporary directory, with servers that are directories.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use jecloud_cloud::{
    Cloud, Details, DirectoryStore, Found, LocalMachines, MachineError, Machines, Options, Progress, Report, Reporter,
    RollForwardError, Sources, StateError, StateFile, SystemWorld, World as _, record_release, roll_forward, upload,
};
use jecloud_model::app::AppDocument;
use jecloud_model::cloud::{Change, CloudState, EnvironmentState, Place, ServerRecord};
use jecloud_model::format::Format;
use jecloud_model::hook::Powers;
use jecloud_model::ids::{AppName, Digest, EnvironmentName, ReleaseNumber, VersionId};
use jecloud_model::layout::ServerRoot;
use jecloud_model::release::{Release, ReleaseService};

/// Every server is a directory below `home/servers`, which this program serves. One with a file `cut` beside it cannot
/// be reached.
pub(crate) struct Fleet(PathBuf);

impl Fleet {
    fn root(&self, place: &Place) -> PathBuf {
        self.0.join(place.server.to_string())
    }

    fn local(&self, place: &Place) -> LocalMachines {
        LocalMachines::new(std::env::current_exe().unwrap(), ServerRoot::new(self.root(place)))
    }
}

impl Machines for Fleet {
    fn details(&self, place: &Place) -> Result<Details, MachineError> {
        Ok(Details::from_iter([("directory".to_owned(), self.root(place).to_string_lossy().into())]))
    }

    fn create(&self, place: &Place, record: &ServerRecord) -> Result<Details, MachineError> {
        assert_eq!(record.details["directory"], *self.root(place).to_string_lossy(), "made before it was recorded");
        self.local(place).create(place, record)
    }

    fn remove(&self, place: &Place, _record: &ServerRecord) -> Result<(), MachineError> {
        // It may never have come to be.
        match std::fs::remove_dir_all(self.root(place)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
            _ => Ok(()),
        }
    }

    fn find(&self, place: &Place, record: &ServerRecord) -> Found {
        if self.root(place).with_extension("cut").exists() {
            let source = "the cable is cut".into();
            let (server, doing) = (place.server.to_string(), "connecting".to_owned());
            return Found::Unknown(MachineError::Unreachable { server, doing, source });
        }
        self.local(place).find(place, record)
    }
}

pub(crate) struct TestCloud {
    home: PathBuf,
    _directory: Option<tempfile::TempDir>,
    pub(crate) app: AppName,
    pub(crate) store: DirectoryStore,
    pub(crate) fleet: Fleet,
}

pub(crate) fn production() -> EnvironmentName {
    EnvironmentName::production()
}

impl TestCloud {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().to_owned();
        Self { _directory: Some(directory), ..Self::at(home) }
    }

    /// One that is kept by somebody else.
    pub(crate) fn at(home: PathBuf) -> Self {
        std::fs::create_dir_all(&home).unwrap();
        Self {
            _directory: None,
            app: "guestbook".parse().unwrap(),
            store: DirectoryStore::new(home.join("clouds").join("guestbook")),
            fleet: Fleet(home.join("servers")),
            home,
        }
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn cloud(&self) -> Cloud<'_> {
        Cloud { app: &self.app, store: &self.store, machines: &self.fleet, world: &SystemWorld }
    }

    pub(crate) fn file(&self) -> StateFile<'_> {
        StateFile::new(&self.store, &self.app, &SystemWorld)
    }

    pub(crate) fn state(&self) -> CloudState {
        self.file().read().unwrap().unwrap().state
    }

    pub(crate) fn environment(&self) -> EnvironmentState {
        self.state().environments[&production()].clone()
    }

    pub(crate) fn change(&self, change: Change) {
        self.file().update(change).unwrap();
    }

    pub(crate) fn server(&self, name: &str) -> PathBuf {
        self.home.join("servers").join(name)
    }

    pub(crate) fn cut(&self, name: &str) {
        std::fs::create_dir_all(self.home.join("servers")).unwrap();
        std::fs::write(self.server(name).with_extension("cut"), "").unwrap();
    }

    pub(crate) fn mend(&self, name: &str) {
        std::fs::remove_file(self.server(name).with_extension("cut")).unwrap();
    }

    /// What a server says about the app.
    pub(crate) fn document(&self, name: &str) -> AppDocument {
        let text = std::fs::read_to_string(self.server(name).join("guestbook/production/app.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn object(&self, content: &str) -> (Digest, PathBuf) {
        let digest = Digest::of(content.as_bytes());
        let file = self.home.join(digest.short());
        std::fs::write(&file, content).unwrap();
        (digest, file)
    }

    /// Uploads and records a release.
    pub(crate) fn record(
        &self,
        content: &str,
        servers: u32,
        env: &[(&str, &str)],
    ) -> Result<ReleaseNumber, StateError> {
        let (hook, hook_file) = self.object("the hook");
        let (version, archive) = self.object(content);
        let version: VersionId = version.as_str().parse().unwrap();
        let sources = Sources {
            archives: BTreeMap::from([(version.clone(), archive)]),
            hooks: BTreeMap::from([(hook.clone(), hook_file)]),
        };
        let seen = self.file().read()?;
        upload(&self.store, &sources, &mut ()).unwrap();
        let service = ReleaseService {
            hook,
            settings: Default::default(),
            powers: Powers::default(),
            pins: BTreeMap::new(),
            on: None,
            gives: Vec::new(),
            peers: false,
            backup: None,
            apart: false,
        };
        let release = Release {
            format: Format::default(),
            app: self.app.clone(),
            environment: production(),
            number: ReleaseNumber(0),
            version,
            services: BTreeMap::from([("node".parse().unwrap(), service)]),
            processes: BTreeMap::new(),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            secrets: BTreeMap::new(),
            hosts: Vec::new(),
            hold: false,
            created: SystemWorld.now(),
            created_by: "ada@laptop".to_owned(),
            repeats: None,
            refreshes: None,
        };
        let scale = BTreeMap::from([("app".parse().unwrap(), servers)]);
        let seen = seen.as_ref().map(|known| &known.state);
        record_release(self.cloud(), seen, release, scale).map(|recorded| recorded.number)
    }

    pub(crate) fn roll(
        &self,
        release: Option<ReleaseNumber>,
        reporter: &mut dyn Reporter,
    ) -> Result<Report, RollForwardError> {
        let patience = Duration::from_millis(500);
        let options = Options { environment: Some(production()), release, patience, ..Options::default() };
        roll_forward(self.cloud(), &options, reporter)
    }

    pub(crate) fn deploy(&self, content: &str, servers: u32, env: &[(&str, &str)]) -> (ReleaseNumber, Report, Heard) {
        let number = self.record(content, servers, env).unwrap();
        let heard = Heard::default();
        let report = self.roll(Some(number), &mut &heard).unwrap();
        (number, report, heard)
    }
}

/// Everything that was reported.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<Progress>>);

impl Reporter for &Heard {
    fn report(&mut self, progress: Progress) {
        self.0.lock().unwrap().push(progress);
    }
}

impl Heard {
    pub(crate) fn all(&self) -> Vec<Progress> {
        self.0.lock().unwrap().clone()
    }
}
