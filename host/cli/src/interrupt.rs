//! Ctrl-C: a person who interrupts a deployment is told that it goes on, and how to follow it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::output::say;

/// How far the command is, as far as an interruption is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Nothing is recorded.
    Before = 0,
    /// The wish is recorded, and the server is just being told.
    Handing = 1,
    /// The server works on it by itself.
    Following = 2,
}

static PHASE: AtomicU8 = AtomicU8::new(Phase::Before as u8);

/// The exit code of what SIGINT ended, as shells have it: 128 + 2.
const INTERRUPTED: i32 = 130;

/// How long the hand-over of a recorded wish may still take after an interruption.
const HAND_OVER: Duration = Duration::from_secs(10);

/// Records how far the command is.
pub(crate) fn enter(phase: Phase) {
    PHASE.store(phase as u8, Ordering::SeqCst);
}

/// From here on, SIGINT ends the command in words. `goes_on` is said where the wish is recorded.
pub(crate) fn watch(goes_on: String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    // Registered before this returns, so that no interruption falls between.
    let signal = runtime.block_on(async { tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()) });
    let Ok(mut signal) = signal else { return };
    std::thread::spawn(move || {
        if runtime.block_on(signal.recv()).is_none() {
            return;
        }
        let end = Instant::now() + HAND_OVER;
        while PHASE.load(Ordering::SeqCst) == Phase::Handing as u8 && Instant::now() < end {
            pause();
        }
        if PHASE.load(Ordering::SeqCst) == Phase::Before as u8 {
            say("\nInterrupted. Nothing was recorded, nothing was changed.");
        } else {
            say(&format!("\n{goes_on}"));
        }
        std::process::exit(INTERRUPTED);
    });
}

#[expect(clippy::disallowed_methods, reason = "waits for the hand-over, with a deadline")]
fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}
