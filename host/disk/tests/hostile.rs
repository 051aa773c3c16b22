//! Archives that do harm are refused by the name of the entry, and nothing of them is kept.

mod snapshot;
mod tarball;

use std::fs;
use std::path::Path;

use jecloud_disk::archive::{Compression, unpack, unpack_package, unpack_within};
use jecloud_disk::{DiskError, Limits};
use snapshot::Item;
use tar::EntryType;
use tarball::{Tarball, bzip2, gzip, id_of};

/// Unpacks, and checks that nothing is left when it fails.
fn unpacked(stream: &[u8], archive: &[u8], limits: &Limits) -> Result<(), DiskError> {
    let place = tempfile::tempdir().unwrap();
    let result = unpack_within(archive, place.path(), &id_of(stream), None, limits);
    if result.is_err() {
        assert!(snapshot::of(place.path()).is_empty(), "something is left: {:?}", snapshot::of(place.path()));
    }
    result
}

/// Each is refused by the same words as a version and as a package, except hard links.
fn check(tarball: Tarball, message: &str) {
    let stream = tarball.clone().file("after", b"never reached").end();
    let small = Limits { entries: 5, bytes: 1000, segment: 20, path: 40 };
    let error = unpacked(&stream, &bzip2(&stream), &small).unwrap_err();
    assert_eq!(error.to_string(), message);
    let place = tempfile::tempdir().unwrap();
    let into = place.path().join("package");
    let error = unpack_package(gzip(&stream).as_slice(), Compression::Gzip, &into, 0, &small).unwrap_err();
    assert_eq!(error.to_string(), message);
    assert!(snapshot::of(place.path()).is_empty());
}

/// Every line fails when the check that it names is taken out: either it is unpacked, or with another message.
#[test]
fn entries_are_refused_by_name() {
    let new = Tarball::new;
    let refused = |entry: &str, reason: &str| format!("the archive's entry {entry:?} is refused: {reason}");
    let table = [
        (new().file("/etc/cron.d/x", b"x"), refused("/etc/cron.d/x", "its path is absolute")),
        (new().file("../x", b"x"), refused("../x", "its path has \"..\" in it")),
        (new().file("a/../../x", b"x"), refused("a/../../x", "its path has \"..\" in it")),
        (new().dir(".."), refused("..", "its path has \"..\" in it")),
        (new().file(".", b"x"), refused(".", "its path is empty")),
        (new().link("a", "/etc"), refused("a", "it is a link to the absolute path \"/etc\"")),
        (new().link("a", "../b"), refused("a", "it is a link to \"../b\", which is outside of the tree")),
        (new().link("d/a", "../../b"), refused("d/a", "it is a link to \"../../b\", which is outside of the tree")),
        (
            // By its text, the second link stays inside.
            new().link("d/up", "..").link("x", "d/up/../y"),
            refused("x", "it is a link to \"d/up/../y\", which is outside of the tree"),
        ),
        (
            // The other way round: when the first comes, the second is not known yet.
            new().link("x", "d/up/../y").link("d/up", ".."),
            refused("x", "it is a link to \"d/up/../y\", which is outside of the tree"),
        ),
        (new().link("a", ""), refused("a", "it is a link to nothing")),
        (new().kind("pipe", EntryType::Fifo), refused("pipe", "it is a FIFO")),
        (new().kind("sda", EntryType::Block), refused("sda", "it is a device")),
        (new().kind("tty", EntryType::Char), refused("tty", "it is a device")),
        (new().kind("holes", EntryType::GNUSparse), refused("holes", "it is a sparse file")),
        (new().kind("what", EntryType::new(b'V')), refused("what", "it is of a kind that is not known ('V')")),
        (new().file("a", b"1").file("a", b"2"), refused("a", "there is an entry of the same path before it")),
        (new().file("a", b"1").file("./a", b"2"), refused("./a", "there is an entry of the same path before it")),
        (new().link("a", "b").file("a", b"2"), refused("a", "there is an entry of the same path before it")),
        (new().dir("a").dir("a/"), refused("a/", "there is an entry of the same path before it")),
        (new().file("a/b", b"").file("a", b""), refused("a", "there is an entry of the same path before it")),
        (new().link("a", "d").file("a/b", b"x"), refused("a/b", "it is below \"a\", which is a link")),
        (new().link("a", "d").dir("a/b/"), refused("a/b/", "it is below \"a\", which is a link")),
        (new().file("a", b"x").file("a/b", b"x"), refused("a/b", "it is below \"a\", which is not a directory")),
        (new().file("a\nb", b"x"), refused("a\nb", "its path has a line break or a NUL in it")),
        (new().long_name(b"a\0b").file("short", b"x"), refused("a\0b", "its path has a line break or a NUL in it")),
        (new().link("a", "b\nc"), refused("a", "its path has a line break or a NUL in it")),
        (
            new().file("a-name-of-21-bytes-xx", b"x"),
            refused("a-name-of-21-bytes-xx", "a name in its path is longer than 20 bytes"),
        ),
        (
            new().pax("path", &"ab/".repeat(14)).file("short", b"x"),
            refused(&"ab/".repeat(14), "its path or its target is longer than 40 bytes"),
        ),
        (new().pax("path", "../x").file("harmless", b"x"), refused("../x", "its path has \"..\" in it")),
        (
            new().pax("linkpath", "../x").link("a", "harmless"),
            refused("a", "it is a link to \"../x\", which is outside of the tree"),
        ),
        (
            (0..6).fold(new(), |tarball, number| tarball.file(&format!("f{number}"), b"")),
            refused("f5", "it is one entry more than the 5 that are allowed"),
        ),
        (
            new().file("a", &[0; 600]).file("b", &[0; 401]),
            refused("b", "with it there are more than the 1000 bytes that are allowed"),
        ),
    ];
    for (tarball, message) in table {
        check(tarball, &message);
    }
}

#[test]
fn hard_links() {
    let stream = Tarball::new().file("a", b"x").hard_link("b", "a").end();
    let error = unpacked(&stream, &bzip2(&stream), &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "the archive's entry \"b\" is refused: it is a hard link");

    let package = |stream: &[u8]| {
        let place = tempfile::tempdir().unwrap();
        let into = place.path().join("package");
        let unpacked = unpack_package(bzip2(stream).as_slice(), Compression::Bzip2, &into, 1, &Limits::default());
        unpacked.map(|()| snapshot::of(&into))
    };
    let inside = package(&Tarball::new().file("p/a", b"x").hard_link("p/b", "p/a").end()).unwrap();
    assert_eq!(inside["b"], Item::File(0o644, b"x".to_vec()));
    for target in ["p/nothing", "/etc/passwd", "../../etc/passwd", "p/l"] {
        let tarball = Tarball::new().file("p/a", b"x").link("p/l", "a").hard_link("p/b", target);
        let message = format!(
            "the archive's entry \"p/b\" is refused: it is a hard link to {target:?}, which is not a file further up in \
             the archive"
        );
        assert_eq!(package(&tarball.end()).unwrap_err().to_string(), message);
    }
}

/// What is wrong with the archive as a whole.
#[test]
fn damaged_archives() {
    let whole = Tarball::new().file("a", b"content").end();
    let packed = bzip2(&whole);
    let too_long = Tarball::new().raw(b"a", EntryType::Regular, 0o644, b"", 5000, b"short");
    let mut bad_sum = whole.clone();
    bad_sum[0] ^= 1;
    let limits = Limits::default();
    let early = "the archive is damaged: it ends too early";
    let follows = "the archive is damaged: it cannot be decompressed, or something follows its end";
    for (stream, archive, message) in [
        (&whole, packed[..packed.len() - 4].to_vec(), early),
        (&whole, packed[..20].to_vec(), early),
        (&whole, Vec::new(), early),
        (&whole, [&packed, b"garbage".as_slice()].concat(), follows),
        (&whole, whole.clone(), follows),
        (&whole, bzip2(&whole[..whole.len() - 1024]), early),
        (&whole, bzip2(&whole[..whole.len() - 512]), early),
        (&whole, bzip2(&[&whole, b"garbage".as_slice()].concat()), "the archive is damaged: something follows its end"),
        (&whole, bzip2(&[&whole, whole.as_slice()].concat()), "the archive is damaged: something follows its end"),
        (&whole, bzip2(&too_long.without_end()), early),
        (&whole, bzip2(&bad_sum), "the archive is damaged: a check sum in it is wrong"),
        (
            &whole,
            bzip2(&Tarball::new().raw(b"n", EntryType::GNULongName, 0o644, b"", 1 << 40, b"").end()),
            "the archive is damaged: a name in it is longer than 64 KiB",
        ),
        (
            &whole,
            bzip2(&Tarball::new().pax("GNU.sparse.major", "1").file("a", b"").end()),
            "the archive is damaged: it has a sparse file in it",
        ),
    ] {
        let error = unpacked(stream, &archive, &limits).unwrap_err();
        assert_eq!(error.to_string(), message);
        // Not the disk: who tries again with the same archive tries for ever.
        assert!(error.is_about_the_archive(), "{error:?}");
    }
}

#[test]
fn another_version_than_the_name_says() {
    let (stream, other) = (Tarball::new().file("a", b"1").end(), Tarball::new().file("a", b"2").end());
    let error = unpacked(&other, &bzip2(&stream), &Limits::default()).unwrap_err();
    let message = format!("the archive holds version {}, not {}", id_of(&stream), id_of(&other));
    assert_eq!(error.to_string(), message);
}

/// 10 GB of zeros in a few kilobytes. Fails without the limit on the stream: it takes minutes.
#[test]
fn a_bomb_is_stopped() {
    let limits = Limits { bytes: 1 << 20, entries: 10, ..Limits::default() };
    // The size is a lie: the entry itself is allowed, and what follows never ends.
    let head = Tarball::new().file("a", b"").without_end();
    let zeros = bzip2(&vec![0; 10 << 20]);
    let mut archive = bzip2(&head);
    for _ in 0..1000 {
        archive.extend_from_slice(&zeros);
    }
    let error = unpacked(&head, &archive, &limits).unwrap_err();
    assert!(error.io().is_some_and(|io| io.to_string() == "it is longer than any allowed archive"), "{error:?}");
}

/// Set-user-id bits and the right to write for everybody are not taken from an archive.
#[test]
fn modes_are_harmless() {
    let stream = Tarball::new().program("run", b"#!/bin/sh\n").file("text", b"t").dir("d").end();
    let place = tempfile::tempdir().unwrap();
    unpack(bzip2(&stream).as_slice(), place.path(), &id_of(&stream), None).unwrap();
    let found = snapshot::of(&place.path().join(id_of(&stream).as_str()));
    assert_eq!(found["run"], Item::File(0o755, b"#!/bin/sh\n".to_vec()));
    assert_eq!(found["text"], Item::File(0o644, b"t".to_vec()));
    assert_eq!(found["d"], Item::Directory(0o755));
    assert_eq!(snapshot::of(place.path())[id_of(&stream).as_str()], Item::Directory(0o755));
}

#[test]
fn a_complete_version_is_left_alone_and_an_unfinished_one_is_removed() {
    let stream = Tarball::new().file("a", b"new").end();
    let id = id_of(&stream);
    let place = tempfile::tempdir().unwrap();
    snapshot::write(&place.path().join(format!(".incoming-{id}/a")), "left behind", 0o600);
    snapshot::write(&place.path().join(format!(".incoming-{id}/b/c")), "left behind", 0o600);
    unpack(bzip2(&stream).as_slice(), place.path(), &id, None).unwrap();
    let version = place.path().join(id.as_str());
    assert_eq!(fs::read(version.join("a")).unwrap(), b"new");
    assert_eq!(fs::read_dir(&version).unwrap().count(), 1);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);

    snapshot::write(&version.join("built"), "by npm", 0o644);
    unpack(b"not even an archive".as_slice(), place.path(), &id, None).unwrap();
    assert!(version.join("built").exists());
}

#[test]
fn two_at_once_do_not_disturb_each_other() {
    let stream = Tarball::new().file("a", b"x").end();
    let id = id_of(&stream);
    let place = tempfile::tempdir().unwrap();
    let unfinished = place.path().join(format!(".incoming-{id}"));
    fs::create_dir(&unfinished).unwrap();
    let other = fs::File::open(&unfinished).unwrap();
    rustix::fs::flock(&other, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    // Fails without the lock: what the other one has unpacked so far is removed.
    let error = unpack(bzip2(&stream).as_slice(), place.path(), &id, None).unwrap_err();
    assert!(error.is_locked(), "{error}");
    assert_eq!(jecloud_disk::temporary::sweep(place.path()).unwrap(), 0);
    assert!(unfinished.exists());
    drop(other);
    assert_eq!(jecloud_disk::temporary::sweep(place.path()).unwrap(), 1);
    assert!(!unfinished.exists());
}

/// As the official archives of Node.js are made: everything in one directory, programs, and links between them.
#[test]
fn packages() {
    let stream = Tarball::new()
        .dir("node-v22/")
        .dir("node-v22/bin/")
        .program("node-v22/bin/node", b"ELF")
        .link("node-v22/bin/npm", "../lib/npm/cli.js")
        .file("node-v22/lib/npm/cli.js", b"js")
        .pax("path", "node-v22/lib/a-name-that-a-pax-header-gives")
        .file("short", b"pax")
        .end();
    for (archive, compression) in [(gzip(&stream), Compression::Gzip), (bzip2(&stream), Compression::Bzip2)] {
        let place = tempfile::tempdir().unwrap();
        let into = place.path().join("node-22");
        unpack_package(archive.as_slice(), compression, &into, 1, &Limits::default()).unwrap();
        let found = snapshot::of(&into);
        assert_eq!(found["bin/node"], Item::File(0o755, b"ELF".to_vec()));
        assert_eq!(found["bin/npm"], Item::Link("../lib/npm/cli.js".to_owned()));
        assert_eq!(found["lib/a-name-that-a-pax-header-gives"], Item::File(0o644, b"pax".to_vec()));
        assert_eq!(found.len(), 7, "{found:?}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
    let truncated = &gzip(&stream)[..100];
    let place = tempfile::tempdir().unwrap();
    let into = place.path().join("node-22");
    assert!(unpack_package(truncated, Compression::Gzip, &into, 1, &Limits::default()).is_err());
    assert!(snapshot::of(place.path()).is_empty());
}

#[test]
fn compressions_are_known_by_name() {
    assert_eq!(Compression::of_name("node-v22.tar.gz"), Some(Compression::Gzip));
    assert_eq!(Compression::of_name("mongo.tgz"), Some(Compression::Gzip));
    assert_eq!(Compression::of_name("x.tar.bz2"), Some(Compression::Bzip2));
    assert_eq!(Compression::of_name("x.tar.xz"), None);
}

/// As root everything goes to the owner, links too and what they name not.
#[test]
fn the_owner_gets_everything() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: only root can give files away");
        return;
    }
    let stream = Tarball::new().file("d/a", b"x").link("l", "d").dir("e").end();
    let id = id_of(&stream);
    let place = tempfile::tempdir().unwrap();
    unpack(bzip2(&stream).as_slice(), place.path(), &id, Some((12345, 54321))).unwrap();
    let version: &Path = &place.path().join(id.as_str());
    assert!(snapshot::all_belong_to(version, (12345, 54321)));
}
