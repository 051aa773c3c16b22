//! Whole trees: copied, removed and given away without following a link, and full disks.

mod snapshot;
mod tarball;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use jecloud_disk::archive::unpack;
use jecloud_disk::log::RotatingLog;
use jecloud_disk::{DiskError, durable, store, temporary, tree};
use snapshot::Item;

fn make(root: &Path) {
    snapshot::write(&root.join("a/b/file"), "text", 0o640);
    snapshot::write(&root.join("a/program"), "#!/bin/sh", 0o755);
    fs::create_dir(root.join("empty")).unwrap();
    symlink("a/b", root.join("link")).unwrap();
    symlink("/nowhere", root.join("broken")).unwrap();
}

#[test]
fn trees_are_copied() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    make(&from);
    // A directory without the right to write is filled all the same.
    fs::set_permissions(from.join("a/b"), fs::Permissions::from_mode(0o555)).unwrap();
    snapshot::write(&dir.path().join(".incoming-to/left"), "behind", 0o644);
    tree::copy(&from, &to, None).unwrap();
    assert_eq!(snapshot::of(&from), snapshot::of(&to));
    assert_eq!(tree::list(dir.path()).unwrap(), ["from", "to"]);
    assert!(tree::copy(&from, &to, None).unwrap_err().exists_already());
    assert!(tree::copy(&dir.path().join("nothing"), &dir.path().join("x"), None).unwrap_err().is_missing());

    // A copy is independent.
    snapshot::write(&to.join("a/program"), "changed", 0o755);
    assert_eq!(fs::read(from.join("a/program")).unwrap(), b"#!/bin/sh");
}

#[test]
fn set_user_id_bits_are_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    snapshot::write(&dir.path().join("from/program"), "x", 0o4755);
    tree::copy(&dir.path().join("from"), &dir.path().join("to"), None).unwrap();
    assert_eq!(snapshot::of(&dir.path().join("to"))["program"], Item::File(0o755, b"x".to_vec()));
}

#[test]
fn what_cannot_be_copied_is_named_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    make(&from);
    std::os::unix::net::UnixListener::bind(from.join("a/socket")).unwrap();
    let error = tree::copy(&from, &dir.path().join("to"), None).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot copy {}", from.join("a/socket").display()));
    assert_eq!(tree::list(dir.path()).unwrap(), ["from"]);
}

/// Fails when anything follows links: what is outside is gone, changed or copied.
#[test]
fn links_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    snapshot::write(&outside.join("precious"), "precious", 0o600);
    let from = dir.path().join("from");
    make(&from);
    symlink(&outside, from.join("a/out")).unwrap();
    symlink(outside.join("precious"), from.join("a/file")).unwrap();
    let before = snapshot::of(&outside);

    tree::copy(&from, &dir.path().join("to"), None).unwrap();
    assert_eq!(snapshot::of(&dir.path().join("to"))["a/out"], Item::Link(outside.to_str().unwrap().to_owned()));
    assert_eq!(tree::size(&from).unwrap(), 13);
    if rustix::process::geteuid().is_root() {
        tree::chown(&from, (12345, 54321)).unwrap();
        assert!(snapshot::all_belong_to(&from, (12345, 54321)));
        assert_eq!(fs::metadata(outside.join("precious")).unwrap().uid(), 0);
        assert_eq!(fs::metadata(&outside).unwrap().uid(), 0);
        // The path itself may be a link as well.
        tree::chown(&from.join("a/out"), (1, 1)).unwrap();
        assert_eq!(fs::metadata(&outside).unwrap().uid(), 0);

        tree::copy(&from, &dir.path().join("given"), Some((4, 5))).unwrap();
        assert!(snapshot::all_belong_to(&dir.path().join("given"), (4, 5)));
    }
    assert!(tree::set_mode(&from.join("a/file"), 0o777).is_err());
    assert!(tree::remove(&from).unwrap());
    assert!(!from.exists());
    symlink(&outside, dir.path().join("link")).unwrap();
    assert!(tree::remove(&dir.path().join("link")).unwrap());
    assert_eq!(snapshot::of(&outside), before);
}

#[test]
fn trees_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tree");
    make(&path);
    assert!(tree::remove(&path).unwrap());
    assert!(!tree::remove(&path).unwrap());
    snapshot::write(&path, "a file", 0o644);
    assert!(tree::remove(&path).unwrap());
    assert_eq!(tree::list(dir.path()).unwrap().len(), 0);
}

/// Directories that their owner may not change, as some package managers leave them. Root may do everything, so this
/// is done by a thread that is somebody else.
#[test]
fn directories_without_rights_are_removed_by_their_owner() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let path = dir.path().join("tree");
    std::thread::spawn(move || {
        if rustix::process::geteuid().is_root() {
            let nobody = rustix::fs::Uid::from_raw(65534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        }
        for mode in [0o555, 0o300, 0o000] {
            snapshot::write(&path.join("a/b/file"), "x", 0o444);
            fs::set_permissions(path.join("a/b"), fs::Permissions::from_mode(mode)).unwrap();
            fs::set_permissions(path.join("a"), fs::Permissions::from_mode(mode)).unwrap();
            tree::remove(&path).unwrap();
            assert!(!path.exists());
        }
    })
    .join()
    .unwrap();
}

#[test]
fn looking() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let at = |name: &str| dir.path().join(name);
    assert_eq!(tree::list(dir.path()).unwrap(), ["a", "broken", "empty", "link"]);
    assert!(tree::list(&at("nothing")).unwrap().is_empty());
    assert!(tree::list(&at("a/program")).is_err());
    assert!(tree::exists(&at("broken")).unwrap() && !tree::exists(&at("nothing")).unwrap());
    assert!(!tree::exists(&at("a/program/x")).unwrap());
    assert!(tree::is_dir(&at("a")).unwrap() && !tree::is_dir(&at("link")).unwrap());
    assert_eq!(tree::size(&at("a/program")).unwrap(), 9);
    assert!(tree::modified(&at("a")).unwrap().is_some() && tree::modified(&at("nothing")).unwrap().is_none());
    assert!(tree::free_bytes(dir.path()).unwrap() > 0);
    tree::set_mode(&at("a/program"), 0o700).unwrap();
    assert_eq!(fs::metadata(at("a/program")).unwrap().permissions().mode() & 0o777, 0o700);
    tree::sync(dir.path()).unwrap();

    assert_eq!(tree::stamp(&at("nothing")).unwrap(), None);
    let stamp = || tree::stamp(&at("a/program")).unwrap();
    let before = stamp();
    assert!(before.is_some() && before == stamp());
    durable::replace(&at("a/program"), b"#!/bin/sh", 0o700).unwrap();
    assert_ne!(stamp(), before, "the same content in another file");
}

/// Fails when a file is opened by its whole path, and for the FIFO without O_NONBLOCK: it waits for ever.
#[test]
fn looking_into_a_hostile_tree() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    snapshot::write(&dir.path().join("secret"), "no", 0o644);
    snapshot::write(&root.join("sub/a"), "yes", 0o644);
    snapshot::write(&root.join("skipped/b"), "no", 0o644);
    symlink("../secret", root.join("out")).unwrap();
    symlink("sub/a", root.join("in")).unwrap();
    symlink("/", root.join("root")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    assert_eq!(tree::files(&root, "skipped").unwrap(), ["in", "out", "pipe", "root", "sub/a"]);
    let read = |path: &str, limit| tree::read_within(&root, path, limit);
    assert_eq!(read("in", 3).unwrap().unwrap(), b"yes");
    assert_eq!(read("none", 3).unwrap(), None);
    for path in ["out", "pipe", "sub", "root/etc/passwd", "../secret", "/etc/passwd"] {
        assert!(read(path, 10_000).is_err(), "{path}");
    }
    assert!(matches!(read("sub/a", 2), Err(DiskError::TooLarge { limit: 2, .. })));
}

#[test]
fn trees_are_renamed() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    make(&from);
    let before = snapshot::of(&from);
    tree::rename(&from, &to).unwrap();
    assert_eq!(snapshot::of(&to), before);
    assert!(!from.exists());
    make(&from);
    assert!(tree::rename(&from, &to).is_err(), "there is something of that name");
    assert_eq!(snapshot::of(&to), before);
}

/// A file system of its own with little room, in a mount namespace of the thread that uses it.
#[cfg(target_os = "linux")]
fn on_a_small_disk(bytes: u64, then: impl FnOnce(PathBuf) + Send) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: only root can mount a small disk");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_owned();
    let done = std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            #[expect(unsafe_code, reason = "what is unsafe is sharing less than before with other threads")]
            // SAFETY: this thread gives up its view of mounts and its working directory, and uses absolute paths only.
            let alone = unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) };
            match alone {
                Err(rustix::io::Errno::PERM) => {
                    eprintln!("left out: this root may not mount");
                    return;
                }
                alone => alone.unwrap(),
            }
            let private = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private).unwrap();
            let size = std::ffi::CString::new(format!("size={bytes}")).unwrap();
            rustix::mount::mount("tmpfs", &place, "tmpfs", rustix::mount::MountFlags::empty(), &*size).unwrap();
            then(place);
        });
        thread.join()
    });
    done.unwrap();
}

/// Every way to write reports a full disk as such, keeps what was there, and leaves nothing behind that takes room.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk() {
    on_a_small_disk(1 << 20, |disk| {
        let document = disk.join("document");
        durable::replace(&document, b"old", 0o644).unwrap();
        let before = snapshot::of(&disk);
        let large = vec![b'x'; 2 << 20];

        assert!(durable::replace(&document, &large, 0o644).unwrap_err().is_out_of_space());
        assert_eq!(snapshot::of(&disk), before);
        assert!(store::create_new(&disk.join("new"), &large, 0o644).unwrap_err().is_out_of_space());
        assert_eq!(snapshot::of(&disk), before);

        let many = (0..40)
            .fold(tarball::Tarball::new(), |tarball, number| tarball.file(&format!("d/f{number}"), &large[..100_000]));
        let stream = many.end();
        let error = unpack(tarball::bzip2(&stream).as_slice(), &disk, &tarball::id_of(&stream), None).unwrap_err();
        assert!(error.is_out_of_space(), "{error:?}");
        assert_eq!(snapshot::of(&disk), before);

        snapshot::write(&disk.join("tree/file"), &large[..600_000], 0o644);
        let before = snapshot::of(&disk);
        assert!(tree::copy(&disk.join("tree"), &disk.join("copy"), None).unwrap_err().is_out_of_space());
        assert_eq!(snapshot::of(&disk), before);

        let mut log = RotatingLog::open(&disk.join("x.log"), 10_000_000, 3).unwrap();
        assert!(log.append(&large).unwrap_err().is_out_of_space());
        // When there is room again, it goes on.
        tree::remove(&disk.join("tree")).unwrap();
        log.append_line("\nroom again").unwrap();
        assert_eq!(durable::read(&document).unwrap().unwrap(), b"old");
        assert_eq!(temporary::sweep(&disk).unwrap(), 0);
    });
}

/// Fails without NOFOLLOW on the way (`walk::open_dir` for each name), where root would write wherever the tree's owner
/// says; and where directories on the way stay root's, in which the owner can then make nothing.
#[test]
fn files_are_written_into_trees_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&outside).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    let owner = is_root.then_some((12345, 54321));
    tree::write_within(&root, "a/b/file", b"text", 0o640, owner).unwrap();
    tree::write_within(&root, "a/b/./file", b"new", 0o600, owner).unwrap();
    tree::write_within(&root, "a/c", b"", 0o644, owner).unwrap();
    let found = snapshot::of(&root);
    assert_eq!(found["a/b/file"], Item::File(0o600, b"new".to_vec()));
    assert_eq!(found["a"], Item::Directory(0o755));
    assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), ["a", "a/b", "a/b/file", "a/c"]);
    if let Some(owner) = owner {
        assert!(snapshot::all_belong_to(&root.join("a"), owner));
        // A crash came between making a directory and giving it away.
        fs::create_dir(root.join("half")).unwrap();
        tree::write_within(&root, "half/file", b"", 0o644, Some(owner)).unwrap();
        assert!(snapshot::all_belong_to(&root.join("half"), owner));
    }

    symlink(&outside, root.join("link")).unwrap();
    assert!(tree::write_within(&root, "link/file", b"x", 0o644, None).is_err());
    assert!(tree::write_within(&root, "link/below/file", b"x", 0o644, None).is_err());
    // A link in the place of the file itself is replaced.
    symlink(outside.join("file"), root.join("a/file")).unwrap();
    tree::write_within(&root, "a/file", b"x", 0o644, None).unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    for path in ["", ".", "..", "../file", "a/../../file", "/file"] {
        let error = tree::write_within(&root, path, b"x", 0o644, None).unwrap_err();
        assert!(matches!(error, DiskError::Invalid { .. }), "{path}: {error}");
    }
}
