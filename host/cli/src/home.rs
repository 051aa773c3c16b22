//! Where JeCloud keeps what runs on this machine.

use std::path::{Path, PathBuf};

use jecloud_disk::{durable, tree};
use jecloud_model::ids::{AppName, Digest};
use jecloud_model::layout::ServerRoot;

use crate::failure::Failure;

/// `JECLOUD_HOME`.
#[derive(Debug, Clone)]
pub(crate) struct Home(PathBuf);

impl Home {
    /// From the environment: `JECLOUD_HOME`; else, for root, a place that the app's user can reach; else the
    /// platform's data directory (XDG Base Directory Specification).
    ///
    /// Makes the directory: others than root must be able to pass through it to what belongs to them.
    pub(crate) fn from_environment() -> Result<Self, Failure> {
        let home = Self::named_by_environment()?;
        durable::create_dirs(&home.0, 0o755)?;
        // It may lie inside of an app's directory, and is no part of the app: neither of what is deployed nor of what is
        // committed.
        let mark = home.0.join(".gitignore");
        if tree::list(&home.0)?.is_empty() {
            durable::replace(&mark, b"# Kept by JeCloud.\n*\n", 0o644)?;
        }
        Ok(home)
    }

    fn named_by_environment() -> Result<Self, Failure> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(home) = variable("JECLOUD_HOME") {
            let home = std::path::absolute(&home)
                .map_err(|error| Failure::usage(format!("JECLOUD_HOME cannot be used: {error}")))?;
            return Ok(Self(home));
        }
        if jecloud_launch::is_root() {
            return Ok(Self(PathBuf::from("/var/lib/jecloud")));
        }
        if let Some(data) = variable("XDG_DATA_HOME").filter(|path| path.is_absolute()) {
            return Ok(Self(data.join("jecloud")));
        }
        match variable("HOME").filter(|path| path.is_absolute()) {
            Some(home) => Ok(Self(home.join(".local/share/jecloud"))),
            None => Err(Failure::usage("there is no place to keep anything: neither JECLOUD_HOME nor HOME is set")
                .hint("Set JECLOUD_HOME to a directory.")),
        }
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// This machine as a server.
    pub(crate) fn server(&self) -> ServerRoot {
        ServerRoot::new(self.0.join("server"))
    }

    /// A hook that was deployed from this machine.
    pub(crate) fn hook(&self, digest: &Digest) -> PathBuf {
        self.0.join("hooks").join(format!("{digest}.wasm"))
    }

    /// The object store of an app's cloud on this machine.
    pub(crate) fn cloud(&self, app: &AppName) -> PathBuf {
        self.clouds().join(app.as_str())
    }

    /// The state of an app whose servers are elsewhere, where no other store is named.
    pub(crate) fn remote_cloud(&self, app: &AppName) -> PathBuf {
        self.0.join("remote").join(app.as_str())
    }

    /// All clouds on this machine.
    pub(crate) fn clouds(&self) -> PathBuf {
        self.0.join("clouds")
    }

    /// The home to which a server's directory belongs, if it is one of this machine's own.
    pub(crate) fn of_server(root: &ServerRoot) -> Option<Self> {
        let path = root.path();
        (path.file_name()? == "server").then(|| path.parent().map(|home| Self(home.to_owned())))?
    }
}
