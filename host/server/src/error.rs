//! What can go wrong on a server.

use std::path::PathBuf;

use jecloud_disk::DiskError;
use jecloud_launch::LaunchError;
use jecloud_model::app::{Failure, RequestRefused, Stale};
use jecloud_model::cloud::BasisRefused;
use jecloud_model::format::TooOld;
use jecloud_model::version::Version;
use jecloud_supervisor::UserError;

pub use jecloud_model::chain;

/// An error of the server's part.
///
/// The split that matters is made by [`ServerError::into_failure`]: what makes a deployment fail, as opposed to what
/// only makes this attempt stop (somebody deployed something else, or the disk did not answer).
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The file system.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A document is not there that must be.
    #[error("{} is missing", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// A newer JeCloud wrote it.
    #[error("cannot change {}", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// Why.
        source: TooOld,
    },
    /// The document says something else by now: this attempt is over, the next one plans anew.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// A request to deploy is refused.
    #[error(transparent)]
    Refused(#[from] RequestRefused),
    /// A process could not be started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// It is not known as whom something is to run.
    #[error(transparent)]
    User(#[from] UserError),
    /// The process manager does not do what it is asked.
    #[error("the process manager does not answer")]
    Supervisor(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The deployment fails for this reason.
    #[error("{}", .0.reason)]
    Deployment(Failure),
    /// What it was told is based on another state than it should be.
    #[error("the server does not do it: {0}")]
    Basis(#[from] BasisRefused),
    /// What runs on the server is newer than who asks.
    #[error("JeCloud {running} runs here, and this is the older JeCloud {}", Version::own())]
    Newer {
        /// The version that runs.
        running: Version,
    },
    /// Something else that is not the deployment's fault.
    #[error("cannot {action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Something was asked of `update-server` that makes no sense.
    #[error("{0}")]
    Request(String),
}

impl ServerError {
    /// Why the deployment fails; or the error again, where it does not: the attempt stops and the next
    /// roll-forward goes on.
    pub fn into_failure(self) -> Result<Failure, Self> {
        match self {
            Self::Deployment(failure) => Ok(failure),
            Self::Disk(error) if error.is_out_of_space() => Ok(Failure::because("the disk is full")
                .details(vec![error.to_string()])
                .hint("Make room on the server, then deploy again.")),
            // What is denied, read-only or damaged is so the next time too: nobody should wait for it.
            Self::Disk(error) => Ok(Failure::because(chain(&error)).hint(
                "Look after the server's disk (who owns that path, is it mounted read-only, is the disk damaged?), then \
                 deploy again.",
            )),
            Self::User(error) => Ok(Failure::because(chain(&error)).hint("Deploy again.")),
            Self::Launch(error) => Ok(Failure::because(chain(&error))),
            other => Err(other),
        }
    }

    /// What the person can do; empty where the message says it all.
    pub fn hint(&self) -> String {
        match self {
            Self::Newer { running } => format!(
                "Nothing was changed. Install JeCloud {running} or newer where you typed this; nothing goes back to an \
                 older version by itself."
            ),
            Self::Basis(refused) => refused.hint(),
            _ => String::new(),
        }
    }

    /// Whether somebody else has gone on: who asked has to look again, or to be renewed. Nothing was changed.
    pub fn is_outdated(&self) -> bool {
        matches!(self, Self::Newer { .. } | Self::Basis(_))
    }
}

impl From<Failure> for ServerError {
    fn from(failure: Failure) -> Self {
        Self::Deployment(failure)
    }
}
