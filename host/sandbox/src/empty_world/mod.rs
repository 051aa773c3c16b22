//! The empty world: WASI 0.2 in which there is nothing.
//!
//! Hooks need none of WASI. Some toolchains (Rust's `wasm32-wasip2`, TinyGo, wasi-sdk) emit components that import it
//! all the same, because their standard libraries do. Those get an environment without variables, arguments and
//! directories; a clock that stands at the beginning of 2020 and goes on by a millisecond whenever it is looked at, so
//! that loops that wait for it end; random numbers that are the same in every call; an input that is at its end; and
//! outputs that go to the log. Everything is the same in each call: a hook stays a pure function.
//!
//! Functions of these interfaces that need something which is not there (a file, a socket) exist, because a component
//! cannot be instantiated otherwise, and end the call when they are called. Other interfaces, such as `wasi:sockets`
//! and `wasi:http`, do not exist: a component that imports them is refused.
//!
//! Nothing here reads from, or writes to, anything outside of the call's own [`EmptyWorld`] and journal.

mod clocks;
mod streams;

use sha2::{Digest as _, Sha256};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, Resource, ResourceType};

use crate::call::CallState;
use crate::error::Why;
use crate::journal::{Journal, Level};

/// The interfaces that exist.
const INTERFACES: [&str; 20] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// The most random bytes that are made at once: 1 MiB. They are made by the host.
const MOST_RANDOM_BYTES: u64 = 1024 * 1024;

/// The longest unfinished line that is kept, in bytes. The log cuts lines before that.
const LONGEST_LINE: usize = 64 * 1024;

/// The name of an interface without its version; none where it is not of WASI 0.2.
fn interface(import: &str) -> Option<&str> {
    let (name, version) = import.split_once('@')?;
    (version == "0.2" || version.starts_with("0.2.")).then_some(name)
}

/// Whether an import is one of the empty world.
pub(crate) fn is_part(import: &str) -> bool {
    interface(import).is_some_and(|name| INTERFACES.contains(&name))
}

/// What a call has done to its world.
#[derive(Debug, Default)]
pub(crate) struct EmptyWorld {
    /// How often a clock was looked at.
    glances: u64,
    /// How many blocks of random numbers were made.
    random_blocks: u64,
    /// What was written since the last line break, by stream.
    unfinished: [Vec<u8>; 2],
}

impl EmptyWorld {
    /// The next random numbers: a hash of their count.
    fn random<const N: usize>(&mut self) -> [u8; N] {
        const { assert!(N <= 32, "a block has 32 bytes") };
        let mut sha = Sha256::new();
        sha.update(b"jecloud: randomness of hooks, the same in every call");
        sha.update(self.random_blocks.to_le_bytes());
        self.random_blocks += 1;
        let block: [u8; 32] = sha.finalize().into();
        std::array::from_fn(|index| block[index])
    }

    fn random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        if count > MOST_RANDOM_BYTES {
            return Err(wasmtime::Error::new(Why::Other(format!("it asked for {count} random bytes at once"))));
        }
        let count = usize::try_from(count)?;
        let mut bytes = Vec::with_capacity(count + 32);
        while bytes.len() < count {
            bytes.extend(self.random::<32>());
        }
        bytes.truncate(count);
        Ok(bytes)
    }

    /// Adds to an output: complete lines go to the journal.
    fn write(&mut self, stream: OutputStream, bytes: &[u8], journal: &mut Journal) {
        let unfinished = &mut self.unfinished[stream as usize];
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            unfinished.extend_from_slice(part);
            if part.ends_with(b"\n") || unfinished.len() > LONGEST_LINE {
                journal.write(stream.level(), &String::from_utf8_lossy(unfinished));
                unfinished.clear();
            }
        }
    }

    /// Writes the last, unfinished lines to the journal.
    pub(crate) fn flush(&mut self, journal: &mut Journal) {
        for stream in [OutputStream::Out, OutputStream::Err] {
            let unfinished = std::mem::take(&mut self.unfinished[stream as usize]);
            journal.write(stream.level(), &String::from_utf8_lossy(&unfinished));
        }
    }
}

/// Something to wait for. Nothing in this world takes time, so it is always there.
struct Pollable;
/// What went wrong with a stream. Never made: nothing goes wrong.
struct IoError;
/// The standard input, which is at its end.
struct InputStream;
/// The standard outputs; the number of a handle says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutputStream {
    Out = 0,
    Err = 1,
}
/// Never made: there are no files.
struct Descriptor;
/// Never made.
struct DirectoryEntries;
/// Never made: there are no terminals.
struct TerminalInput;
/// Never made.
struct TerminalOutput;
/// Resources that this version does not know; never made.
struct Other;

impl OutputStream {
    fn level(self) -> Level {
        match self {
            Self::Out => Level::Info,
            Self::Err => Level::Warn,
        }
    }

    /// Handles carry no pointer, only which stream it is.
    fn of(handle: &Resource<Self>) -> Self {
        if handle.rep() == Self::Err as u32 { Self::Err } else { Self::Out }
    }
}

/// Adds what the component imports of the empty world, and nothing else.
///
/// # Errors
///
/// Only for components that import the same interface twice in ways that exclude each other.
pub(crate) fn add_to_linker(linker: &mut Linker<CallState>, component: &Component) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    linker.allow_shadowing(true);
    for (import, item) in component.component_type().imports(&engine) {
        let (Some(name), ComponentItem::ComponentInstance(wanted)) = (interface(import), &item.ty) else { continue };
        if !is_part(import) {
            continue;
        }
        let mut instance = linker.instance(import)?;
        // First everything that is asked for, ending the call; then what there is, over it.
        for (function, item) in wanted.exports(&engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => add_missing(&mut instance, name, function)?,
                ComponentItem::Resource(_) => {
                    instance.resource(function, resource(function), |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
        match name {
            "wasi:cli/environment" => add_environment(&mut instance)?,
            "wasi:cli/exit" => add_exit(&mut instance)?,
            "wasi:random/random" => add_random(&mut instance)?,
            "wasi:random/insecure" => add_insecure_random(&mut instance)?,
            "wasi:random/insecure-seed" => add_seed(&mut instance)?,
            "wasi:filesystem/preopens" => {
                instance.func_wrap("get-directories", |_, ()| Ok((Vec::<(Resource<Descriptor>, String)>::new(),)))?;
            }
            "wasi:clocks/monotonic-clock" => clocks::add_monotonic(&mut instance)?,
            "wasi:clocks/wall-clock" => clocks::add_wall(&mut instance)?,
            "wasi:io/poll" => clocks::add_poll(&mut instance)?,
            "wasi:io/error" => streams::add_error(&mut instance)?,
            "wasi:io/streams" => streams::add_streams(&mut instance)?,
            _ => streams::add_standard(name, &mut instance)?,
        }
    }
    linker.allow_shadowing(false);
    Ok(())
}

/// The same type for the same name in all interfaces: they hand each other's resources around.
fn resource(name: &str) -> ResourceType {
    match name {
        "pollable" => ResourceType::host::<Pollable>(),
        "error" => ResourceType::host::<IoError>(),
        "input-stream" => ResourceType::host::<InputStream>(),
        "output-stream" => ResourceType::host::<OutputStream>(),
        "descriptor" => ResourceType::host::<Descriptor>(),
        "directory-entry-stream" => ResourceType::host::<DirectoryEntries>(),
        "terminal-input" => ResourceType::host::<TerminalInput>(),
        "terminal-output" => ResourceType::host::<TerminalOutput>(),
        _ => ResourceType::host::<Other>(),
    }
}

/// A function that ends the call.
fn add_missing(instance: &mut LinkerInstance<'_, CallState>, interface: &str, name: &str) -> wasmtime::Result<()> {
    let function = format!("{interface} {name}");
    instance
        .func_new(name, move |_, _, _, _| Err(wasmtime::Error::new(Why::NoSuchThing { function: function.clone() })))
}

fn add_environment(instance: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    instance.func_wrap("get-environment", |_, ()| Ok((Vec::<(String, String)>::new(),)))?;
    instance.func_wrap("get-arguments", |_, ()| Ok((Vec::<String>::new(),)))?;
    instance.func_wrap("initial-cwd", |_, ()| Ok((None::<String>,)))
}

fn add_exit(instance: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    instance.func_wrap("exit", |_, (_status,): (Result<(), ()>,)| -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(Why::Exit))
    })
}

fn add_random(instance: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    instance.func_wrap("get-random-bytes", |mut store, (count,): (u64,)| {
        Ok((store.data_mut().world.random_bytes(count)?,))
    })?;
    instance.func_wrap("get-random-u64", |mut store, ()| Ok((u64::from_le_bytes(store.data_mut().world.random()),)))
}

fn add_insecure_random(instance: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    instance.func_wrap("get-insecure-random-bytes", |mut store, (count,): (u64,)| {
        Ok((store.data_mut().world.random_bytes(count)?,))
    })?;
    instance.func_wrap("get-insecure-random-u64", |mut store, ()| {
        Ok((u64::from_le_bytes(store.data_mut().world.random()),))
    })
}

fn add_seed(instance: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    instance.func_wrap("insecure-seed", |mut store, ()| {
        let world = &mut store.data_mut().world;
        Ok(((u64::from_le_bytes(world.random()), u64::from_le_bytes(world.random())),))
    })
}
