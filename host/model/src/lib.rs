//! The pure heart of JeCloud: identifiers, documents, state machines and planners.
//!
//! Nothing here reads a file, a clock, the network or a random number. Whatever decides, decides here, and is
//! tested here by the thousand; whatever acts, acts elsewhere and decides nothing.

pub mod app;
pub mod backup;
pub mod backup_policy;
mod chain;
pub mod cloud;
pub mod config;
pub mod deploy_plan;
pub mod events;
pub mod format;
pub mod glob;
pub mod hook;
pub mod ids;
pub mod layout;
pub mod limits;
pub mod lock;
pub mod powers;
pub mod prepared;
pub mod processes;
pub mod release;
pub mod repository;
pub mod rollforward;
pub mod routes;
pub mod secrets;
pub mod suggest;
pub mod supervise;
pub mod template;
pub mod time;
pub mod topology;
pub mod user;
pub mod version;

pub use chain::chain;
