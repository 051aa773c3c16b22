//! The clock of deadlines: a thread that raises the engine's epoch while calls run. It goes away when none follows soon.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use wasmtime::Engine;

use crate::Limits;

/// Raises the epoch of an engine every [`Limits::TICK`] while somebody holds a [`Ticking`].
#[derive(Clone)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Calls that are running.
    running: usize,
    /// Calls that have ever begun.
    calls: u64,
    /// Whether there is a thread that has not yet decided to end.
    has_thread: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is two plain values that are never half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) {
        loop {
            let (idle, calls) = {
                let state = self.state();
                (state.running == 0, state.calls)
            };
            // Nobody wakes it: a call that begins meanwhile has its deadline looked at a little later, and costs nothing.
            thread::park_timeout(if idle { Limits::LINGER } else { Limits::TICK });
            let mut state = self.state();
            if state.running > 0 {
                self.engine.increment_epoch();
            } else if idle && state.calls == calls {
                state.has_thread = false;
                return;
            }
        }
    }
}

impl Ticker {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { shared: Arc::new(Shared { engine, state: Mutex::default() }) }
    }

    /// Time passes until what is returned is dropped.
    ///
    /// # Errors
    ///
    /// When no thread can be started: a call without a deadline must not begin.
    pub(crate) fn start(&self) -> std::io::Result<Ticking> {
        let mut state = self.shared.state();
        if !state.has_thread {
            let shared = Arc::clone(&self.shared);
            thread::Builder::new().name("hook deadline".to_owned()).spawn(move || shared.tick())?;
            state.has_thread = true;
        }
        state.running += 1;
        state.calls += 1;
        Ok(Ticking { shared: Arc::clone(&self.shared) })
    }
}

/// See [`Ticker::start`].
pub(crate) struct Ticking {
    shared: Arc<Shared>,
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.shared.state().running -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::engine::engine;

    fn ends(ticker: &Ticker) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        while ticker.shared.state().has_thread {
            if Instant::now() > deadline {
                return false;
            }
            thread::yield_now();
        }
        true
    }

    /// Fails where the thread does not end, or ends while somebody needs it.
    #[test]
    fn there_is_a_thread_while_calls_run_and_none_afterwards() {
        let ticker = Ticker::new(engine().unwrap());
        for _ in 0..3 {
            let one = ticker.start().unwrap();
            let two = ticker.start().unwrap();
            drop(one);
            assert!(ticker.shared.state().has_thread);
            drop(two);
            assert!(ends(&ticker));
        }
    }

    /// Fails where a call that begins while the thread is about to end relies on it.
    #[test]
    fn calls_that_follow_each_other_closely_always_have_a_thread() {
        let ticker = Ticker::new(engine().unwrap());
        for _ in 0..2000 {
            let ticking = ticker.start().unwrap();
            assert!(ticker.shared.state().has_thread);
            drop(ticking);
        }
        assert!(ends(&ticker));
    }
}
