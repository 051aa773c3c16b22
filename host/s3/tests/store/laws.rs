//! What every object store keeps, wherever it is.

#![expect(clippy::disallowed_methods, reason = "the tests look at files by hand")]

use std::os::unix::fs::PermissionsExt as _;

use jecloud_cloud::{DirectoryStore, Etag, ObjectStore, Precondition, PutResult, keys};
use jecloud_model::ids::Digest;
use jecloud_testkit::s3::S3Server;

use crate::open;

type Law = fn(&dyn ObjectStore);

const LAWS: [(&str, Law); 8] = [
    ("nothing_is_found_where_nothing_is", nothing_is_found_where_nothing_is),
    ("preconditions_hold_or_nothing_is_written", preconditions_hold_or_nothing_is_written),
    ("a_first_write_has_one_winner", a_first_write_has_one_winner),
    ("a_replacement_has_one_winner", a_replacement_has_one_winner),
    ("what_was_is_kept", what_was_is_kept),
    ("files_come_and_go", files_come_and_go),
    ("lists_are_complete", lists_are_complete),
    ("what_is_deleted_can_be_made_again", what_is_deleted_can_be_made_again),
];

#[test]
fn a_directory_keeps_the_laws() {
    for (name, law) in LAWS {
        eprintln!("{name}");
        let directory = tempfile::tempdir().unwrap();
        law(&DirectoryStore::new(directory.path().join("guestbook")));
    }
}

#[test]
fn s3_keeps_the_laws() {
    for (name, law) in LAWS {
        eprintln!("{name}");
        let server = S3Server::start();
        law(&open(&server));
    }
}

fn put(store: &dyn ObjectStore, bytes: &[u8], precondition: &Precondition) -> PutResult {
    store.put(keys::STATE, bytes, precondition).unwrap()
}

fn done(result: PutResult) -> Etag {
    match result {
        PutResult::Done(etag) => etag,
        other => panic!("{other:?}"),
    }
}

fn nothing_is_found_where_nothing_is(store: &dyn ObjectStore) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    // Before anything was ever written, and afterwards.
    for _ in 0..2 {
        assert_eq!(store.get("other.json").unwrap(), None);
        assert!(!store.exists("hooks/none.wasm").unwrap());
        assert_eq!(store.list("hooks/").unwrap(), []);
        assert_eq!(store.history("other.json").unwrap(), []);
        assert_eq!(store.get_past(keys::STATE, "version-000099").unwrap(), None);
        assert!(!store.get_to_file("hooks/none.wasm", &file).unwrap());
        assert!(!file.exists());
        store.delete("hooks/none.wasm").unwrap();
        put(store, b"1", &Precondition::IfNoneMatch);
    }
}

fn preconditions_hold_or_nothing_is_written(store: &dyn ObjectStore) {
    let stale = Precondition::IfMatch(Etag("\"0123456789abcdef0123456789abcdef\"".to_owned()));
    assert!(matches!(put(store, b"1", &stale), PutResult::NotFound));
    let first = done(put(store, b"1", &Precondition::IfNoneMatch));
    assert!(matches!(put(store, b"2", &Precondition::IfNoneMatch), PutResult::PreconditionFailed));
    assert!(matches!(put(store, b"2", &stale), PutResult::PreconditionFailed));
    let object = store.get(keys::STATE).unwrap().unwrap();
    assert_eq!((&object.bytes[..], &object.etag), (&b"1"[..], &first));
    let second = done(put(store, b"2", &Precondition::IfMatch(first.clone())));
    assert_ne!(first, second);
    assert!(matches!(put(store, b"3", &Precondition::IfMatch(first)), PutResult::PreconditionFailed));
    assert_eq!(store.get(keys::STATE).unwrap().unwrap().bytes, b"2");
    // The state is the one object that is never written without.
    done(store.put("other.json", b"1", &Precondition::None).unwrap());
    done(store.put("other.json", b"2", &Precondition::None).unwrap());
    assert_eq!(store.get("other.json").unwrap().unwrap().bytes, b"2");
}

/// How many of eight at once are told that they have written.
fn winners(store: &dyn ObjectStore, precondition: &Precondition) -> usize {
    let write = |number: u8| match store.put(keys::STATE, &[b'w', number], precondition).unwrap() {
        PutResult::Done(_) => true,
        PutResult::PreconditionFailed | PutResult::Conflict => false,
        other => panic!("{other:?}"),
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8).map(|number| scope.spawn(move || write(number))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).filter(|won| *won).count()
    })
}

fn a_first_write_has_one_winner(store: &dyn ObjectStore) {
    assert_eq!(winners(store, &Precondition::IfNoneMatch), 1);
}

fn a_replacement_has_one_winner(store: &dyn ObjectStore) {
    let first = done(put(store, b"1", &Precondition::IfNoneMatch));
    assert_eq!(winners(store, &Precondition::IfMatch(first)), 1);
}

fn what_was_is_kept(store: &dyn ObjectStore) {
    let mut etag = done(put(store, b"0", &Precondition::IfNoneMatch));
    assert_eq!(store.history(keys::STATE).unwrap(), [], "what is there now is not past");
    // More than a page, and more than are shown.
    for number in 1..120 {
        etag = done(put(store, number.to_string().as_bytes(), &Precondition::IfMatch(etag)));
    }
    let past = store.history(keys::STATE).unwrap();
    assert_eq!(past.len(), 100);
    let content = |index: usize| store.get_past(keys::STATE, &past[index].id).unwrap().unwrap();
    assert_eq!(content(0), b"118");
    assert_eq!(content(99), b"19");
    assert_eq!((past[0].size, past[99].size), (3, 2));
    assert!(past.windows(2).all(|pair| pair[0].written >= pair[1].written), "the newest is first");
    assert_eq!(store.get_past(keys::STATE, "../../state.json").unwrap(), None);
    store.delete(keys::STATE).unwrap();
    assert_eq!(store.get(keys::STATE).unwrap(), None);
    assert!(store.history(keys::STATE).unwrap().len() >= 100, "the history survives the object");
}

fn files_come_and_go(store: &dyn ObjectStore) {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    for size in [0, 1, 3_000_000_u32] {
        let bytes: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        std::fs::write(&from, &bytes).unwrap();
        let key = keys::hook(&Digest::of(&bytes));
        assert!(!store.exists(&key).unwrap());
        let mut reported = Vec::new();
        store.put_file(&key, &from, &mut |done| reported.push(done)).unwrap();
        assert!(store.exists(&key).unwrap());
        assert!(reported.is_sorted());
        assert_eq!(reported.last().copied().unwrap_or_default(), u64::from(size));
        // What has this name has this content: it is not read again, even from a file that is gone.
        std::fs::remove_file(&from).unwrap();
        store.put_file(&key, &from, &mut |_| {}).unwrap();
        assert!(store.get_to_file(&key, &to).unwrap());
        assert!(std::fs::read(&to).unwrap() == bytes);
        assert_eq!(to.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(store.get(&key).unwrap().unwrap().bytes == bytes);
    }
    assert!(store.put_file("hooks/new.wasm", &from, &mut |_| {}).is_err(), "a file that is not there was stored");
    assert!(!store.exists("hooks/new.wasm").unwrap());
}

fn lists_are_complete(store: &dyn ObjectStore) {
    for number in 0..120_u32 {
        done(store.put(&format!("versions/{number}"), b"12345", &Precondition::None).unwrap());
    }
    done(store.put("versionsX", b"", &Precondition::None).unwrap());
    done(store.put("hooks/1", b"", &Precondition::None).unwrap());
    store.delete("versions/7").unwrap();
    let mut listed = store.list("versions/").unwrap();
    assert_eq!(listed.len(), 119);
    assert!(listed.iter().all(|object| object.size == 5 && object.key.starts_with("versions/")));
    listed.sort_by(|a, b| a.key.cmp(&b.key));
    listed.dedup_by(|a, b| a.key == b.key);
    assert_eq!(listed.len(), 119);
    // The beginning of a key is not a key.
    assert!(!store.exists("versions/11x").unwrap() && !store.exists("version").unwrap());
    assert!(store.exists("versions/1").unwrap());
}

fn what_is_deleted_can_be_made_again(store: &dyn ObjectStore) {
    let first = done(put(store, b"1", &Precondition::IfNoneMatch));
    store.delete(keys::STATE).unwrap();
    store.delete(keys::STATE).unwrap();
    assert!(matches!(put(store, b"2", &Precondition::IfMatch(first)), PutResult::NotFound));
    done(put(store, b"2", &Precondition::IfNoneMatch));
    assert_eq!(store.get(keys::STATE).unwrap().unwrap().bytes, b"2");
}
