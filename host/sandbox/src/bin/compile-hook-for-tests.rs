//! The child process of this crate's tests: what `jecloud compile-hook` does, with limits from its arguments (seconds,
//! bytes of memory, bytes of the component).

use std::process::ExitCode;
use std::time::Duration;

use jecloud_sandbox::{Limits, compile_in_this_process};

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let &[seconds, memory, component] = &numbers[..] else {
        eprintln!("usage: compile-hook-for-tests SECONDS MEMORY COMPONENT");
        return ExitCode::from(2);
    };
    let limits = Limits {
        compile_time: Duration::from_secs(seconds),
        compile_memory_bytes: memory,
        component_bytes: usize::try_from(component).unwrap_or(usize::MAX),
        ..Limits::default()
    };
    match compile_in_this_process(&limits, std::io::stdin().lock(), std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
