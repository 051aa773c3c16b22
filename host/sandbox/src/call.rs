//! One call: a fresh store, the limits, and what is left of it afterwards.

use std::time::Instant;

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Store, UpdateDeadline};

use crate::Limits;
use crate::bindings::jecloud::hook::{log, types};
use crate::budget::Budget;
use crate::empty_world::EmptyWorld;
use crate::error::{Why, explain};
use crate::journal::{CallLog, Journal, Level, LogLine};
use crate::ticker::Ticker;

/// What the host keeps for one call.
pub(crate) struct CallState {
    budget: Budget,
    pub(crate) journal: Journal,
    pub(crate) world: EmptyWorld,
}

impl types::Host for CallState {}

impl log::Host for CallState {
    fn write(&mut self, level: log::Level, message: String) {
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self.journal.write(level, &message);
    }
}

/// Why a call failed, and the last thing that was said.
pub(crate) struct Failed {
    pub(crate) why: Why,
    pub(crate) last_log: Option<LogLine>,
}

/// Instantiates a component and has `body` call it.
pub(crate) fn call<R>(
    prepared: &InstancePre<CallState>,
    limits: &Limits,
    ticker: &Ticker,
    body: impl FnOnce(&mut Store<CallState>, Instance) -> wasmtime::Result<R>,
) -> Result<(R, CallLog), Failed> {
    let state = CallState {
        budget: Budget::new(limits),
        journal: Journal::new(limits.log_lines, limits.log_line_bytes),
        world: EmptyWorld::default(),
    };
    let mut store = Store::new(prepared.component().engine(), state);
    store.limiter(|state| &mut state.budget);
    store.set_hostcall_fuel(limits.output_bytes);
    let limit = limits.deadline;
    let deadline = Instant::now() + limit;
    store.epoch_deadline_callback(move |_| {
        if Instant::now() < deadline {
            Ok(UpdateDeadline::Continue(1))
        } else {
            Err(wasmtime::Error::new(Why::Deadline { limit }))
        }
    });
    store.set_epoch_deadline(1);
    let ticking = ticker
        .start()
        .map_err(|error| Failed { why: Why::Other(format!("cannot watch over its time: {error}")), last_log: None })?;
    let outcome = prepared.instantiate(&mut store).and_then(|instance| body(&mut store, instance));
    drop(ticking);
    let mut state = store.into_data();
    state.world.flush(&mut state.journal);
    match outcome {
        Ok(result) => Ok((result, state.journal.finish())),
        Err(error) => {
            Err(Failed { why: explain(&error, limits.output_bytes), last_log: state.journal.last().cloned() })
        }
    }
}
