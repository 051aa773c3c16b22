//! `cargo xtask test`: installs what the tests need, then runs everything that must hold before a change is merged.

mod console;
mod debian;
mod mongodb;
pub(crate) mod moto;
pub(crate) mod programs;
mod redis;
mod summary;

use std::io::{Read, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::hooks::{self, workspace_root};
use crate::lint;
use crate::scope::Scope;
use crate::steps::{Steps, cargo};
use summary::Summary;

/// How many tests of one crate run at the same time at most. Many of them start servers with deadlines: on a machine
/// with many cores they would wait for the disk together.
const MOST_THREADS: usize = 4;

/// How long the output of the tests may stay open after cargo has ended: that is a process which a test left behind.
const OUTPUT_LINGERS: Duration = Duration::from_secs(5);

/// The task.
///
/// # Errors
///
/// What the first step says that fails.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let scope = Scope::parse(arguments)?;
    let root = workspace_root()?;
    let mut steps = Steps::default();
    let mut summary = None;
    let mut left_out = None;
    let result = take(&mut steps, &root, &scope, &mut summary, &mut left_out);
    eprint!("\n{}", steps.table());
    if let Some(left_out) = left_out {
        println!("\n{left_out}");
    }
    if let Some(summary) = summary {
        println!("\n{summary}");
    }
    result
}

fn take(
    steps: &mut Steps,
    root: &Path,
    scope: &Scope,
    summary: &mut Option<Summary>,
    left_out: &mut Option<String>,
) -> Result<()> {
    if *scope != Scope::Quick {
        let programs = steps.take("programs that the tests need", programs::install)?;
        let moto = steps.take("what stands for EC2 and S3", || moto::install(root))?;
        let debian = steps.take("what servers with systemd begin as", || debian::install(root))?;
        let console = steps.take("what servers write to their consoles", || console::unpack(root))?;
        let mongodb = steps.take("a MongoDB for the tests", || mongodb::install(root))?;
        let redis = steps.take("a newer Redis", || redis::install(root))?;
        let all = [programs, moto, debian, console, mongodb, redis];
        *left_out = all.into_iter().flatten().reduce(|one, other| format!("{one}\n{other}"));
    }
    lint::take(steps, root, scope)?;
    // All failures are shown, not only those of the first crate.
    let arguments = [&["test"], scope.arguments().as_slice(), &["--no-fail-fast"]].concat();
    steps.take(&format!("cargo {}", arguments.join(" ")), || tests(root, &arguments, summary))?;
    if *scope == Scope::Workspace {
        steps.take("cargo xtask hooks --check", hooks::check)?;
    }
    Ok(())
}

/// Runs the tests, shows what they print as they print it, and counts them.
fn tests(root: &Path, arguments: &[&str], summary: &mut Option<Summary>) -> Result<()> {
    let mut command = cargo(root, arguments);
    command.stdout(Stdio::piped());
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        command.env("RUST_TEST_THREADS", threads.to_string());
    }
    let mut child = command.spawn().context("cannot start cargo")?;
    let output = child.stdout.take().context("cargo has no output")?;
    let (sender, chunks) = mpsc::channel();
    // Not joined: a process that a test left behind can hold the other end for ever.
    std::thread::spawn(move || forward(output, &sender));
    let status = child.wait().context("cannot wait for cargo")?;
    let mut text = Vec::new();
    let is_complete = loop {
        match chunks.recv_timeout(OUTPUT_LINGERS) {
            Ok(chunk) => text.extend_from_slice(&chunk),
            Err(mpsc::RecvTimeoutError::Disconnected) => break true,
            Err(mpsc::RecvTimeoutError::Timeout) => break false,
        }
    };
    let found = summary.insert(Summary::of(&String::from_utf8_lossy(&text)));
    if !status.success() {
        if found.failed > 0 {
            bail!("{} failed", found.failed);
        }
        bail!("cargo ended with {status}; what it found is above");
    }
    if !is_complete {
        bail!("a test left a process behind which still holds the output of the tests");
    }
    Ok(())
}

/// Passes on what comes, at once, to our own output and to whoever counts.
fn forward(mut from: impl Read, to: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let mut out = std::io::stdout().lock();
        // Where nobody looks any more, the tests are counted all the same.
        let _ = out.write_all(&buffer[..count]).and_then(|()| out.flush());
        if to.send(buffer[..count].to_vec()).is_err() {
            return;
        }
    }
}
