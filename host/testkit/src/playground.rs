//! A [`TestCloud`] for a person: it stays in the background until it is taken down.
//!
//! Everything that belongs to it lies in one directory, or is recorded there before it matters: whoever takes it down
//! needs nothing but that directory, also when the process that kept it was killed.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a development task starts a test cloud")]

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::fs::FlockOperation;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::machines::Machines;
use crate::processes::{is_alive, send, started};
use crate::test_cloud::TestCloud;

/// Says that it runs, and what has to be removed. It ends when this is gone.
const RECORD: &str = "cloud.json";
/// What the record is called while it is taken down.
const ENDING: &str = "cloud.ending.json";
/// The machines' processes, one a line, with the times at which they started.
const MACHINES: &str = "machines";
/// What it complains of.
const LOG: &str = "log";
/// To be read by a shell.
const ENVIRONMENT: &str = "env";
/// An app to begin with.
const APP: &str = "guestbook";

/// How long it may take to come, and to go.
const PATIENCE: Duration = Duration::from_secs(90);
const GLANCE: Duration = Duration::from_millis(50);

/// A test cloud in this directory.
#[derive(Debug, Clone)]
pub struct Playground {
    directory: PathBuf,
}

impl Playground {
    /// The one in this directory, which need not exist.
    ///
    /// # Errors
    ///
    /// When the directory cannot be named absolutely.
    pub fn at(directory: &Path) -> Result<Self> {
        Ok(Self { directory: std::path::absolute(directory)? })
    }

    /// Starts it, unless it runs: `serve` is the command that calls [`Playground::serve`] for this directory, and
    /// `jecloud` the directory of the binary to use. Returns what to type.
    ///
    /// # Errors
    ///
    /// Where it does not start, with what it said.
    pub fn up(&self, serve: &mut Command, jecloud: &Path) -> Result<String> {
        if !rustix::process::geteuid().is_root() {
            bail!("only root can make machines of namespaces: type `sudo` before it");
        }
        std::fs::create_dir_all(&self.directory)
            .with_context(|| format!("cannot make {}", self.directory.display()))?;
        let lock = self.lock()?;
        if self.owner().is_none() {
            // What a killed one left.
            self.remove_left_over()?;
            self.start(serve)?;
        }
        drop(lock);
        let record = self.record(RECORD).context("it ended as soon as it had started")?;
        self.write_what_to_use(&record, jecloud)?;
        let at = self.directory.display();
        let mut text = "The test cloud runs: an account with nothing in it. To use it, type:\n\n".to_owned();
        let _ = write!(
            text,
            "  . {at}/{ENVIRONMENT}\n  cd {at}/{APP}\n  jecloud deploy\n  jecloud scale app=2\n  jecloud destroy\n\n\
             For an app of your own, this goes into its jecloud.toml:\n\n{}\n\
             `cargo xtask cloud down` ends it and removes all of it.\n",
            record["section"].as_str().unwrap_or_default()
        );
        Ok(text)
    }

    /// Ends it and removes everything of it. Whether there was anything.
    ///
    /// # Errors
    ///
    /// Where something of it cannot be removed; to be repeated.
    pub fn down(&self) -> Result<bool> {
        if !self.directory.exists() {
            return Ok(false);
        }
        let lock = self.lock()?;
        if let Some(owner) = self.owner() {
            std::fs::rename(self.directory.join(RECORD), self.directory.join(ENDING))?;
            wait(PATIENCE, || !is_alive(owner));
        }
        self.remove_left_over()?;
        std::fs::remove_dir_all(&self.directory)
            .with_context(|| format!("cannot remove {}", self.directory.display()))?;
        drop(lock);
        Ok(true)
    }

    /// Is the test cloud, until its record is gone.
    ///
    /// # Errors
    ///
    /// Where it cannot be one.
    pub fn serve(&self) -> Result<()> {
        // Whatever happens to the terminal.
        let _ = rustix::process::setsid();
        let machines = OpenOptions::new().create(true).append(true).open(self.directory.join(MACHINES))?;
        let on_start = move |pid| {
            let _ = writeln!(&machines, "{pid} {}", started(pid).unwrap_or_default());
        };
        let cloud = TestCloud::start_watched(on_start).context("only root can make machines of namespaces")?;
        let process = |pid| json!({"pid": pid, "started": started(pid)});
        let record = json!({
            "owner": process(std::process::id()),
            "moto": process(cloud.moto_pid()),
            "network": cloud.network(),
            "directories": cloud.directories(),
            "variables": cloud.variables().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "section": cloud.cloud_section(),
        });
        let unfinished = self.directory.join("cloud.unfinished.json");
        std::fs::write(&unfinished, serde_json::to_vec_pretty(&record)?)?;
        std::fs::rename(&unfinished, self.directory.join(RECORD))?;
        while self.directory.join(RECORD).exists() {
            std::thread::sleep(GLANCE);
        }
        drop(cloud);
        Ok(())
    }

    fn start(&self, serve: &mut Command) -> Result<()> {
        let log = File::create(self.directory.join(LOG))?;
        let mut child = serve
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .current_dir("/")
            .spawn()
            .context("cannot start the test cloud")?;
        let mut ended = None;
        wait(PATIENCE, || {
            ended = child.try_wait().ok().flatten();
            ended.is_some() || self.directory.join(RECORD).exists()
        });
        if self.directory.join(RECORD).exists() {
            return Ok(());
        }
        let _ = child.kill();
        let _ = child.wait();
        let said = std::fs::read_to_string(self.directory.join(LOG)).unwrap_or_default();
        let how = ended.map_or_else(|| format!("not within {PATIENCE:?}"), |status| status.to_string());
        bail!("the test cloud does not start ({how}):\n{said}")
    }

    /// The process that keeps it, if it lives.
    fn owner(&self) -> Option<u32> {
        process(&self.record(RECORD)?["owner"])
    }

    fn record(&self, name: &str) -> Option<Value> {
        serde_json::from_slice(&std::fs::read(self.directory.join(name)).ok()?).ok()
    }

    /// Nobody else starts or ends it meanwhile. The file goes with the directory.
    fn lock(&self) -> Result<File> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.directory.join("lock"))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    }

    /// Ends exactly the processes that are recorded and removes what is recorded.
    fn remove_left_over(&self) -> Result<()> {
        for name in [RECORD, ENDING] {
            let Some(record) = self.record(name) else { continue };
            let machines = std::fs::read_to_string(self.directory.join(MACHINES)).unwrap_or_default();
            let machines = machines.lines().filter_map(|line| {
                let (pid, since) = line.split_once(' ')?;
                process(&json!({"pid": pid.parse::<u32>().ok()?, "started": since.parse::<u64>().ok()?}))
            });
            let recorded = [&record["owner"], &record["moto"]].into_iter().filter_map(process);
            for pid in recorded.chain(machines) {
                send(pid, Signal::KILL);
                if !wait(Duration::from_secs(10), || !is_alive(pid)) {
                    bail!("process {pid} does not end");
                }
            }
            if let Some(network) = record["network"].as_str() {
                Machines::remove_left_over(network);
            }
            for directory in record["directories"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                match std::fs::remove_dir_all(directory) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(error).with_context(|| format!("cannot remove {directory}"));
                    }
                    _ => {}
                }
            }
            std::fs::remove_file(self.directory.join(name))?;
        }
        match std::fs::remove_file(self.directory.join(MACHINES)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The variables for a shell, and an app to begin with.
    fn write_what_to_use(&self, record: &Value, jecloud: &Path) -> Result<()> {
        let jecloud = std::path::absolute(jecloud)?;
        let mut lines = format!("export PATH='{}':\"$PATH\"\n", jecloud.display());
        let _ = writeln!(lines, "export JECLOUD_HOME='{}'", self.directory.join("home").display());
        for (name, value) in record["variables"].as_object().into_iter().flatten() {
            let _ = writeln!(lines, "export {name}='{}'", value.as_str().unwrap_or_default());
        }
        std::fs::write(self.directory.join(ENVIRONMENT), lines)?;
        let app = self.directory.join(APP);
        if app.exists() {
            return Ok(());
        }
        std::fs::create_dir(&app)?;
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hello-node");
        for file in ["package.json", "server.js"] {
            std::fs::copy(example.join(file), app.join(file)).with_context(|| format!("cannot copy {file}"))?;
        }
        let section = record["section"].as_str().unwrap_or_default();
        let config = format!("app = \"{APP}\"\n\n{section}\n[servers.app]\ncount = 1\ntype = \"t3.small\"\n");
        Ok(std::fs::write(app.join("jecloud.toml"), config)?)
    }
}

/// The process that is meant, if it is still that one.
fn process(recorded: &Value) -> Option<u32> {
    let pid = u32::try_from(recorded["pid"].as_u64()?).ok()?;
    (is_alive(pid) && started(pid) == recorded["started"].as_u64()).then_some(pid)
}

/// Whether it was so within that time.
fn wait(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(GLANCE);
    }
}
