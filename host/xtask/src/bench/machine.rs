//! JeCloud with a home of its own, beside whatever else runs on this machine.

#![expect(clippy::disallowed_methods, reason = "copies an example and looks at processes")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::Bench;
use super::http::Place;
use super::process::{command, output, pause};

/// How long everything may take to end.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(60);

/// A `JECLOUD_HOME`. Everything that runs from it is ended when this goes.
pub(super) struct Machine<'a> {
    jecloud: &'a Path,
    home: PathBuf,
}

impl<'a> Machine<'a> {
    /// A new one below the scratch directory.
    ///
    /// # Errors
    ///
    /// Where its directory cannot be made.
    pub(super) fn new(bench: &'a Bench, name: &str) -> Result<Self> {
        Ok(Self { jecloud: &bench.artifacts.jecloud, home: bench.scratch.directory(name)? })
    }

    /// Its directory.
    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// `jecloud`, for this home.
    pub(super) fn jecloud(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.jecloud);
        command.args(arguments).env("JECLOUD_HOME", &self.home).env("NO_COLOR", "1").current_dir(&self.home);
        command
    }

    /// `jecloud deploy`.
    pub(super) fn deploy(&self, app: &Path) -> Command {
        let mut command = self.jecloud(&["deploy", "-y"]);
        command.arg(app);
        command
    }

    /// Where the app answers.
    ///
    /// # Errors
    ///
    /// Where `jecloud status` cannot say.
    pub(super) fn place(&self, app: &Path) -> Result<Place> {
        let mut status = self.jecloud(&["status", "--json", "-C"]);
        let text = output(status.arg(app))?;
        let status: serde_json::Value = serde_json::from_str(&text).context("`jecloud status --json` is not JSON")?;
        let url = status["environments"][0]["url"].as_str();
        url.and_then(Place::of_url).with_context(|| format!("`jecloud status --json` has no URL: {text}"))
    }

    /// The ids of the processes of JeCloud itself that stay: those that were told this server's directory.
    pub(super) fn residents(&self) -> Vec<u32> {
        let root = self.home.join("server").display().to_string();
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        ids.filter(|id| {
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            line.split(|&byte| byte == 0).any(|argument| argument == root.as_bytes())
        })
        .collect()
    }

    fn shut_down(&self) -> Result<()> {
        let root = self.home.join("server");
        let mut shutdown = self.jecloud(&["update-server", "shutdown", "--root"]);
        let mut child = shutdown.arg(&root).stdout(Stdio::null()).spawn().context("cannot start jecloud")?;
        let start = Instant::now();
        while child.try_wait().context("cannot wait for jecloud")?.is_none() {
            if start.elapsed() > SHUTDOWN_LIMIT {
                child.kill().context("cannot end jecloud")?;
                child.wait().context("cannot wait for jecloud")?;
                break;
            }
            pause(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        if self.residents().is_empty() {
            return;
        }
        let result = self.shut_down();
        let left = self.residents();
        if let Err(error) = result {
            eprintln!("JeCloud in {} could not be ended: {error:#}", self.home.display());
        }
        if !left.is_empty() {
            eprintln!("these processes of JeCloud in {} still run: {left:?}", self.home.display());
        }
    }
}

/// A copy of `examples/hello-node`, whose greeting can be changed.
pub(super) struct HelloNode {
    /// Its directory.
    pub(super) directory: PathBuf,
    source: String,
}

/// What `server.js` of the example says.
const GREETING: &str = "Hello from";

impl HelloNode {
    /// A new copy.
    ///
    /// # Errors
    ///
    /// Where it cannot be made, or the example is not what this expects.
    pub(super) fn copy(bench: &Bench, name: &str) -> Result<Self> {
        let example = bench.root.join("examples/hello-node");
        let directory = bench.scratch.directory(name)?;
        for file in ["jecloud.toml", "package.json", "server.js"] {
            std::fs::copy(example.join(file), directory.join(file))
                .with_context(|| format!("cannot copy {}", example.join(file).display()))?;
        }
        let server = directory.join("server.js");
        let source = std::fs::read_to_string(&server).with_context(|| format!("cannot read {}", server.display()))?;
        anyhow::ensure!(source.contains(GREETING), "{} does not say {GREETING:?}", server.display());
        Ok(Self { directory, source })
    }

    /// Changes what it says, and returns that.
    ///
    /// # Errors
    ///
    /// Where the file cannot be written.
    pub(super) fn greet(&self, number: usize) -> Result<String> {
        let greeting = format!("Hello number {number} from");
        let server = self.directory.join("server.js");
        std::fs::write(&server, self.source.replace(GREETING, &greeting))
            .with_context(|| format!("cannot write {}", server.display()))?;
        Ok(greeting)
    }
}
