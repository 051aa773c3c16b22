//! Compiling in a child process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use jecloud_launch::{Ended, Environment, Input, Launch, RunLimits};

use crate::Limits;
use crate::compile::{CompileError, Compiler};

/// From the processor time that compiling may take to the time on the clock: other work goes on beside it.
const PATIENCE: u32 = 3;

/// SIGABRT, SIGKILL and SIGXCPU of Linux: how a process ends that has no memory or no time left.
const ABORT: i32 = 6;
const KILL: i32 = 9;
const OUT_OF_TIME: i32 = 24;

/// Has a program compile that calls [`crate::compile_in_this_process`]: this program itself, with another argument.
///
/// The child gets the component as its input and an empty environment, and is ended together with everything that it
/// started.
#[derive(Debug, Clone)]
pub struct ChildCompiler {
    /// The program. Better an open path such as `/proc/self/exe` than a name that may mean something else by now.
    pub program: PathBuf,
    /// Its arguments: `compile-hook`.
    pub args: Vec<OsString>,
    /// The limits that the child gives itself, for the words of errors and for the time on the clock.
    pub limits: Limits,
}

impl ChildCompiler {
    /// `PROGRAM compile-hook`, with the default limits.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: vec!["compile-hook".into()], limits: Limits::default() }
    }
}

impl Compiler for ChildCompiler {
    fn compile(&self, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        let launch = Launch::new(&self.program)
            .args(&self.args)
            .env(Environment::Exactly(BTreeMap::new()))
            .input(Input::Bytes(component.to_vec()));
        let keep_bytes = self.limits.artifact_bytes.saturating_add(1);
        let limits = RunLimits { timeout: self.limits.compile_time.saturating_mul(PATIENCE), keep_bytes };
        let finished = jecloud_launch::run(launch, limits, &|| false, &mut |_, _| {})
            .map_err(|error| CompileError::Failed { reason: jecloud_model::chain(&error) })?;
        let too_long = || CompileError::Time { seconds: self.limits.compile_time.as_secs() };
        let said = || last_words(&finished.stderr);
        match finished.status {
            Ended::Exit(0) if finished.stdout.len() > self.limits.artifact_bytes => Err(CompileError::Invalid {
                reason: format!("its machine code has more than {} bytes", self.limits.artifact_bytes),
            }),
            Ended::Exit(0) => Ok(finished.stdout),
            Ended::Exit(_) => Err(CompileError::Invalid { reason: said() }),
            Ended::TimedOut | Ended::Signal(OUT_OF_TIME | KILL) => Err(too_long()),
            // What a Rust program says and does when it is given no more memory.
            Ended::Signal(ABORT) if said().contains("memory allocation") => {
                Err(CompileError::Memory { mebibytes: self.limits.compile_memory_bytes / (1024 * 1024) })
            }
            Ended::Signal(signal) => {
                Err(CompileError::Failed { reason: format!("it was ended by signal {signal}: {}", said()) })
            }
            Ended::Cancelled => Err(CompileError::Failed { reason: "it was cancelled".to_owned() }),
        }
    }
}

/// The end of what a program wrote, for an error message.
fn last_words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let text = crate::journal::printable(text.trim());
    let skipped = text.chars().count().saturating_sub(1000);
    text.chars().skip(skipped).collect()
}
