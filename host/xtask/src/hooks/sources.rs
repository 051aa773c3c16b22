//! Which crates are hooks, and what they are made of.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{hex, output, toolchain};

/// A crate whose `Cargo.toml` has `[package.metadata.jecloud] hook = "NAME"`.
#[derive(Debug)]
pub(super) struct HookCrate {
    /// The name of its service.
    pub(super) name: String,
    /// The package.
    pub(super) package: String,
    /// Where its module is found below the target directory's profile: `jecloud_hook_node.wasm`.
    pub(super) module: String,
    /// The package and all that is needed to compile it: names, versions and features. Sorted.
    packages: Vec<String>,
    /// The directories of those of them that are part of this repository. Sorted.
    directories: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    edition: String,
    manifest_path: PathBuf,
    metadata: serde_json::Value,
}

/// The repository's root: the directory of the workspace this task belongs to.
pub(crate) fn workspace_root() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    // `cargo run` sets it: it is right also where the binary was built in another checkout.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| manifest.to_owned(), PathBuf::from);
    let root = manifest.parent().and_then(Path::parent).context("host/xtask has no grandparent")?;
    root.canonicalize().with_context(|| format!("cannot resolve {}", root.display()))
}

/// All hooks of the workspace, sorted by name.
pub(super) fn hook_crates(root: &Path) -> Result<Vec<HookCrate>> {
    let text = output(Command::new("cargo").current_dir(root).args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--no-deps",
    ]))?;
    let metadata: Metadata = serde_json::from_str(&text).context("cannot understand the output of cargo metadata")?;
    let mut hooks = Vec::new();
    for package in &metadata.packages {
        let Some(name) = package.metadata["jecloud"]["hook"].as_str() else { continue };
        let mut hook = HookCrate {
            name: name.to_owned(),
            package: package.name.clone(),
            module: format!("{}.wasm", package.name.replace('-', "_")),
            packages: Vec::new(),
            directories: Vec::new(),
        };
        for line in tree(root, &package.name)? {
            let own = metadata.packages.iter().find(|own| line.starts_with(&format!("{} v{} ", own.name, own.version)));
            if let Some(own) = own {
                hook.packages.push(format!("{} {} edition {}", own.name, own.version, own.edition));
                hook.directories.extend(own.manifest_path.parent().map(Path::to_owned));
            } else {
                hook.packages.push(line);
            }
        }
        hooks.push(hook);
    }
    ensure!(!hooks.is_empty(), "no crate of {} has `[package.metadata.jecloud] hook`", root.display());
    hooks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(hooks)
}

/// The packages that a package is compiled from, each with its version and features, sorted.
///
/// The features are those for compiling this package alone, as the task does it: what another crate of the workspace
/// wants of a shared dependency makes no component stale.
fn tree(root: &Path, package: &str) -> Result<BTreeSet<String>> {
    let text = output(Command::new("cargo").current_dir(root).args([
        "tree",
        "--locked",
        "--package",
        package,
        "--edges=no-dev",
        "--target",
        toolchain::TARGET,
        "--prefix=none",
        "--format={p} features {f}",
    ]))?;
    // A star marks a package whose own dependencies were listed before.
    Ok(text.lines().map(|line| line.trim_end_matches("(*)").trim_end().to_owned()).collect())
}

/// The SHA-256, in hex, of everything that a component is made of but the toolchain: the sources of its crate, of the
/// other crates of this repository that it uses (`Cargo.toml` and `src/`), the contract, the versions and features of
/// all other crates, and the recipe by which it is compiled.
pub(super) fn digest(root: &Path, hook: &HookCrate) -> Result<String> {
    let mut digest = Sha256::new();
    add(&mut digest, "recipe", toolchain::RECIPE.as_bytes());
    for package in &hook.packages {
        add(&mut digest, "package", package.as_bytes());
    }
    for directory in &hook.directories {
        add_file(&mut digest, root, &directory.join("Cargo.toml"))?;
        add_tree(&mut digest, root, &directory.join("src"))?;
    }
    add_tree(&mut digest, root, &root.join("wit"))?;
    Ok(hex(&digest.finalize()))
}

fn add_tree(digest: &mut Sha256, root: &Path, directory: &Path) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            add_tree(digest, root, &path)?;
        } else {
            add_file(digest, root, &path)?;
        }
    }
    Ok(())
}

fn add_file(digest: &mut Sha256, root: &Path, path: &Path) -> Result<()> {
    let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
    add(digest, &name, &content);
    Ok(())
}

/// Adds a name and a content with their lengths, so that no two different sequences are the same bytes.
fn add(digest: &mut Sha256, name: &str, content: &[u8]) {
    digest.update((name.len() as u64).to_le_bytes());
    digest.update(name);
    digest.update((content.len() as u64).to_le_bytes());
    digest.update(content);
}
