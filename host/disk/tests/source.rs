//! What of an app's directory becomes part of a version.

mod snapshot;

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use jecloud_disk::Limits;
use jecloud_disk::source::SourceTree;
use rustix::fs::Uid;

/// Makes files of these names (a `/` at the end: a directory), with their content after a `=`.
fn make(root: &Path, files: &[&str]) {
    for file in files {
        match file.split_once('=') {
            None if file.ends_with('/') => fs::create_dir_all(root.join(file)).unwrap(),
            None => snapshot::write(&root.join(file), "x", 0o644),
            Some((name, content)) => snapshot::write(&root.join(name), content, 0o644),
        }
    }
}

fn check(files: &[&str], expected: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), files);
    let tree = SourceTree::scan(dir.path()).unwrap();
    let paths: Vec<_> = tree.paths().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(paths, expected, "of {files:?}");
}

#[test]
fn hidden_files_are_taken_and_git_is_not() {
    check(&[".env.example", ".git/HEAD", "a/.git=gitdir: elsewhere", "a/.x/b"], &[".env.example", "a/.x/b"]);
}

/// A change of the configuration is no new version. In a directory below, the names are an app's own.
#[test]
fn configuration_is_no_part_of_a_version() {
    check(&["jecloud.toml", "jecloud.lock", "a", "sub/jecloud.toml"], &["a", "jecloud.toml", "sub/jecloud.toml"]);
}

#[test]
fn ignore_files_are_honoured_without_a_repository() {
    // Fails with `require_git`: without `.git`, everything is taken.
    check(
        &[".gitignore=*.log\n/dist\n!keep.log\n", "a.log", "keep.log", "dist/x", "sub/dist/x", "sub/b.log"],
        &[".gitignore", "keep.log", "sub/dist/x"],
    );
    check(&["sub/.gitignore=*.tmp", "a.tmp", "sub/a.tmp", "sub/d/a.tmp"], &["a.tmp", "sub/.gitignore"]);
    check(&[".jecloudignore=docs/", "docs/a", "sub/docs/a", "b"], &[".jecloudignore", "b"]);
}

#[test]
fn jecloudignore_wins_over_gitignore() {
    check(
        &[".gitignore=dist/\n", ".jecloudignore=!dist/\nsecret\n", "dist/app.js", "secret"],
        &[".gitignore", ".jecloudignore", "dist/app.js"],
    );
}

/// Fails with `parents(true)`: the same app would be another version in another place.
#[test]
fn ignore_files_above_the_app_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &[".gitignore=*", ".git/info/exclude=*", "app/index.js", "app/.git/info/exclude=*"]);
    let tree = SourceTree::scan(&dir.path().join("app")).unwrap();
    assert_eq!(tree.paths().collect::<Vec<_>>(), [Path::new("index.js")]);
}

#[test]
fn installed_modules_are_left_out_and_told() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["index.js", "node_modules/a/index.js", "packages/b/node_modules/c/x", "node_modules.md"]);
    let tree = SourceTree::scan(dir.path()).unwrap();
    assert_eq!(tree.paths().collect::<Vec<_>>(), [Path::new("index.js"), Path::new("node_modules.md")]);
    assert_eq!(tree.left_out(), [Path::new("node_modules"), Path::new("packages/b/node_modules")]);
    make(dir.path(), &[".gitignore=node_modules"]);
    assert!(SourceTree::scan(dir.path()).unwrap().left_out().is_empty(), "ignored ones are no news");
}

/// A fresh clone does not have `log/`, so the version must not have it either.
#[test]
fn directories_are_entries_only_when_there_is_nothing_in_them() {
    check(&[".gitignore=*.log", "log/a.log", "empty/", "a/b/", "c/node_modules/x"], &[".gitignore", "a/b", "empty"]);
}

#[test]
fn order_is_that_of_bytes() {
    check(&["a/b", "a-b", "a.b", "A", "ä"], &["A", "a-b", "a.b", "a/b", "ä"]);
}

fn refused(prepare: impl FnOnce(&Path), message: &str) {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let small = Limits { entries: 3, bytes: 100, ..Limits::default() };
    assert_eq!(SourceTree::scan_within(dir.path(), &small).unwrap_err().to_string(), message);
}

#[test]
fn what_cannot_be_deployed_is_named() {
    refused(
        |dir| symlink("/etc/passwd", dir.join("l")).unwrap(),
        r#""l" cannot be deployed: it is a link to the absolute path "/etc/passwd""#,
    );
    refused(
        |dir| {
            make(dir, &["a/b"]);
            symlink("../../x", dir.join("a/l")).unwrap();
        },
        r#""a/l" cannot be deployed: it is a link to "../../x", which is outside of the tree"#,
    );
    refused(
        |dir| {
            make(dir, &["d/"]);
            symlink("..", dir.join("d/up")).unwrap();
            symlink("d/up/../x", dir.join("l")).unwrap();
        },
        r#""l" cannot be deployed: it is a link to "d/up/../x", which is outside of the tree"#,
    );
    refused(
        |dir| {
            make(dir, &["run/"]);
            UnixListener::bind(dir.join("run/socket")).unwrap();
        },
        r#""run/socket" cannot be deployed: it is a socket"#,
    );
    refused(
        |dir| {
            let fifo = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, dir.join("pipe"), fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        },
        r#""pipe" cannot be deployed: it is a FIFO"#,
    );
    refused(|dir| make(dir, &["a\nb"]), r#""a\nb" cannot be deployed: its path has a line break or a NUL in it"#);
    refused(
        |dir| make(dir, &["a", "b", "c", "d"]),
        r#""d" cannot be deployed: it is one entry more than the 3 that are allowed"#,
    );
    refused(
        |dir| snapshot::write(&dir.join("large"), [0; 101], 0o644),
        r#""large" cannot be deployed: with it there are more than the 100 bytes that are allowed"#,
    );
}

#[test]
fn links_that_stay_inside_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["a/b/c", "config.json={}"]);
    symlink("../b/c", dir.path().join("a/b/l")).unwrap();
    symlink("a/../config.json", dir.path().join("m")).unwrap();
    symlink("not-there", dir.path().join("n")).unwrap();
    let tree = SourceTree::scan(dir.path()).unwrap();
    assert_eq!(tree.len(), 5);
    assert_eq!(tree.read(Path::new("m"), 100).unwrap().as_deref(), Some(b"{}".as_slice()));
    assert_eq!(tree.read(Path::new("a/b/l"), 100).unwrap().as_deref(), Some(b"x".as_slice()));
    assert_eq!(tree.read(Path::new("n"), 100).unwrap(), None);
}

#[test]
fn only_what_is_in_the_tree_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["app/package.json={\"a\":1}", "app/.gitignore=ignored", "app/ignored", "outside"]);
    let tree = SourceTree::scan(&dir.path().join("app")).unwrap();
    assert_eq!(tree.read(Path::new("package.json"), 7).unwrap().unwrap(), b"{\"a\":1}");
    for path in ["ignored", "../outside", "/etc/passwd", "nothing", "", "package.json/x"] {
        assert_eq!(tree.read(Path::new(path), 100).unwrap(), None, "{path}");
    }
    let error = tree.read(Path::new("package.json"), 6).unwrap_err();
    assert!(error.to_string().ends_with("package.json is larger than 6 bytes"), "{error}");
}

#[test]
fn names_that_are_not_utf8_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
    snapshot::write(&dir.path().join(name), "x", 0o644);
    let tree = SourceTree::scan(dir.path()).unwrap();
    assert_eq!(tree.paths().collect::<Vec<_>>(), [Path::new(name)]);
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = SourceTree::scan(&dir.path().join("nothing")).unwrap_err();
    assert!(error.is_missing() && error.to_string().contains("nothing"), "{error}");
    snapshot::write(&dir.path().join("file"), "x", 0o644);
    assert!(SourceTree::scan(&dir.path().join("file")).is_err());
}

/// Root reads everything, so this is done by a thread that is somebody else.
#[test]
fn what_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    snapshot::write(&dir.path().join("secret"), "x", 0o000);
    snapshot::write(&dir.path().join("closed/x"), "x", 0o644);
    let path = dir.path().to_owned();
    std::thread::spawn(move || {
        if rustix::process::geteuid().is_root() {
            let nobody = Uid::from_raw(65534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        }
        let tree = SourceTree::scan(&path).unwrap();
        let message = r#""secret" cannot be deployed: it cannot be read (Permission denied (os error 13))"#;
        assert_eq!(tree.version().unwrap_err().to_string(), message);
        assert_eq!(tree.pack(&mut Vec::new(), &mut |_, _| {}).unwrap_err().to_string(), message);
        assert_eq!(tree.read(Path::new("secret"), 10).unwrap_err().to_string(), message);
    })
    .join()
    .unwrap();

    fs::set_permissions(dir.path().join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let path = dir.path().to_owned();
    std::thread::spawn(move || {
        if rustix::process::geteuid().is_root() {
            let nobody = Uid::from_raw(65534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        }
        let message = r#""closed" cannot be deployed: it cannot be read (permission denied)"#;
        assert_eq!(SourceTree::scan(&path).unwrap_err().to_string(), message);
    })
    .join()
    .unwrap();
    // So that the directory can be removed by those who are not root.
    fs::set_permissions(dir.path().join("closed"), fs::Permissions::from_mode(0o755)).unwrap();
}
