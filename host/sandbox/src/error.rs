//! What can go wrong with a hook, in words for people.

use std::fmt;
use std::time::Duration;

use jecloud_disk::DiskError;
use jecloud_model::ids::Digest;

use crate::compile::CompileError;
use crate::journal::LogLine;

/// Why a component could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// These bytes are something else.
    #[error("this is not a hook component: {reason}")]
    NotAComponent {
        /// What they are.
        reason: String,
    },
    /// Something else lies where this component should be.
    #[error("the component has the digest {found}, and should have {expected}")]
    OtherDigest {
        /// What was asked for.
        expected: Digest,
        /// What was found.
        found: Digest,
    },
    /// More bytes than [`crate::Limits::component_bytes`].
    #[error("the component has {bytes} bytes; at most {limit} are allowed")]
    TooLarge {
        /// As many as it has.
        bytes: usize,
        /// As many as there may be.
        limit: usize,
    },
    /// It wants something from the host that there is not.
    #[error("the component imports {}, which hooks are not given: they have the log, and nothing else", names.join(", "))]
    UnknownImports {
        /// The names of the imports.
        names: Vec<String>,
    },
    /// It does not export what every hook exports.
    #[error("the component does not export jecloud:hook/service in a version that this JeCloud knows{found}")]
    NoService {
        /// What it exports instead, as the end of the sentence.
        found: String,
    },
    /// The names are right and the types are not.
    #[error("the component does not fit the contract of hooks: {reason}")]
    Contract {
        /// What wasmtime says.
        reason: String,
    },
    /// It could not be compiled.
    #[error("cannot compile the hook {}", digest.short())]
    Compile {
        /// Which.
        digest: Digest,
        /// Why.
        source: CompileError,
    },
    /// The cache of compiled hooks, or the file of a hook, cannot be used.
    #[error("cannot use the files of hooks")]
    Disk(
        /// What was done to which file.
        #[from]
        DiskError,
    ),
    /// The cache of compiled hooks is not private.
    #[error("cannot use {path} for compiled hooks: {reason}")]
    Cache {
        /// The directory or file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A call did not come to its end, or its answer is not one.
    #[error(transparent)]
    Call(Box<CallFailure>),
    /// The engine itself cannot be made.
    #[error("cannot start the sandbox for hooks: {reason}")]
    Engine {
        /// What wasmtime or the system says.
        reason: String,
    },
}

impl SandboxError {
    /// What a person can do about it; empty where the message says it all.
    pub fn hint(&self) -> String {
        match self {
            Self::UnknownImports { .. } => {
                "Build the hook without WASI, or for WASI 0.2 without sockets; `jecloud hook inspect FILE` shows its imports."
                    .to_owned()
            }
            Self::NotAComponent { .. } | Self::NoService { .. } | Self::Contract { .. } => {
                "`jecloud hook inspect FILE` shows what is in it.".to_owned()
            }
            Self::Call(failure) => format!("`jecloud hook inspect {}` shows which hook it is and where it came from.", failure.name()),
            _ => String::new(),
        }
    }
}

/// How much of the last log line is a part of the message, in bytes.
const LONGEST_LAST_LINE: usize = 500;

/// One call of a hook that failed. Calls have no effects: nothing was changed by it.
#[derive(Debug)]
pub struct CallFailure {
    /// The name that the hook gave itself, where it is known already.
    pub hook: Option<String>,
    /// Which component it is.
    pub digest: Digest,
    /// The function of the contract: `prepare-deploy`.
    pub function: &'static str,
    /// What happened.
    pub why: Why,
    /// The last line that it logged in this call.
    pub last_log: Option<LogLine>,
}

impl CallFailure {
    /// Its name, or else the beginning of its digest.
    pub fn name(&self) -> &str {
        self.hook.as_deref().unwrap_or_else(|| self.digest.short())
    }
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hook {
            Some(hook) => write!(f, "the hook {hook} ({})", self.digest.short())?,
            None => write!(f, "the hook {}", self.digest.short())?,
        }
        write!(f, " failed in {}: {}; nothing was changed", self.function, self.why)?;
        match &self.last_log {
            Some(line) => write!(f, "; its last log line: {}", crate::journal::cut(&line.message, LONGEST_LAST_LINE)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CallFailure {}

/// What ended a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// [`crate::Limits::deadline`].
    #[error("it took longer than {} ms", limit.as_millis())]
    Deadline {
        /// The limit.
        limit: Duration,
    },
    /// [`crate::Limits::memory_bytes`].
    #[error("its memories together need more than {} MiB", limit / (1024 * 1024))]
    Memory {
        /// The limit in bytes.
        limit: usize,
    },
    /// [`crate::Limits::table_elements`].
    #[error("its tables together need more than {limit} elements")]
    Tables {
        /// The limit.
        limit: usize,
    },
    /// [`crate::Limits::instances`], [`crate::Limits::memories`], [`crate::Limits::tables`].
    #[error("it consists of too many parts: {text}")]
    Parts {
        /// Which count is how high.
        text: String,
    },
    /// [`crate::Limits::STACK_BYTES`].
    #[error("it needs more than {} KiB of stack", crate::Limits::STACK_BYTES / 1024)]
    Stack,
    /// [`crate::Limits::output_bytes`].
    #[error("it hands over more than {} KiB at once", limit / 1024)]
    Output {
        /// The limit in bytes.
        limit: usize,
    },
    /// [`crate::Limits::input_bytes`].
    #[error("what it asked to be shown has {bytes} bytes, which is more than {limit}")]
    Input {
        /// As many as there are.
        bytes: usize,
        /// As many as there may be.
        limit: usize,
    },
    /// `unreachable`: how panics, aborts and uncaught exceptions of all languages look from outside.
    #[error("it gave up (a panic, an abort or an uncaught exception)")]
    GaveUp,
    /// Any other trap.
    #[error("it did what WebAssembly forbids: {0}")]
    Trap(String),
    /// It called `exit` of WASI.
    #[error("it called exit, which ends a program; a hook returns")]
    Exit,
    /// It used an interface of WASI for which the empty world has nothing.
    #[error("it called {function} of WASI, and has no files and sockets")]
    NoSuchThing {
        /// Which function.
        function: String,
    },
    /// It returned, and the answer is wrong.
    #[error("its answer is not valid: {0}")]
    Answer(String),
    /// Something else that wasmtime refuses.
    #[error("{0}")]
    Other(String),
}

/// Finds out what an error of wasmtime means.
pub(crate) fn explain(error: &wasmtime::Error, output_bytes: usize) -> Why {
    use wasmtime::Trap;

    if let Some(why) = error.downcast_ref::<Why>() {
        return why.clone();
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => return Why::GaveUp,
        Some(Trap::StackOverflow) => return Why::Stack,
        Some(trap) => return Why::Trap(trap.to_string()),
        None => {}
    }
    // The library gives these two as texts only; the tests of the limits notice if they change.
    let text = format!("{error:#}");
    if text.contains("fuel allocated for hostcalls") {
        return Why::Output { limit: output_bytes };
    }
    if let Some(part) = text.split("resource limit exceeded: ").nth(1) {
        return Why::Parts { text: part.to_owned() };
    }
    Why::Other(text)
}
