//! The directory as an object store.

#![expect(clippy::disallowed_methods, reason = "the tests look at files by hand")]

use std::os::unix::fs::PermissionsExt as _;

use jecloud_cloud::{DirectoryStore, Etag, KEPT_STATES, ObjectStore, Precondition, PutResult, keys};
use jecloud_model::ids::Digest;

fn store() -> (tempfile::TempDir, DirectoryStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = DirectoryStore::new(directory.path().join("clouds").join("guestbook"));
    (directory, store)
}

fn put(store: &DirectoryStore, bytes: &[u8], precondition: Precondition) -> PutResult {
    store.put(keys::STATE, bytes, &precondition).unwrap()
}

#[test]
fn preconditions_hold_or_nothing_is_written() {
    let (_directory, store) = store();
    let stale = Precondition::IfMatch(Etag("0".repeat(64)));
    assert!(matches!(put(&store, b"1", stale.clone()), PutResult::NotFound));
    let PutResult::Done(first) = put(&store, b"1", Precondition::IfNoneMatch) else { panic!() };
    assert!(matches!(put(&store, b"2", Precondition::IfNoneMatch), PutResult::PreconditionFailed));
    assert!(matches!(put(&store, b"2", stale), PutResult::PreconditionFailed));
    let object = store.get(keys::STATE).unwrap().unwrap();
    assert_eq!((&object.bytes[..], &object.etag), (&b"1"[..], &first));
    assert!(matches!(put(&store, b"2", Precondition::IfMatch(first)), PutResult::Done(_)));
    assert!(matches!(put(&store, b"3", Precondition::None), PutResult::Done(_)));
    assert_eq!(store.get(keys::STATE).unwrap().unwrap().bytes, b"3");
    assert_eq!(store.get("other.json").unwrap(), None);
}

#[test]
fn the_last_hundred_contents_are_kept() {
    let (_directory, store) = store();
    for number in 0..KEPT_STATES + 20 {
        put(&store, number.to_string().as_bytes(), Precondition::None);
    }
    let past = store.history(keys::STATE).unwrap();
    assert_eq!(past.len(), KEPT_STATES);
    // The newest first, without the one that is there now.
    let newest = store.get_past(keys::STATE, &past[0].id).unwrap().unwrap();
    assert_eq!(newest, (KEPT_STATES + 18).to_string().as_bytes());
    let oldest = store.get_past(keys::STATE, &past[KEPT_STATES - 1].id).unwrap().unwrap();
    assert_eq!(oldest, b"19");
    assert_eq!(store.get_past(keys::STATE, "../../state.json").unwrap(), None);
    // The history survives the object.
    store.delete(keys::STATE).unwrap();
    assert_eq!(store.history(keys::STATE).unwrap().len(), KEPT_STATES);
}

#[test]
fn large_objects_come_and_go_by_files() {
    let (directory, store) = store();
    let bytes: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    std::fs::write(&from, &bytes).unwrap();
    let key = keys::hook(&Digest::of(&bytes));
    let mut reported = Vec::new();
    assert!(!store.exists(&key).unwrap());
    store.put_file(&key, &from, &mut |done| reported.push(done)).unwrap();
    assert!(store.exists(&key).unwrap());
    assert!(reported.len() > 1 && reported.is_sorted() && reported.last() == Some(&(bytes.len() as u64)));
    // What has this name has this content: it is not copied again, even from a file that is gone.
    std::fs::remove_file(&from).unwrap();
    store.put_file(&key, &from, &mut |_| {}).unwrap();
    assert!(store.get_to_file(&key, &to).unwrap());
    assert_eq!(std::fs::read(&to).unwrap(), bytes);
    assert!(!store.get_to_file("hooks/none.wasm", &to).unwrap());
    let listed = store.list(keys::HOOKS).unwrap();
    assert_eq!(listed.iter().map(|object| (&object.key[..], object.size)).collect::<Vec<_>>(), [(&key[..], 4_000_000)]);
    store.delete(&key).unwrap();
    store.delete(&key).unwrap();
    assert_eq!(store.list(keys::HOOKS).unwrap(), []);
    assert!(store.put_file(&key, &from, &mut |_| {}).is_err(), "a file that is not there was stored");
}

#[test]
fn nobody_else_may_read_it() {
    let (_directory, store) = store();
    put(&store, b"1", Precondition::IfNoneMatch);
    put(&store, b"2", Precondition::None);
    let root = store.file_of(keys::STATE).unwrap().parent().unwrap().to_owned();
    let mut found = 0;
    let mut directories = vec![root];
    while let Some(directory) = directories.pop() {
        assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{directory:?}");
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found += 1;
                let mode = path.metadata().unwrap().permissions().mode() & 0o077;
                assert!(mode == 0 || path.metadata().unwrap().len() < 10, "{path:?} has mode {mode:o}");
            }
        }
    }
    assert!(found >= 2);
}
