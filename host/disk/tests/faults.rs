//! Every effect, stopped, failed and torn at every point. The jobs run in processes of their own that are killed.

#![cfg(debug_assertions)]
#![expect(clippy::disallowed_methods, reason = "the tests prepare and look at files behind the crate's back")]

mod child;
mod snapshot;
mod tarball;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use jecloud_disk::log::RotatingLog;
use jecloud_disk::store::{Swap, compare_and_swap, create_new};
use jecloud_disk::{DiskError, archive, durable, link, temporary, tree};
use jecloud_model::ids::Digest;
use snapshot::{Item, Snapshot};
use tarball::Tarball;

const OLD: &[u8] = b"the old content, which is longer than the new one by some words\n";
const NEW: &[u8] = b"the new content\n";

fn stream() -> Vec<u8> {
    Tarball::new().file("a/b.txt", b"b").program("run", b"#!/bin/sh\n").link("l", "a/b.txt").dir("empty").end()
}

/// What a directory looks like before a job.
fn prepare(job: &str, place: &Path) {
    match job {
        "replace" | "swap" | "append" | "remove" => fs::write(place.join("document"), OLD).unwrap(),
        "append-after-torn" => fs::write(place.join("document"), b"whole\ntorn").unwrap(),
        "switch" => {
            fs::create_dir(place.join("one")).unwrap();
            fs::create_dir(place.join("two")).unwrap();
            std::os::unix::fs::symlink("one", place.join("current")).unwrap();
        }
        "copy" | "remove-tree" | "rename-tree" => {
            snapshot::write(&place.join("tree/a/file"), "text", 0o640);
            snapshot::write(&place.join("tree/program"), "text", 0o755);
            std::os::unix::fs::symlink("a/file", place.join("tree/link")).unwrap();
        }
        "rotate" => {
            for (name, text) in [("x.log.2", "one\n"), ("x.log.1", "two\n"), ("x.log", "three\n")] {
                fs::write(place.join(name), text).unwrap();
            }
        }
        _ => {}
    }
}

/// The job itself.
fn perform(job: &str, place: &Path) -> Result<(), DiskError> {
    let document = place.join("document");
    match job {
        "replace" => durable::replace(&document, NEW, 0o600),
        "create" => match create_new(&document, NEW, 0o600) {
            Err(error) if error.exists_already() => Ok(()),
            created => created,
        },
        "swap" => match compare_and_swap(&document, Some(&Digest::of(OLD)), NEW, 0o600)? {
            Swap::Swapped => Ok(()),
            Swap::Lost { found } => {
                assert_eq!(found, Some(Digest::of(NEW)), "somebody else wrote");
                Ok(())
            }
        },
        "append" | "append-after-torn" => durable::append_line(&document, "a new line", 0o600),
        "remove" => durable::remove(&document).map(drop),
        "create-dirs" => durable::create_dirs(&place.join("a/b/c"), 0o750),
        "switch" => link::switch(&place.join("current"), "two"),
        "unpack" => archive::unpack(tarball::bzip2(&stream()).as_slice(), place, &tarball::id_of(&stream()), None),
        "copy" => match tree::copy(&place.join("tree"), &place.join("copied"), None) {
            Err(error) if error.exists_already() => Ok(()),
            copied => copied,
        },
        "remove-tree" => tree::remove(&place.join("tree")).map(drop),
        "rename-tree" => match tree::rename(&place.join("tree"), &place.join("renamed")) {
            Err(error) if error.is_missing() => Ok(()),
            renamed => renamed,
        },
        "rotate" => RotatingLog::open(&place.join("x.log"), 8, 3)?.append(b"four\n"),
        _ => unreachable!("{job}"),
    }
}

/// What must hold at every instant.
fn check(job: &str, seen: &Snapshot, before: &Snapshot, after: &Snapshot) {
    match job {
        // A torn line is allowed here, and only there.
        "append" | "append-after-torn" => {
            let Item::File(_, old) = &before["document"] else { panic!("{before:?}") };
            let Item::File(_, new) = &after["document"] else { panic!("{after:?}") };
            let Item::File(_, now) = &seen["document"] else { panic!("{seen:?}") };
            assert!(now.starts_with(old) && new.starts_with(now), "{}", String::from_utf8_lossy(now));
        }
        // No line is lost but the oldest, which is to go.
        "rotate" => {
            let text: Vec<_> = seen.values().map(|item| format!("{item:?}")).collect();
            for line in ["two\n", "three\n"] {
                let bytes = format!("{:?}", line.as_bytes());
                assert!(text.iter().any(|item| item.contains(bytes.trim_matches(['[', ']']))), "{line} is lost");
            }
        }
        // Directories are made one after the other.
        "create-dirs" => assert!(seen.iter().all(|(name, item)| after.get(name) == Some(item)), "{seen:?}"),
        _ => {
            let named = |all: &Snapshot| -> Snapshot {
                all.iter()
                    .filter(|(name, _)| !temporary::is_temporary(name.split('/').next().unwrap().as_ref()))
                    .filter(|(name, _)| !name.ends_with(".lock"))
                    .map(|(name, item)| (name.clone(), item.clone()))
                    .collect()
            };
            let (seen, before, after) = (named(seen), named(before), named(after));
            assert!(seen == before || seen == after, "neither old nor new: {seen:?}");
        }
    }
}

/// After another, undisturbed run and a sweep.
fn finish(job: &str, place: &Path, context: &str) -> Snapshot {
    let again = child::run(job, place, "");
    assert!(again.status.success(), "{context}: the second run fails: {again:?}");
    temporary::sweep(place).unwrap();
    snapshot::of(place)
}

/// What is compared in the end: for appended lines and rotated files "the same" is not the same bytes.
fn same_in_the_end(job: &str, ended: &Snapshot, after: &Snapshot, context: &str) {
    match job {
        "append" | "append-after-torn" => {
            let Item::File(_, bytes) = &ended["document"] else { panic!("{ended:?}") };
            let text = String::from_utf8_lossy(bytes);
            // Fails without looking for a line that a crash cut off: two lines run into one.
            assert!(text.ends_with("\na new line\n"), "{context}: {text}");
        }
        "rotate" => {
            let Item::File(_, bytes) = &ended["x.log"] else { panic!("{ended:?}") };
            assert!(bytes.ends_with(b"four\n"), "{context}: {ended:?}");
            assert!(ended.len() <= 3, "{context}: {ended:?}");
        }
        "swap" => {
            // Which process held the lock last is written in it.
            assert!(ended.keys().eq(after.keys()), "{context}: {ended:?}");
            assert_eq!(ended["document"], after["document"], "{context}");
        }
        _ => assert_eq!(ended, after, "{context}"),
    }
}

/// Stops, fails and tears a job at each of its points.
fn check_every_point(job: &str) {
    let fresh = || {
        let place = tempfile::tempdir().unwrap();
        prepare(job, place.path());
        let before = snapshot::of(place.path());
        (place, before)
    };
    let (place, before) = fresh();
    let log = tempfile::NamedTempFile::new().unwrap();
    let points = child::points(job, place.path(), log.path());
    let after = snapshot::of(place.path());
    assert!(points.len() >= 2, "{job} has hardly any points: {points:?}");
    assert!(after.keys().all(|name| !temporary::is_temporary(name.as_ref())), "{job} leaves something behind");

    let mut faults: Vec<(String, &str)> = Vec::new();
    let mut hits = BTreeMap::new();
    for (number, point) in (1..).zip(&points) {
        faults.push((format!("*#{number}=crash"), point));
        faults.push((format!("*#{number}=error:ENOSPC"), point));
        let hit = hits.entry(point).or_insert(0);
        *hit += 1;
        if point.ends_with(".write") {
            for bytes in [0, 1, NEW.len() / 2, NEW.len(), 1000] {
                faults.push((format!("{point}#{hit}=torn:{bytes}"), point));
            }
        }
    }
    for (fault, point) in faults {
        let context = format!("{job}, {fault} at {point}");
        let (place, _) = fresh();
        let ended = child::run(job, place.path(), &fault);
        if fault.contains("error") {
            assert_eq!(ended.status.code(), Some(child::OUT_OF_SPACE), "{context}: {ended:?}");
        } else {
            assert!(child::was_killed(ended.status), "{context}: {ended:?}");
        }
        check(job, &snapshot::of(place.path()), &before, &after);
        same_in_the_end(job, &finish(job, place.path(), &context), &after, &context);
    }
}

macro_rules! every_point {
    ($($name:ident: $job:literal)*) => {
        $(#[test] fn $name() { check_every_point($job); })*
    };
}

every_point! {
    // Fails without the rename, when `replace` writes to the file itself: the document is torn.
    replacing: "replace"
    creating: "create"
    swapping: "swap"
    appending: "append"
    appending_after_a_torn_line: "append-after-torn"
    removing: "remove"
    making_directories: "create-dirs"
    // Fails when the link is removed before it is made: then it is missing for an instant.
    switching: "switch"
    // Fails when it is unpacked under its own name.
    unpacking: "unpack"
    copying: "copy"
    // Fails without the rename: half of the tree stands under its name.
    removing_a_tree: "remove-tree"
    renaming_a_tree: "rename-tree"
    rotating: "rotate"
}

#[test]
fn hits_are_counted_over_processes() {
    let place = tempfile::tempdir().unwrap();
    let counter = place.path().join("counter");
    prepare("replace", place.path());
    let run = |fault: &str| {
        child::command("replace", place.path())
            .env("JECLOUD_FAULT", fault)
            .env("JECLOUD_FAULT_COUNTER", &counter)
            .output()
            .unwrap()
            .status
    };
    assert!(run("").success());
    let points = fs::read_to_string(&counter).unwrap().lines().count();
    // Fails when each process counts for itself: there is no such hit then.
    assert!(child::was_killed(run(&format!("*#{}=crash", points + 2))));
    assert_eq!(fs::read_to_string(&counter).unwrap().lines().count(), points + 2);
    assert!(child::was_killed(run("replace.create#3=crash")), "by name");
}

#[test]
fn a_misspelt_fault_is_no_success() {
    let place = tempfile::tempdir().unwrap();
    prepare("replace", place.path());
    let ended = child::run("replace", place.path(), "replace.write#1=crahs");
    assert_eq!(ended.status.code(), Some(child::FAILED), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("is not NAME#N=ACTION"), "{ended:?}");
}

/// Not a test: the other end of [`child::run`].
#[test]
fn child() {
    if let Some((job, place)) = child::job() {
        child::end(perform(&job, &place));
    }
}
