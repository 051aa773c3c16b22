//! Steps that are taken one after the other, each with a headline and its time; the first that fails is the last.

#![expect(clippy::disallowed_methods, reason = "a development task starts cargo")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// What was done so far.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration)>,
}

impl Steps {
    /// Takes a step.
    ///
    /// # Errors
    ///
    /// What the step says, with the headline and how to take this step alone.
    pub(crate) fn take<T>(&mut self, headline: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        eprintln!("\n=== {headline}");
        let start = Instant::now();
        let result = step();
        let took = start.elapsed();
        self.done.push((headline.to_owned(), took));
        match &result {
            Ok(_) => eprintln!("=== done in {}", seconds(took)),
            Err(_) => eprintln!("=== failed after {}", seconds(took)),
        }
        result.with_context(|| format!("`{headline}` failed; what came after it was not tried"))
    }

    /// Takes a step that is one cargo command, with what it prints going where this task prints.
    ///
    /// # Errors
    ///
    /// When it does not start or does not succeed.
    pub(crate) fn cargo(&mut self, root: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
        self.take(&format!("cargo {}", arguments.join(" ")), || {
            let mut command = cargo(root, arguments);
            command.envs(environment.iter().copied());
            let status = command.status().context("cannot start cargo")?;
            if !status.success() {
                bail!("cargo ended with {status}; what it found is above");
            }
            Ok(())
        })
    }

    /// A line a step, with its time, and the sum.
    pub(crate) fn table(&self) -> String {
        let sum = self.done.iter().map(|(_, took)| *took).sum();
        let lines = self.done.iter().map(|(headline, took)| (headline.as_str(), *took)).chain([("all together", sum)]);
        lines.map(|(headline, took)| format!("{:>10}  {headline}\n", seconds(took))).collect()
    }
}

/// A cargo command for the repository.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root).args(arguments);
    command
}

/// `4.2 s`, `3 min 07 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        all => format!("{} min {:02} s", all / 60, all % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails without: the context that names the step, and the time of a step that failed.
    #[test]
    fn a_step_that_fails_is_named_and_counted() {
        let mut steps = Steps::default();
        steps.take("first", || Ok(())).unwrap();
        let error = steps.take("second", || -> Result<()> { bail!("no disk") }).unwrap_err();
        assert_eq!(format!("{error:#}"), "`second` failed; what came after it was not tried: no disk");
        let table = steps.table();
        let headlines: Vec<&str> = table.lines().filter_map(|line| line.split("  ").last()).collect();
        assert_eq!(headlines, ["first", "second", "all together"]);
    }

    #[test]
    fn times_are_for_people() {
        assert_eq!(seconds(Duration::from_millis(4_210)), "4.2 s");
        assert_eq!(seconds(Duration::from_secs(187)), "3 min 07 s");
    }
}
