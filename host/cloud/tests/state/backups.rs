//! The key of backups, and deleting what is not kept, on stores that lose replies and on a directory.

use std::collections::{BTreeMap, BTreeSet};

use jecloud_cloud::{
    Backups, DirectoryStore, ObjectStore, Precondition, StoreError, backup_key, existing_backup_key, keys,
};
use jecloud_model::backup::Manifest;
use jecloud_model::backup_policy::{BackupPolicy, Keep};
use jecloud_model::hook::Contents;
use jecloud_model::ids::{Digest, EnvironmentName, ReleaseNumber};
use jecloud_model::time::Timestamp;

use crate::app;
use crate::faulty::{Fault, FaultyStore};

const DAY: i64 = 24 * 3_600_000;

fn manifest(day: i64) -> Manifest {
    Manifest {
        format: 1,
        id: format!("20261124T190812Z-{day:08x}").parse().unwrap(),
        app: app(),
        environment: EnvironmentName::production(),
        service: "db".parse().unwrap(),
        created: Timestamp::from_millisecond(day * DAY),
        release: ReleaseNumber(1),
        hook: Digest::of(b"hook"),
        contents: Contents::default(),
        bytes: 1,
        sealed_bytes: 6,
        sha256: Digest::of(b"sealed"),
        scheduled: true,
        verified: None,
    }
}

fn put(store: &dyn ObjectStore, manifest: &Manifest) {
    store.put(&keys::sealed(manifest), b"sealed", &Precondition::None).unwrap();
    store.put(&keys::manifest(manifest), &serde_json::to_vec(manifest).unwrap(), &Precondition::None).unwrap();
}

/// Fails without the precondition, and where one's own is used though another's is there.
#[test]
fn there_is_one_key_whatever_happens_to_writing_it() {
    use Fault::{Conflict, Delayed, Repeated, ReplyLost, RequestLost};
    for fault in [ReplyLost, RequestLost, Delayed, Conflict, Repeated] {
        let store = FaultyStore::new(0, 1);
        store.inside().script = vec![fault];
        let made = backup_key(&store).unwrap().to_hex();
        // Whatever is still on its way arrives.
        store.put("other.json", b"x", &Precondition::None).unwrap();
        assert_eq!(*existing_backup_key(&store).unwrap().expect("it is there").to_hex(), *made, "{fault:?}");
        assert_eq!(*backup_key(&store).unwrap().to_hex(), *made, "{fault:?}");
    }
}

#[test]
fn many_at_once_have_the_same_key() {
    let directory = tempfile::tempdir().unwrap();
    let store = DirectoryStore::new(directory.path().join("app"));
    let made: BTreeSet<String> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| backup_key(&store).unwrap().to_hex().to_string())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(made.len(), 1);
}

/// Fails where a lost key is silently replaced: every later backup would look well, and no earlier one could be opened.
#[test]
fn a_key_that_was_lost_or_damaged_is_not_replaced() {
    let store = FaultyStore::new(0, 1);
    let key = backup_key(&store).unwrap().to_hex();
    put(&store, &manifest(1));
    store.delete(keys::BACKUP_KEY).unwrap();
    let error = backup_key(&store).unwrap_err();
    assert!(matches!(error, StoreError::Hindered { .. }) && error.hint().contains(keys::BACKUP_KEY), "{error:?}");
    let damaged = format!("{{\"format\":1,\"key\":\"{}\"}}", &key[1..]);
    store.put(keys::BACKUP_KEY, damaged.as_bytes(), &Precondition::None).unwrap();
    let said = format!("{:?}", backup_key(&store).unwrap_err());
    assert!(said.contains("not what JeCloud wrote") && !said.contains(&key[1..]), "{said}");
}

#[test]
fn what_is_not_kept_is_deleted_and_left_overs_too() {
    let directory = tempfile::tempdir().unwrap();
    let store = DirectoryStore::new(directory.path().join("app"));
    let app = app();
    let backups = Backups::new(&store, &app);
    (1..=4).for_each(|day| put(&store, &manifest(day)));
    let [theirs, nobodys] = [manifest(8), manifest(9)];
    for unfinished in [&theirs, &nobodys] {
        store.put(&keys::sealed(unfinished), b"sealed", &Precondition::None).unwrap();
    }
    store.put("backups/production/db/20261124T190812Z-0000000a.json", b"{}", &Precondition::None).unwrap();
    let keep = Keep { newest: Some(2), days: None };
    let policies = BTreeMap::from([("db".parse().unwrap(), BackupPolicy { keep, ..BackupPolicy::default() })]);
    let production = EnvironmentName::production();
    let ids = |manifests: &[Manifest]| manifests.iter().map(|manifest| manifest.id.clone()).collect::<Vec<_>>();

    let real_now = Timestamp::from_system(std::time::SystemTime::now());
    let deleted = backups.tidy(&production, &policies, None, real_now).unwrap();
    assert_eq!(ids(&deleted), [manifest(2).id, manifest(1).id]);
    let listing = backups.list(Some(&production)).unwrap();
    assert_eq!(ids(&listing.manifests), [manifest(4).id, manifest(3).id]);
    assert_eq!((listing.unreadable.len(), listing.unfinished.len()), (1, 2));
    assert_eq!(backups.list(None).unwrap(), listing);
    assert!(!store.exists(&keys::sealed(&manifest(1))).unwrap());

    // Fresh ones may be somebody's who is at work; old ones are, where a server has them.
    let on_servers = BTreeSet::from([theirs.id.clone()]);
    backups.tidy(&production, &policies, Some(&on_servers), real_now).unwrap();
    assert_eq!(backups.list(None).unwrap().unfinished.len(), 2);
    let in_two_days = Timestamp::from_millisecond(real_now.as_millisecond() + 2 * DAY);
    backups.tidy(&production, &policies, Some(&on_servers), in_two_days).unwrap();
    let left = backups.list(None).unwrap();
    assert_eq!(left.unfinished.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), [keys::sealed(&theirs)]);
    assert_eq!(ids(&left.manifests), [manifest(4).id, manifest(3).id]);
}
