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

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository with one hook, in which `path` holds `content`.
    fn digest_with(path: &str, content: &str, version: &str) -> String {
        let root = tempfile::tempdir().expect("a directory");
        let write = |path: &str, content: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, content).expect("a file");
        };
        write("hook/Cargo.toml", "[package]");
        write("hook/src/lib.rs", "// code");
        write("wit/world.wit", "package a:b;");
        write(path, content);
        let hook = HookCrate {
            name: "a".to_owned(),
            package: "a".to_owned(),
            module: "a.wasm".to_owned(),
            packages: vec![format!("serde v{version} features std")],
            directories: vec![root.path().join("hook")],
        };
        digest(root.path(), &hook).expect("a digest")
    }

    /// Fails without the line of `digest` that adds what the case is about, and where a directory's place is added.
    #[test]
    fn a_component_is_stale_when_what_it_is_made_of_changes() {
        let unchanged = digest_with("hook/src/lib.rs", "// code", "1.0.0");
        assert_eq!(digest_with("hook/tests/hook.rs", "// tests", "1.0.0"), unchanged, "tests are no part of it");
        for (path, content, version) in [
            ("hook/src/lib.rs", "// other code", "1.0.0"),
            ("hook/src/deeper/more.rs", "// code", "1.0.0"),
            ("hook/Cargo.toml", "[package]\nname = \"a\"", "1.0.0"),
            ("wit/world.wit", "package a:c;", "1.0.0"),
            ("hook/src/lib.rs", "// code", "1.0.1"),
        ] {
            assert_ne!(digest_with(path, content, version), unchanged, "{path} {version}");
        }
    }

    /// Fails where the mark in `hooks/node/Cargo.toml` or a crate of this repository is not found.
    #[test]
    fn the_hooks_of_this_repository() {
        let root = workspace_root().expect("a root");
        let hooks = hook_crates(&root).expect("hooks");
        let node = hooks.iter().find(|hook| hook.name == "node").expect("the node hook");
        assert_eq!((node.package.as_str(), node.module.as_str()), ("jecloud-hook-node", "jecloud_hook_node.wasm"));
        let directories: Vec<_> =
            node.directories.iter().map(|path| path.strip_prefix(&root).expect("inside")).collect();
        assert_eq!(directories, [Path::new("hooks/node"), Path::new("sdk/rust")]);
        assert!(node.packages.iter().any(|package| package.starts_with("nodejs-semver v")), "{:?}", node.packages);
    }
}
