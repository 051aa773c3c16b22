//! States that people edited, truncated, deleted, or that somebody else wrote.

#![expect(clippy::disallowed_methods, reason = "the tests damage files by hand")]

use std::path::PathBuf;

use jecloud_cloud::{DirectoryStore, StateError, StateFile};
use jecloud_model::ids::{EnvironmentName, Generation};
use tempfile::TempDir;

use crate::{TestWorld, app, set};

struct Place {
    _directory: TempDir,
    store: DirectoryStore,
    file: PathBuf,
    world: TestWorld,
}

/// A state that was written three times.
fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("guestbook");
    let place = Place {
        store: DirectoryStore::new(&root),
        file: root.join("state.json"),
        world: TestWorld::new(3),
        _directory: directory,
    };
    place.with(|file| {
        for value in ["1", "2", "3"] {
            file.update(set("A", value)).unwrap();
        }
    });
    place
}

impl Place {
    fn with<T>(&self, act: impl FnOnce(StateFile<'_>) -> T) -> T {
        act(StateFile::new(&self.store, &app(), &self.world))
    }

    fn value(&self) -> String {
        let known = self.with(|file| file.read().unwrap().unwrap());
        known.state.environments[&EnvironmentName::production()].env["A"].clone()
    }
}

#[test]
fn what_cannot_be_used_is_never_overwritten() {
    // Fails when a state that cannot be read counts as none.
    let good = std::fs::read_to_string(&place().file).unwrap();
    let newer = good.replace("\"min_writer\": 1", "\"min_writer\": 99");
    let other = good.replace("\"guestbook\"", "\"other\"");
    let cases = [
        (&good[..good.len() / 2], "damaged", "jecloud state restore"),
        ("", "damaged", "jecloud state restore"),
        ("<html>", "damaged", "jecloud state restore"),
        (&newer[..], "newer JeCloud", "newer one"),
        (&other[..], "the app other, not to guestbook", "another name"),
    ];
    for (text, cause, hint) in cases {
        let place = place();
        std::fs::write(&place.file, text).unwrap();
        let error = place.with(|file| file.update(set("A", "4"))).unwrap_err();
        let message = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(message.contains(cause), "{message}");
        assert!(error.hint().contains(hint), "{}", error.hint());
        assert_eq!(std::fs::read_to_string(&place.file).unwrap(), text);
    }
}

#[test]
fn what_was_deleted_is_not_made_again_and_can_be_brought_back() {
    // Fails without the look into the history: a new state would begin with release 1.
    let place = place();
    std::fs::remove_file(&place.file).unwrap();
    let error = place.with(|file| file.update(set("A", "4"))).unwrap_err();
    assert!(matches!(error, StateError::Vanished { .. }), "{error}");
    assert!(!place.file.exists());
    let (past, text) = place.with(|file| {
        let past = file.history().unwrap();
        let text = file.past_text(&past[0].id).unwrap().unwrap();
        (past, text)
    });
    let generations: Vec<_> = past.iter().map(|past| past.generation).collect();
    // Fails where only what was replaced is kept: the last write would be lost.
    assert_eq!(generations, [Some(Generation(3)), Some(Generation(2)), Some(Generation(1))]);
    let state = place.with(|file| file.edit(&text, None)).unwrap();
    assert_eq!(place.value(), "3");
    assert_eq!(state.generation, Generation(4));
}

#[test]
fn what_cannot_be_used_is_restored_and_nothing_else_without_being_named() {
    let place = place();
    let good = std::fs::read_to_string(&place.file).unwrap();
    let restore = |id: Option<&str>| place.with(|file| file.restore(id));
    assert!(matches!(restore(None), Err(StateError::InOrder { .. })));
    assert_eq!(restore(Some("nonsense")).unwrap(), None);
    // Fails where whatever cannot be read is replaced: somebody with a newer JeCloud has written it.
    std::fs::write(&place.file, good.replace("\"min_writer\": 1", "\"min_writer\": 99")).unwrap();
    let past = place.with(|file| file.history().unwrap());
    for id in [None, Some(past[1].id.as_str())] {
        assert!(matches!(restore(id), Err(StateError::Invalid { .. })));
    }
    for damaged in [&good[..good.len() / 2], ""] {
        std::fs::write(&place.file, damaged).unwrap();
        let (state, _) = restore(None).unwrap().unwrap();
        assert_eq!(place.value(), "3");
        // Fails where an old generation is used again.
        assert!(state.generation > Generation(3), "{:?}", state.generation);
    }
    std::fs::remove_file(&place.file).unwrap();
    restore(None).unwrap().unwrap();
    assert_eq!(place.value(), "3");
    restore(Some(&past.last().unwrap().id)).unwrap().unwrap();
    assert_eq!(place.value(), "1");
}

#[test]
fn an_edit_replaces_exactly_what_was_edited() {
    let place = place();
    let (text, etag) = place.with(|file| file.text().unwrap().unwrap());
    let edited = text.replace("\"A\": \"3\"", "\"A\": \"edited\"");
    let state = place.with(|file| file.edit(&edited, Some(etag.clone()))).unwrap();
    assert_eq!(state.generation, Generation(4));
    assert_eq!(place.value(), "edited");
    let error = place.with(|file| file.edit(&text, Some(etag))).unwrap_err();
    assert!(matches!(error, StateError::EditLost { .. }), "{error}");
    assert_eq!(place.value(), "edited");
}

#[test]
fn an_old_state_is_brought_back_under_a_new_generation() {
    // Fails without `highest_generation`: servers would have seen a higher one.
    let place = place();
    let (oldest, etag) = place.with(|file| {
        let id = file.history().unwrap().last().unwrap().id.clone();
        (file.past_text(&id).unwrap().unwrap(), file.text().unwrap().unwrap().1)
    });
    let state = place.with(|file| file.edit(&oldest, Some(etag))).unwrap();
    assert_eq!(place.value(), "1");
    assert_eq!(state.generation, Generation(4));
}

#[test]
fn a_damaged_state_can_be_repaired_and_not_by_something_damaged() {
    let place = place();
    let good = std::fs::read_to_string(&place.file).unwrap();
    std::fs::write(&place.file, "{").unwrap();
    let (text, etag) = place.with(|file| file.text().unwrap().unwrap());
    assert_eq!(text, "{");
    let error = place.with(|file| file.edit("{}", Some(etag.clone()))).unwrap_err();
    assert!(matches!(error, StateError::Invalid { .. }), "{error}");
    place.with(|file| file.edit(&good, Some(etag))).unwrap();
    assert_eq!(place.value(), "3");
}
