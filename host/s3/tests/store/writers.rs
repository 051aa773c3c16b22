//! The cloud state on S3: many writers, lost replies, conflicts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use jecloud_cloud::{ObjectStore as _, Precondition, PutResult, StateError, StateFile, World, keys};
use jecloud_model::cloud::{Change, CloudState};
use jecloud_model::ids::{EnvironmentName, Generation, OperationId};
use jecloud_model::time::Timestamp;
use jecloud_testkit::s3::{Answer, S3Server};

use crate::{app, found, open};

const WRITERS: u64 = 16;
const CHANGES: u64 = 50;

/// A clock that stands still, chance from a seed, and pauses that only let others go first.
struct TestWorld(Mutex<u64>);

impl World for TestWorld {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(1_000_000)
    }

    fn random(&self) -> [u8; 16] {
        let mut seed = self.0.lock().unwrap();
        *seed += 1;
        let digest = jecloud_model::ids::Digest::of(&seed.to_le_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.as_str().as_bytes()[..16]);
        bytes
    }

    fn pause(&self, _duration: Duration) {
        std::thread::yield_now();
    }
}

fn world(seed: u64) -> TestWorld {
    TestWorld(Mutex::new(seed << 32))
}

fn set(name: &str, value: &str) -> Change {
    let variables = BTreeMap::from([(name.to_owned(), value.to_owned())]);
    Change::SetEnv { environment: EnvironmentName::production(), variables }
}

fn value(state: &CloudState, writer: u64) -> Option<u64> {
    state.environments[&EnvironmentName::production()].env.get(&format!("W{writer}"))?.parse().ok()
}

/// Fails where a 412 counts as lost without a look for the own operation (applied twice: the generation is too high),
/// where an unknown write counts as done (changes are lost), and where the client repeats conditional writes by itself
/// and 412 is an error.
#[test]
fn no_change_is_lost_or_applied_twice_when_replies_are_lost_and_requests_refused() {
    let server = S3Server::start();
    let bucket = open(&server).bucket().to_owned();
    server.faults(|faults| {
        (faults.seed, faults.lost_replies_percent, faults.refused_percent) = (7, 15, 5);
    });
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let server = &server;
            scope.spawn(move || {
                // Each has its own, as each laptop has; who cannot open it now tries again.
                let store = (0..20).find_map(|_| jecloud_s3::S3Store::open(&crate::options(server)).ok()).unwrap();
                let (world, app) = (world(writer), app());
                let file = StateFile::new(&store, &app, &world);
                for change in 0..CHANGES {
                    let state = file.update(set(&format!("W{writer}"), &change.to_string())).unwrap();
                    // Whoever has his change acknowledged sees it.
                    assert_eq!(value(&state, writer), Some(change));
                }
            });
        }
    });
    let happened = server.faults(|faults| faults.happened);
    assert!(happened > WRITERS * CHANGES / 5, "hardly any faults: {happened}");
    // The history is a chain: every write is one more than the one before it, by an operation of its own, and the
    // changes of each writer are in it once, in their order.
    let written = server.contents(&bucket, keys::STATE);
    let states: Vec<CloudState> = written.iter().map(|bytes| CloudState::parse(bytes, &app()).unwrap()).collect();
    let mut next = [0; WRITERS as usize];
    for (index, state) in states.iter().enumerate() {
        assert_eq!(state.generation, Generation(index as u64 + 1));
        let changed: Vec<u64> = (0..WRITERS).filter(|w| value(state, *w) == Some(next[*w as usize])).collect();
        let [writer] = changed[..] else { panic!("generation {} has changes of {changed:?}", index + 1) };
        next[writer as usize] += 1;
    }
    assert_eq!(next, [CHANGES; WRITERS as usize], "a change was lost");
    let operations: BTreeSet<&OperationId> = states.iter().filter_map(|state| state.recent_operations.last()).collect();
    assert_eq!(operations.len(), states.len());
}

/// Fails with the client's own retries: it would meet its own write, and say that the precondition failed.
#[test]
fn a_conditional_write_is_sent_once() {
    let server = S3Server::start();
    let store = open(&server);
    let etag = found(&store);
    let writes = |server: &S3Server| server.calls().iter().filter(|call| *call == "PutObject").count();
    let before = writes(&server);
    server.faults(|faults| faults.lost_replies_percent = 100);
    let result = store.put(keys::STATE, b"2", &Precondition::IfMatch(etag.clone())).unwrap();
    assert!(matches!(result, PutResult::Unknown(_)), "{result:?}");
    assert_eq!(writes(&server), before + 1);
    server.faults(|faults| faults.lost_replies_percent = 0);
    assert_eq!(store.get(keys::STATE).unwrap().unwrap().bytes, b"2");
    let result = store.put(keys::STATE, b"2", &Precondition::IfMatch(etag)).unwrap();
    assert!(matches!(result, PutResult::PreconditionFailed), "{result:?}");
}

/// What each answer means for a conditional write.
#[test]
fn answers_mean_what_the_state_needs_to_know() {
    let server = S3Server::start();
    let store = open(&server);
    let etag = found(&store);
    let answered = |status, code: &str| {
        server.faults(|faults| faults.answers = vec![Answer::new("PutObject", status, code, "")]);
        store.put(keys::STATE, b"2", &Precondition::IfMatch(etag.clone()))
    };
    assert!(matches!(answered(412, "PreconditionFailed").unwrap(), PutResult::PreconditionFailed));
    assert!(matches!(answered(409, "ConditionalRequestConflict").unwrap(), PutResult::Conflict));
    assert!(matches!(answered(404, "NoSuchKey").unwrap(), PutResult::NotFound));
    for (status, code) in [(500, "InternalError"), (503, "SlowDown"), (400, "RequestTimeout"), (502, "")] {
        assert!(matches!(answered(status, code).unwrap(), PutResult::Unknown(_)), "{status} {code}");
    }
    for (status, code) in [(403, "AccessDenied"), (400, "ExpiredToken"), (400, "InvalidRequest")] {
        let error = answered(status, code).unwrap_err();
        assert!(!error.is_transient(), "{status} {code}: {error}");
    }
    assert_eq!(store.get(keys::STATE).unwrap().unwrap().bytes, b"1");
}

/// A state that was just read and is gone is not made again. Fails where 404 is answered by a first write.
#[test]
fn a_state_that_was_deleted_stops_loudly() {
    let server = S3Server::start();
    let store = open(&server);
    let (world, app) = (world(1), app());
    let file = StateFile::new(&store, &app, &world);
    file.update(set("A", "1")).unwrap();
    // Between reading and writing.
    server.faults(|faults| faults.answers = vec![Answer::new("PutObject", 404, "NoSuchKey", "")]);
    let error = file.update(set("A", "2")).unwrap_err();
    assert!(matches!(error, StateError::Vanished { .. }), "{error}");
    // Before reading.
    store.delete(keys::STATE).unwrap();
    let error = file.update(set("A", "2")).unwrap_err();
    assert!(matches!(error, StateError::Vanished { .. }), "{error}");
    assert_eq!(server.contents(store.bucket(), keys::STATE).len(), 1);
    // It is brought back from the history, and only so.
    let past = file.history().unwrap();
    assert_eq!(past[0].generation, Some(Generation(1)));
    let text = file.past_text(&past[0].id).unwrap().unwrap();
    assert_eq!(file.edit(&text, None).unwrap().generation, Generation(2));
}
