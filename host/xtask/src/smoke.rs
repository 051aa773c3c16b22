//! `cargo xtask smoke`: the whole way once with a real AWS account, and back to where it was.

#![expect(
    clippy::disallowed_methods,
    reason = "a development task runs the command as a person does, in a directory that it makes"
)]

mod options;

use std::io::{BufRead as _, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::hooks::workspace_root;
use crate::steps::seconds;
use options::Options;

/// How long a server may take to answer as it should.
const ANSWER: Duration = Duration::from_secs(60);

/// So often it is tried to remove everything.
const CLEANING: u32 = 5;

/// The task.
///
/// # Errors
///
/// What the first step says that fails. Everything that was made is removed before, or it is said what is left.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let Some(options) = Options::parse(arguments)? else {
        println!("{}", options::USAGE);
        return Ok(());
    };
    let jecloud = match &options.jecloud {
        Some(path) => std::path::absolute(path)?,
        None => crate::cloud::build(&workspace_root()?)?,
    };
    let smoke = Smoke::new(options, jecloud)?;
    print!("{}", smoke.announcement());
    if !smoke.options.yes && !agreed()? {
        bail!("nothing was made");
    }
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&smoke.stopped)).context("cannot watch for Ctrl-C")?;
    }
    std::fs::create_dir(&smoke.directory).with_context(|| format!("cannot make {}", smoke.directory.display()))?;
    let tried = smoke.try_everything();
    let cleaned = smoke.clean_up();
    match (&tried, &cleaned) {
        (Ok(()), Ok(())) => {
            println!("\nAll of it worked, and all of it is gone, but the bucket with the app's history.")
        }
        (Err(_), Ok(())) => println!("\nAll that was made is gone, but the bucket with the app's history."),
        (_, Err(_)) => println!(
            "\nNot everything could be removed. It goes on costing until it is. Type:\n\n  cd {}\n  {} destroy\n",
            smoke.directory.display(),
            smoke.jecloud.display()
        ),
    }
    if cleaned.is_ok() {
        let _ = std::fs::remove_dir_all(&smoke.directory);
        let app = &smoke.app;
        println!(
            "The bucket costs next to nothing. In the AWS console: S3, the one that begins with jecloud-{app}, Empty, Delete."
        );
    }
    tried.and(cleaned)
}

fn agreed() -> Result<bool> {
    print!("\nType yes to go on: ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

struct Smoke {
    options: Options,
    jecloud: PathBuf,
    app: String,
    /// The app's, of which nothing else is kept on this machine.
    directory: PathBuf,
    stopped: Arc<AtomicBool>,
}

impl Smoke {
    fn new(options: Options, jecloud: PathBuf) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        // A name of its own each time: whatever another run left is not taken for ours.
        let app = format!("smoke-{now:08x}");
        let directory = std::env::temp_dir().join(format!("jecloud-{app}"));
        Ok(Self { options, jecloud, app, directory, stopped: Arc::default() })
    }

    fn write_project(&self) -> Result<()> {
        let Self { options, app, directory, .. } = self;
        let mut config = format!("app = \"{app}\"\n\n[cloud]\nprovider = \"ec2\"\nregion = \"{}\"\n", options.region);
        for (key, value) in [
            ("endpoint", &options.endpoint),
            ("connect", &options.connect),
            ("user", &options.user),
            ("image", &options.image),
        ] {
            if let Some(value) = value {
                config.push_str(&format!("{key} = \"{value}\"\n"));
            }
        }
        config.push_str(&format!("\n[servers.app]\ncount = 1\ntype = \"{}\"\n", options.machine_type));
        std::fs::write(directory.join("jecloud.toml"), config)?;
        Ok(std::fs::write(directory.join("package.json"), "{}\n")?)
    }

    fn announcement(&self) -> String {
        let Options { region, machine_type, .. } = &self.options;
        format!(
            "This makes, in the region {region} of the AWS account of your credentials, for the app {}:\n\n\
             * a bucket, a key pair and a security group;\n\
             * one, for a while two, {machine_type} with 20 GB of disk and a public address.\n\n\
             It deploys, deploys another version, scales to two servers and back, and removes everything. That takes\n\
             about 10 minutes and costs roughly 0.02 US dollars with t3.small (0.023 an hour each, 0.005 for the address,\n\
             0.0024 for the disk). Whatever happens, and at Ctrl-C, everything but the bucket is removed; what cannot be\n\
             removed is named.\n",
            self.app
        )
    }

    fn try_everything(&self) -> Result<()> {
        self.write_project()?;
        self.write_version("one")?;
        self.step("from nothing to a server that serves", &["deploy"])?;
        self.serves("one", 1)?;
        self.write_version("two")?;
        self.step("another version", &["deploy"])?;
        self.serves("two", 1)?;
        self.step("two servers", &["scale", "app=2"])?;
        self.serves("two", 2)?;
        self.step("one server", &["scale", "app=1"])?;
        self.serves("two", 1)?;
        self.step("what the doctor says", &["doctor"])?;
        Ok(())
    }

    fn write_version(&self, text: &str) -> Result<()> {
        let server = format!(
            "const server = require('node:http').createServer((_, answer) => answer.end('{text}'));\n\
             server.listen(process.env.PORT);\nprocess.on('SIGTERM', () => server.close(() => process.exit(0)));\n"
        );
        Ok(std::fs::write(self.directory.join("server.js"), server)?)
    }

    /// All servers there are, so many, answer with this text.
    fn serves(&self, text: &str, servers: usize) -> Result<()> {
        let status = self.command(&["status", "--json"], true)?;
        let status: serde_json::Value = serde_json::from_str(&status).context("`status --json` is JSON")?;
        let urls = status["environments"][0]["urls"].as_array().cloned().unwrap_or_default();
        let urls: Vec<&str> = urls.iter().filter_map(|url| url.as_str()).collect();
        if urls.len() != servers {
            bail!("{servers} servers should serve, and these do: {urls:?}");
        }
        for url in urls {
            let begin = Instant::now();
            loop {
                self.go_on()?;
                let found = curl(url);
                if found.as_deref().is_ok_and(|found| found == text) {
                    break;
                }
                if begin.elapsed() > ANSWER {
                    bail!("{url} should answer {text:?}, and says {found:?}");
                }
                std::thread::sleep(Duration::from_millis(500));
            }
            println!("  {url} answers {text:?}");
        }
        Ok(())
    }

    fn step(&self, what: &str, arguments: &[&str]) -> Result<()> {
        println!("\n== {what}: jecloud {}", arguments.join(" "));
        let begin = Instant::now();
        self.command(arguments, false)?;
        println!("== {}", seconds(begin.elapsed()));
        Ok(())
    }

    fn clean_up(&self) -> Result<()> {
        println!("\n== everything is removed: jecloud destroy");
        // Ctrl-C has been heard; a second one does not leave half of it.
        self.stopped.store(false, Ordering::Relaxed);
        let mut last = String::new();
        for attempt in 0..CLEANING {
            if attempt > 0 {
                std::thread::sleep(Duration::from_secs(5));
            }
            let Err(error) = self.uninterrupted(&["destroy", "-y"]) else { return Ok(()) };
            last = format!("{error:#}");
            // Nothing was recorded, or it is gone already; what servers shared is removed then, too.
            if last.contains("is not deployed to production") {
                return Ok(());
            }
            eprintln!("{last}");
        }
        bail!("not everything could be removed: {last}")
    }

    fn go_on(&self) -> Result<()> {
        if self.stopped.load(Ordering::Relaxed) {
            bail!("stopped");
        }
        Ok(())
    }

    /// Runs a command until it ends or this is to be stopped. What it printed, where that is wanted.
    fn command(&self, arguments: &[&str], is_wanted: bool) -> Result<String> {
        self.go_on()?;
        let mut command = self.jecloud(arguments);
        if is_wanted {
            command.stdout(Stdio::piped());
        }
        let mut child = command.spawn().context("cannot start jecloud")?;
        let output = child.stdout.take().map(|mut output| {
            std::thread::spawn(move || {
                let mut text = String::new();
                output.read_to_string(&mut text).map(|_| text)
            })
        });
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if self.go_on().is_err() {
                let _ = kill_process(Pid::from_child(&child), Signal::INT);
                child.wait()?;
                bail!("stopped");
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        if !status.success() {
            bail!("`jecloud {}` ended with {status}", arguments.join(" "));
        }
        let text = output.and_then(|thread| thread.join().ok()).transpose()?;
        Ok(text.unwrap_or_default())
    }

    /// Runs a command to its end, whoever wants to stop it; its complaints are its error.
    fn uninterrupted(&self, arguments: &[&str]) -> Result<()> {
        let output = self.jecloud(arguments).stderr(Stdio::piped()).output().context("cannot start jecloud")?;
        if output.status.success() {
            return Ok(());
        }
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim())
    }

    fn jecloud(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.jecloud);
        command.args(arguments).current_dir(&self.directory).env("JECLOUD_HOME", self.directory.join("home"));
        // Ctrl-C is ours to hand on.
        command.stdin(Stdio::null()).process_group(0);
        command
    }
}

fn curl(url: &str) -> Result<String> {
    let output = Command::new("curl").args(["--silent", "--show-error", "--fail", "--max-time", "10", url]).output();
    let output = output.context("cannot start curl")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
