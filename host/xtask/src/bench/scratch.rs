//! A directory for the time of the measuring.

#![expect(clippy::disallowed_methods, reason = "a development task makes a directory of its own and removes it")]

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

/// Exists as long as this does. Everybody may enter it: apps that root deploys run as a user without rights.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// A new one.
    ///
    /// # Errors
    ///
    /// Where it cannot be made.
    pub(super) fn new() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = std::env::temp_dir().join(format!("jecloud-bench-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let scratch = Self(path);
        std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot open {} for everybody", scratch.0.display()))?;
        Ok(scratch)
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// A new directory in it.
    ///
    /// # Errors
    ///
    /// Where it cannot be made, or is there already.
    pub(super) fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove_users(&self.0);
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} stays: {error}", self.0.display());
        }
    }
}

/// Removes the system users of the servers in a directory: JeCloud says in their comments where those are.
fn remove_users(directory: &Path) {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    for line in users.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let Some(place) = fields.get(4).and_then(|comment| comment.strip_prefix("JeCloud ")) else { continue };
        let is_ours = place.rsplit(' ').next().is_some_and(|root| Path::new(root).starts_with(directory));
        if is_ours && !Command::new("userdel").args(["--force", "--", fields[0]]).status().is_ok_and(|s| s.success()) {
            eprintln!("the user {} stays", fields[0]);
        }
    }
}

/// Removes a directory with everything in it.
///
/// # Errors
///
/// Where it cannot be removed.
pub(super) fn remove(path: &Path) -> Result<()> {
    std::fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))
}
