//! The real dnf, with packages that are built here, in a repository of files, installed into a directory.

#![expect(clippy::disallowed_methods, reason = "a test makes packages, and looks at what was installed")]

use std::path::Path;
use std::process::Command;

use jecloud_server::packages::dnf::Dnf;
use jecloud_server::packages::{Distribution as _, Requirement, install};
use jecloud_server::{ServerError, chain};

/// Runs a program, which must succeed.
#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
}

/// Builds a version of a package whose one file holds that version, and makes what dnf reads of the repository anew.
fn publish(directory: &Path, epoch: Option<u32>, version: &str) {
    let epoch = epoch.map(|epoch| format!("Epoch: {epoch}\n")).unwrap_or_default();
    let text = format!(
        "Name: jc-thing\nVersion: {version}\nRelease: 1\n{epoch}Summary: A package for tests\nLicense: MIT\n\
         BuildArch: noarch\n%description\nA package for tests.\n%install\nmkdir -p %{{buildroot}}/opt/jc-thing\n\
         echo '{version}' > %{{buildroot}}/opt/jc-thing/version\n%files\n/opt/jc-thing/version\n"
    );
    let spec = directory.join("thing.spec");
    std::fs::write(&spec, text).expect("a file");
    let top = format!("_topdir {}", directory.join("build").display());
    run("rpmbuild", &["-bb", "--define", &top, &spec.display().to_string()]);
    run("createrepo_c", &["--quiet", &directory.join("build/RPMS").display().to_string()]);
}

/// What is told to people.
fn why(error: &ServerError) -> String {
    chain(error)
}

/// Versions are found, resolved to exact ones, installed, and a lower one in the place of a higher one; what is not there
/// is refused in words. Fails with versions compared as texts (1.2 for 1.10), with a release candidate taken for higher
/// than what it comes before, with the epoch as part of the number that people write, and where the lists are not
/// fetched anew for what they do not know.
#[test]
fn exact_versions_are_resolved_and_installed() {
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !rustix::process::geteuid().is_root() || !["dnf", "rpmbuild", "createrepo_c"].iter().all(|name| has(name)) {
        eprintln!("left out: it needs root, dnf, rpmbuild and createrepo_c");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    for version in ["1.2.3", "1.10.0", "1.10.1~rc1", "1.10.1"] {
        publish(directory.path(), None, version);
    }
    publish(directory.path(), Some(1), "0.9");
    let root = directory.path().join("root");
    std::fs::create_dir_all(root.join("etc/yum.repos.d")).expect("directories");
    let repository = format!(
        "[local]\nname=local\nbaseurl=file://{}\ngpgcheck=0\nenabled=1\n",
        directory.path().join("build/RPMS").display()
    );
    std::fs::write(root.join("etc/yum.repos.d/local.repo"), repository).expect("a file");
    let dnf = Dnf::into_directory(&root);
    let installed = |requirement: &str| {
        let wanted = [("jc-thing".to_owned(), Requirement::new(requirement))];
        install(&dnf, &wanted, &|| false, &mut |_| {}).map(|versions| versions.join(" "))
    };
    let file = || std::fs::read_to_string(root.join("opt/jc-thing/version")).unwrap_or_default().trim().to_owned();

    assert_eq!(dnf.installed("jc-thing"), None);
    assert_eq!(dnf.candidate("jc-thing").as_deref(), Some("1:0.9-1"));
    assert_eq!(dnf.candidate("jc-no-such-thing"), None);
    assert_eq!(installed("1.2").expect("it is there"), "1.2.3-1");
    assert_eq!((dnf.installed("jc-thing").as_deref(), file().as_str()), (Some("1.2.3-1"), "1.2.3"));
    assert_eq!(installed("1.10").expect("it is there"), "1.10.1-1");
    assert_eq!(file(), "1.10.1");
    // What is installed and will do stays, whatever else there is.
    assert_eq!(installed("").expect("it is there"), "1.10.1-1");
    // Exactly what was pinned, though it is lower.
    assert_eq!(installed("1.10.0-1").expect("it is there"), "1.10.0-1");
    assert_eq!(file(), "1.10.0");
    assert_eq!(installed("0.9").expect("it is there"), "1:0.9-1");

    let missing = why(&installed("3").expect_err("there is none"));
    assert!(missing.contains("dnf has jc-thing only in 1.10.0-1, 1.10.1-1"), "{missing}");
    assert_eq!(file(), "0.9", "nothing was changed");
    let unknown = install(&dnf, &[("jc-other".to_owned(), Requirement::new(""))], &|| false, &mut |_| {});
    assert!(why(&unknown.expect_err("there is none")).contains("dnf knows no package jc-other"));
    // What was published since the lists were fetched is found all the same.
    publish(directory.path(), Some(1), "3.1");
    assert_eq!(installed("3").expect("it is there now"), "1:3.1-1");
    assert_eq!(file(), "3.1");
}
