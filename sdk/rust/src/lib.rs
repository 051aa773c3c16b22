//! What a hook author in Rust installs.
//!
//! A *hook* teaches JeCloud one service. It is a pure function from what it is shown (a [`Context`]) to what it wants
//! done (a [`Plan`]): it has no file system, network, clock or process of its own. The host checks every line of a plan
//! against the powers that the hook declared and a person granted, and only then performs it. That makes a hook easy
//! to test (it is tested natively, see [`testing`]), and harmless.
//!
//! A complete hook:
//!
//! ```
//! use jecloud_sdk::{Command, Context, Description, Package, Plan, Problem, Process, ServiceHook};
//!
//! struct Redis;
//!
//! impl ServiceHook for Redis {
//!     fn describe() -> Description {
//!         Description::new("redis", env!("CARGO_PKG_VERSION"), "Redis, the in-memory data store")
//!             .settings_schema(r#"{"type": "object", "properties": {"maxmemory": {"type": "string"}}}"#)
//!             .fact("candidate:redis-server")
//!             .package("redis-server")
//!             .program("redis-server")
//!     }
//!
//!     fn required_packages(context: &Context) -> Result<Vec<Package>, Problem> {
//!         let version = context.pin("redis-server").or(context.candidate("redis-server")).unwrap_or_default();
//!         Ok(vec![Package::distribution("redis-server", version).pinned()])
//!     }
//!
//!     fn prepare_deploy(context: &Context) -> Result<Plan, Problem> {
//!         let memory: String = context.setting("maxmemory")?.unwrap_or_else(|| "100mb".to_owned());
//!         let redis = Process::new("redis").argv(["redis-server", "{data}/redis.conf", "--port", "{port:redis}"]);
//!         Ok(Plan::new()
//!             .file("{data}/redis.conf", format!("dir {{data}}\nmaxmemory {memory}\n"), 0o644)
//!             .process(redis.port("redis").health_port("redis").not_beside())
//!             .value("REDIS_URL", "redis://127.0.0.1:{port:redis}"))
//!     }
//! }
//!
//! jecloud_sdk::export!(Redis);
//! # let context = jecloud_sdk::testing::context("guestbook").setting("maxmemory", "1gb").build();
//! # let plan = jecloud_sdk::testing::prepare_deploy::<Redis>(&context).unwrap();
//! # assert_eq!(plan.files[0].content, "dir {data}\nmaxmemory 1gb\n");
//! ```
//!
//! Its `Cargo.toml` has `[lib] crate-type = ["cdylib", "rlib"]`; it is built for `wasm32-unknown-unknown`.
//!
//! What each field means is documented here and, for authors in other languages too, in `wit/types.wit`. Text from the
//! app's files that goes into a [template] is [escaped](template::escape). [`Problem`]s are shown to a person as they
//! stand: say what is wrong in which file, and in the hint what to write.

#[doc(hidden)]
pub mod bindings;
mod call;
mod command;
mod context;
mod convert;
mod describe;
#[doc(hidden)]
pub mod export;
mod interfaces;
pub mod log;
mod options;
mod package;
mod plan;
mod problem;
mod process;
pub mod template;
pub mod testing;

pub use command::{Command, CommandResult, Identity, Next};
pub use context::{Context, Program};
pub use describe::{Description, Input, Powers};
pub use interfaces::{BackupHook, BackupStep, Contents, Member, SetupHook, TopologyHook};
pub use options::{OptionValue, Options};
pub use package::{Archive, Package, Repository, Source};
pub use plan::{File, Plan, Route};
pub use problem::Problem;
pub use process::{Health, Process};

/// A service hook. Only [`describe`](Self::describe) must be written; the rest have defaults that do nothing.
///
/// All are pure functions: the same arguments give the same results. The host calls each with a fresh memory, so
/// statics do not survive a call.
pub trait ServiceHook {
    /// Says what this hook is and needs. Called when it is added, and before every use.
    fn describe() -> Description;

    /// The packages that must be there before [`prepare_deploy`](Self::prepare_deploy) is called.
    ///
    /// # Errors
    /// When the deployment cannot succeed: it fails with the problem, and the old version keeps serving.
    fn required_packages(context: &Context) -> Result<Vec<Package>, Problem> {
        let _ = context;
        Ok(Vec::new())
    }

    /// The plan of a deployment. Nothing has happened yet; nothing happens until the host has checked every line.
    ///
    /// # Errors
    /// When the deployment cannot succeed: it fails with the problem, and the old version keeps serving.
    fn prepare_deploy(context: &Context) -> Result<Plan, Problem> {
        let _ = context;
        Ok(Plan::new())
    }

    /// Called when the new version serves, with the results of all commands that earlier answers asked for.
    ///
    /// A step function: "look, then decide" is two steps, [`Next::Again`] and then an answer that depends on the
    /// results.
    ///
    /// # Errors
    /// When the release is broken: it fails with the problem, and the previous version is switched back.
    fn deployed(context: &Context, results: &[CommandResult]) -> Result<Next, Problem> {
        let _ = (context, results);
        Ok(Next::Done)
    }
}
