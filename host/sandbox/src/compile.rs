//! Compiling: the one part of a hook's life that takes time and memory.

use std::io::{Read, Write};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::Limits;
use crate::engine::engine;

/// Turns a component into machine code for the engine of this program.
///
/// Whoever implements this is trusted: what it returns is run.
pub trait Compiler: Send + Sync {
    /// Compiles.
    ///
    /// # Errors
    ///
    /// When the component is not valid, or needs more than it may.
    fn compile(&self, component: &[u8]) -> Result<Vec<u8>, CompileError>;
}

/// Why a component could not be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// It is not valid WebAssembly, or uses features that hooks do not have.
    #[error("{reason}")]
    Invalid {
        /// What the compiler says.
        reason: String,
    },
    /// [`Limits::compile_time`].
    #[error("it takes more than {seconds} s")]
    Time {
        /// The limit.
        seconds: u64,
    },
    /// [`Limits::compile_memory_bytes`].
    #[error("it takes more than {mebibytes} MiB of memory")]
    Memory {
        /// The limit.
        mebibytes: u64,
    },
    /// The compiler did not do its work.
    #[error("the compiler failed: {reason}")]
    Failed {
        /// How.
        reason: String,
    },
}

/// Compiles in this process, without limits of time and memory. For components that are trusted: those that were
/// built together with this program, and those of tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct InProcessCompiler;

impl Compiler for InProcessCompiler {
    fn compile(&self, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        let engine = engine().map_err(|error| CompileError::Failed { reason: format!("{error:#}") })?;
        engine.precompile_component(component).map_err(|error| CompileError::Invalid { reason: format!("{error:#}") })
    }
}

/// What the hidden command `jecloud compile-hook` does: gives up the right to more time and memory than `limits` say,
/// then reads a component from `input` and writes what was compiled to `output`.
///
/// The limits are those of the whole process, and for good: call it in a process that does nothing else.
///
/// # Errors
///
/// When the component is not valid or too large, or a stream fails. A process that needs too much does not get that
/// far: the system ends it.
pub fn compile_in_this_process(
    limits: &Limits,
    mut input: impl Read,
    mut output: impl Write,
) -> Result<(), CompileError> {
    let failed =
        |what: &str, error: &dyn std::error::Error| CompileError::Failed { reason: format!("{what}: {error}") };
    let at_most = |maximum: u64| Rlimit { current: Some(maximum), maximum: Some(maximum) };
    let seconds = limits.compile_time.as_secs().max(1);
    // The hard limit kills without a word; the soft one, a second earlier, ends by a signal that has a name.
    let time = Rlimit { current: Some(seconds), maximum: Some(seconds + 1) };
    for (resource, limit) in [
        (Resource::Cpu, time),
        (Resource::As, at_most(limits.compile_memory_bytes)),
        // It writes to a pipe, never to a file, and leaves no image of itself behind.
        (Resource::Fsize, at_most(0)),
        (Resource::Core, at_most(0)),
    ] {
        setrlimit(resource, limit).map_err(|error| failed("cannot limit the compiler", &error))?;
    }
    let mut component = Vec::new();
    let one_more = limits.component_bytes as u64 + 1;
    input
        .by_ref()
        .take(one_more)
        .read_to_end(&mut component)
        .map_err(|error| failed("cannot read the component", &error))?;
    if component.len() > limits.component_bytes {
        return Err(CompileError::Invalid { reason: format!("it has more than {} bytes", limits.component_bytes) });
    }
    let artifact = InProcessCompiler.compile(&component)?;
    output
        .write_all(&artifact)
        .and_then(|()| output.flush())
        .map_err(|error| failed("cannot hand over the result", &error))
}
