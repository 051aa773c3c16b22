//! A server: its directory, its hooks, and who runs its processes.

use std::path::PathBuf;

use jecloud_disk::{durable, tree};
use jecloud_model::format::Format;
use jecloud_model::layout::ServerRoot;
use jecloud_sandbox::Sandbox;
use serde::{Deserialize, Serialize};

use crate::error::ServerError;
use crate::process_manager::{ProcessManager, process_manager};

/// `sys/server.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerDocument {
    /// See [`Format`].
    #[serde(flatten)]
    pub format: Format,
    /// The user of all apps on a server that was set up before each environment had one of its own: what runs as that
    /// user gets one of its own with its next release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_user: Option<String>,
    /// The addresses on which the front listens, where the configuration names them.
    #[serde(default)]
    pub listen: Option<Vec<std::net::SocketAddr>>,
    /// Keys that a newer JeCloud wrote.
    #[serde(flatten)]
    pub more: std::collections::BTreeMap<String, serde_json::Value>,
}

/// Everything that a roll-forward works with.
pub struct Server {
    /// Where everything lies.
    pub root: ServerRoot,
    /// The `jecloud` binary, for starting the process manager and roll-forwards.
    pub exe: PathBuf,
    /// Where hooks run.
    pub sandbox: Sandbox,
    /// Who runs the processes.
    pub processes: Box<dyn ProcessManager>,
}

impl Server {
    /// Opens the server below `root`, which [`crate::init`] has made.
    pub fn open(root: ServerRoot, exe: PathBuf, sandbox: Sandbox) -> Result<Self, ServerError> {
        let processes = process_manager(&root, &exe);
        Ok(Self { root, exe, sandbox, processes })
    }

    /// Whether the directory was made by `init`.
    pub fn is_initialised(root: &ServerRoot) -> Result<bool, ServerError> {
        Ok(tree::exists(&root.server_document())?)
    }
}

/// `sys/server.json`; an empty one where there is none.
pub fn document(root: &ServerRoot) -> Result<ServerDocument, ServerError> {
    Ok(durable::read_json(&root.server_document())?.unwrap_or_default())
}
