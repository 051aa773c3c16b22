//! All limits of hooks, in one place.

use std::time::Duration;

/// What a hook may use up. Each limit has a test with a hostile component (`tests/hostile`) that runs into it.
///
/// The defaults are the ones that are promised to authors of hooks: a later version may raise them, never lower them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all linear memories of a component together: 64 MiB. A Rust hook needs 2, one that
    /// carries a Python interpreter about 40.
    pub memory_bytes: usize,
    /// Linear memories of a component: 16. Toolchains make one, or one per linked library.
    pub memories: usize,
    /// Elements of all tables together: 200 000, which the host backs with 16 bytes each at most. The function table of a
    /// Python interpreter has about 15 000.
    pub table_elements: usize,
    /// Tables of a component: 64.
    pub tables: usize,
    /// Core instances of a component: 256. Python hooks have about 30.
    pub instances: usize,
    /// Wall-clock time of one call, with instantiation: 2 s. A pure function of small inputs takes
    /// milliseconds even when it is interpreted.
    pub deadline: Duration,
    /// Bytes that a hook may hand over at once, in an answer or a log line: 8 MiB. A plan is a few KiB.
    pub output_bytes: usize,
    /// Bytes that a hook is shown in one call: 16 MiB. One input may have 8 (`wit/types.wit`), and what is shown takes
    /// its place in the hook's memory.
    pub input_bytes: usize,
    /// Lines of its log that are kept per call: 1000 (`wit/world.wit`).
    pub log_lines: usize,
    /// Bytes of one line of its log that are kept: 8 KiB (`wit/world.wit`).
    pub log_line_bytes: usize,
    /// Bytes of a component: 32 MiB. The largest toolchain (Python) makes 18.
    pub component_bytes: usize,
    /// Processor time for compiling a component: 60 s. The largest components take about 20 s on one slow core. The
    /// wall-clock limit is three times that, for busy machines.
    pub compile_time: Duration,
    /// Address space for compiling a component: 2 GiB.
    pub compile_memory_bytes: u64,
    /// Bytes of a compiled component: 512 MiB. Machine code is about five times as large as WebAssembly.
    pub artifact_bytes: usize,
}

impl Limits {
    /// Bytes of stack that a call may use: 1 MiB, half of what a thread has. A constant, because it is a part of the
    /// engine's configuration and so of the key of the cache.
    pub const STACK_BYTES: usize = 1024 * 1024;

    /// How often the deadline is looked at: every 10 ms.
    pub const TICK: Duration = Duration::from_millis(10);

    /// How long the thread that looks at it waits for the next call: 50 ms. Calls come in groups, and starting a thread
    /// takes longer than most of them. A call's deadline is looked at for the first time within this time.
    pub const LINGER: Duration = Duration::from_millis(50);
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 * 1024 * 1024,
            memories: 16,
            table_elements: 200_000,
            tables: 64,
            instances: 256,
            deadline: Duration::from_secs(2),
            output_bytes: 8 * 1024 * 1024,
            input_bytes: 16 * 1024 * 1024,
            log_lines: 1000,
            log_line_bytes: 8 * 1024,
            component_bytes: 32 * 1024 * 1024,
            compile_time: Duration::from_secs(60),
            compile_memory_bytes: 2 * 1024 * 1024 * 1024,
            artifact_bytes: 512 * 1024 * 1024,
        }
    }
}
