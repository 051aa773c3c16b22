//! `cargo xtask hooks`: from the crates of hooks to the components that are committed under `hooks/dist`.
//!
//! The components are committed so that `cargo build` and `cargo install` need no WebAssembly toolchain. They are
//! reproducible: the same sources and the same toolchain give the same bytes in any directory, and `--check` proves it.

#![expect(
    clippy::disallowed_methods,
    reason = "a development task works on the repository's own files and starts the compiler"
)]

mod sources;
mod toolchain;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use sources::HookCrate;
pub(crate) use sources::workspace_root;
use toolchain::Toolchain;

/// `hooks/dist/index.json`: what is in `hooks/dist`, and what it was made of.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Index {
    /// 1.
    format: u32,
    /// Sorted by name.
    components: Vec<Component>,
}

/// One component under `hooks/dist`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Component {
    /// The name of its service; the file is `NAME.wasm`.
    name: String,
    /// Of the file, in hex.
    sha256: String,
    /// Of everything that it is made of: see [`sources::digest`].
    sources_sha256: String,
    /// What it was compiled with.
    toolchain: String,
}

/// Builds all hooks and writes `hooks/dist`.
pub(crate) fn build() -> Result<()> {
    let root = sources::workspace_root()?;
    let dist = root.join("hooks/dist");
    fs::create_dir_all(&dist).with_context(|| format!("cannot make {}", dist.display()))?;
    let toolchain = Toolchain::find_or_install()?;
    let mut components = Vec::new();
    for hook in sources::hook_crates(&root)? {
        let bytes = compile(&root, &hook, &toolchain)?;
        let path = dist.join(format!("{}.wasm", hook.name));
        fs::write(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
        // Beside it, so that it can be embedded without being computed or copied by hand.
        let digest_path = path.with_extension("sha256");
        fs::write(&digest_path, sha256(&bytes)).with_context(|| format!("cannot write {}", digest_path.display()))?;
        println!("{} {} bytes", relative(&root, &path), bytes.len());
        components.push(Component {
            sha256: sha256(&bytes),
            sources_sha256: sources::digest(&root, &hook)?,
            toolchain: toolchain.id().to_owned(),
            name: hook.name,
        });
    }
    components.sort_by(|a, b| a.name.cmp(&b.name));
    remove_others(&dist, &components)?;
    let index = serde_json::to_string_pretty(&Index { format: 1, components })? + "\n";
    let path = dist.join("index.json");
    fs::write(&path, index).with_context(|| format!("cannot write {}", path.display()))
}

/// Fails where `hooks/dist` is not what its sources make.
///
/// Every component must be listed with its own digest and that of its sources. Where the toolchain that it was compiled
/// with can be had, it is compiled again and must come out byte for byte the same.
pub(crate) fn check() -> Result<()> {
    const REMEDY: &str = "run `cargo xtask hooks` and commit hooks/dist";
    let root = sources::workspace_root()?;
    let dist = root.join("hooks/dist");
    let path = dist.join("index.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}: {REMEDY}", path.display()))?;
    let index: Index = serde_json::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))?;
    let mut listed: BTreeMap<&str, &Component> = index.components.iter().map(|c| (c.name.as_str(), c)).collect();
    let hooks = sources::hook_crates(&root)?;
    let mut stale = Vec::new();
    for hook in &hooks {
        match listed.remove(hook.name.as_str()) {
            None => stale.push(format!("hooks/dist has no {}.wasm", hook.name)),
            Some(component) => stale.extend(staleness(&root, hook, component)?),
        }
    }
    stale.extend(listed.keys().map(|name| format!("no crate makes the hooks/dist/{name}.wasm that is listed")));
    ensure!(stale.is_empty(), "{}; {REMEDY}", stale.join("; "));

    let toolchain = match Toolchain::find_or_install() {
        Ok(toolchain) => toolchain,
        Err(error) => {
            println!("hooks/dist is as new as its sources; its bytes were not compared: {error:#}");
            return Ok(());
        }
    };
    for (hook, component) in hooks.iter().map(|hook| (hook, find(&index, &hook.name))) {
        if component.toolchain != toolchain.id() {
            println!(
                "hooks/dist/{}.wasm is as new as its sources; its bytes were not compared: it was compiled with {}, \
                 here is {}",
                hook.name,
                component.toolchain,
                toolchain.id()
            );
            continue;
        }
        let digest = sha256(&compile(&root, hook, &toolchain)?);
        ensure!(
            digest == component.sha256,
            "hooks/dist/{}.wasm cannot be reproduced: the same toolchain makes {digest} of the same sources",
            hook.name
        );
        println!("hooks/dist/{}.wasm is as new as its sources and was reproduced", hook.name);
    }
    Ok(())
}

fn find<'a>(index: &'a Index, name: &str) -> &'a Component {
    index.components.iter().find(|component| component.name == name).expect("every hook was found to be listed")
}

/// What is wrong with one component, without compiling anything.
fn staleness(root: &Path, hook: &HookCrate, component: &Component) -> Result<Vec<String>> {
    let mut stale = Vec::new();
    if component.sources_sha256 != sources::digest(root, hook)? {
        stale.push(format!("hooks/dist/{}.wasm is older than its sources", hook.name));
    }
    let path = root.join(format!("hooks/dist/{}.wasm", hook.name));
    match fs::read(&path) {
        Ok(bytes) if sha256(&bytes) == component.sha256 => {}
        Ok(_) => stale.push(format!("hooks/dist/{}.wasm is not the one that index.json lists", hook.name)),
        Err(error) => stale.push(format!("cannot read {}: {error}", path.display())),
    }
    Ok(stale)
}

/// Compiles one hook and encodes it as a component.
fn compile(root: &Path, hook: &HookCrate, toolchain: &Toolchain) -> Result<Vec<u8>> {
    let module_path = toolchain.compile(root, hook)?;
    let module = fs::read(&module_path).with_context(|| format!("cannot read {}", module_path.display()))?;
    let component = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .with_context(|| format!("cannot make a component of {}", module_path.display()))?;
    Ok(component)
}

/// Removes components whose crate is gone.
fn remove_others(dist: &Path, components: &[Component]) -> Result<()> {
    for entry in fs::read_dir(dist).with_context(|| format!("cannot list {}", dist.display()))? {
        let path: PathBuf = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if path.extension().is_some_and(|extension| extension != "json") && components.iter().all(|c| c.name != stem) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs a command to its end.
fn run(command: &mut std::process::Command, what: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?} to {what}"))?;
    if !status.success() {
        bail!("cannot {what}: {command:?} ended with {status}");
    }
    Ok(())
}

/// Runs a command to its end and returns what it wrote to standard output.
fn output(command: &mut std::process::Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8(output.stdout).with_context(|| format!("the output of {command:?} is not UTF-8"))
}
