//! The process manager with real processes.
#![expect(clippy::disallowed_methods, reason = "the tests prepare files and look at processes")]

mod death;
mod front;
mod life;
mod output;
mod support;
