//! How a running instance is talked to: what whoever has a network brings along.

use std::sync::Arc;

use jecloud_cloud::{Details, Machine, MachineError};
use jecloud_model::cloud::Place;

/// Reaches instances and sets them up. All calls block; several threads call at once.
pub trait Connect: Send + Sync {
    /// Whether an instance of this architecture, in EC2's words (`x86_64`, `arm64`), could be set up. Asked before one is
    /// launched: nobody pays for what cannot be used.
    ///
    /// # Errors
    ///
    /// Where it could not.
    fn fits(&self, architecture: &str) -> Result<(), MachineError>;

    /// Makes one attempt to reach the instance and to set it up to its end. Returns what is to be remembered of it, its
    /// host key for one; none where it cannot be reached yet: it may be booting.
    ///
    /// Is repeated after whatever happened to the attempt before.
    ///
    /// # Errors
    ///
    /// When waiting does not help.
    fn set_up(&self, instance: &Running<'_>) -> Result<Option<Details>, MachineError>;

    /// The machine that was set up; none where it is certain that it is not set up (any more).
    ///
    /// # Errors
    ///
    /// When there is no telling.
    fn machine(&self, instance: &Running<'_>) -> Result<Option<Arc<dyn Machine>>, MachineError>;
}

/// An instance that runs.
pub struct Running<'a> {
    /// Which server it is.
    pub place: &'a Place,
    /// `i-…`.
    pub id: &'a str,
    /// Where it is reached: its public or its private address, as configured.
    pub address: &'a str,
    /// Where the other servers of the app reach it: its address inside of the VPC.
    pub private_address: Option<&'a str>,
    /// The user that may become root there.
    pub user: &'a str,
    /// What [`Connect::set_up`] returned; empty before.
    pub connection: &'a Details,
    /// What it wrote to its console, as far as EC2 has it, which may be minutes old.
    pub console: &'a dyn Fn() -> Result<Option<String>, MachineError>,
}
