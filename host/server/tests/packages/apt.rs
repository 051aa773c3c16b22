//! apt, below a directory, with a repository that is signed.

use std::path::Path;

use jecloud_model::ids::Digest;
use jecloud_model::repository::Repository;
use jecloud_server::packages::apt::Apt;
use jecloud_server::packages::{Distribution as _, Wanted};

use crate::signed::{Key, repository, serve};
use crate::{can_be_tried, content, directory, installed, run, wanted};

/// A flat repository with one package in some versions, signed.
fn publish(directory: &Path, versions: &[&str], key: &Key) {
    let mut packages = String::new();
    for version in versions {
        let tree = directory.join("tree");
        std::fs::create_dir_all(tree.join("DEBIAN")).expect("directories");
        std::fs::create_dir_all(tree.join("opt/jc-thing")).expect("directories");
        let control = format!(
            "Package: jc-thing\nVersion: {version}\nArchitecture: all\nMaintainer: Nobody <nobody@example.com>\n\
             Description: A package for tests\n"
        );
        std::fs::write(tree.join("DEBIAN/control"), &control).expect("a file");
        std::fs::write(tree.join("opt/jc-thing/version"), version).expect("a file");
        let file = format!("jc-thing_{version}_all.deb");
        let path = directory.join(&file);
        run("dpkg-deb", &["--build", &tree.display().to_string(), &path.display().to_string()]);
        let bytes = std::fs::read(&path).expect("it was built");
        packages += &format!("{control}Filename: ./{file}\nSize: {}\nSHA256: {}\n\n", bytes.len(), Digest::of(&bytes));
    }
    std::fs::write(directory.join("Packages"), &packages).expect("a file");
    let date = run("date", &["--utc", "--rfc-email"]);
    let release = format!("Date: {date}SHA256:\n {} {} Packages\n", Digest::of(packages.as_bytes()), packages.len());
    let path = directory.join("Release");
    std::fs::write(&path, release).expect("a file");
    let signed = directory.join("InRelease").display().to_string();
    key.gpg(&["--local-user", key.name(), "--output", &signed, "--clearsign", &path.display().to_string()]);
}

/// What apt and dpkg expect to be there.
fn root(directory: &Path) -> std::path::PathBuf {
    let root = directory.join("root");
    for path in [
        "etc/apt/apt.conf.d",
        "etc/apt/preferences.d",
        "etc/apt/sources.list.d",
        "var/lib/apt/lists/partial",
        "var/cache/apt/archives/partial",
        "var/lib/dpkg/info",
        "var/lib/dpkg/updates",
        "var/log/apt",
    ] {
        std::fs::create_dir_all(root.join(path)).expect("directories");
    }
    std::fs::write(root.join("var/lib/dpkg/status"), "").expect("a file");
    root
}

/// Fails where the key of a repository is not asked for, where any key of the machine will do for it, and where a key is
/// taken that is not what its sum says.
#[test]
fn a_repository_is_used_with_its_own_key_only() {
    if !can_be_tried(&["apt-get", "dpkg-deb", "gpg"]) {
        return;
    }
    let directory = directory();
    let (served, root) = (directory.path().join("served"), root(directory.path()));
    std::fs::create_dir(&served).expect("a directory");
    let (key, other) = (Key::new("signer"), Key::new("other"));
    publish(&served, &["1.2-1", "1.10-1"], &key);
    let url = serve(served.clone());
    let apt = Apt::into_directory(&root);
    let with = |repository: &Repository, version: &str| {
        installed(&apt, Wanted { repository: Some(repository.clone()), ..wanted("jc-thing", version) })
    };
    let good = repository(&served, &url, &key);

    let wrong_sum = Repository { key_sha256: Digest::of(b"another key"), ..good.clone() };
    let refused = with(&wrong_sum, "").expect_err("it is not that key");
    assert!(refused.contains("is not what its checksum says"), "{refused}");
    assert_eq!(content(&root, "etc/apt/sources.list.d").len(), 0);

    let foreign = repository(&served, &url, &other);
    let refused = with(&foreign, "").expect_err("it is signed with another key");
    assert!(refused.contains("apt-get update"), "{refused}");
    assert_eq!(apt.installed("jc-thing"), None);
    std::fs::remove_file(root.join(format!("etc/apt/sources.list.d/{}.sources", foreign.name()))).expect("its file");

    assert_eq!(with(&good, "1.2").expect("it is there"), "1.2-1");
    assert_eq!(content(&root, "opt/jc-thing/version"), "1.2-1");
    // It is known from now on; the highest version is found by Debian's rules.
    assert_eq!(installed(&apt, wanted("jc-thing", "1.10")).expect("it is there"), "1.10-1");
    assert_eq!(content(&root, "opt/jc-thing/version"), "1.10-1");
    let source = content(&root, &format!("etc/apt/sources.list.d/{}.sources", good.name()));
    assert!(source.contains(&format!("Signed-By: {}/etc/apt/keyrings/jecloud-", root.display())), "{source}");
}
