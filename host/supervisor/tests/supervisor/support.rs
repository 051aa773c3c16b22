//! A server's directory with a process manager of its own, which ends with the test.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jecloud_launch::{Signal, pid_from};
use jecloud_model::format::Format;
use jecloud_model::hook::{Health, Identity};
use jecloud_model::layout::{EnvironmentRoot, ServerRoot};
use jecloud_model::limits::Limits;
use jecloud_model::processes::{ProcessSpec, ProcessState, ProcessStatus, ProcessTable};
use jecloud_model::user::UserDocument;
use jecloud_supervisor::{client, ensure_running};

/// Far more than anything takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    pub(crate) root: ServerRoot,
    pub(crate) exe: PathBuf,
    _directory: tempfile::TempDir,
}

pub(crate) fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Waits until `condition` has a value.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = soon();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Whether there is a process that runs: not merely one that nobody has waited for.
pub(crate) fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.starts_with(" Z")))
}

pub(crate) fn kill(pid: u32, signal: Signal) {
    rustix::process::kill_process(pid_from(pid).expect("a pid"), signal).expect("there is such a process");
}

/// A process that runs a script.
pub(crate) fn sh(id: &str, script: &str) -> ProcessSpec {
    ProcessSpec {
        id: id.parse().expect("an id"),
        service: "node".parse().expect("a name"),
        version: "0".repeat(64).parse().expect("a version"),
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        cwd: "/".to_owned(),
        run_as: Identity::App,
        ports: BTreeMap::new(),
        health: Health::StaysUp,
        start_timeout_ms: 1000,
        stop_timeout_ms: 10_000,
        limits: Limits::default(),
    }
}

impl Server {
    /// With these settings: lines such as `export JECLOUD_TEST_FRONT=1`.
    pub(crate) fn new(settings: &str) -> Self {
        Self::below(tempfile::tempdir().expect("a directory"), "", settings)
    }

    /// In a directory somewhere below a temporary one.
    pub(crate) fn below(directory: tempfile::TempDir, path: &str, settings: &str) -> Self {
        let root = directory.path().join(path).join("server");
        fs::create_dir_all(&root).expect("made");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("set");
        let exe = root.join("jecloud");
        let probe = env!("CARGO_BIN_EXE_jecloud-supervisor-probe");
        let script =
            format!("#!/bin/sh\nexport JECLOUD_TEST_EXE='{}'\n{settings}\nexec '{probe}' \"$@\"\n", exe.display());
        fs::write(&exe, script).expect("written");
        fs::set_permissions(&exe, fs::Permissions::from_mode(0o755)).expect("set");
        let server = Self { root: ServerRoot::new(root), exe, _directory: directory };
        // Where the tests run as root, so do the processes that they start.
        server.write_user("root");
        server
    }

    /// Records as whom the processes run where the process manager is root.
    pub(crate) fn write_user(&self, name: &str) {
        let (app, environment) = ("shop".parse().expect("a name"), "production".parse().expect("a name"));
        let path = self.root.user_document(&app, &environment);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        let document = UserDocument { format: Format::default(), app, environment, user: name.to_owned(), files: None };
        jecloud_disk::durable::write_json(&path, &document, 0o644).expect("written");
    }

    pub(crate) fn place(&self) -> EnvironmentRoot {
        self.root.environment(&"shop".parse().expect("a name"), &"production".parse().expect("a name"))
    }

    /// Writes the table without telling anybody.
    pub(crate) fn write_table(&self, processes: &[ProcessSpec]) {
        fs::create_dir_all(self.place().path()).expect("made");
        let table = ProcessTable {
            format: 1,
            app: "shop".parse().expect("a name"),
            environment: "production".parse().expect("a name"),
            processes: processes.to_vec(),
        };
        jecloud_disk::durable::write_json(&self.place().process_table(), &table, 0o600).expect("written");
    }

    /// Writes the table and has it acted on.
    #[track_caller]
    pub(crate) fn want(&self, processes: &[ProcessSpec]) -> Vec<ProcessStatus> {
        self.write_table(processes);
        self.begin();
        client::reconcile(&self.root, soon()).expect("an answer")
    }

    #[track_caller]
    pub(crate) fn begin(&self) {
        ensure_running(&self.root, &self.exe).expect("it runs");
    }

    #[track_caller]
    pub(crate) fn statuses(&self) -> Vec<ProcessStatus> {
        client::status(&self.root, soon()).expect("an answer")
    }

    #[track_caller]
    pub(crate) fn status(&self, id: &str) -> Option<ProcessStatus> {
        self.statuses().into_iter().find(|status| status.id.to_string() == id)
    }

    /// The process of this id, when it runs.
    #[track_caller]
    pub(crate) fn running(&self, id: &str) -> ProcessStatus {
        wait_for(id, || self.status(id).filter(|status| status.state == ProcessState::Running))
    }

    #[track_caller]
    pub(crate) fn pid(&self, id: &str) -> u32 {
        self.running(id).pid.expect("what runs has a number")
    }

    /// The number of the process manager.
    pub(crate) fn supervisor(&self) -> Option<u32> {
        jecloud_disk::lock::holder(&self.root.pid_file("supervisor")).expect("readable").filter(|pid| *pid > 1)
    }

    /// Kills the process manager as a power cut would, and waits until it is gone.
    #[track_caller]
    pub(crate) fn kill_supervisor(&self) -> u32 {
        let pid = wait_for("a process manager", || self.supervisor());
        kill(pid, Signal::KILL);
        until("the process manager is gone", || !lives(pid));
        pid
    }

    /// The log of `web.1` and the like; empty where there is none.
    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.place().logs().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// What was logged, without times and ids.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        self.log(name).lines().map(|line| line.splitn(3, ' ').nth(2).expect("three parts").to_owned()).collect()
    }

    pub(crate) fn journal(&self) -> String {
        fs::read_to_string(self.root.system_log("supervisor")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Also where the process manager was killed: a new one finds what is left, and ends it.
        self.write_table(&[]);
        let ended = ensure_running(&self.root, &self.exe).and_then(|()| client::shutdown(&self.root, soon()));
        if std::thread::panicking() {
            eprintln!("--- the process manager's log\n{}", self.journal());
        } else {
            ended.expect("everything ends");
        }
    }
}
