//! Reading and writing the cloud state: compare-and-swap on the object itself, without a lock.
//!
//! The rules (DESIGN §5): a write whose precondition fails (412) is looked for in what is there now, and applied
//! again to that if it is not found; 409 reads again and retries; 404 for a state that was just read stops loudly,
//! because a state that somebody deleted must not be made again from nothing; and where nobody knows what became of
//! a write, the state is read back, and then the same write is repeated with the same precondition.

use std::time::Duration;

use jecloud_model::cloud::{Change, CloudState, InvalidState, Operation, Rejected, apply};
use jecloud_model::ids::{AppName, Generation};
use jecloud_model::time::Timestamp;

use crate::keys::STATE;
use crate::object_store::{Cause, Etag, ObjectStore, Precondition, PutResult, StoreError};
use crate::world::World;

/// How often a write or read of which nothing is known is repeated. With the pauses this is about half a minute.
const UNKNOWN_ATTEMPTS: u32 = 20;

/// How often others may be faster. Each time one of them got on, so this is reached only by an endless stream.
const LOST_ATTEMPTS: u32 = 1000;

/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A state, and what names it in a precondition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The state.
    pub state: CloudState,
    /// The object's.
    pub etag: Etag,
}

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The change does not fit.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// It was there, and is gone.
    #[error("the cloud state of {app} has been deleted from {store}")]
    Vanished {
        /// Whose.
        app: AppName,
        /// Where it was.
        store: String,
    },
    /// It cannot be worked with.
    #[error("the cloud state of {app} in {store} cannot be used")]
    Invalid {
        /// Whose.
        app: AppName,
        /// Where it is.
        store: String,
        /// Why.
        source: InvalidState,
    },
    /// The store does not do what it should.
    #[error("cannot use the cloud state of {app}")]
    Store {
        /// Whose.
        app: AppName,
        /// Why.
        source: StoreError,
    },
    /// Nobody knows whether the change was written.
    #[error("it is not known whether the cloud state of {app} was changed")]
    Uncertain {
        /// Whose.
        app: AppName,
        /// What the store said last.
        source: StoreError,
    },
    /// Others were always faster.
    #[error("others change the cloud state of {app} all the time")]
    Contended {
        /// Whose.
        app: AppName,
    },
    /// Nothing was deployed yet.
    #[error("nothing was ever deployed for {app}")]
    Nothing {
        /// Whose.
        app: AppName,
    },
    /// It is in order, and an earlier one should take its place without anybody saying which.
    #[error("the cloud state of {app} can be used as it is")]
    InOrder {
        /// Whose.
        app: AppName,
    },
    /// It was edited by hand, and meanwhile something else changed it.
    #[error("the cloud state of {app} was changed by somebody else while it was being edited")]
    EditLost {
        /// Whose.
        app: AppName,
    },
}

impl StateError {
    /// What the person can do; empty where the message says it all.
    pub fn hint(&self) -> String {
        match self {
            Self::Vanished { .. } => {
                "nothing is made anew in its place; `jecloud state restore` brings back the newest that there was, \
                 and `jecloud state history` lists all of them"
                    .to_owned()
            }
            Self::Invalid { source: InvalidState::TooOld(_), .. } => {
                "use the JeCloud that wrote it, or a newer one".to_owned()
            }
            Self::Invalid { source: InvalidState::OtherApp { .. }, .. } => {
                "give one of the two apps another name in jecloud.toml".to_owned()
            }
            Self::Invalid { .. } => "`jecloud state restore` brings back the newest one that can be used, \
                 `jecloud state history` lists all of them, and `jecloud state edit` opens an editor on this one"
                .to_owned(),
            Self::Rejected(Rejected::LostRace { .. }) => {
                "`jecloud releases` shows what was deployed; deploy again to put yours on top".to_owned()
            }
            Self::Rejected(Rejected::Destroying(environment)) => {
                format!("`jecloud fwd -e {environment}` finishes that")
            }
            Self::Uncertain { .. } => {
                "`jecloud status` shows what is recorded; repeating the command is safe".to_owned()
            }
            Self::EditLost { .. } => "edit it again".to_owned(),
            Self::InOrder { .. } => "`jecloud state history` lists what there was before, and \
                 `jecloud state restore ID` brings one back all the same"
                .to_owned(),
            Self::Nothing { .. } => "deploy it with `jecloud deploy`".to_owned(),
            Self::Store { source, .. } => source.hint().to_owned(),
            Self::Rejected(_) | Self::Contended { .. } => String::new(),
        }
    }

    /// Whether there is something wrong with the state itself, which has to be mended first.
    pub fn is_about_what_is_recorded(&self) -> bool {
        matches!(self, Self::Vanished { .. } | Self::Invalid { .. })
    }

    /// Whether the same may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store { source, .. } | Self::Uncertain { source, .. } => source.is_transient(),
            Self::Contended { .. } => true,
            _ => false,
        }
    }
}

/// The state of one app in its store.
#[derive(Clone, Copy)]
pub struct StateFile<'a> {
    store: &'a dyn ObjectStore,
    app: &'a AppName,
    world: &'a dyn World,
}

impl<'a> StateFile<'a> {
    /// The state of `app` in `store`.
    pub fn new(store: &'a dyn ObjectStore, app: &'a AppName, world: &'a dyn World) -> Self {
        Self { store, app, world }
    }

    /// The state; none where nothing was ever written.
    ///
    /// # Errors
    ///
    /// When it could not be read in several attempts, or cannot be worked with, or is gone.
    pub fn read(&self) -> Result<Option<Known>, StateError> {
        match self.get()? {
            Some(known) => Ok(Some(known)),
            // It may also have been written for the first time, and again, since it was looked for.
            None if self.was_there()? => self.get()?.map(Some).ok_or_else(|| self.vanished()),
            None => Ok(None),
        }
    }

    /// Changes the state, under a new operation id.
    ///
    /// # Errors
    ///
    /// When the change does not fit, or it is certain that it was not written, or ([`StateError::Uncertain`])
    /// nobody knows.
    pub fn update(&self, change: Change) -> Result<CloudState, StateError> {
        self.apply(&Operation { id: self.world.operation_id(), change })
    }

    /// Changes the state by an operation, once, however often this is called with it.
    ///
    /// # Errors
    ///
    /// As [`StateFile::update`].
    pub fn apply(&self, operation: &Operation) -> Result<CloudState, StateError> {
        let mut base = self.read()?;
        let mut lost = 0;
        loop {
            let (next, precondition) = match &base {
                Some(known) if known.state.has_applied(&operation.id) => return Ok(known.state.clone()),
                Some(known) => {
                    (apply(&known.state, operation, self.world.now())?, Precondition::IfMatch(known.etag.clone()))
                }
                None => {
                    let founded = CloudState::found(self.app, &operation.id);
                    (apply(&founded, operation, self.world.now())?, Precondition::IfNoneMatch)
                }
            };
            match self.write(&next, &precondition)? {
                Written::Done => return Ok(next),
                Written::Lost => {
                    lost += 1;
                    if lost > LOST_ATTEMPTS {
                        return Err(StateError::Contended { app: self.app.clone() });
                    }
                    // The first time at once: mostly there is only one other.
                    if lost > 1 {
                        self.pause(lost);
                    }
                    // Whether lost to somebody who wrote or to one who is about to write: there was a state, or
                    // there is one now, unless this was the first write and nobody's has come through yet.
                    base = self.get()?;
                    if base.is_none() && precondition != Precondition::IfNoneMatch {
                        return Err(self.vanished());
                    }
                }
            }
        }
    }

    /// Replaces the state by what a person made of it. Its generation becomes one that was never used, and the
    /// operation ids that it had are kept.
    ///
    /// `etag` is that of the object that was edited, also if that was damaged; none if there was none.
    ///
    /// # Errors
    ///
    /// When the text is not a state that can be worked with, or the state was changed meanwhile.
    pub fn edit(&self, text: &str, etag: Option<Etag>) -> Result<CloudState, StateError> {
        let mut state = CloudState::parse(text.as_bytes(), self.app).map_err(|source| self.invalid(source))?;
        let highest = self.highest_generation()?;
        state.generation = state.generation.max(highest);
        let operation = self.world.operation_id();
        state.written_by(&operation);
        let precondition = etag.map_or(Precondition::IfNoneMatch, Precondition::IfMatch);
        match self.write(&state, &precondition)? {
            Written::Done => Ok(state),
            // It may be this very write, repeated on its way, that made its own precondition fail.
            Written::Lost if self.get()?.is_some_and(|known| known.state.has_applied(&operation)) => Ok(state),
            Written::Lost => Err(StateError::EditLost { app: self.app.clone() }),
        }
    }

    /// The text of the state as it is, whatever it is; none where there is none.
    ///
    /// # Errors
    ///
    /// When it could not be read.
    pub fn text(&self) -> Result<Option<(String, Etag)>, StateError> {
        let object = self.get_object()?;
        Ok(object.map(|object| (String::from_utf8_lossy(&object.bytes).into_owned(), object.etag)))
    }

    /// Puts an earlier state in the place of the present one: that of an id in the history, or the newest one that can
    /// be worked with where the present one cannot. Its generation becomes one that was never used. Returns the state
    /// as it is now, with the id of what was restored; none where there is no such earlier state.
    ///
    /// What was recorded since then is not known any more, but stays in the history.
    ///
    /// # Errors
    ///
    /// When the present one is in order and no id is given ([`StateError::InOrder`]); when it, or what is to be
    /// restored, was written by a newer JeCloud or for another app; when the state was changed meanwhile.
    pub fn restore(&self, id: Option<&str>) -> Result<Option<(CloudState, String)>, StateError> {
        let present = self.get_object()?;
        match present.as_ref().map(|object| CloudState::parse(&object.bytes, self.app)) {
            Some(Ok(_)) if id.is_none() => return Err(StateError::InOrder { app: self.app.clone() }),
            // Whoever wrote that knows better.
            Some(Err(source @ (InvalidState::TooOld(_) | InvalidState::OtherApp { .. }))) => {
                return Err(self.invalid(source));
            }
            _ => {}
        }
        let etag = present.map(|object| object.etag);
        let id = match id {
            Some(id) => Some(id.to_owned()),
            None => self.history()?.into_iter().find(|past| past.generation.is_some()).map(|past| past.id),
        };
        let Some(id) = id else { return Ok(None) };
        let Some(text) = self.past_text(&id)? else { return Ok(None) };
        Ok(Some((self.edit(&text, etag)?, id)))
    }

    /// What the state was before, the newest first.
    ///
    /// # Errors
    ///
    /// When the store could not be asked.
    pub fn history(&self) -> Result<Vec<PastState>, StateError> {
        let past = self.store.history(STATE).map_err(|source| self.store_error(source))?;
        let describe = |past: crate::object_store::PastObject| {
            let bytes = self.store.get_past(STATE, &past.id).map_err(|source| self.store_error(source))?;
            let state = bytes.and_then(|bytes| CloudState::parse(&bytes, self.app).ok());
            let generation = state.as_ref().map(|state| state.generation);
            Ok(PastState { id: past.id, written: past.written, size: past.size, generation })
        };
        past.into_iter().map(describe).collect()
    }

    /// The text of an earlier state, by its id in the history.
    ///
    /// # Errors
    ///
    /// When the store could not be asked.
    pub fn past_text(&self, id: &str) -> Result<Option<String>, StateError> {
        let bytes = self.store.get_past(STATE, id).map_err(|source| self.store_error(source))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// One write, repeated until it is known what became of it.
    fn write(&self, next: &CloudState, precondition: &Precondition) -> Result<Written, StateError> {
        let text = next.to_text();
        let operation = next.recent_operations.last();
        let is_ours = |known: &Option<Known>| {
            known.as_ref().is_some_and(|known| operation.is_some_and(|operation| known.state.has_applied(operation)))
        };
        let mut attempts = 0;
        loop {
            self.fault("cloud.state.put")?;
            let result =
                self.store.put(STATE, text.as_bytes(), precondition).map_err(|source| self.store_error(source))?;
            match result {
                PutResult::Done(_) => {
                    self.fault("cloud.state.put.done")?;
                    return Ok(Written::Done);
                }
                // The caller looks whether it was this write, repeated on its way, that made the precondition fail.
                PutResult::PreconditionFailed | PutResult::Conflict => return Ok(Written::Lost),
                PutResult::NotFound => return Err(self.vanished()),
                PutResult::Unknown(source) => {
                    attempts += 1;
                    if attempts >= UNKNOWN_ATTEMPTS {
                        return Err(StateError::Uncertain { app: self.app.clone(), source });
                    }
                    self.pause(attempts);
                    match self.get() {
                        Ok(known) if is_ours(&known) => return Ok(Written::Done),
                        Ok(None) if *precondition != Precondition::IfNoneMatch => return Err(self.vanished()),
                        Ok(_) => {}
                        Err(error) if error.is_transient() => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    fn get(&self) -> Result<Option<Known>, StateError> {
        let Some(object) = self.get_object()? else { return Ok(None) };
        let state = CloudState::parse(&object.bytes, self.app).map_err(|source| self.invalid(source))?;
        Ok(Some(Known { state, etag: object.etag }))
    }

    fn get_object(&self) -> Result<Option<crate::object_store::Object>, StateError> {
        let mut attempts = 0;
        loop {
            match self.store.get(STATE) {
                Ok(object) => return Ok(object),
                Err(source) => {
                    attempts += 1;
                    if !source.is_transient() || attempts >= UNKNOWN_ATTEMPTS {
                        return Err(self.store_error(source));
                    }
                    self.pause(attempts);
                }
            }
        }
    }

    /// Whether there was a state once.
    fn was_there(&self) -> Result<bool, StateError> {
        let mut attempts = 0;
        loop {
            match self.store.history(STATE) {
                Ok(past) => return Ok(!past.is_empty()),
                Err(source) => {
                    attempts += 1;
                    if !source.is_transient() || attempts >= UNKNOWN_ATTEMPTS {
                        return Err(self.store_error(source));
                    }
                    self.pause(attempts);
                }
            }
        }
    }

    /// The highest generation that can still be read, now or in the history.
    fn highest_generation(&self) -> Result<Generation, StateError> {
        let generation = |bytes: &[u8]| {
            serde_json::from_slice::<serde_json::Value>(bytes)
                .ok()
                .and_then(|value| value.get("generation")?.as_u64())
                .map_or(Generation(0), Generation)
        };
        let mut highest = self.get_object()?.map_or(Generation(0), |object| generation(&object.bytes));
        let past = self.store.history(STATE).map_err(|source| self.store_error(source))?;
        // The newest ten suffice: a state that was edited by hand is among them with its neighbours.
        for past in past.iter().take(10) {
            let bytes = self.store.get_past(STATE, &past.id).map_err(|source| self.store_error(source))?;
            highest = highest.max(bytes.map_or(Generation(0), |bytes| generation(&bytes)));
        }
        Ok(highest)
    }

    /// A pause that grows from about 10 ms, random so that writers do not march in step.
    fn pause(&self, attempt: u32) {
        let longest = Duration::from_millis(10).saturating_mul(1 << attempt.min(8)).min(LONGEST_PAUSE);
        let random = u32::from(u16::from_le_bytes([self.world.random()[0], self.world.random()[1]]));
        self.world.pause(longest / 2 + (longest / 2) * random / u32::from(u16::MAX));
    }

    fn fault(&self, name: &'static str) -> Result<(), StateError> {
        jecloud_disk::fault::point(name).map_err(|source| {
            let doing = format!("write the cloud state to {}", self.store.describe());
            self.store_error(StoreError::Refused { doing, source: Cause::from(source) })
        })
    }

    fn vanished(&self) -> StateError {
        StateError::Vanished { app: self.app.clone(), store: self.store.describe() }
    }

    fn invalid(&self, source: InvalidState) -> StateError {
        StateError::Invalid { app: self.app.clone(), store: self.store.describe(), source }
    }

    fn store_error(&self, source: StoreError) -> StateError {
        StateError::Store { app: self.app.clone(), source }
    }
}

enum Written {
    Done,
    Lost,
}

/// What the state was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastState {
    /// Names it.
    pub id: String,
    /// When it was written.
    pub written: Timestamp,
    /// In bytes.
    pub size: u64,
    /// Its generation; none where it is not a state that can be worked with.
    pub generation: Option<Generation>,
}
