//! A directory for the time of the measuring.

#![expect(clippy::disallowed_methods, reason = "a development task makes a directory of its own and removes it")]

use std::path::{Path, PathBuf};

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
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} stays: {error}", self.0.display());
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
