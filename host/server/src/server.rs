//! A server: its directory, its hooks, and as whom it runs things.

use std::path::PathBuf;

use jecloud_disk::{durable, tree};
use jecloud_launch::User;
use jecloud_model::format::Format;
use jecloud_model::layout::ServerRoot;
use jecloud_sandbox::Sandbox;
use serde::{Deserialize, Serialize};

use crate::error::ServerError;
use crate::process_manager::{ProcessManager, process_manager};

/// The user as whom apps run where JeCloud is root.
pub const APP_USER: &str = "jecloud-app";

/// `sys/server.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerDocument {
    /// See [`Format`].
    #[serde(flatten)]
    pub format: Format,
    /// The user as whom apps run; none where JeCloud is not root, and they run as whoever it is.
    #[serde(default)]
    pub app_user: Option<String>,
    /// The addresses on which the front listens, where the configuration names them.
    #[serde(default)]
    pub listen: Option<Vec<std::net::SocketAddr>>,
    /// Keys that a newer JeCloud wrote.
    #[serde(flatten)]
    pub more: std::collections::BTreeMap<String, serde_json::Value>,
}

impl ServerDocument {
    /// As whom apps run; none where that is whoever JeCloud is.
    ///
    /// # Errors
    ///
    /// Where JeCloud is root and the user does not exist: then nothing runs, rather than as root.
    pub fn app_user(&self, root: &ServerRoot) -> Result<Option<User>, ServerError> {
        let Some(name) = self.app_user.as_deref().filter(|_| jecloud_launch::is_root()) else { return Ok(None) };
        let missing = || {
            ServerError::Request(format!(
                "the user {name} of {} does not exist on this machine; `jecloud update-server init` makes it",
                root.server_document().display()
            ))
        };
        User::lookup(name).ok_or_else(missing).map(Some)
    }
}

/// Everything that a roll-forward works with.
pub struct Server {
    /// Where everything lies.
    pub root: ServerRoot,
    /// The `jecloud` binary, for starting the process manager and roll-forwards.
    pub exe: PathBuf,
    /// Where hooks run.
    pub sandbox: Sandbox,
    /// The app's user; none where JeCloud is not root.
    pub app_user: Option<User>,
    /// Who runs the processes.
    pub processes: Box<dyn ProcessManager>,
}

impl Server {
    /// Opens the server below `root`, which [`crate::init`] has made.
    pub fn open(root: ServerRoot, exe: PathBuf, sandbox: Sandbox) -> Result<Self, ServerError> {
        let app_user = document(&root)?.app_user(&root)?;
        let processes = process_manager(&root, &exe);
        Ok(Self { root, exe, sandbox, app_user, processes })
    }

    /// Whether the directory was made by `init`.
    pub fn is_initialised(root: &ServerRoot) -> Result<bool, ServerError> {
        Ok(tree::exists(&root.server_document())?)
    }

    /// User and group id of the app's user, where it is not whoever JeCloud is.
    pub fn owner(&self) -> Option<(u32, u32)> {
        self.app_user.map(|user| (user.uid, user.gid))
    }
}

/// `sys/server.json`; an empty one where there is none.
pub fn document(root: &ServerRoot) -> Result<ServerDocument, ServerError> {
    Ok(durable::read_json(&root.server_document())?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when a user that does not exist is taken for none: apps would run as root.
    #[test]
    fn a_missing_user_is_never_root() {
        let root = ServerRoot::new("/nowhere");
        let with = |name: Option<&str>| ServerDocument { app_user: name.map(str::to_owned), ..Default::default() };
        assert!(with(None).app_user(&root).is_ok_and(|user| user.is_none()));
        let missing = with(Some("no-such-user-anywhere")).app_user(&root);
        assert_eq!(missing.is_err(), jecloud_launch::is_root());
    }
}
