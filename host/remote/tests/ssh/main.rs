//! Against a real OpenSSH server on loopback, through a cable that can be cut.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the tests look at files of the server by hand"
)]

mod commands;
mod connecting;
mod console;
mod downloads;
mod keys;
mod lasting;
mod machine;
mod place;
mod quoting;
mod sudo;
mod terminals;
mod uploads;
