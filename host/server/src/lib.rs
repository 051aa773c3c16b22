//! The server's part: what makes a version run on one machine.
//!
//! [`api`] is what others can ask for, [`rollforward`] makes it so. All decisions are taken by the planner in
//! `jecloud_model`; here is what it looks with (`observe`) and what it acts with (`work`, a file per state).

pub mod allocation;
pub mod api;
pub mod backup;
pub mod basis;
mod boot;
mod clock;
mod commands;
pub mod destroy;
mod environment;
mod error;
mod facts;
mod fill;
mod health;
mod hooks;
mod journal;
mod listening;
mod logs;
mod observe;
mod one_off;
pub mod packages;
mod part;
mod pins;
mod place;
mod plan;
mod ports;
mod process_manager;
pub mod rollforward;
mod secrets;
mod server;
mod tables;
mod users;
mod wishes;
mod work;

pub use api::init;
pub use error::{ServerError, chain};
pub use hooks::Sources;
pub use logs::LogWish;
pub use one_off::one_off;
pub use place::Place;
pub use plan::{PlanRequest, plan};
pub use process_manager::{ProcessManager, Renewed, process_manager};
pub use server::{Server, ServerDocument, document};
