//! An object store in memory that loses replies, delays writes, answers 409, and repeats requests behind its
//! client's back. What it acknowledges is true.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use jecloud_cloud::{Etag, Object, ObjectInfo, ObjectStore, PastObject, Precondition, PutResult, StoreError};
use jecloud_model::ids::Digest;
use jecloud_model::time::Timestamp;

use crate::next_random;

#[derive(Default)]
pub(crate) struct Inside {
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    /// Everything that was ever written, in order.
    pub(crate) written: Vec<Vec<u8>>,
    /// Writes that are still on their way although their caller has given up.
    delayed: Vec<(String, Vec<u8>, Precondition)>,
    random: u64,
    /// How many faults there were.
    pub(crate) faults: usize,
    /// What the next writes are answered, before anything else.
    pub(crate) script: Vec<Fault>,
}

/// What can happen to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is done, and the reply is lost.
    ReplyLost,
    /// It never arrives.
    RequestLost,
    /// It arrives, but only after its caller has given up.
    Delayed,
    /// 409.
    Conflict,
    /// The client repeats it by itself after a lost reply, and meets its own earlier write.
    Repeated,
    /// Somebody deletes the object just before.
    Deleted,
}

pub(crate) struct FaultyStore {
    inside: Mutex<Inside>,
    percent: u64,
}

impl FaultyStore {
    /// So many per cent of all calls go wrong.
    pub(crate) fn new(percent: u64, seed: u64) -> Self {
        Self { inside: Mutex::new(Inside { random: seed, ..Inside::default() }), percent }
    }

    pub(crate) fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    fn unreachable() -> StoreError {
        StoreError::Unreachable { doing: "reach the store".to_owned(), source: "connection reset".into() }
    }
}

impl Inside {
    fn chance(&mut self, percent: u64) -> bool {
        let hit = next_random(&mut self.random) % 100 < percent;
        self.faults += usize::from(hit);
        hit
    }

    fn put(&mut self, key: &str, bytes: &[u8], precondition: &Precondition) -> PutResult {
        let found = self.objects.get(key).map(|bytes| etag(bytes));
        match (precondition, found) {
            (Precondition::IfMatch(_), None) => return PutResult::NotFound,
            (Precondition::IfMatch(expected), Some(found)) if *expected != found => {
                return PutResult::PreconditionFailed;
            }
            (Precondition::IfNoneMatch, Some(_)) => return PutResult::PreconditionFailed,
            _ => {}
        }
        self.objects.insert(key.to_owned(), bytes.to_vec());
        self.written.push(bytes.to_vec());
        PutResult::Done(etag(bytes))
    }

    fn deliver_delayed(&mut self) {
        if !self.delayed.is_empty() && next_random(&mut self.random).is_multiple_of(2) {
            let (key, bytes, precondition) = self.delayed.remove(0);
            self.put(&key, &bytes, &precondition);
        }
    }
}

fn etag(bytes: &[u8]) -> Etag {
    Etag(Digest::of(bytes).to_string())
}

impl ObjectStore for FaultyStore {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        let mut inside = self.inside();
        inside.deliver_delayed();
        if inside.chance(self.percent) {
            return Err(Self::unreachable());
        }
        Ok(inside.objects.get(key).map(|bytes| Object { bytes: bytes.clone(), etag: etag(bytes) }))
    }

    fn put(&self, key: &str, bytes: &[u8], precondition: &Precondition) -> Result<PutResult, StoreError> {
        let mut inside = self.inside();
        inside.deliver_delayed();
        let scripted = (!inside.script.is_empty()).then(|| inside.script.remove(0));
        let by_chance = scripted.is_none() && inside.chance(self.percent);
        let fault = scripted.or_else(|| {
            let faults = [Fault::ReplyLost, Fault::RequestLost, Fault::Delayed, Fault::Conflict, Fault::Repeated];
            by_chance.then(|| faults[next_random(&mut inside.random) as usize % faults.len()])
        });
        Ok(match fault {
            None => inside.put(key, bytes, precondition),
            Some(Fault::ReplyLost) => {
                inside.put(key, bytes, precondition);
                PutResult::Unknown(Self::unreachable())
            }
            Some(Fault::RequestLost) => PutResult::Unknown(Self::unreachable()),
            Some(Fault::Delayed) => {
                inside.delayed.push((key.to_owned(), bytes.to_vec(), precondition.clone()));
                PutResult::Unknown(Self::unreachable())
            }
            Some(Fault::Conflict) => PutResult::Conflict,
            Some(Fault::Repeated) => {
                inside.put(key, bytes, precondition);
                inside.put(key, bytes, precondition)
            }
            Some(Fault::Deleted) => {
                inside.objects.remove(key);
                inside.put(key, bytes, precondition)
            }
        })
    }

    fn history(&self, _key: &str) -> Result<Vec<PastObject>, StoreError> {
        Ok(Vec::new())
    }

    fn get_past(&self, _key: &str, _id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn exists(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.inside().objects.contains_key(key))
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inside().objects.remove(key);
        Ok(())
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let inside = self.inside();
        let found = inside.objects.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(key, bytes)| ObjectInfo {
            key: key.clone(),
            size: bytes.len() as u64,
            written: Timestamp::from_millisecond(0),
        });
        Ok(found.collect())
    }

    fn get_to_file(&self, _key: &str, _file: &Path) -> Result<bool, StoreError> {
        unreachable!("the state is small")
    }

    fn put_file(&self, _key: &str, _file: &Path, _progress: &mut dyn FnMut(u64)) -> Result<(), StoreError> {
        unreachable!("the state is small")
    }
}
