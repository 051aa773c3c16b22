//! Calls that are repeated for as long as that may help, and what came of them in words.

use std::sync::Arc;
use std::time::Duration;

use jecloud_cloud::{MachineError, World};

use crate::answer::{Context, Failure};
use crate::api::{Action, Api};
use crate::error::Ec2Error;

/// So often a call is made that was not answered, or answered with "later".
const ATTEMPTS: u32 = 6;

/// The first pause between two attempts; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Asks EC2.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) api: Arc<dyn Api>,
    pub(crate) world: Arc<dyn World>,
}

/// What is attempted, for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt<'a> {
    /// `launch server app-1 of production`
    pub(crate) doing: &'a str,
    /// Which server it is for.
    pub(crate) server: &'a str,
    /// What the world is like where it fails: `nothing was launched`. May be empty.
    pub(crate) otherwise: &'a str,
    pub(crate) action: Action,
}

impl Caller {
    /// Calls, again and again while the failure is transient. Only for what may be done twice.
    pub(crate) fn retry<T>(&self, mut call: impl FnMut(&dyn Api) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS {
            match call(&*self.api) {
                Err(failure) if failure.is_transient() => self.world.pause(self.with_jitter(pause)),
                result => return result,
            }
            pause *= 2;
        }
        call(&*self.api)
    }

    /// The same, with the failure in words.
    pub(crate) fn ask<T>(
        &self,
        attempt: &Attempt<'_>,
        call: impl FnMut(&dyn Api) -> Result<T, Failure>,
    ) -> Result<T, MachineError> {
        self.retry(call).map_err(|failure| self.in_words(attempt, &failure))
    }

    pub(crate) fn in_words(&self, attempt: &Attempt<'_>, failure: &Failure) -> MachineError {
        let permission = attempt.action.permission();
        let context = Context { action: &permission, region: self.api.region(), ..Context::default() };
        attempt.error(failure.explain(&context), failure.is_transient())
    }

    /// Many who were turned away at the same time do not come back at the same time.
    fn with_jitter(&self, pause: Duration) -> Duration {
        pause.mul_f64(0.75 + f64::from(self.world.random()[0]) / 512.0)
    }
}

impl Attempt<'_> {
    /// An error for whoever asked.
    pub(crate) fn error(&self, error: Ec2Error, is_transient: bool) -> MachineError {
        if is_transient {
            let (server, doing) = (self.server.to_owned(), self.doing.to_owned());
            return MachineError::Unreachable { server, doing, source: error.into() };
        }
        self.refused(&error.to_string(), error.hint())
    }

    /// An error that only a person can end.
    pub(crate) fn refused(&self, why: &str, hint: String) -> MachineError {
        let otherwise = if self.otherwise.is_empty() { String::new() } else { format!("; {}", self.otherwise) };
        MachineError::Refused { error: format!("cannot {}: {why}{otherwise}", self.doing), hint }
    }
}
