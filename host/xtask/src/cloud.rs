//! `cargo xtask cloud up|down`: a cloud on this machine for a person to play with.
//!
//! What it is made of belongs to the tests: see `jecloud_testkit::Playground`. It is a program of its own, so that this
//! one does not have to compile it for every other task.

use anyhow::{Context as _, Result, bail};

use crate::hooks::workspace_root;
use crate::steps::cargo;
use crate::test::moto;

/// Below the repository.
const PLACE: &str = "target/test-cloud";

/// The task.
///
/// # Errors
///
/// What the first step says that fails.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let root = workspace_root()?;
    let place = root.join(PLACE).display().to_string();
    match arguments {
        ["up"] => {
            crate::test::programs::install()?;
            moto::install(&root)?;
            let binary = build(&root)?;
            let binaries = binary.parent().context("a binary lies in a directory")?.display().to_string();
            test_cloud(&root, &["up", &place, &binaries])
        }
        ["down"] => test_cloud(&root, &["down", &place]),
        _ => bail!("usage: cargo xtask cloud up|down"),
    }
}

/// Builds the `jecloud` binary; where it is.
pub(crate) fn build(root: &std::path::Path) -> Result<std::path::PathBuf> {
    let build = ["build", "-p", "jecloud", "--message-format", "json-render-diagnostics"];
    let output = cargo(root, &build).stderr(std::process::Stdio::inherit()).output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("jecloud cannot be built; what cargo said is above");
    }
    let said = String::from_utf8(output.stdout).context("cargo speaks UTF-8")?;
    let messages = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let binaries = messages.filter(|message| message["target"]["name"] == "jecloud");
    let binary = binaries.filter_map(|message| Some(message["executable"].as_str()?.to_owned())).next_back();
    binary.map(Into::into).context("cargo did not say where it put jecloud")
}

fn test_cloud(root: &std::path::Path, arguments: &[&str]) -> Result<()> {
    let run = ["run", "--quiet", "-p", "jecloud-testkit", "--features", "s3", "--bin", "test-cloud", "--"];
    let status = cargo(root, &[&run, arguments].concat()).status().context("cannot start cargo")?;
    if !status.success() {
        bail!("`cloud {}` failed", arguments[0]);
    }
    Ok(())
}
