//! What is measured: our programs as they are released.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use crate::steps::cargo;

/// The programs.
pub(super) struct Artifacts {
    /// `jecloud`.
    pub(super) jecloud: PathBuf,
    /// The front alone.
    pub(super) front: PathBuf,
    /// Packs a directory as a deployment does.
    pub(super) pack: PathBuf,
    /// Calls a hook from the warm cache, again and again.
    pub(super) call: PathBuf,
    /// Plans for a state of many servers, again and again.
    pub(super) plan: PathBuf,
}

/// All with one command, and so with the same features of their dependencies: nothing is compiled twice.
const BUILD: &str = "build --release --package jecloud --package jecloud-front --package jecloud-disk \
                     --package jecloud-sandbox --package jecloud-model --bin jecloud --bin jecloud-front \
                     --example pack --example call --example plan";

impl Artifacts {
    /// Builds them.
    ///
    /// # Errors
    ///
    /// When cargo fails or does not say where they are.
    pub(super) fn build(root: &Path) -> Result<Self> {
        eprintln!("cargo {BUILD}");
        let mut arguments: Vec<&str> = BUILD.split_whitespace().collect();
        arguments.push("--message-format=json-render-diagnostics");
        let output = cargo(root, &arguments).stderr(Stdio::inherit()).output().context("cannot start cargo")?;
        ensure!(output.status.success(), "cargo ended with {}; what it found is above", output.status);
        let messages = String::from_utf8(output.stdout).context("what cargo says is not UTF-8")?;
        let program = |name: &str| executable(&messages, name).with_context(|| format!("cargo did not build {name}"));
        Ok(Self {
            jecloud: program("jecloud")?,
            front: program("jecloud-front")?,
            pack: program("pack")?,
            call: program("call")?,
            plan: program("plan")?,
        })
    }
}

impl Artifacts {
    /// Those that were built last, whatever has changed since.
    ///
    /// # Errors
    ///
    /// When cargo does not say where it puts them, or one of them is not there.
    pub(super) fn built(root: &Path) -> Result<Self> {
        let output =
            cargo(root, &["metadata", "--no-deps", "--format-version=1"]).output().context("cannot start cargo")?;
        let metadata: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
        let target = metadata["target_directory"].as_str().context("cargo metadata has no target directory")?;
        let release = Path::new(target).join("release");
        let program = |name: &str| {
            let path = release.join(name);
            ensure!(path.is_file(), "{} was not built yet: leave out --no-build", path.display());
            Ok(path)
        };
        Ok(Self {
            jecloud: program("jecloud")?,
            front: program("jecloud-front")?,
            pack: program("examples/pack")?,
            call: program("examples/call")?,
            plan: program("examples/plan")?,
        })
    }
}

/// Where a program is, by what cargo says, a JSON object a line.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = message["reason"] == "compiler-artifact" && message["target"]["name"] == name;
        message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails without the comparison of names, and without passing over what is no program (a library of that name).
    #[test]
    fn programs_are_found_where_cargo_says() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"pack"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"jecloud"},"executable":"/t/release/jecloud"}
{"reason":"compiler-artifact","target":{"kind":["example"],"name":"pack"},"executable":"/t/release/examples/pack"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages, "pack"), Some("/t/release/examples/pack".into()));
        assert_eq!(executable(messages, "call"), None);
    }
}
