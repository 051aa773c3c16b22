//! Hooks that want to do harm, hooks that are broken, and the files that hooks leave behind.
//!
//! Components are made here from the texts in `tests/hostile`, by the same way as those of authors: a core module with
//! embedded metadata goes through `componentize`.

#![expect(clippy::disallowed_methods, reason = "tests prepare and look at files directly")]

mod answers;
mod build;
mod cache;
mod compile;
mod components;
mod empty_world;
mod limits;
mod pure;
