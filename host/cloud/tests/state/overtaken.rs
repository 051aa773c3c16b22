//! A reader that others overtake between two of its questions.

use std::path::Path;
use std::sync::Mutex;

use jecloud_cloud::{
    DirectoryStore, Object, ObjectInfo, ObjectStore, PastObject, Precondition, PutResult, StateFile, StoreError,
};
use jecloud_model::ids::Generation;

use crate::{TestWorld, app, set};

/// After the first read, somebody else deploys, twice.
struct Overtaking {
    store: DirectoryStore,
    is_first: Mutex<bool>,
}

impl ObjectStore for Overtaking {
    fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        let found = self.store.get(key);
        if std::mem::take(&mut *self.is_first.lock().unwrap()) {
            let (world, app) = (TestWorld::new(8), app());
            let file = StateFile::new(&self.store, &app, &world);
            file.update(set("A", "1")).unwrap();
            file.update(set("A", "2")).unwrap();
        }
        found
    }

    fn describe(&self) -> String {
        self.store.describe()
    }

    fn put(&self, key: &str, bytes: &[u8], precondition: &Precondition) -> Result<PutResult, StoreError> {
        self.store.put(key, bytes, precondition)
    }

    fn get_to_file(&self, key: &str, file: &Path) -> Result<bool, StoreError> {
        self.store.get_to_file(key, file)
    }

    fn put_file(&self, key: &str, file: &Path, progress: &mut dyn FnMut(u64)) -> Result<(), StoreError> {
        self.store.put_file(key, file, progress)
    }

    fn exists(&self, key: &str) -> Result<bool, StoreError> {
        self.store.exists(key)
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        self.store.list(prefix)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.store.delete(key)
    }

    fn history(&self, key: &str) -> Result<Vec<PastObject>, StoreError> {
        self.store.history(key)
    }

    fn get_past(&self, key: &str, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get_past(key, id)
    }
}

/// Fails without the second look after the history: there is a past, and what was read was nothing.
#[test]
fn a_state_that_appears_meanwhile_has_not_been_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let store = DirectoryStore::new(directory.path().join("guestbook"));
    let store = Overtaking { store, is_first: Mutex::new(true) };
    let (world, app) = (TestWorld::new(9), app());
    let state = StateFile::new(&store, &app, &world).update(set("B", "1")).unwrap();
    assert_eq!(state.generation, Generation(3));
}
