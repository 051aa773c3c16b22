//! An input that is at its end, and outputs that go to the log.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, LinkerInstance, Lower, Resource};

use super::clocks::pollable;
use super::{InputStream, IoError, OutputStream, TerminalInput, TerminalOutput};
use crate::call::CallState;

/// How many bytes may be written at once: what the specification asks for at least.
const WRITE_BYTES: u64 = 4096;

#[derive(ComponentType, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[expect(dead_code, reason = "a part of the type; nothing fails here")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

type Streamed<T> = wasmtime::Result<(Result<T, StreamError>,)>;

pub(super) fn add_error(instance: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    instance.func_wrap("[method]error.to-debug-string", |_, (_error,): (Resource<IoError>,)| Ok((String::new(),)))
}

/// `stdin`, `stdout`, `stderr`, and the question whether they are terminals.
pub(super) fn add_standard(name: &str, instance: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    let output = |stream: OutputStream| {
        move |_: StoreContextMut<'_, CallState>, ()| Ok((Resource::<OutputStream>::new_own(stream as u32),))
    };
    match name {
        "wasi:cli/stdin" => instance.func_wrap("get-stdin", |_, ()| Ok((Resource::<InputStream>::new_own(0),))),
        "wasi:cli/stdout" => instance.func_wrap("get-stdout", output(OutputStream::Out)),
        "wasi:cli/stderr" => instance.func_wrap("get-stderr", output(OutputStream::Err)),
        "wasi:cli/terminal-stdin" => {
            instance.func_wrap("get-terminal-stdin", |_, ()| Ok((None::<Resource<TerminalInput>>,)))
        }
        "wasi:cli/terminal-stdout" => {
            instance.func_wrap("get-terminal-stdout", |_, ()| Ok((None::<Resource<TerminalOutput>>,)))
        }
        "wasi:cli/terminal-stderr" => {
            instance.func_wrap("get-terminal-stderr", |_, ()| Ok((None::<Resource<TerminalOutput>>,)))
        }
        _ => Ok(()),
    }
}

pub(super) fn add_streams(instance: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    type Input = (Resource<InputStream>, u64);
    for name in ["read", "blocking-read"] {
        instance.func_wrap(&format!("[method]input-stream.{name}"), |_, (_, _): Input| -> Streamed<Vec<u8>> {
            Ok((Err(StreamError::Closed),))
        })?;
    }
    for name in ["skip", "blocking-skip"] {
        instance.func_wrap(&format!("[method]input-stream.{name}"), |_, (_, _): Input| -> Streamed<u64> {
            Ok((Err(StreamError::Closed),))
        })?;
    }
    instance.func_wrap("[method]input-stream.subscribe", |_, (_,): (Resource<InputStream>,)| Ok((pollable(),)))?;
    instance.func_wrap("[method]output-stream.subscribe", |_, (_,): (Resource<OutputStream>,)| Ok((pollable(),)))?;
    instance.func_wrap("[method]output-stream.check-write", |_, (_,): (Resource<OutputStream>,)| -> Streamed<u64> {
        Ok((Ok(WRITE_BYTES),))
    })?;
    for name in ["write", "blocking-write-and-flush"] {
        instance.func_wrap(&format!("[method]output-stream.{name}"), write)?;
    }
    for name in ["flush", "blocking-flush"] {
        instance.func_wrap(
            &format!("[method]output-stream.{name}"),
            |_, (_,): (Resource<OutputStream>,)| -> Streamed<()> { Ok((Ok(()),)) },
        )?;
    }
    for name in ["write-zeroes", "blocking-write-zeroes-and-flush"] {
        instance.func_wrap(
            &format!("[method]output-stream.{name}"),
            // Zeroes are nothing that a log could show.
            |_, (_, _): (Resource<OutputStream>, u64)| -> Streamed<()> { Ok((Ok(()),)) },
        )?;
    }
    for name in ["splice", "blocking-splice"] {
        instance.func_wrap(
            &format!("[method]output-stream.{name}"),
            |_, (_, _, _): (Resource<OutputStream>, Resource<InputStream>, u64)| -> Streamed<u64> {
                Ok((Err(StreamError::Closed),))
            },
        )?;
    }
    Ok(())
}

fn write(
    mut store: StoreContextMut<'_, CallState>,
    (stream, bytes): (Resource<OutputStream>, Vec<u8>),
) -> Streamed<()> {
    let state = store.data_mut();
    state.world.write(OutputStream::of(&stream), &bytes, &mut state.journal);
    Ok((Ok(()),))
}
