//! The border of every call: a panic does not get lost.

use crate::Problem;

/// Calls `f`; a panic in it becomes a problem with its text.
///
/// In a component a panic ends the call with a trap that carries no text. There the text is written to the log first,
/// at level error, so that it is the last log line: the one that the host shows.
#[cfg(target_arch = "wasm32")]
pub(crate) fn guarded<T>(_function: &str, f: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    log_panics();
    f()
}

/// Has panics written to the log of the call.
#[cfg(target_arch = "wasm32")]
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.payload_as_str().unwrap_or("a panic without text");
        // One line, since the host shows one.
        match info.location() {
            Some(place) => crate::log::error(format_args!("the hook panicked at {place}: {text}")),
            None => crate::log::error(format_args!("the hook panicked: {text}")),
        }
    }));
}

/// Calls `f`; a panic in it becomes a problem with its text.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn guarded<T>(function: &str, f: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    // A hook has no state that a panic could leave half-changed.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without text");
        let message = format!("the hook panicked in {function}: {text}");
        crate::log::error(&message);
        Err(Problem::new(message))
    })
}
