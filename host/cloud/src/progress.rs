//! What goes on, for those who watch.

use jecloud_model::cloud::{Place, ReleaseOutcome};
use jecloud_model::events::Event;
use jecloud_model::ids::{Digest, EnvironmentName, ReleaseNumber, VersionId};
use jecloud_model::time::Timestamp;

use crate::keys;
use crate::protocol::RolledForward;

/// Is told what goes on. Decides nothing.
pub trait Reporter {
    /// Something went on.
    fn report(&mut self, progress: Progress);
}

/// For those who do not care.
impl Reporter for () {
    fn report(&mut self, _progress: Progress) {}
}

/// An object on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectName {
    /// The archive of a version.
    Archive(VersionId),
    /// A hook.
    Hook(Digest),
}

impl ObjectName {
    /// Its key in the store.
    pub fn key(&self) -> String {
        match self {
            Self::Archive(version) => keys::archive(version),
            Self::Hook(digest) => keys::hook(digest),
        }
    }
}

/// What went on.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// So many bytes of an object are in the store.
    Storing {
        /// Which.
        object: ObjectName,
        /// In bytes.
        done: u64,
    },
    /// An object is in the store.
    Stored(ObjectName),
    /// So many bytes of an object are on a server.
    Putting {
        /// Where.
        place: Place,
        /// Which.
        object: ObjectName,
        /// In bytes.
        done: u64,
    },
    /// An object is on a server.
    Put {
        /// Where.
        place: Place,
        /// Which.
        object: ObjectName,
    },
    /// A server is being made or set up.
    Creating(Place),
    /// A server is there.
    Created(Place),
    /// A server was told to deploy a release.
    Handed {
        /// Where.
        place: Place,
        /// Which.
        release: ReleaseNumber,
    },
    /// A server tells about a release.
    Event {
        /// Where.
        place: Place,
        /// Which release.
        release: ReleaseNumber,
        /// What.
        event: Event,
    },
    /// All servers are ready: they may switch.
    Committed {
        /// Where.
        environment: EnvironmentName,
        /// Which release.
        release: ReleaseNumber,
    },
    /// It is recorded what became of a release.
    Ended {
        /// Where.
        environment: EnvironmentName,
        /// Which release.
        release: ReleaseNumber,
        /// What.
        outcome: ReleaseOutcome,
    },
    /// Everything of an environment is gone from a server.
    Destroyed(Place),
    /// A server is gone that was not wanted any more.
    Removed(Place),
    /// Everything of an environment is gone.
    Forgotten(EnvironmentName),
    /// So many objects that nothing references were deleted from the store.
    Deleted(usize),
    /// A server was told to do whatever it finds to do, and has done this.
    Woken {
        /// Where.
        place: Place,
        /// What it did.
        rolled: RolledForward,
    },
    /// Something went wrong at a server and is tried again later.
    Trouble {
        /// Where.
        place: Place,
        /// In one line.
        reason: String,
        /// What the person can do; may be empty.
        hint: String,
    },
    /// Nothing can be done before this time.
    Waiting(Timestamp),
}
