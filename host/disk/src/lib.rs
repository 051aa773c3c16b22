//! The only crate that touches the file system.
//!
//! What is written here is durable and atomic: after a crash at any instant a document is the old or the new
//! one, a link names the old or the new target, and a directory is complete or does not exist under its name.
//! Whatever was begun and not finished is recognisable by its name and removed by [`temporary::sweep`].
//!
//! Every effect passes a [fault point](fault), so that tests can stop it there.
//!
//! Nothing here is asynchronous: call it from a blocking thread.

pub mod archive;
pub mod durable;
mod error;
pub mod fault;
pub mod link;
pub mod lock;
pub mod log;
mod pack;
pub mod program;
mod rules;
pub mod snapshot;
pub mod source;
pub mod store;
mod stream;
mod tar_walk;
pub mod temporary;
pub mod tree;

pub use error::{DiskError, Result};
pub use rules::{Limits, Refusal};

/// User and group number of an owner.
pub type Owner = (u32, u32);
