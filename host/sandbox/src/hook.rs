//! A hook that can be called.

use std::sync::{Arc, OnceLock};

use jecloud_model::hook::{CommandResult, Contents, Context, Description, Member, Next, Package, Plan, Problem, Step};
use jecloud_model::ids::Digest;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use crate::answer::{self, Checked};
use crate::bindings::exports::jecloud::hook::{backup, service, setup, topology};
use crate::call::{CallState, Failed, call};
use crate::error::{CallFailure, Why};
use crate::journal::CallLog;
use crate::ticker::Ticker;
use crate::{Limits, SandboxError};

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called<T> {
    /// What the hook returned.
    pub answer: T,
    /// What it logged.
    pub log: CallLog,
}

/// Which optional interfaces a hook has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exports {
    /// `setup`.
    pub setup: bool,
    /// `backup`.
    pub backup: bool,
    /// `topology`.
    pub topology: bool,
}

/// A loaded hook. Calls do not disturb each other: each begins with nothing. Cheap to clone; usable from all threads.
///
/// A call blocks for up to [`Limits::deadline`], and needs [`Limits::STACK_BYTES`] of the thread's stack.
#[derive(Clone)]
pub struct Hook {
    inner: Arc<Inner>,
}

struct Inner {
    digest: Digest,
    prepared: InstancePre<CallState>,
    service: service::GuestIndices,
    setup: Option<setup::GuestIndices>,
    backup: Option<backup::GuestIndices>,
    topology: Option<topology::GuestIndices>,
    exports: Exports,
    limits: Arc<Limits>,
    ticker: Ticker,
    /// What it calls itself, once it was asked: for error messages.
    name: OnceLock<String>,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook")
            .field("digest", &self.inner.digest)
            .field("name", &self.inner.name.get())
            .finish_non_exhaustive()
    }
}

type Answer<T> = Result<Called<Result<T, Problem>>, SandboxError>;

impl Hook {
    pub(crate) fn new(
        digest: Digest,
        prepared: InstancePre<CallState>,
        exports: Exports,
        limits: Arc<Limits>,
        ticker: Ticker,
    ) -> wasmtime::Result<Self> {
        let service = service::GuestIndices::new(&prepared)?;
        let setup = exports.setup.then(|| setup::GuestIndices::new(&prepared)).transpose()?;
        let backup = exports.backup.then(|| backup::GuestIndices::new(&prepared)).transpose()?;
        let topology = exports.topology.then(|| topology::GuestIndices::new(&prepared)).transpose()?;
        let name = OnceLock::new();
        let inner = Inner { digest, prepared, service, setup, backup, topology, exports, limits, ticker, name };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The SHA-256 of the component.
    pub fn digest(&self) -> &Digest {
        &self.inner.digest
    }

    /// Which optional interfaces it has.
    pub fn exports(&self) -> Exports {
        self.inner.exports
    }

    /// Asks the hook what it is and needs.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Call`]: it ran into a limit or trapped, or what it says about itself is not valid.
    pub fn describe(&self) -> Result<Called<Description>, SandboxError> {
        let called = self.call("describe", |store, instance| {
            self.inner.service.load(&mut *store, &instance)?.call_describe(&mut *store)
        })?;
        let described = self.checked("describe", called, answer::description)?;
        self.inner.name.get_or_init(|| described.answer.name.to_string());
        Ok(described)
    }

    /// Asks for the packages that must be there before [`Hook::prepare_deploy`].
    ///
    /// # Errors
    ///
    /// As [`Hook::describe`]. A hook's own "no" is not an error, but the `Problem` in the answer.
    pub fn required_packages(&self, context: &Context) -> Answer<Vec<Package>> {
        let given = self.context("required-packages", context)?;
        let called = self.call("required-packages", |store, instance| {
            self.inner.service.load(&mut *store, &instance)?.call_required_packages(&mut *store, &given)
        })?;
        self.answered("required-packages", called, answer::packages)
    }

    /// Asks for the plan of a deployment.
    ///
    /// # Errors
    ///
    /// As [`Hook::required_packages`].
    pub fn prepare_deploy(&self, context: &Context) -> Answer<Plan> {
        let given = self.context("prepare-deploy", context)?;
        let called = self.call("prepare-deploy", |store, instance| {
            self.inner.service.load(&mut *store, &instance)?.call_prepare_deploy(&mut *store, &given)
        })?;
        self.answered("prepare-deploy", called, answer::plan)
    }

    /// Tells the hook that the new version serves, and asks what is to be done next.
    ///
    /// # Errors
    ///
    /// As [`Hook::required_packages`].
    pub fn deployed(&self, context: &Context, results: &[CommandResult]) -> Answer<Next> {
        let given = self.context("deployed", context)?;
        let results = self.results("deployed", results)?;
        let called = self.call("deployed", |store, instance| {
            self.inner.service.load(&mut *store, &instance)?.call_deployed(&mut *store, &given, &results)
        })?;
        self.answered("deployed", called, answer::next)
    }

    /// Tells the hook that the service's own processes work, and asks what is to be done next; none where the hook has no
    /// `setup`.
    ///
    /// # Errors
    ///
    /// As [`Hook::required_packages`].
    pub fn started(&self, context: &Context, results: &[CommandResult]) -> Option<Answer<Next>> {
        let indices = self.inner.setup.as_ref()?;
        Some(self.step("started", context, results, answer::next, |store, instance, given, results| {
            indices.load(&mut *store, &instance)?.call_started(&mut *store, given, results)
        }))
    }

    /// Asks for the next step of a backup; none where the hook has no `backup`.
    ///
    /// # Errors
    ///
    /// As [`Hook::required_packages`].
    pub fn backup(&self, context: &Context, results: &[CommandResult]) -> Option<Answer<Step<Contents>>> {
        let indices = self.inner.backup.as_ref()?;
        Some(self.step("backup", context, results, answer::backup_step, |store, instance, given, results| {
            indices.load(&mut *store, &instance)?.call_backup(&mut *store, given, results)
        }))
    }

    /// Asks for the next step of bringing a backup back; none where the hook has no `backup`.
    ///
    /// # Errors
    ///
    /// As [`Hook::required_packages`].
    pub fn restore(&self, context: &Context, results: &[CommandResult]) -> Option<Answer<Next>> {
        let indices = self.inner.backup.as_ref()?;
        Some(self.step("restore", context, results, answer::next, |store, instance, given, results| {
            indices.load(&mut *store, &instance)?.call_restore(&mut *store, given, results)
        }))
    }

    /// Tells the hook that the service runs with the data of a backup, and asks what is to be done next; none where the
    /// hook has no `backup`.
    ///
    /// # Errors
    ///
    /// As [`Hook::required_packages`].
    pub fn restored(&self, context: &Context, results: &[CommandResult]) -> Option<Answer<Step<Contents>>> {
        let indices = self.inner.backup.as_ref()?;
        Some(self.step("restored", context, results, answer::backup_step, |store, instance, given, results| {
            indices.load(&mut *store, &instance)?.call_restored(&mut *store, given, results)
        }))
    }

    /// Asks for the next step from these members to those; none where the hook has no `topology`.
    ///
    /// # Errors
    ///
    /// As [`Hook::required_packages`].
    pub fn reshape(
        &self,
        context: &Context,
        present: &[Member],
        wanted: &[Member],
        results: &[CommandResult],
    ) -> Option<Answer<Next>> {
        let indices = self.inner.topology.as_ref()?;
        let (present, wanted) = (answer::give_members(present), answer::give_members(wanted));
        Some(self.step("reshape", context, results, answer::next, |store, instance, given, results| {
            indices.load(&mut *store, &instance)?.call_reshape(&mut *store, given, &present, &wanted, results)
        }))
    }

    fn step<R, T>(
        &self,
        function: &'static str,
        context: &Context,
        results: &[CommandResult],
        check: impl FnOnce(R) -> Checked<T>,
        body: impl FnOnce(
            &mut Store<CallState>,
            Instance,
            &answer::GivenContext,
            &[answer::GivenResult],
        ) -> wasmtime::Result<Result<R, answer::GotProblem>>,
    ) -> Answer<T> {
        let given = self.context(function, context)?;
        let results = self.results(function, results)?;
        let called = self.call(function, |store, instance| body(store, instance, &given, &results))?;
        self.answered(function, called, check)
    }

    fn call<R>(
        &self,
        function: &'static str,
        body: impl FnOnce(&mut Store<CallState>, Instance) -> wasmtime::Result<R>,
    ) -> Result<Called<R>, SandboxError> {
        match call(&self.inner.prepared, &self.inner.limits, &self.inner.ticker, body) {
            Ok((answer, log)) => Ok(Called { answer, log }),
            Err(failed) => Err(self.failure(function, failed)),
        }
    }

    /// The context as it crosses the border, if it is small enough for that.
    fn context(&self, function: &'static str, context: &Context) -> Result<answer::GivenContext, SandboxError> {
        self.fits(function, answer::context_bytes(context))?;
        Ok(answer::give_context(context))
    }

    fn results(
        &self,
        function: &'static str,
        results: &[CommandResult],
    ) -> Result<Vec<answer::GivenResult>, SandboxError> {
        self.fits(function, answer::results_bytes(results))?;
        Ok(answer::give_results(results))
    }

    fn fits(&self, function: &'static str, bytes: usize) -> Result<(), SandboxError> {
        let limit = self.inner.limits.input_bytes;
        if bytes <= limit {
            return Ok(());
        }
        Err(self.failure(function, Failed { why: Why::Input { bytes, limit }, last_log: None }))
    }

    fn checked<R, T>(
        &self,
        function: &'static str,
        called: Called<R>,
        check: impl FnOnce(R) -> Checked<T>,
    ) -> Result<Called<T>, SandboxError> {
        match check(called.answer) {
            Ok(answer) => Ok(Called { answer, log: called.log }),
            Err(invalid) => {
                let failed = Failed { why: Why::Answer(invalid), last_log: called.log.last };
                Err(self.failure(function, failed))
            }
        }
    }

    fn answered<R, T>(
        &self,
        function: &'static str,
        called: Called<Result<R, answer::GotProblem>>,
        check: impl FnOnce(R) -> Checked<T>,
    ) -> Answer<T> {
        self.checked(function, called, |answer| match answer {
            Ok(answer) => check(answer).map(Ok),
            Err(problem) => Ok(Err(answer::problem(problem))),
        })
    }

    fn failure(&self, function: &'static str, failed: Failed) -> SandboxError {
        SandboxError::Call(Box::new(CallFailure {
            hook: self.inner.name.get().cloned(),
            digest: self.inner.digest.clone(),
            function,
            why: failed.why,
            last_log: failed.last_log,
        }))
    }
}
