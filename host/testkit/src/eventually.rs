//! Waiting for conditions.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// Looks until there is something, and returns it.
///
/// # Panics
///
/// Where there is nothing before the deadline; the message says `what` was waited for.
#[track_caller]
pub fn eventually<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        pause();
    }
}

/// Looks again and again for the whole time: for what must not happen. `look` says what is wrong.
///
/// # Panics
///
/// As soon as something is wrong.
#[track_caller]
pub fn holds_for(time: Duration, mut look: impl FnMut() -> Option<String>) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if let Some(wrong) = look() {
            panic!("{wrong}");
        }
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "the pause between two looks at a condition with a deadline")]
pub(crate) fn pause() {
    std::thread::sleep(GLANCE);
}
