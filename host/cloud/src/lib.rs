//! Object stores, machines, and the cloud roll-forward.
//!
//! The cloud state is one object in an [`ObjectStore`], changed by compare-and-swap ([`StateFile`]). [`roll_forward`]
//! makes the servers, which it reaches through [`Machines`], match it. Nothing here writes to a terminal: whoever
//! calls watches through a [`Reporter`].

mod backup_key;
mod backups;
mod deploy;
mod directory;
pub mod keys;
mod local;
mod machines;
mod object_store;
mod observe;
mod perform;
mod progress;
mod protocol;
mod roll_forward;
mod secrets;
mod state;
mod world;

pub use backup_key::{backup_key, existing_backup_key};
pub use backups::{Backups, CollectError, Collecting, Listing, fetch};
pub use deploy::{Recorded, record_release, upload};
pub use directory::{DirectoryStore, KEPT_STATES};
pub use local::LocalMachines;
pub use machines::{Details, Found, Interactive, Machine, MachineError, Machines, Output, at_once};
pub use object_store::{Cause, Etag, Object, ObjectInfo, ObjectStore, PastObject, Precondition, PutResult, StoreError};
pub use perform::Sources;
pub use progress::{ObjectName, Progress, Reporter};
pub use protocol::{
    EnvironmentStatus, FoundBackup, LastWords, RolledForward, Server, ServerBackups, ServerStatus, Wants, check,
};
pub use roll_forward::{Cloud, End, Options, Report, RollForwardError, roll_forward};
pub use secrets::SecretsFile;
pub use state::{Known, PastState, StateError, StateFile};
pub use world::{SystemWorld, World};
