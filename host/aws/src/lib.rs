//! What all of Amazon's clients here have in common: who asks, how they connect, and what came of a call that failed.
//!
//! The clients' own errors hold whole requests and answers, which nobody should print: [`Unanswered`] and [`shown`] are
//! what is left of them.

mod access;
mod outcome;

pub use access::{Access, Credentials, configuration};
pub use outcome::{Outcome, Skew, Unanswered, chain, outcome, shown};
