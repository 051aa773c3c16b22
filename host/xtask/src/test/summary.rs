//! From the output of `cargo test` to how many tests passed.

use std::fmt;

/// What came of the tests of all crates.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) passed: u64,
    pub(super) failed: u64,
    /// Those that are skipped.
    pub(super) ignored: u64,
    /// Programs that were run, and crates whose documentation was tested.
    pub(super) binaries: u64,
    /// The names of those that failed, in the order of their running.
    pub(super) failures: Vec<String>,
}

impl Summary {
    /// Counts the results that each of cargo's test binaries prints at its end.
    pub(super) fn of(output: &str) -> Self {
        let mut summary = Self::default();
        for line in output.lines() {
            // A test's own words can stand before it on the same line.
            if let Some((_, result)) = line.split_once("test result: ") {
                let Some(counts) = Counts::of(result) else { continue };
                summary.passed += counts.passed;
                summary.failed += counts.failed;
                summary.ignored += counts.ignored;
                summary.binaries += 1;
            } else if let Some(name) = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED")) {
                summary.failures.push(name.to_owned());
            }
        }
        summary
    }
}

/// One line of the form `ok. 5 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s`.
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    fn of(result: &str) -> Option<Self> {
        let (_, counts) = result.split_once(". ")?;
        let count = |what: &str| {
            let found = counts.split("; ").find_map(|count| count.strip_suffix(what))?;
            found.trim().parse().ok()
        };
        Some(Self { passed: count("passed")?, failed: count("failed")?, ignored: count("ignored")? })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.failures {
            writeln!(f, "FAILED {name}")?;
        }
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.ignored > 0 {
            write!(f, ", {} ignored", self.ignored)?;
        }
        write!(f, " in {} test programs", self.binaries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What cargo 1.95 prints, put together by hand from a run with two crates, one of which fails.
    const OUTPUT: &str = "
running 2 tests
test ids::tests::names ... ok
test a::b ... ok

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s


running 3 tests
test fine ... ok
test skipped ... ignored
test broken ... FAILED

failures:

---- broken stdout ----

thread 'broken' panicked at src/lib.rs:5:9:
a test result: nothing of the kind
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace


failures:
    broken

listening on port 3000test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 4 filtered out; finished in 1.51s
";

    // Fails without: the addition (1 passed), the search inside of a line (2 passed), the check of the counts (a test's
    // words are counted as a program).
    #[test]
    fn results_of_all_programs_are_added() {
        let summary = Summary::of(OUTPUT);
        let failures = vec!["broken".to_owned()];
        assert_eq!(summary, Summary { passed: 3, failed: 1, ignored: 1, binaries: 2, failures });
        assert_eq!(summary.to_string(), "FAILED broken\n3 passed, 1 failed, 1 ignored in 2 test programs");
    }

    #[test]
    fn nothing_was_run() {
        assert_eq!(Summary::of("").to_string(), "0 passed, 0 failed in 0 test programs");
    }
}
