//! What servers write to their consoles: the script of Debian's cloud-init, unpacked under `target/tools`, not installed.

#![expect(clippy::disallowed_methods, reason = "a development task unpacks what the tests need")]

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Below the repository, where the tests look for it.
const PLACE: &str = "target/tools/cloud-init";

/// The script.
const SCRIPT: &str = "usr/lib/cloud-init/write-ssh-key-fingerprints";

/// Unpacks it where it is missing; returns what is missing still, in words.
///
/// # Errors
///
/// When the package cannot be fetched or unpacked although there is apt.
pub(super) fn unpack(root: &Path) -> Result<Option<String>> {
    let place = root.join(PLACE);
    if place.join(SCRIPT).exists() {
        eprintln!("{PLACE} is there");
        return Ok(None);
    }
    if crate::programs::find("apt-get").is_none() || crate::programs::find("dpkg-deb").is_none() {
        let left_out = "Left out, because this is no Debian: the test with the script of cloud-init will fail.";
        eprintln!("{left_out}");
        return Ok(Some(left_out.to_owned()));
    }
    eprintln!("unpacking cloud-init into {PLACE}");
    std::fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    let fetched = Command::new("apt-get").args(["download", "cloud-init"]).current_dir(&place).status();
    if !fetched.context("cannot start apt-get")?.success() {
        bail!("apt-get cannot fetch cloud-init; what it said is above");
    }
    for entry in std::fs::read_dir(&place).context("cannot list what was fetched")? {
        let package = entry.context("cannot list what was fetched")?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            let unpacked = Command::new("dpkg-deb").arg("-x").arg(&package).arg(&place).status();
            if !unpacked.context("cannot start dpkg-deb")?.success() {
                bail!("{} cannot be unpacked", package.display());
            }
            std::fs::remove_file(&package).with_context(|| format!("cannot remove {}", package.display()))?;
        }
    }
    if !place.join(SCRIPT).exists() {
        bail!("the package cloud-init has no {SCRIPT}");
    }
    Ok(None)
}
