//! What tests of the whole `jecloud` command are made of: a place of its own for each test, commands with deadlines,
//! a small HTTP client, and text that is the same in every run.
//!
//! A test makes a [`World`], a [`Project`] in it, and types commands:
//!
//! ```text
//! use jecloud_testkit::World;
//!
//! let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
//! let project = world.copy_example("hello-node");
//! project.jecloud(&["deploy"]).ok();
//! assert_eq!(world.get(&project.url()).1, "Hello from hello-node\n");
//! ```
//!
//! Not promised: that what a command started and what hides from `/proc` is ended with the world.

mod cable;
mod command;
mod compiled;
mod eventually;
mod http;
mod machines;
mod moto;
mod network;
mod normalise;
mod nspawn;
#[cfg(feature = "s3")]
mod playground;
mod processes;
mod project;
#[cfg(feature = "s3")]
pub mod s3;
mod sshd;
#[cfg(feature = "s3")]
mod test_cloud;
mod users;
mod world;

pub use cable::Cable;
pub use command::{DEADLINE, Output, Spawned};
pub use eventually::{eventually, holds_for};
pub use http::{Response, get, request};
pub use machines::Machines;
pub use moto::Moto;
pub use normalise::normalise;
pub use nspawn::SystemdMachines;
#[cfg(feature = "s3")]
pub use playground::Playground;
pub use processes::{is_alive, kill, parent_of, pids_that_mention, send};
pub use project::Project;
pub use rustix::process::Signal;
pub use sshd::Sshd;
#[cfg(feature = "s3")]
pub use test_cloud::{REGION, TestCloud, TestInstance};
pub use users::{MadeUser, made_below};
pub use world::World;
