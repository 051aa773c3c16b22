//! Packages: what the hooks require is brought onto the server.

pub mod apt;
pub mod archive;
pub(crate) mod distribution;
pub mod dnf;
mod not_started;
mod repository;
mod sums;
mod versions;

pub(crate) use distribution::without_epoch;
pub use distribution::{Distribution, Wanted, install, of_this_machine};
pub use versions::{Requirement, compare};
