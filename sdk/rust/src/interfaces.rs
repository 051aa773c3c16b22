//! The optional interfaces: what a hook can do beside what each one does. Each is named in [`export!`](crate::export!).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Command, CommandResult, Context, Next, Problem, ServiceHook};

/// For a service of which something has to be done once its processes run, before anything of the app does: initiate a
/// database, make its users. `export!(Hook, setup)`.
pub trait SetupHook: ServiceHook {
    /// Called in every deployment, on every server of the service, when those of its processes that outlive releases
    /// work, and before the app's are started. A step function: look first, since mostly everything is done already.
    ///
    /// # Errors
    /// When the service cannot be used: the deployment fails with the problem, and what served before serves.
    fn started(context: &Context, results: &[CommandResult]) -> Result<Next, Problem>;
}

/// For a service whose data can be saved and brought back. `export!(Hook, backup)`.
///
/// All are step functions. The host keeps what lies below `{data}/backup`, and puts it there again, in this environment
/// or another one of the app. A copy counts as good when it was restored once and `restored` has found the same
/// [`Contents`] as `backup` did.
pub trait BackupHook: ServiceHook {
    /// Writes a consistent copy below `{data}/backup`, which is empty at first, while the service runs and is used. What
    /// it answers in the end is what is in the copy, not what has come to the service since.
    ///
    /// # Errors
    /// When there can be no copy: the backup fails with the problem.
    fn backup(context: &Context, results: &[CommandResult]) -> Result<BackupStep, Problem>;

    /// Replaces the service's data by what is below `{data}/backup`. The processes of the service that outlive releases
    /// do not run meanwhile. [`Context::backup_version`] says which version wrote the copy.
    ///
    /// # Errors
    /// When the copy cannot be used here. Say so before anything is replaced.
    fn restore(context: &Context, results: &[CommandResult]) -> Result<Next, Problem>;

    /// Called when the processes run again after `restore`, before [`SetupHook::started`]: makes the data this
    /// environment's own (its users and passwords, its addresses), and answers with what is in it.
    ///
    /// # Errors
    /// When the data is not what it should be.
    fn restored(context: &Context, results: &[CommandResult]) -> Result<BackupStep, Problem>;
}

/// For a service that can span servers. `export!(Hook, topology)`.
pub trait TopologyHook: ServiceHook {
    /// Goes one step from these members to those; asked again until it is done. For services that ask for the fact
    /// `hosts` and have processes with fixed ports. Called on the first server of the service, in every deployment right
    /// before [`ServiceHook::deployed`], when the processes of all wanted members run. Members that are not wanted any
    /// more run as well.
    ///
    /// # Errors
    /// When it cannot be done: the release fails with the problem.
    fn reshape(
        context: &Context,
        present: &[Member],
        wanted: &[Member],
        results: &[CommandResult],
    ) -> Result<Next, Problem>;
}

/// What is in a copy, or in the data of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Which version of the service wrote it: `7.0.15`.
    pub version: String,
    /// What can be compared: `shop.orders`, and how many there are.
    pub counts: BTreeMap<String, u64>,
}

/// What is to be done next for a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupStep {
    /// It is done, and this is what is there.
    Done(Contents),
    /// Run these, in order, then ask again with the results of all.
    Again(Vec<Command>),
    /// Ask again after this time (at most a minute), with the same results.
    Wait(Duration),
}

/// One member of a service that spans servers: a process on a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// `mongod.1`
    pub process: String,
    /// `host:port`, as the other members reach it.
    pub address: String,
}
