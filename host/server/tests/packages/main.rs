//! The real package managers, with packages that are built here, installed into directories.

#![expect(clippy::disallowed_methods, reason = "tests make packages, and look at what was installed")]

mod apt;
mod dnf;
mod signed;

use std::path::Path;
use std::process::Command;

use jecloud_server::packages::{Distribution, Requirement, Wanted, install};
use jecloud_server::{ServerError, chain};

/// Whether this is done by root, and these programs are here.
fn can_be_tried(programs: &[&str]) -> bool {
    let has = |program: &&str| Command::new(program).arg("--version").output().is_ok();
    let can = rustix::process::geteuid().is_root() && programs.iter().all(has);
    if !can {
        eprintln!("left out: it needs root and {}", programs.join(", "));
    }
    can
}

/// Runs a program, which must succeed. What it says.
#[track_caller]
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A directory that everybody may look into: those who verify keys have no rights.
fn directory() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    directory
}

/// Has packages be there; their exact versions.
fn installed(manager: &dyn Distribution, wanted: Wanted) -> Result<String, String> {
    let why = |error: ServerError| match error {
        ServerError::Deployment(failure) => format!("{}: {}", failure.reason, failure.details.join(" ")),
        other => chain(&other),
    };
    install(manager, &[wanted], &|| false, &mut |_| {}).map(|versions| versions.join(" ")).map_err(why)
}

fn wanted(name: &str, version: &str) -> Wanted {
    Wanted { name: name.to_owned(), version: Requirement::new(version), repository: None }
}

/// What a file of a root says; nothing where there is none.
fn content(root: &Path, path: &str) -> String {
    std::fs::read_to_string(root.join(path)).unwrap_or_default().trim().to_owned()
}
