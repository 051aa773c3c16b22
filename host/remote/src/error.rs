//! Why something did not succeed on a server, with what that means for the world, and what the person can do.

use std::time::Duration;

use jecloud_cloud::MachineError;
use jecloud_disk::DiskError;

use crate::quote::QuoteError;

/// Any cause.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why something did not succeed on a server. No variant holds anything secret.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Nobody answers there, or not in time. Nothing was done.
    #[error("cannot reach {target} by SSH")]
    Unreachable {
        /// Whom.
        target: String,
        /// What was said.
        source: Cause,
    },
    /// There is no such name. Nothing was done.
    #[error("cannot find {target}")]
    Unresolved {
        /// Whom.
        target: String,
        /// What was said.
        source: Cause,
    },
    /// Somebody answers who speaks no SSH, or none that is safe. Nothing was done.
    #[error("{target} speaks no SSH that can be used")]
    Incompatible {
        /// Who.
        target: String,
        /// What was said.
        source: Cause,
    },
    /// It may be another machine, or somebody in between. Nothing was sent to it.
    #[error("the host key of {target} is not the expected one: it shows {found}, expected is {expected}")]
    HostKeyChanged {
        /// Who.
        target: String,
        /// Fingerprints.
        expected: String,
        /// A fingerprint.
        found: String,
    },
    /// The server takes none of the keys. Nothing was done.
    #[error("{target} does not let us in with {tried}")]
    Denied {
        /// Who.
        target: String,
        /// What was shown.
        tried: String,
        /// What could not be shown, and why; may be empty.
        notes: Vec<String>,
    },
    /// There is no key to try with. Nothing was done.
    #[error("there is no SSH key to log in to {target} with")]
    NoKey {
        /// Where.
        target: String,
        /// What could not be used, and why; may be empty.
        notes: Vec<String>,
    },
    /// A key cannot be made, read or written.
    #[error("cannot {doing}")]
    Key {
        /// What.
        doing: String,
        /// Why; nothing of the key.
        source: Cause,
    },
    /// The key that the configuration names is encrypted, and no agent has it. Nothing was done.
    #[error("the SSH key {path} is encrypted, and no agent has it")]
    Encrypted {
        /// Its file.
        path: String,
    },
    /// The connection was lost.
    #[error("the connection to {target} was lost while it was to {doing}")]
    Lost {
        /// To whom.
        target: String,
        /// What it was doing.
        doing: String,
        /// Whether the server may have begun: then it may have done it, or do it yet.
        begun: bool,
        /// What was said.
        source: Cause,
    },
    /// It took too long. It may have had its effect.
    #[error("{target} did not {doing} within {} s", after.as_secs())]
    TimedOut {
        /// Who.
        target: String,
        /// What.
        doing: String,
        /// So long was waited.
        after: Duration,
    },
    /// The caller did not want it any more. It may have had its effect.
    #[error("{doing} at {target} was broken off")]
    Cancelled {
        /// Where.
        target: String,
        /// What.
        doing: String,
    },
    /// The server did what it was asked, and it failed.
    #[error("{target} could not {doing}: {said}")]
    Failed {
        /// Who.
        target: String,
        /// What.
        doing: String,
        /// Its words.
        said: String,
        /// What the person can do; may be empty.
        hint: String,
    },
    /// No command.
    #[error(transparent)]
    Quote(#[from] QuoteError),
    /// A file of this machine cannot be used.
    #[error("cannot read what {target} needs")]
    Disk {
        /// Who.
        target: String,
        /// Why.
        source: DiskError,
    },
    /// A file of this machine cannot be used.
    #[error("cannot {doing} on this machine")]
    Local {
        /// What.
        doing: String,
        /// Why.
        source: Cause,
    },
}

impl RemoteError {
    /// What state the world is in: a sentence.
    pub fn state(&self) -> &'static str {
        match self {
            Self::HostKeyChanged { .. } => "Nothing was sent to it.",
            Self::Unreachable { .. }
            | Self::Unresolved { .. }
            | Self::Incompatible { .. }
            | Self::Denied { .. }
            | Self::NoKey { .. }
            | Self::Key { .. }
            | Self::Encrypted { .. }
            | Self::Quote(_)
            | Self::Disk { .. }
            | Self::Local { .. }
            | Self::Lost { begun: false, .. } => "Nothing was done on the server.",
            Self::Lost { begun: true, .. } | Self::TimedOut { .. } | Self::Cancelled { .. } => {
                "It is not known whether it was done; what is missing is done at the next attempt."
            }
            Self::Failed { .. } => "What was there before is there still.",
        }
    }

    /// What the person can do; may be empty.
    pub fn hint(&self) -> String {
        match self {
            Self::Unreachable { .. } => "Is it running, and does its firewall let SSH in from here?".to_owned(),
            Self::Unresolved { .. } => "Check the host name in jecloud.toml.".to_owned(),
            Self::Incompatible { .. } => "Check host and port in jecloud.toml: is that an SSH server?".to_owned(),
            Self::HostKeyChanged { found, .. } => format!(
                "If the server was set up anew, compare `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on its \
                 console with {found}, and only then remove its host_key with `jecloud state edit`. If not, somebody \
                 may be listening."
            ),
            Self::Denied { target, notes, .. } | Self::NoKey { target, notes } => {
                let user = target.split_once('@').map_or("the user", |(user, _)| user);
                let mut hint = notes.iter().map(|note| format!("{note}. ")).collect::<String>();
                hint.push_str(&format!(
                    "Put a public key of yours into ~{user}/.ssh/authorized_keys on the server, or name the private \
                     key that it knows in jecloud.toml."
                ));
                hint
            }
            Self::Encrypted { path } => format!("`ssh-add {path}` gives it to the agent."),
            Self::Failed { hint, .. } => hint.clone(),
            Self::Lost { .. } | Self::TimedOut { .. } => "Try again.".to_owned(),
            Self::Key { .. } | Self::Cancelled { .. } | Self::Quote(_) | Self::Disk { .. } | Self::Local { .. } => {
                String::new()
            }
        }
    }

    /// Whether a later attempt may succeed without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Lost { .. } | Self::TimedOut { .. })
    }

    /// Whether it is certain that the server has not begun with it.
    pub fn is_before_begin(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Lost { begun: false, .. })
    }

    /// The message with all its causes, in one line.
    pub fn to_line(&self) -> String {
        jecloud_model::chain(self)
    }

    /// As the cloud roll-forward knows it: what may pass by itself is unreachable, everything else a refusal with all
    /// its parts.
    pub fn into_machine(self, server: &str) -> MachineError {
        match self {
            Self::Disk { source, .. } => MachineError::Disk { server: server.to_owned(), source },
            transient if transient.is_transient() || matches!(transient, Self::Cancelled { .. }) => {
                let doing = match &transient {
                    Self::Lost { doing, .. } | Self::TimedOut { doing, .. } | Self::Cancelled { doing, .. } => {
                        format!("the attempt to {doing}")
                    }
                    _ => "connecting".to_owned(),
                };
                MachineError::Unreachable { server: server.to_owned(), doing, source: transient.into() }
            }
            refusal => {
                let error = format!("{}. {}", refusal.to_line(), refusal.state().trim_end_matches('.'));
                MachineError::Refused { error, hint: refusal.hint() }
            }
        }
    }
}
