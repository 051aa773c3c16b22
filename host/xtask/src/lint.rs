//! `cargo xtask lint`: what can be found out without running anything.

use std::path::Path;

use anyhow::Result;

use crate::hooks::workspace_root;
use crate::scope::Scope;
use crate::steps::Steps;

/// The task: formatting, clippy, documentation. Stops at the first that complains.
///
/// # Errors
///
/// What a step says.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let scope = Scope::parse(arguments)?;
    let mut steps = Steps::default();
    let result = take(&mut steps, &workspace_root()?, &scope);
    eprint!("\n{}", steps.table());
    result
}

/// The steps, as a part of a longer way.
///
/// # Errors
///
/// What a step says.
pub(crate) fn take(steps: &mut Steps, root: &Path, scope: &Scope) -> Result<()> {
    let crates = scope.arguments();
    let formatted = if *scope == Scope::Workspace { vec!["--all"] } else { crates.clone() };
    steps.cargo(root, &[&["fmt", "--check"], formatted.as_slice()].concat(), &[])?;
    let clippy = [&["clippy"], crates.as_slice(), &["--all-targets", "--", "-D", "warnings"]].concat();
    steps.cargo(root, &clippy, &[])?;
    if *scope == Scope::Quick {
        return Ok(());
    }
    // It uses what clippy has checked of the dependencies, if the features are the same: see Cargo.toml.
    let doc = [&["doc"], crates.as_slice(), &["--no-deps"]].concat();
    steps.cargo(root, &doc, &[("RUSTDOCFLAGS", "-D warnings")])
}
