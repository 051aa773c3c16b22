//! Zero failed requests: real clients, from before the first change to after the last one, and not one refused, reset,
//! cut off or answered with an error.
//!
//! All load is on loopback, by a fixed number of threads, and ends with the test.

#![expect(clippy::disallowed_methods, reason = "clients that ask at a fixed pace")]

mod app;
mod clients;
mod deployments;
mod killed;
