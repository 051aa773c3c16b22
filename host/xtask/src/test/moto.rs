//! What stands for EC2 and S3 in tests: moto, in a virtual environment of its own under `target/tools`.

#![expect(clippy::disallowed_methods, reason = "a development task installs what the tests need")]

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The exact versions.
const PINS: &str = include_str!("moto.txt");

/// Below the repository, where the tests look for it.
pub(super) const PLACE: &str = "target/tools/moto";

/// Written last: says what was installed, all of it.
const MARKER: &str = "jecloud-pins.txt";

/// Installs it where it is missing or another version; returns what is missing still, in words.
///
/// # Errors
///
/// When it cannot be installed although there is Python.
pub(crate) fn install(root: &Path) -> Result<Option<String>> {
    let place = root.join(PLACE);
    let marker = place.join(MARKER);
    if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == PINS) {
        eprintln!("{PLACE} is there");
        return Ok(None);
    }
    let Some(python) = crate::programs::find("python3") else {
        let left_out = "Left out, because python3 is missing: the tests against the protocol of EC2 will fail.";
        eprintln!("{left_out}");
        return Ok(Some(left_out.to_owned()));
    };
    if place.exists() {
        std::fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))?;
    }
    eprintln!("installing moto into {PLACE}");
    let make = Command::new(python).args(["-m", "venv"]).arg(&place).status();
    if !make.context("cannot start python3")?.success() {
        bail!("python3 cannot make a virtual environment; on Debian `apt-get install python3-venv` lets it");
    }
    let wanted = place.join("wanted.txt");
    std::fs::write(&wanted, PINS).with_context(|| format!("cannot write {}", wanted.display()))?;
    // What is not pinned is not installed.
    let mut install = Command::new(place.join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"]);
    if !install.arg(&wanted).status().context("cannot start pip")?.success() {
        bail!("pip could not install moto; what it said is above");
    }
    std::fs::rename(&wanted, &marker).with_context(|| format!("cannot write {}", marker.display()))?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails for a line that lets pip choose.
    #[test]
    fn everything_is_pinned() {
        let lines: Vec<&str> = PINS.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(lines.len() > 30 && lines.iter().any(|line| line.starts_with("moto==")));
        for line in lines {
            let (name, version) = line.split_once("==").unwrap_or_default();
            assert!(!name.is_empty() && version.starts_with(|c: char| c.is_ascii_digit()), "{line}");
        }
    }

    #[test]
    fn nothing_is_done_where_it_is_there() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join(PLACE)).unwrap();
        std::fs::write(root.path().join(PLACE).join(MARKER), PINS).unwrap();
        assert_eq!(install(root.path()).unwrap(), None);
    }
}
