//! This machine as the one server of all clouds: `provider = "local"`.

use std::cell::Cell;
use std::ffi::OsStr;
use std::io::{Read as _, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jecloud_disk::{durable, tree};
use jecloud_launch::{Ended, Input, Launch, RunLimits, Stream, interactive, run};
use jecloud_model::cloud::{Place, ServerRecord};
use jecloud_model::layout::ServerRoot;

use crate::machines::{Details, Found, Interactive, Machine, MachineError, Machines, Output};
use crate::object_store::ObjectStore;
use crate::protocol::LastWords;

/// The most that a command may answer: a status of a hundred environments is far below.
const KEEP_BYTES: usize = 16 << 20;

/// How much of a file is read at once.
const CHUNK: usize = 256 << 10;

/// How long setting up a server may take.
const INIT_TIMEOUT: Duration = Duration::from_secs(120);

/// Longer than anything that is followed takes.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Runs `jecloud update-server … --root ROOT` as a child process. Every server of every environment is this one.
#[derive(Debug, Clone)]
pub struct LocalMachines {
    machine: Arc<LocalMachine>,
}

/// This machine.
#[derive(Debug, Clone)]
struct LocalMachine {
    program: PathBuf,
    root: ServerRoot,
}

impl LocalMachines {
    /// `program` is the `jecloud` to run: mostly this very one. `root` is absolute; the server keeps everything
    /// below it.
    pub fn new(program: impl Into<PathBuf>, root: ServerRoot) -> Self {
        Self { machine: Arc::new(LocalMachine { program: program.into(), root }) }
    }
}

impl Machines for LocalMachines {
    fn details(&self, _place: &Place) -> Result<Details, MachineError> {
        Ok(Details::new())
    }

    fn create(&self, _place: &Place, record: &ServerRecord) -> Result<Details, MachineError> {
        let output = self.machine.call(&["init"], None, INIT_TIMEOUT)?;
        crate::protocol::check("init", &output)?;
        Ok(record.details.clone())
    }

    fn remove(&self, _place: &Place, _record: &ServerRecord) -> Result<(), MachineError> {
        // The machine stays, and serves what else is on it.
        Ok(())
    }

    fn find(&self, _place: &Place, _record: &ServerRecord) -> Found {
        // `init` writes the document last.
        match tree::exists(&self.machine.root.server_document()) {
            Ok(true) => Found::Present(self.machine.clone()),
            Ok(false) => Found::Absent,
            Err(source) => Found::Unknown(MachineError::Disk { server: LocalMachine::name(), source }),
        }
    }
}

impl LocalMachine {
    fn name() -> String {
        "local".to_owned()
    }

    fn launch(&self, args: &[&str]) -> Launch {
        Launch::new(&self.program).arg("update-server").args(args).arg("--root").arg(self.root.path())
    }

    fn unreachable(args: &[&str], source: crate::object_store::Cause) -> MachineError {
        let doing = format!("update-server {}", args.first().copied().unwrap_or_default());
        MachineError::Unreachable { server: Self::name(), doing, source }
    }

    /// Where files wait until the server takes them.
    fn incoming(&self) -> PathBuf {
        self.root.sys().join("incoming")
    }
}

impl Machine for LocalMachine {
    fn host(&self) -> Option<String> {
        None
    }

    fn peer_address(&self) -> Option<String> {
        Some("127.0.0.1".to_owned())
    }

    /// What is called here is this JeCloud; what runs is renewed when it hands over a release.
    fn renew(&self) -> Result<(), MachineError> {
        Ok(())
    }

    fn interact(&self, what: Interactive<'_>) -> Result<i32, MachineError> {
        let Interactive::UpdateServer(args) = what else {
            return Err(MachineError::Refused {
                error: "the app runs on this machine: there is no server to open a shell on".to_owned(),
                hint: "`jecloud run -- sh` runs a shell as the app runs.".to_owned(),
            });
        };
        let root = self.root.path();
        let launch = Launch::new(&self.program).args(["update-server", "--root"]).arg(root).args(args);
        let ended = interactive(launch.input(Input::Inherit));
        ended.map(Ended::code).map_err(|error| Self::unreachable(args, error.into()))
    }

    fn call(&self, args: &[&str], stdin: Option<&[u8]>, timeout: Duration) -> Result<Output, MachineError> {
        let input = stdin.map_or(Input::Null, |bytes| Input::Bytes(bytes.to_vec()));
        let limits = RunLimits { timeout, keep_bytes: KEEP_BYTES };
        let finished = run(self.launch(args).input(input), limits, &|| false, &mut |_, _| {})
            .map_err(|error| Self::unreachable(args, error.into()))?;
        match finished.status {
            Ended::Exit(status) => Ok(Output { status, stdout: finished.stdout, stderr: finished.stderr }),
            ended => Err(Self::unreachable(args, format!("it {ended}").into())),
        }
    }

    fn follow(
        &self,
        args: &[&str],
        on_line: &mut dyn FnMut(&str) -> ControlFlow<()>,
        cancel: &dyn Fn() -> bool,
    ) -> Result<(), MachineError> {
        let enough = Cell::new(false);
        let mut last = LastWords::default();
        let limits = RunLimits { timeout: FOLLOW_TIMEOUT, keep_bytes: 64 * 1024 };
        let finished = run(self.launch(args), limits, &|| enough.get() || cancel(), &mut |stream, line| {
            if stream == Stream::Out && !enough.get() && !last.take(line) && on_line(line).is_break() {
                enough.set(true);
            }
        })
        .map_err(|error| Self::unreachable(args, error.into()))?;
        match finished.status {
            Ended::Exit(status) => {
                let output = Output { status, stdout: last.into_bytes(), stderr: finished.stderr };
                if status == 0 || enough.get() { Ok(()) } else { crate::protocol::check("follow", &output).map(drop) }
            }
            Ended::Cancelled => Ok(()),
            _ if enough.get() => Ok(()),
            ended => Err(Self::unreachable(args, format!("it {ended}").into())),
        }
    }

    fn put_file(
        &self,
        store: &dyn ObjectStore,
        key: &str,
        _progress: &mut dyn FnMut(u64),
    ) -> Result<PathBuf, MachineError> {
        let disk = |source| MachineError::Disk { server: Self::name(), source };
        let object = |source| MachineError::Object { server: Self::name(), source };
        let target = match store.file_of(key) {
            // The store is on this machine too: the server copies from it.
            Some(file) => file,
            None => {
                let incoming = self.incoming();
                durable::create_dirs(&incoming, 0o700).map_err(disk)?;
                incoming.join(Path::new(key).file_name().unwrap_or(OsStr::new("object")))
            }
        };
        // Keys name their contents and files appear whole: one that is there is right.
        let there = tree::exists(&target).map_err(disk)?
            || (store.file_of(key).is_none() && store.get_to_file(key, &target).map_err(object)?);
        if there {
            return Ok(target);
        }
        let doing = format!("read {key} in {}", store.describe());
        let source = std::io::Error::from(std::io::ErrorKind::NotFound).into();
        Err(object(crate::object_store::StoreError::Refused { doing, source }))
    }

    fn get_file(&self, path: &Path, to: &mut dyn Write, progress: &mut dyn FnMut(u64)) -> Result<(), MachineError> {
        let doing = || format!("read {}", path.display());
        let failed = |source: std::io::Error| {
            let doing = doing();
            MachineError::Unreachable { server: Self::name(), doing, source: source.into() }
        };
        let file = durable::open(path).map_err(|source| MachineError::Disk { server: Self::name(), source })?;
        let mut file = file.ok_or_else(|| MachineError::Refused {
            error: format!("cannot {}: there is no such file", doing()),
            hint: String::new(),
        })?;
        let mut chunk = vec![0; CHUNK];
        let mut done = 0;
        loop {
            match file.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    to.write_all(&chunk[..read]).map_err(failed)?;
                    done += read as u64;
                    progress(done);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}
