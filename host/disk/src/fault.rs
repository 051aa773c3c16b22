//! Fault points: places where a test stops, fails or tears an effect.
//!
//! Every effect calls [`point`] before it happens and, where a crash right after it leads to another state than a
//! crash right before the next one, also after. Writes go through a [`Writer`]. All of it exists in builds with
//! debug assertions only; in a release build these functions are empty.
//!
//! The environment of the process says what happens:
//!
//! * `JECLOUD_FAULT=NAME#N=ACTION`, several separated by commas: at the Nth hit (from 1) of the point NAME. `*#N` is
//!   the Nth hit of any point. `NAME#N+` is the Nth and every later one. ACTION is `crash` (SIGKILL to oneself),
//!   `error:ENOSPC` (or another name or number of an error), or `torn:BYTES` (a write stops after so many bytes, and
//!   then the process dies; at a point that is not a write, the process dies).
//! * `JECLOUD_FAULT_COUNTER=FILE`: hits are counted in this file, over all processes that share it. Without, each
//!   process counts its own.
//! * `JECLOUD_FAULT_LOG=FILE`: the name of each point that is hit is appended, one a line.
//!
//! A value that cannot be understood makes every point fail, so that a misspelt fault is never a test that passes.

#[cfg(debug_assertions)]
mod armed;

#[cfg(debug_assertions)]
pub use armed::{Writer, point};

#[cfg(not(debug_assertions))]
mod absent;

#[cfg(not(debug_assertions))]
pub use absent::{Writer, point};
