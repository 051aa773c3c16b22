//! Servers that are reached by SSH: what `provider = "ssh"` and `provider = "ec2"` have in common.
//!
//! [`RemoteMachine`] is a server as the cloud roll-forward wants it; [`SshMachines`] are servers that a person has.
//! Below them are a [`Session`], which runs commands, uploads files and opens terminals, and a [`Connection`], which
//! says with whose keys it is made, and how one knows that it is the right server.
//!
//! All calls block. One small runtime inside of this crate serves all sessions; whatever is here can be used by several
//! threads at once.
//!
//! A command of which the connection was lost before its exit status came is never taken for one that succeeded or
//! failed: it is [`RemoteError::Lost`], and the server has to be asked.
//!
//! Not promised: that a command ends when its connection is lost. What does not write may go on.

mod authenticate;
mod binaries;
mod connect;
mod console;
mod download;
mod drive;
mod error;
mod host_key;
mod identity;
mod install;
mod interact;
mod key_pair;
mod machine;
mod machines;
mod objects;
mod quote;
mod runtime;
mod session;
mod target;
mod terminal;
mod upload;

pub use binaries::Binaries;
pub use connect::{Connection, Jump, Timing};
pub use console::fingerprints_on_console;
pub use drive::{Ended, Finished, Stream};
pub use error::RemoteError;
pub use host_key::{HostKey, HostKeyRule};
pub use identity::{Identity, OwnKeys};
pub use install::Installed;
pub use key_pair::{KeyPair, PrivateText};
pub use machine::{Places, RemoteMachine};
pub use machines::SshMachines;
pub use objects::Objects;
pub use quote::{QuoteError, shell_line};
pub use session::Session;
pub use target::{Target, TargetError};
pub use terminal::{Chunk, Size, TerminalInput, TerminalOutput};
pub use upload::{Upload, Uploaded};
