//! SIGKILL at every effect of a deployment, whichever process performs it; then roll-forward. What is left must be
//! what an undisturbed deployment leaves, and at no instant may clients have seen anything but the old or the new
//! version.
//!
//! The points are counted over all processes by a shared file (`JECLOUD_FAULT_COUNTER`), so "the 17th effect of the
//! whole deployment" can be in the command, in a roll-forward or in the process manager.

#![expect(clippy::disallowed_methods, reason = "a test looks at the tree as it lies on the disk")]

mod app;
mod backups;
mod every_point;
mod failing;
mod full_disk;
#[path = "../kept/mod.rs"]
mod kept;
mod several;
mod tree;
mod users;
mod watch;
