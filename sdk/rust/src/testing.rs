//! Calling a hook natively, in its own unit tests.
//!
//! A hook is a pure function, so a test needs nothing but a context and a call:
//!
//! ```
//! use jecloud_sdk::{Command, Context, Description, Plan, Problem, ServiceHook, testing};
//!
//! struct Clock;
//! impl ServiceHook for Clock {
//!     fn describe() -> Description {
//!         Description::new("clock", "1.0.0", "tells the time").input("clock.toml")
//!     }
//!     fn prepare_deploy(context: &Context) -> Result<Plan, Problem> {
//!         let zone: Option<String> = context.setting("zone")?;
//!         Ok(Plan::new().note(zone.expect("a zone")))
//!     }
//! }
//!
//! let context = testing::context("guestbook").setting("zone", "UTC").file("clock.toml", "").build();
//! assert_eq!(testing::prepare_deploy::<Clock>(&context).unwrap().notes, ["UTC"]);
//!
//! // A panic is a problem with its text, as it is for the host.
//! let problem = testing::prepare_deploy::<Clock>(&testing::context("guestbook").build()).unwrap_err();
//! assert!(problem.message.contains("a zone"));
//! ```

use crate::{
    BackupHook, BackupStep, Command, CommandResult, Context, Member, Next, OptionValue, Package, Plan, Problem,
    ServiceHook, SetupHook, TopologyHook, call,
};

/// Begins a context of the environment `production`, with the version `00…0` and nothing else in it.
pub fn context(app: &str) -> ContextBuilder {
    ContextBuilder {
        context: Context {
            app: app.to_owned(),
            environment: "production".to_owned(),
            version: "0".repeat(64),
            ..Context::default()
        },
        settings: serde_json::Map::new(),
    }
}

/// Makes a [`Context`].
#[derive(Debug, Clone)]
pub struct ContextBuilder {
    context: Context,
    settings: serde_json::Map<String, serde_json::Value>,
}

impl ContextBuilder {
    /// Sets the environment's name.
    #[must_use]
    pub fn environment(mut self, name: &str) -> Self {
        self.context.environment = name.to_owned();
        self
    }

    /// Sets the name of the service.
    #[must_use]
    pub fn service(mut self, name: &str) -> Self {
        self.context.service = name.to_owned();
        self
    }

    /// Sets the version that is being deployed.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.context.version = version.to_owned();
        self
    }

    /// Sets the version that serves now.
    #[must_use]
    pub fn current_version(mut self, version: &str) -> Self {
        self.context.current_version = Some(version.to_owned());
        self
    }

    /// Sets a key of the `[services.NAME]` table.
    #[must_use]
    pub fn setting(mut self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        self.settings.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a source file.
    #[must_use]
    pub fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.context.inputs.insert(path.to_owned(), content.as_ref().to_vec());
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn fact(mut self, name: &str, value: &str) -> Self {
        self.context.facts.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Adds a pin.
    #[must_use]
    pub fn pin(mut self, name: &str, version: &str) -> Self {
        self.context.pins.insert(name.to_owned(), version.to_owned());
        self
    }

    /// Adds something that was remembered.
    #[must_use]
    pub fn remembered(mut self, name: &str, value: &str) -> Self {
        self.context.remembered.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets an option.
    #[must_use]
    pub fn option(mut self, key: &str, value: impl Into<OptionValue>) -> Self {
        self.context.options.insert(key.to_owned(), value.into());
        self
    }

    /// The context.
    pub fn build(mut self) -> Context {
        self.context.settings = serde_json::Value::Object(self.settings).to_string();
        self.context
    }
}

/// Calls `required_packages` as the host does.
///
/// # Errors
/// What the hook answers, and its panics.
pub fn required_packages<H: ServiceHook>(context: &Context) -> Result<Vec<Package>, Problem> {
    call::guarded("required-packages", || H::required_packages(context))
}

/// Calls `prepare_deploy` as the host does.
///
/// # Errors
/// What the hook answers, and its panics.
pub fn prepare_deploy<H: ServiceHook>(context: &Context) -> Result<Plan, Problem> {
    call::guarded("prepare-deploy", || H::prepare_deploy(context))
}

/// Calls `deployed` as the host does.
///
/// # Errors
/// What the hook answers, and its panics.
pub fn deployed<H: ServiceHook>(context: &Context, results: &[CommandResult]) -> Result<Next, Problem> {
    call::guarded("deployed", || H::deployed(context, results))
}

/// Calls `started` as the host does.
///
/// # Errors
/// What the hook answers, and its panics.
pub fn started<H: SetupHook>(context: &Context, results: &[CommandResult]) -> Result<Next, Problem> {
    call::guarded("started", || H::started(context, results))
}

/// Calls `backup` as the host does.
///
/// # Errors
/// What the hook answers, and its panics.
pub fn backup<H: BackupHook>(context: &Context, results: &[CommandResult]) -> Result<BackupStep, Problem> {
    call::guarded("backup", || H::backup(context, results))
}

/// Calls `restore` as the host does.
///
/// # Errors
/// What the hook answers, and its panics.
pub fn restore<H: BackupHook>(context: &Context, results: &[CommandResult]) -> Result<Next, Problem> {
    call::guarded("restore", || H::restore(context, results))
}

/// Calls `restored` as the host does.
///
/// # Errors
/// What the hook answers, and its panics.
pub fn restored<H: BackupHook>(context: &Context, results: &[CommandResult]) -> Result<BackupStep, Problem> {
    call::guarded("restored", || H::restored(context, results))
}

/// Calls `reshape` as the host does.
///
/// # Errors
/// What the hook answers, and its panics.
pub fn reshape<H: TopologyHook>(
    context: &Context,
    present: &[Member],
    wanted: &[Member],
    results: &[CommandResult],
) -> Result<Next, Problem> {
    call::guarded("reshape", || H::reshape(context, present, wanted, results))
}

/// The commands of a plan in the order in which the host runs them: checks, build, release.
pub fn commands(plan: &Plan) -> impl Iterator<Item = &Command> {
    plan.checks.iter().chain(&plan.build).chain(&plan.release)
}
