//! dnf, below a directory, with a repository of files and with one that is signed.

use std::path::{Path, PathBuf};

use jecloud_model::repository::Repository;
use jecloud_server::packages::dnf::Dnf;
use jecloud_server::packages::{Distribution as _, Wanted};

use crate::signed::{Key, repository, serve};
use crate::{can_be_tried, content, directory, installed, run, wanted};

const NEEDED: [&str; 4] = ["dnf", "rpmbuild", "createrepo_c", "gpg"];

/// Builds a version of a package whose one file holds that version, and makes what dnf reads of the repository anew.
fn publish(directory: &Path, epoch: Option<u32>, version: &str) {
    build(directory, epoch, version);
    run("createrepo_c", &["--quiet", &directory.join("build/RPMS").display().to_string()]);
}

fn build(directory: &Path, epoch: Option<u32>, version: &str) -> PathBuf {
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
    directory.join(format!("build/RPMS/noarch/jc-thing-{version}-1.noarch.rpm"))
}

/// Versions are found, resolved to exact ones, installed, and a lower one in the place of a higher one; what is not there
/// is refused in words. Fails with versions compared as texts (1.2 for 1.10), with a release candidate taken for higher
/// than what it comes before, with the epoch as part of the number that people write, and where the lists are not
/// fetched anew for what they do not know.
#[test]
fn exact_versions_are_resolved_and_installed() {
    if !can_be_tried(&NEEDED) {
        return;
    }
    let directory = directory();
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
    let installed = |requirement: &str| installed(&dnf, wanted("jc-thing", requirement));
    let file = || content(&root, "opt/jc-thing/version");

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

    let missing = installed("3").expect_err("there is none");
    assert!(missing.contains("dnf has jc-thing only in 1.10.0-1, 1.10.1-1"), "{missing}");
    assert_eq!(file(), "0.9", "nothing was changed");
    let unknown = crate::installed(&dnf, wanted("jc-other", "")).expect_err("there is none");
    assert!(unknown.contains("dnf knows no package jc-other"), "{unknown}");
    // What was published since the lists were fetched is found all the same.
    publish(directory.path(), Some(1), "3.1");
    assert_eq!(installed("3").expect("it is there now"), "1:3.1-1");
    assert_eq!(file(), "3.1");
}

/// Fails where packages are not verified, where any key will do, and where the key is not what its sum says.
#[test]
fn packages_of_a_repository_are_verified_with_its_key() {
    if !can_be_tried(&NEEDED) {
        return;
    }
    let directory = directory();
    let (served, root) = (directory.path().join("build/RPMS"), directory.path().join("root"));
    std::fs::create_dir_all(root.join("etc/yum.repos.d")).expect("directories");
    let (key, other) = (Key::new("signer"), Key::new("other"));
    let sign = |package: &Path, key: &Key| {
        let (name, home) = (format!("_gpg_name {}", key.name()), format!("_gpg_path {}", key.home().display()));
        let (gpg, package) = ("__gpg /usr/bin/gpg", package.display().to_string());
        run("rpmsign", &["--define", &name, "--define", &home, "--define", gpg, "--addsign", &package]);
    };
    sign(&build(directory.path(), None, "1.0"), &key);
    sign(&build(directory.path(), None, "2.0"), &other);
    publish(directory.path(), None, "3.0");
    let url = serve(served.clone());
    let dnf = Dnf::into_directory(&root);
    let good = repository(&served, &url, &key);
    let with = |repository: &Repository, version: &str| {
        installed(&dnf, Wanted { repository: Some(repository.clone()), ..wanted("jc-thing", version) })
    };

    let wrong_sum = Repository { key_sha256: jecloud_model::ids::Digest::of(b"another key"), ..good.clone() };
    let refused = with(&wrong_sum, "1.0").expect_err("it is not that key");
    assert!(refused.contains("is not what its checksum says"), "{refused}");
    for (version, what) in [("3.0", "not signed"), ("2.0", "signed by somebody else")] {
        let refused = with(&good, version).expect_err(what);
        assert!(refused.contains("dnf install"), "{what}: {refused}");
        assert_eq!(dnf.installed("jc-thing"), None, "{what}");
    }
    assert_eq!(with(&good, "1.0").expect("it is signed"), "1.0-1");
    assert_eq!(content(&root, "opt/jc-thing/version"), "1.0");
}
