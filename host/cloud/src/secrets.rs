//! Reading and writing the secrets of an environment: an object of their own, changed by compare-and-swap.

use std::collections::BTreeSet;
use std::time::Duration;

use jecloud_model::ids::EnvironmentName;
use jecloud_model::secrets::{SecretValue, Secrets};

use crate::keys;
use crate::object_store::{Cause, Etag, ObjectStore, Precondition, PutResult, StoreError};
use crate::world::World;

/// How often a change is tried again that somebody else's was faster than, or of which nothing is known.
const ATTEMPTS: u32 = 20;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// The secrets of one environment in the app's store.
#[derive(Clone, Copy)]
pub struct SecretsFile<'a> {
    store: &'a dyn ObjectStore,
    environment: &'a EnvironmentName,
    world: &'a dyn World,
}

impl<'a> SecretsFile<'a> {
    /// Those of `environment` in `store`.
    pub fn new(store: &'a dyn ObjectStore, environment: &'a EnvironmentName, world: &'a dyn World) -> Self {
        Self { store, environment, world }
    }

    /// What there is; nothing where nothing was ever set.
    ///
    /// # Errors
    ///
    /// When they could not be read, or are not what JeCloud wrote.
    pub fn read(&self) -> Result<Secrets, StoreError> {
        Ok(self.get()?.0)
    }

    /// Changes them. `change` may be called more than once, and must come to the same each time it is applied to the same.
    ///
    /// # Errors
    ///
    /// When it is not certain that the change is written.
    pub fn update(&self, change: &dyn Fn(&mut Secrets)) -> Result<Secrets, StoreError> {
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                self.world.pause(PAUSE);
            }
            let (before, etag) = self.get()?;
            let mut after = before.clone();
            change(&mut after);
            if after == before {
                return Ok(after);
            }
            after.format.check_writable().map_err(|error| self.refused(error.into()))?;
            let precondition = etag.clone().map_or(Precondition::IfNoneMatch, Precondition::IfMatch);
            let bytes = serde_json::to_vec(&after).expect("texts are JSON");
            jecloud_disk::fault::point("cloud.secrets.put").map_err(|error| self.refused(error.into()))?;
            // What was written all the same is no change any more at the next attempt.
            match self.store.put(&self.key(), &bytes, &precondition)? {
                PutResult::Done(_) => return Ok(after),
                PutResult::NotFound if etag.is_some() => {
                    return Err(self.refused("they were deleted meanwhile".into()));
                }
                PutResult::PreconditionFailed | PutResult::Conflict | PutResult::NotFound => {}
                PutResult::Unknown(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| self.refused("somebody else changes them all the time".into())))
    }

    /// Makes those that there are none of yet, out of 128 random bits each.
    ///
    /// # Errors
    ///
    /// As [`SecretsFile::update`].
    pub fn generate(&self, names: &BTreeSet<String>) -> Result<Secrets, StoreError> {
        let random = || {
            let text: String = self.world.random().iter().map(|byte| format!("{byte:02x}")).collect();
            SecretValue::try_from(text).expect("a text of 32 characters")
        };
        self.update(&|secrets| secrets.generate(names, random))
    }

    /// Deletes them.
    ///
    /// # Errors
    ///
    /// When it is not certain that they are gone.
    pub fn delete(&self) -> Result<(), StoreError> {
        self.store.delete(&self.key())
    }

    fn key(&self) -> String {
        keys::secrets(self.environment)
    }

    fn get(&self) -> Result<(Secrets, Option<Etag>), StoreError> {
        let Some(object) = self.store.get(&self.key())? else { return Ok((Secrets::default(), None)) };
        // The parser's own message would show what stands there.
        let secrets = serde_json::from_slice(&object.bytes)
            .map_err(|_| self.refused("what lies there is not what JeCloud wrote".into()))?;
        Ok((secrets, Some(object.etag)))
    }

    fn refused(&self, source: Cause) -> StoreError {
        let doing = format!("use the secrets of {} in {}", self.environment, self.store.describe());
        StoreError::Refused { doing, source }
    }
}
