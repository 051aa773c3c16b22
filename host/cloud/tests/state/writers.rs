//! Many writers at once: no acknowledged change is lost, and none is applied twice.

use std::collections::BTreeSet;

use jecloud_cloud::{DirectoryStore, ObjectStore, StateError, StateFile, SystemWorld, World, keys};
use jecloud_model::cloud::{CloudState, Operation};
use jecloud_model::ids::{EnvironmentName, Generation, OperationId};

use crate::faulty::{Fault, FaultyStore};
use crate::{TestWorld, app, set};

const WRITERS: u64 = 16;
const CHANGES: u64 = 50;

/// All writers make all their changes; the state afterwards.
fn write_all(store: &dyn ObjectStore, world: &(dyn Fn(u64) -> Box<dyn World> + Sync)) -> CloudState {
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                let (world, app) = (world(writer), app());
                let file = StateFile::new(store, &app, &*world);
                let variable = format!("W{writer}");
                for change in 0..CHANGES {
                    let state = file.update(set(&variable, &change.to_string())).unwrap();
                    // Whoever has his change acknowledged sees it.
                    assert_eq!(value(&state, writer), Some(change));
                }
            });
        }
    });
    let (world, app) = (TestWorld::new(1), app());
    StateFile::new(store, &app, &world).read().unwrap().unwrap().state
}

fn value(state: &CloudState, writer: u64) -> Option<u64> {
    state.environments[&EnvironmentName::production()].env.get(&format!("W{writer}"))?.parse().ok()
}

fn check(state: &CloudState) {
    for writer in 0..WRITERS {
        assert_eq!(value(state, writer), Some(CHANGES - 1), "the last change of writer {writer} was lost");
    }
    assert_eq!(state.generation, Generation(WRITERS * CHANGES), "a change was lost or applied twice");
}

#[test]
fn no_change_is_lost_or_applied_twice_when_15_percent_of_the_calls_go_wrong() {
    // Fails without the look for the own operation after 412 (generation too high), and when the unknown counts as
    // done (changes lost).
    for seed in 1..=4 {
        let store = FaultyStore::new(15, seed);
        check(&write_all(&store, &|writer| Box::new(TestWorld::new(seed * 1000 + writer))));
        let inside = store.inside();
        assert!(inside.faults as u64 > WRITERS * CHANGES / 20, "hardly any faults: {}", inside.faults);
        // The history is a chain: every write is one more than the one before it, by an operation of its own, and the
        // changes of each writer are in it once, in their order.
        let states: Vec<CloudState> =
            inside.written.iter().map(|bytes| CloudState::parse(bytes, &app()).unwrap()).collect();
        let mut next = [0; WRITERS as usize];
        for (index, state) in states.iter().enumerate() {
            assert_eq!(state.generation, Generation(index as u64 + 1));
            let changed: Vec<u64> = (0..WRITERS).filter(|w| value(state, *w) == Some(next[*w as usize])).collect();
            let [writer] = changed[..] else { panic!("generation {} has changes of {changed:?}", index + 1) };
            next[writer as usize] += 1;
        }
        assert_eq!(next, [CHANGES; WRITERS as usize]);
        let operations: BTreeSet<&OperationId> =
            states.iter().filter_map(|state| state.recent_operations.last()).collect();
        assert_eq!(operations.len(), states.len());
    }
}

#[test]
fn threads_share_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let store = DirectoryStore::new(directory.path().join("guestbook"));
    check(&write_all(&store, &|_| Box::new(SystemWorld)));
    assert_eq!(store.history(keys::STATE).unwrap().len(), jecloud_cloud::KEPT_STATES);
}

fn scripted(script: &[Fault]) -> (FaultyStore, Result<CloudState, StateError>) {
    let store = FaultyStore::new(0, 1);
    let (world, app) = (TestWorld::new(5), app());
    let file = StateFile::new(&store, &app, &world);
    file.update(set("FIRST", "1")).unwrap();
    store.inside().script = script.to_vec();
    let result = file.update(set("SECOND", "1"));
    (store, result)
}

#[test]
fn each_fault_alone_and_in_pairs() {
    let faults = [Fault::ReplyLost, Fault::RequestLost, Fault::Delayed, Fault::Conflict, Fault::Repeated];
    for first in faults {
        for second in faults {
            let (store, result) = scripted(&[first, second]);
            let state = result.unwrap_or_else(|error| panic!("{first:?}, {second:?}: {error}"));
            assert_eq!(state.generation, Generation(2), "{first:?}, {second:?}");
            assert_eq!(store.inside().written.len(), 2, "{first:?}, {second:?}");
        }
    }
}

#[test]
fn a_state_that_was_deleted_is_not_made_again() {
    // Fails when 404 is answered by a first write: everything but the last change would be lost.
    for script in [&[Fault::Deleted][..], &[Fault::RequestLost, Fault::Deleted], &[Fault::Conflict, Fault::Deleted]] {
        let (store, result) = scripted(script);
        let error = result.unwrap_err();
        assert!(matches!(error, StateError::Vanished { .. }), "{script:?}: {error}");
        assert!(error.hint().contains("jecloud state history"));
        assert!(store.inside().objects.is_empty(), "{script:?}: it was made again");
    }
}

#[test]
fn whoever_never_hears_says_that_he_does_not_know() {
    let (_, result) = scripted(&[Fault::RequestLost; 100]);
    let error = result.unwrap_err();
    assert!(matches!(error, StateError::Uncertain { .. }), "{error}");
}

#[test]
fn an_operation_can_be_repeated_by_its_id() {
    let store = FaultyStore::new(0, 1);
    let (world, app) = (TestWorld::new(5), app());
    let file = StateFile::new(&store, &app, &world);
    let operation = Operation { id: OperationId::from_random([7; 16]), change: set("A", "1") };
    let once = file.apply(&operation).unwrap();
    assert_eq!(file.apply(&operation).unwrap(), once);
    assert_eq!(once.cloud_id, operation.id);
}
