//! What is packed is what is unpacked, and its name says what it is.

mod snapshot;
mod tarball;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use jecloud_disk::archive::unpack;
use jecloud_disk::source::{Packed, SourceTree};
use proptest::prelude::*;
use snapshot::{Item, Snapshot};

/// A tree to be made: paths to content; what cannot be made beside another is left out.
#[derive(Debug, Clone)]
enum Made {
    File(Vec<u8>, bool),
    Link(String),
    Directory,
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-cA-C]{1,3}",
        1 => "[ -.0-~äß漢]{1,6}",
        1 => "[a-z]{90,120}",
    ]
    .prop_filter("names that mean something", |name| {
        !matches!(name.as_str(), "." | ".." | ".git" | "node_modules" | ".gitignore" | ".jecloudignore")
    })
}

fn tree() -> impl Strategy<Value = BTreeMap<String, Made>> {
    let path = prop::collection::vec(segment(), 1..5).prop_map(|segments| segments.join("/"));
    let content = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..2000),
        (any::<u8>(), 0_usize..3000).prop_map(|(byte, length)| vec![byte; length]),
        prop::sample::select(vec![0_usize, 1, 511, 512, 513, 1024]).prop_map(|length| vec![b'x'; length]),
    ];
    let made = prop_oneof![
        6 => (content, any::<bool>()).prop_map(|(content, executable)| Made::File(content, executable)),
        1 => prop::collection::vec(segment(), 1..4).prop_map(|segments| Made::Link(segments.join("/"))),
        1 => Just(Made::Directory),
    ];
    prop::collection::btree_map(path, made, 0..25)
}

fn make(root: &Path, tree: &BTreeMap<String, Made>) {
    for (path, made) in tree {
        let path = root.join(path);
        if fs::create_dir_all(path.parent().unwrap()).is_err() || path.symlink_metadata().is_ok() {
            continue;
        }
        match made {
            Made::File(content, executable) => snapshot::write(&path, content, if *executable { 0o755 } else { 0o644 }),
            Made::Link(target) => std::os::unix::fs::symlink(target, &path).unwrap(),
            Made::Directory => fs::create_dir(&path).unwrap(),
        }
    }
}

fn pack(tree: &SourceTree) -> (Packed, Vec<u8>) {
    let mut archive = Vec::new();
    let mut seen = Vec::new();
    let packed = tree.pack(&mut archive, &mut |done, total| seen.push((done, total))).unwrap();
    assert!(seen.is_sorted() && seen.iter().all(|(_, total)| *total == seen[0].1), "{seen:?}");
    assert!(seen.last().is_some_and(|(done, total)| done == total), "{seen:?}");
    assert_eq!(packed.packed_bytes, archive.len() as u64);
    (packed, archive)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_packed_is_unpacked(made in tree()) {
        let source = tempfile::tempdir().unwrap();
        make(source.path(), &made);
        let expected = snapshot::of(source.path());
        let tree = SourceTree::scan(source.path()).unwrap();
        prop_assert!(tree.paths().is_sorted_by_key(|path| path.as_os_str().as_encoded_bytes().to_vec()));

        let (packed, archive) = pack(&tree);
        let (again, same) = pack(&SourceTree::scan(source.path()).unwrap());
        prop_assert!(archive == same && packed == again, "packed twice, it gives other bytes");
        prop_assert_eq!(&tree.version().unwrap(), &packed.version);

        let target = tempfile::tempdir().unwrap();
        unpack(archive.as_slice(), target.path(), &packed.version, None).unwrap();
        let version = target.path().join(packed.version.as_str());
        prop_assert_eq!(&expected, &snapshot::of(&version));
        // What was unpacked has the same name when it is packed.
        prop_assert_eq!(SourceTree::scan(&version).unwrap().version().unwrap(), packed.version);
    }
}

/// The name of a version must stay the same for ever: by it people and servers know what is deployed.
#[test]
fn versions_keep_their_names() {
    let source = tempfile::tempdir().unwrap();
    let name = |expected: &str| {
        let version = SourceTree::scan(source.path()).unwrap().version().unwrap();
        assert_eq!(version.as_str(), expected);
    };
    // The SHA-256 of 1024 zeros, which is an empty tar stream.
    name("5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef");
    snapshot::write(&source.path().join("index.js"), "console.log(1)\n", 0o644);
    snapshot::write(&source.path().join("bin/run"), "#!/bin/sh\n", 0o755);
    snapshot::write(&source.path().join("d".repeat(120)), "long", 0o644);
    fs::create_dir(source.path().join("empty")).unwrap();
    std::os::unix::fs::symlink("bin/run", source.path().join("link")).unwrap();
    name("4def10d6d59f3d6b47de31ce025d5dc312018608869fa348eb1fb212b60a8cde");
}

/// Times, owners, and modes beyond "executable" are no part of a version.
#[test]
fn what_does_not_matter_does_not_change_the_version() {
    let source = tempfile::tempdir().unwrap();
    let file = source.path().join("a");
    snapshot::write(&file, "text", 0o644);
    let version = || SourceTree::scan(source.path()).unwrap().version().unwrap();
    let before = version();
    snapshot::write(&file, "text", 0o600);
    fs::File::open(&file).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(version(), before);
    snapshot::write(&file, "text", 0o744);
    assert_ne!(version(), before);
    snapshot::write(&file, "texT", 0o644);
    assert_ne!(version(), before);
}

/// Several blocks: the streams are in order whoever compresses faster, and the programs of the system read them.
#[test]
fn large_trees_and_the_programs_of_the_system() {
    let source = tempfile::tempdir().unwrap();
    let mut word = 1_u64;
    for number in 0..40 {
        // Some files compress in no time and some take long.
        let content: Vec<u8> = (0..200_000)
            .map(|_| {
                word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if number % 3 == 0 { b'a' } else { (word >> 60) as u8 + b'a' }
            })
            .collect();
        snapshot::write(&source.path().join(format!("d{}/f{number}", number % 7)), content, 0o644);
    }
    let tree = SourceTree::scan(source.path()).unwrap();
    assert_eq!((tree.len(), tree.bytes()), (40, 8_000_000));
    let (packed, archive) = pack(&tree);
    let starts = archive.windows(10).filter(|part| part.starts_with(b"BZh6") && part[4..] == *b"1AY&SY").count();
    assert!(starts >= 7, "only {starts} streams");

    let target = tempfile::tempdir().unwrap();
    let stream = through(&["bunzip2", "--stdout"], target.path(), &archive);
    assert_eq!(tarball::id_of(&stream), packed.version);
    through(&["tar", "xjf", "-"], target.path(), &archive);
    assert_eq!(snapshot::of(source.path()), snapshot::of(target.path()));

    let versions = tempfile::tempdir().unwrap();
    unpack(archive.as_slice(), versions.path(), &packed.version, None).unwrap();
    assert_eq!(snapshot::of(source.path()), snapshot::of(&versions.path().join(packed.version.as_str())));
}

/// Runs a program with this input; its output.
#[expect(clippy::disallowed_methods, reason = "what is tested is that other people's programs read our archives")]
fn through(argv: &[&str], dir: &Path, input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{argv:?}");
    output.stdout
}

/// The archive of other people's tar is unpacked as well: it is the stream that has a name.
#[test]
fn archives_of_the_system() {
    let source = tempfile::tempdir().unwrap();
    snapshot::write(&source.path().join("a/b"), "text", 0o644);
    snapshot::write(&source.path().join("x".repeat(150)), "long", 0o755);
    let stream = through(&["tar", "cf", "-", "--format=posix", "."], source.path(), b"");
    let versions = tempfile::tempdir().unwrap();
    let id = tarball::id_of(&stream);
    unpack(tarball::bzip2(&stream).as_slice(), versions.path(), &id, None).unwrap();
    assert_eq!(snapshot::of(source.path()), snapshot::of(&versions.path().join(id.as_str())));
}

#[test]
fn a_file_that_changes_while_it_is_packed() {
    let source = tempfile::tempdir().unwrap();
    let file = source.path().join("data/growing");
    snapshot::write(&file, "as it was scanned", 0o644);
    let tree = SourceTree::scan(source.path()).unwrap();
    let changed = |tree: &SourceTree| {
        let error = tree.pack(&mut Vec::new(), &mut |_, _| {}).unwrap_err();
        assert_eq!(error.to_string(), "\"data/growing\" changed while it was being packed");
        assert_eq!(tree.version().unwrap_err().to_string(), error.to_string());
    };
    snapshot::write(&file, "as it is now, which is longer", 0o644);
    changed(&tree);
    snapshot::write(&file, "short", 0o644);
    changed(&tree);
    fs::remove_file(&file).unwrap();
    changed(&tree);
    std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    assert!(tree.pack(&mut Vec::new(), &mut |_, _| {}).is_err());
}

/// A writer that fails after some bytes, as a full disk or a lost connection does.
struct Failing(usize);

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// It ends, with the writer's error, whichever threads wait for whom then.
#[test]
fn a_writer_that_fails() {
    let source = tempfile::tempdir().unwrap();
    for number in 0..20_u8 {
        snapshot::write(&source.path().join(format!("f{number}")), vec![number; 1_000_000], 0o644);
    }
    let tree = SourceTree::scan(source.path()).unwrap();
    for bytes in [0, 50, 200, 1000] {
        let error = tree.pack(&mut Failing(bytes), &mut |_, _| {}).unwrap_err();
        assert!(error.is_out_of_space(), "{error:?}");
    }
}

#[test]
fn an_empty_tree() {
    let source = tempfile::tempdir().unwrap();
    let tree = SourceTree::scan(source.path()).unwrap();
    assert!(tree.is_empty());
    let (packed, archive) = pack(&tree);
    assert_eq!((packed.entries, packed.bytes), (0, 0));
    let versions = tempfile::tempdir().unwrap();
    unpack(archive.as_slice(), versions.path(), &packed.version, None).unwrap();
    let expected = Snapshot::from([(packed.version.to_string(), Item::Directory(0o755))]);
    assert_eq!(snapshot::of(versions.path()), expected);
}
