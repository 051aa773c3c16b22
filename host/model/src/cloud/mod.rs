//! The cloud of one app: the document that says what is wanted, its changes, and the planner of its roll-forward.
//!
//! The document is one object in an object store, written by compare-and-swap (`jecloud_cloud`). [`apply`] is what
//! every write does; [`plan`] compares the document with what was seen and says what comes next. Both are pure.

mod basis;
mod conclude;
mod operation;
mod peers;
mod plan;
mod seen;
mod server;
mod state;

pub use basis::{Basis, BasisRefused, KnownClouds, NotABasis};
pub use operation::{Change, Operation, Rejected, apply};
pub use plan::{CloudStep, KEEP_OBJECTS, KEEP_OBJECTS_FOR, Place, UPLOAD_GRACE, Until, plan};
pub use seen::{Objects, SeenCloud, SeenEnvironment, SeenServer};
pub use server::{LONGEST_BACK_OFF, ServerName, ServerRecord, Trouble, UNTIL_VISIBLE, back_off};
pub use state::{
    CloudState, EnvironmentState, InvalidState, KEPT_OPERATIONS, KEPT_RELEASES, RecordedRelease, ReleaseOutcome, Scaled,
};
