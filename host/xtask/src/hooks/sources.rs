//! Which crates are hooks, and what they are made of.

use std::collections::{BTreeMap, BTreeSet};
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
    /// The package and all that it is linked from.
    dependencies: Vec<Dependency>,
}

/// A package that a hook is made of.
#[derive(Debug)]
struct Dependency {
    /// Name, version, and edition.
    what: String,
    /// Its features, as they are resolved for the whole workspace.
    features: Vec<String>,
    /// Its directory, where it is part of this repository; else its version stands for its content.
    directory: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    edition: String,
    source: Option<String>,
    manifest_path: PathBuf,
    metadata: serde_json::Value,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<NodeDependency>,
    features: Vec<String>,
}

#[derive(Deserialize)]
struct NodeDependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// `dev`, `build`, or nothing for an ordinary one.
    kind: Option<String>,
}

/// The repository's root: the directory of the workspace this task belongs to.
pub(super) fn workspace_root() -> Result<PathBuf> {
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
        "--filter-platform=wasm32-unknown-unknown",
    ]))?;
    let metadata: Metadata = serde_json::from_str(&text).context("cannot understand the output of cargo metadata")?;
    let packages: BTreeMap<&str, &Package> = metadata.packages.iter().map(|p| (p.id.as_str(), p)).collect();
    let nodes: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|n| (n.id.as_str(), n)).collect();
    let mut hooks = Vec::new();
    for package in &metadata.packages {
        let Some(name) = package.metadata["jecloud"]["hook"].as_str() else { continue };
        hooks.push(HookCrate {
            name: name.to_owned(),
            package: package.name.clone(),
            module: format!("{}.wasm", package.name.replace('-', "_")),
            dependencies: dependencies(package, &packages, &nodes)?,
        });
    }
    ensure!(!hooks.is_empty(), "no crate of {} has `[package.metadata.jecloud] hook`", root.display());
    hooks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(hooks)
}

/// A package and all that is needed to compile it, sorted by name and version.
fn dependencies(
    package: &Package,
    packages: &BTreeMap<&str, &Package>,
    nodes: &BTreeMap<&str, &Node>,
) -> Result<Vec<Dependency>> {
    let mut seen = BTreeSet::new();
    let mut waiting = vec![package.id.as_str()];
    let mut found = BTreeMap::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        let package = packages.get(id).with_context(|| format!("cargo metadata does not list {id}"))?;
        let node = nodes.get(id).with_context(|| format!("cargo metadata does not resolve {id}"))?;
        let needed = |dep: &&NodeDependency| dep.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev"));
        waiting.extend(node.deps.iter().filter(needed).map(|dep| dep.pkg.as_str()));
        let what = format!("{} {} edition {}", package.name, package.version, package.edition);
        let directory = package.source.is_none().then(|| package.manifest_path.parent().map(Path::to_owned)).flatten();
        found.insert(what.clone(), Dependency { what, features: node.features.clone(), directory });
    }
    Ok(found.into_values().collect())
}

/// The SHA-256, in hex, of everything that a component is made of but the toolchain: the sources of its crate, of the
/// other crates of this repository that it uses (`Cargo.toml` and `src/`), the contract, the versions and features of
/// all other crates, and the recipe by which it is compiled.
pub(super) fn digest(root: &Path, hook: &HookCrate) -> Result<String> {
    let mut digest = Sha256::new();
    add(&mut digest, "recipe", toolchain::RECIPE.as_bytes());
    for dependency in &hook.dependencies {
        add(&mut digest, &dependency.what, dependency.features.join(",").as_bytes());
        if let Some(directory) = &dependency.directory {
            add_file(&mut digest, root, &directory.join("Cargo.toml"))?;
            add_tree(&mut digest, root, &directory.join("src"))?;
        }
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
