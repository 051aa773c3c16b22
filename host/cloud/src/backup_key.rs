//! The key that backups of an app are sealed with: an object of the app's store, made once.

use jecloud_seal::Key;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::keys::{self, BACKUP_KEY};
use crate::object_store::{Cause, ObjectStore, Precondition, PutResult, StoreError};

/// How often it is looked whether somebody else's is there.
const ATTEMPTS: usize = 5;

#[derive(Deserialize)]
struct Document {
    format: u32,
    key: String,
}

/// The key of the app. Two that make one at the same time use the one that was there first.
///
/// # Errors
///
/// When the store could not be used, or the key cannot; and where there is none any more, but backups that were sealed with
/// it: nobody should believe that all is well.
pub fn backup_key(store: &dyn ObjectStore) -> Result<Key, StoreError> {
    if let Some(key) = existing_backup_key(store)? {
        return Ok(key);
    }
    if !store.list(&keys::backups(None))?.is_empty() {
        let source = "there is none any more, but there are backups that were sealed with it".into();
        let hint = format!(
            "put {BACKUP_KEY} back from a copy of the store, or move the objects below {} away: without it they are lost",
            keys::backups(None)
        );
        return Err(StoreError::Hindered { doing: doing(store), source, hint });
    }
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let made = Key::generate().map_err(|error| refused(store, error.into()))?;
        let hex = made.to_hex();
        let text = Zeroizing::new(format!("{{\"format\":1,\"key\":\"{}\"}}\n", *hex));
        match store.put(BACKUP_KEY, text.as_bytes(), &Precondition::IfNoneMatch)? {
            PutResult::Done(_) => return Ok(made),
            PutResult::Unknown(error) => last = Some(error),
            PutResult::PreconditionFailed | PutResult::Conflict | PutResult::NotFound => {}
        }
        // Somebody else was faster, or it is not known: a look tells.
        if let Some(key) = existing_backup_key(store)? {
            return Ok(key);
        }
    }
    Err(last.unwrap_or_else(|| refused(store, "somebody else writes it all the time".into())))
}

/// The key of the app, if one was ever made.
///
/// # Errors
///
/// When the store could not be asked, or what is there is no key.
pub fn existing_backup_key(store: &dyn ObjectStore) -> Result<Option<Key>, StoreError> {
    let Some(found) = store.get(BACKUP_KEY)? else { return Ok(None) };
    let bytes = Zeroizing::new(found.bytes);
    // The parser's own message would show what stands there.
    let document: Option<Document> = serde_json::from_slice(&bytes).ok();
    let hex = document.filter(|document| document.format == 1).map(|document| Zeroizing::new(document.key));
    let key = hex.and_then(|hex| hex.parse().ok());
    match key {
        Some(key) => Ok(Some(key)),
        None => Err(refused(store, "what lies there is not what JeCloud wrote".into())),
    }
}

fn doing(store: &dyn ObjectStore) -> String {
    format!("use the key of the backups in {}", store.describe())
}

fn refused(store: &dyn ObjectStore, source: Cause) -> StoreError {
    StoreError::Refused { doing: doing(store), source }
}
