//! The rules of this house, as ordinary tests: what everybody agrees on and nobody wants to look for in a review.
//!
//! Each rule is a function from texts to what is wrong with them, tried here on a text that breaks it, and then
//! applied to the whole repository.
#![expect(clippy::disallowed_methods, reason = "reads the sources of the repository")]

mod crates;
mod documents;
mod fences;
mod hooks;
mod repository;
mod sources;

/// Fails with all of `wrong`, one a line.
#[track_caller]
fn none(rule: &str, wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{rule}:\n  {}", wrong.join("\n  "));
}
