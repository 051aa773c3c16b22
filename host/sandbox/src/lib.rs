//! Hooks in wasmtime: a hook is a pure function from what it is shown to what it wants done.
//!
//! A [`Sandbox`] turns the bytes of a component into a [`Hook`]; each call of a hook runs in a fresh store, within
//! [`Limits`], without any authority. What a hook returns is translated into the plain types of
//! [`jecloud_model::hook`], and everything that has a shape (names, versions, options) is checked on the way. Whether
//! it *may* have what it asks for is decided by `jecloud_model::powers`, not here.
//!
//! Compiling is the one thing that takes time and memory for hostile input; it happens in a child process (see
//! [`Compiler`]), and its result is kept in an authenticated cache.
//!
//! The contract has one import, `log`. The library of WASI implementations that comes with wasmtime is not linked;
//! components that import WASI 0.2 all the same get the empty world: no environment, no files, a
//! fixed clock, seeded randomness.
//!
//! Not promised: that a hook's *time* is charged exactly (the deadline is looked at every 10 ms, at first within 50), and that two engines
//! give the same results for hooks that look at their own speed.

mod answer;
mod bindings;
mod budget;
mod cache;
mod call;
mod child;
mod compile;
mod componentize;
mod empty_world;
mod engine;
mod error;
mod hook;
mod inspect;
mod journal;
mod limits;
mod sandbox;
mod ticker;

pub use child::ChildCompiler;
pub use compile::{CompileError, Compiler, InProcessCompiler, compile_in_this_process};
pub use componentize::componentize;
pub use error::{CallFailure, SandboxError, Why};
pub use hook::{Called, Exports, Hook};
pub use inspect::{Imports, Inspection, inspect};
pub use journal::{CallLog, Level, LogLine};
pub use limits::Limits;
pub use sandbox::Sandbox;
