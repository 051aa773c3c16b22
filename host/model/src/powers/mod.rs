//! What a hook may ask for, and the check of every line of what it asks.
//!
//! A hook declares [`Powers`]; a person grants them once; effective is what is both. [`check_plan`],
//! [`check_packages`], [`check_commands`] and [`check_wait`] are called before anything happens. They look at every
//! line and give all refusals, not only the first, so that a hook's author needs one round.
//!
//! Some things need no power, because they stay within what the service and the app own: files below `{data}` and
//! `{source}`, programs of the app below `{source}` run as the app's user, ports that the host chooses.
//!
//! What this module does not promise: a program that was granted can do whatever its arguments make it do, as its
//! user. `npm` is as powerful as the app's own code, and a shell as root is everything; that is what the words say
//! that the person approves.

mod commands;
mod cover;
mod files;
mod limits;
mod packages;
mod plan;
mod refusal;
mod url;
mod words;

#[cfg(test)]
mod tests;

pub use commands::{check_commands, check_wait};
pub use limits::PlanLimits;
pub use packages::check_packages;
pub use plan::check_plan;
pub use refusal::{Power, Refusal};
pub use words::check_powers;

use crate::hook::Powers;
use crate::ids::ServiceName;

/// Against what the answers of one hook are checked.
#[derive(Debug, Clone, Copy)]
pub struct Allowed<'a> {
    /// The service, for the words of refusals.
    pub service: &'a ServiceName,
    /// What the hook said it needs.
    pub declared: &'a Powers,
    /// What the person approved.
    pub granted: &'a Powers,
    /// What the host allows at all.
    pub limits: &'a PlanLimits,
}
