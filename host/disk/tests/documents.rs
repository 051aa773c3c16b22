//! Documents, links, and files that several processes change.

mod child;
mod snapshot;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use jecloud_disk::store::{Swap, compare_and_swap, create_new};
use jecloud_disk::{DiskError, durable, link, temporary};
use jecloud_model::ids::Digest;
use serde::{Deserialize, Serialize};
use snapshot::Item;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Document {
    name: String,
    number: u64,
}

fn document() -> Document {
    Document { name: "web".to_owned(), number: 7 }
}

#[test]
fn json_documents() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.json");
    assert_eq!(durable::read_json::<Document>(&path).unwrap(), None);
    durable::write_json(&path, &document(), 0o640).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\n  \"name\": \"web\",\n  \"number\": 7\n}\n");
    assert_eq!(durable::read_json::<Document>(&path).unwrap(), Some(document()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
}

#[test]
fn a_broken_document_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.json");
    let shown = path.display();
    for (content, message) in [
        ("", format!("{shown} is truncated: it ends in the middle of the document")),
        ("{\"name\": \"we", format!("{shown} is truncated: it ends in the middle of the document")),
        ("\0\0\0\0", format!("{shown} is not a valid document")),
        ("{\"name\": 7}", format!("{shown} is not a valid document")),
        ("{\"name\": \"web\", \"number\": 7} more", format!("{shown} is not a valid document")),
    ] {
        snapshot::write(&path, content, 0o644);
        let error = durable::read_json::<Document>(&path).unwrap_err();
        assert_eq!(error.to_string(), message, "{content:?}");
        assert!(std::error::Error::source(&error).is_some(), "where, is in the cause");
    }
}

#[test]
fn reading_is_bounded_and_takes_files_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    snapshot::write(&path, "12345", 0o644);
    assert_eq!(durable::read_at_most(&path, 5).unwrap().unwrap(), b"12345");
    let error = durable::read_at_most(&path, 4).unwrap_err();
    assert_eq!(error.to_string(), format!("{} is larger than 4 bytes", path.display()));
    assert!(durable::read(dir.path()).is_err(), "a directory");
    let fifo = dir.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    // Fails without O_NONBLOCK: it waits for a writer for ever.
    assert!(durable::read(&fifo).is_err());
    snapshot::write(&path, [0xff], 0o644);
    assert!(durable::read_text(&path).is_err(), "not text");
}

/// Fails when the file is opened for writing: for an instant it is empty.
#[test]
fn readers_see_the_old_or_the_new() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("document");
    let (old, new) = (vec![b'o'; 100_000], vec![b'n'; 50_000]);
    durable::replace(&path, &old, 0o644).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..100 {
                durable::replace(&path, if round % 2 == 0 { &new } else { &old }, 0o644).unwrap();
            }
        });
        while !writer.is_finished() {
            let seen = durable::read(&path).unwrap().expect("it is never missing");
            assert!(seen == old || seen == new, "{} bytes", seen.len());
        }
    });
}

#[test]
fn a_writer_that_fails_leaves_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("document");
    durable::replace(&path, b"old", 0o644).unwrap();
    let failed = durable::replace_with(&path, 0o644, |out| -> Result<(), DiskError> {
        out.write_all(b"half of").unwrap();
        Err(DiskError::TooLarge { path: path.clone(), limit: 0 })
    });
    assert!(failed.is_err());
    assert_eq!(snapshot::of(dir.path()), [("document".to_owned(), Item::File(0o644, b"old".to_vec()))].into());
    assert!(durable::replace(&dir.path().join("nowhere/document"), b"", 0o644).unwrap_err().is_missing());
}

#[test]
fn lines_are_appended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lines");
    durable::append_line(&path, "one", 0o600).unwrap();
    durable::append_line(&path, "two", 0o644).unwrap();
    assert_eq!(snapshot::of(dir.path()), [("lines".to_owned(), Item::File(0o600, b"one\ntwo\n".to_vec()))].into());
    assert!(matches!(durable::append_line(&path, "a\nb", 0o600), Err(DiskError::Invalid { .. })));
    // A line that a crash cut off.
    snapshot::write(&path, "one\ntw", 0o600);
    durable::append_line(&path, "three", 0o600).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntw\nthree\n");
}

#[test]
fn files_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    assert!(!durable::remove(&path).unwrap());
    snapshot::write(&path, "", 0o644);
    assert!(durable::remove(&path).unwrap());
    assert!(!path.exists());
}

#[test]
fn directories_are_made_with_their_mode() {
    let dir = tempfile::tempdir().unwrap();
    durable::create_dirs(&dir.path().join("a/b"), 0o770).unwrap();
    durable::create_dirs(&dir.path().join("a/b/c"), 0o711).unwrap();
    let expected = [("a", 0o770), ("a/b", 0o770), ("a/b/c", 0o711)];
    let expected = expected.map(|(name, mode)| (name.to_owned(), Item::Directory(mode)));
    assert_eq!(snapshot::of(dir.path()), expected.into());
    snapshot::write(&dir.path().join("file"), "", 0o644);
    assert!(durable::create_dirs(&dir.path().join("file/x"), 0o755).is_err());
    assert!(durable::create_dirs(&dir.path().join("file"), 0o755).is_err());
}

#[test]
fn the_sweeper_takes_left_overs_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let kept = ["app.json", ".app.json.lock", ".hidden", "current", "jecloud-tmp-1"];
    for name in kept {
        snapshot::write(&dir.path().join(name), "", 0o644);
    }
    snapshot::write(&dir.path().join(".app.json.jecloud-tmp-1-0"), "", 0o644);
    snapshot::write(&dir.path().join(".incoming-x/a/b"), "", 0o000);
    std::os::unix::fs::symlink("/etc", dir.path().join(".current.jecloud-tmp-1-1")).unwrap();
    // One that is being written.
    let result = durable::replace_with(&dir.path().join("new"), 0o644, |out| -> Result<(), DiskError> {
        out.write_all(b"new").unwrap();
        // Fails without the lock on unfinished files: four are removed, and with them the new one.
        assert_eq!(temporary::sweep(dir.path())?, 3);
        Ok(())
    });
    result.unwrap();
    let mut expected: Vec<_> = kept.iter().map(|name| (*name).to_owned()).collect();
    expected.push("new".to_owned());
    expected.sort();
    assert_eq!(snapshot::of(dir.path()).into_keys().collect::<Vec<_>>(), expected);
    assert_eq!(temporary::sweep(&dir.path().join("nothing")).unwrap(), 0);
}

#[test]
fn links_are_switched() {
    let dir = tempfile::tempdir().unwrap();
    let current = dir.path().join("current");
    for name in ["one", "two"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    assert_eq!(link::read(&current).unwrap(), None);
    for name in ["one", "two", "two", "one"] {
        link::switch(&current, name).unwrap();
        assert_eq!(link::read(&current).unwrap().as_deref(), Some(name));
    }
    for target in ["", ".", "..", "a/b", "/etc", "three"] {
        let error = link::switch(&current, target).unwrap_err();
        assert!(matches!(error, DiskError::Invalid { .. }), "{target}: {error}");
    }
    assert_eq!(link::read(&current).unwrap().as_deref(), Some("one"), "nothing was switched");
    // What is not a link is not replaced by one.
    snapshot::write(&dir.path().join("file"), "precious", 0o644);
    assert!(link::switch(&dir.path().join("file"), "one").is_err());
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"precious");
}

/// Fails when the link is removed and made again: then it is missing for an instant.
#[test]
fn a_link_is_never_missing() {
    let dir = tempfile::tempdir().unwrap();
    let current = dir.path().join("current");
    for name in ["one", "two"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    link::switch(&current, "one").unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..300 {
                link::switch(&current, if round % 2 == 0 { "two" } else { "one" }).unwrap();
            }
        });
        // A sweeper that works at the same time gets in nobody's way.
        scope.spawn(|| {
            for _ in 0..300 {
                temporary::sweep(dir.path()).unwrap();
            }
        });
        while !writer.is_finished() {
            assert!(link::read(&current).unwrap().is_some());
        }
    });
}

#[test]
fn new_files_replace_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("object");
    create_new(&path, b"first", 0o600).unwrap();
    let error = create_new(&path, b"second", 0o600).unwrap_err();
    assert!(error.exists_already() && error.to_string() == format!("{} exists already", path.display()));
    assert_eq!(snapshot::of(dir.path()), [("object".to_owned(), Item::File(0o600, b"first".to_vec()))].into());
}

/// Eight threads create the same object: one does. Fails with a rename in place of the link: several do.
#[test]
fn one_of_many_creates() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let path = dir.path().join(format!("object-{round}"));
        let created: Vec<bool> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8_u8)
                .map(|number| {
                    scope.spawn({
                        let path = &path;
                        move || create_new(path, &[number; 1000], 0o600).is_ok()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(created.iter().filter(|created| **created).count(), 1);
        let winner = u8::try_from(created.iter().position(|created| *created).unwrap()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [winner; 1000]);
    }
}

#[test]
fn swapping_needs_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.json");
    let digest = |text: &[u8]| Digest::of(text);
    let swap = |expected: Option<&Digest>, bytes| compare_and_swap(&path, expected, bytes, 0o600).unwrap();
    assert_eq!(swap(Some(&digest(b"a")), b"x"), Swap::Lost { found: None });
    assert_eq!(swap(None, b"a"), Swap::Swapped);
    assert_eq!(swap(None, b"x"), Swap::Lost { found: Some(digest(b"a")) });
    assert_eq!(swap(Some(&digest(b"b")), b"x"), Swap::Lost { found: Some(digest(b"a")) });
    assert_eq!(swap(Some(&digest(b"a")), b"b"), Swap::Swapped);
    assert_eq!(fs::read(&path).unwrap(), b"b");
}

const ROUNDS: u64 = 40;

/// Processes count up the same number; none of their steps is lost. Fails without the lock: the sum is smaller.
#[test]
fn no_acknowledged_swap_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("number");
    durable::replace(&path, b"0", 0o600).unwrap();
    let counters: Vec<_> = (0..4).map(|_| child::start("count", &path)).collect();
    for mut counter in counters {
        assert!(counter.wait().unwrap().success());
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), (4 * ROUNDS).to_string());
}

fn count(path: &Path) -> Result<(), DiskError> {
    let mut acknowledged = 0;
    while acknowledged < ROUNDS {
        let seen = durable::read(path)?.expect("it is never missing");
        let number: u64 = String::from_utf8(seen.clone()).unwrap().parse().unwrap();
        let next = (number + 1).to_string();
        if compare_and_swap(path, Some(&Digest::of(&seen)), next.as_bytes(), 0o600)? == Swap::Swapped {
            acknowledged += 1;
        }
    }
    Ok(())
}

/// In a release build there are no fault points.
#[cfg(not(debug_assertions))]
#[test]
fn a_release_build_has_no_faults() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("number");
    durable::replace(&path, b"0", 0o600).unwrap();
    assert!(child::run("count", &path, "*#1=crash").status.success());
    assert_eq!(size_of::<jecloud_disk::fault::Writer<fs::File>>(), size_of::<fs::File>());
}

/// Not a test: the other end of [`child::start`].
#[test]
fn child() {
    if let Some((_, path)) = child::job() {
        child::end(count(&path));
    }
}
