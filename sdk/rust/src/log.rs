//! Lines for the log of a call.
//!
//! In a component they go to the host, which keeps 1000 lines of 8 KiB per call and shows the last one when the call
//! fails. Natively they go to standard error, or into [`capture`].

use std::fmt;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Of interest to the hook's author.
    Debug,
    /// What was found and decided.
    Info,
    /// Something a person should look at.
    Warn,
    /// Why a call fails.
    Error,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How much it matters.
    pub level: Level,
    /// Its text.
    pub message: String,
}

/// Writes a line of interest to the hook's author.
pub fn debug(message: impl fmt::Display) {
    write(Level::Debug, &message.to_string());
}

/// Writes what was found and decided.
pub fn info(message: impl fmt::Display) {
    write(Level::Info, &message.to_string());
}

/// Writes what a person should look at.
pub fn warn(message: impl fmt::Display) {
    write(Level::Warn, &message.to_string());
}

/// Writes why a call fails.
pub fn error(message: impl fmt::Display) {
    write(Level::Error, &message.to_string());
}

#[cfg(target_arch = "wasm32")]
pub(crate) fn write(level: Level, message: &str) {
    use crate::bindings::jecloud::hook::log;
    let level = match level {
        Level::Debug => log::Level::Debug,
        Level::Info => log::Level::Info,
        Level::Warn => log::Level::Warn,
        Level::Error => log::Level::Error,
    };
    log::write(level, message);
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::write;

#[cfg(not(target_arch = "wasm32"))]
pub use native::capture;

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::cell::RefCell;

    use super::{Level, Line};

    thread_local! {
        static CAPTURED: RefCell<Option<Vec<Line>>> = const { RefCell::new(None) };
    }

    pub(crate) fn write(level: Level, message: &str) {
        let line = Line { level, message: message.to_owned() };
        let kept = CAPTURED.with_borrow_mut(|captured| match captured {
            Some(lines) => {
                lines.push(line);
                true
            }
            None => false,
        });
        if !kept {
            eprintln!("{level:?}: {message}");
        }
    }

    /// Calls `f` and returns what it returns, with the lines that this thread wrote meanwhile. Only natively.
    ///
    /// ```
    /// let (answer, lines) = jecloud_sdk::log::capture(|| {
    ///     jecloud_sdk::log::info("thinking");
    ///     42
    /// });
    /// assert_eq!((answer, lines[0].message.as_str()), (42, "thinking"));
    /// ```
    pub fn capture<T>(f: impl FnOnce() -> T) -> (T, Vec<Line>) {
        // Put back also when `f` panics, so that a failed test does not swallow the lines of the next one.
        struct Restore(Option<Vec<Line>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                let outer = self.0.take();
                CAPTURED.with_borrow_mut(|captured| *captured = outer);
            }
        }
        let _restore = Restore(CAPTURED.with_borrow_mut(|captured| captured.replace(Vec::new())));
        let result = f();
        let lines = CAPTURED.with_borrow_mut(|captured| captured.take()).unwrap_or_default();
        (result, lines)
    }
}
