//! Step functions: a hook is asked, what it wants run is run, and it is asked again with the results. They are journaled,
//! so that a roll-forward that dies between two steps loses none.

use std::time::{Duration, Instant};

use jecloud_model::app::{Failure, Stale};
use jecloud_model::hook::{Command, CommandResult, Step};

use super::Work;
use crate::error::ServerError;
use crate::hooks::Asked;
use crate::journal::Steps;
use crate::tables;

/// A hook that is not done after so many answers never is.
const MOST_ANSWERS: usize = 1000;

/// Nor one that is not done after this time.
const DEADLINE: Duration = Duration::from_secs(30 * 60);

/// Where a step function's results are kept, and how its commands are run.
pub(crate) trait Journaled {
    /// How far it is.
    fn read(&self) -> Result<Steps, ServerError>;
    /// Records how far it is.
    fn write(&self, steps: Steps) -> Result<(), ServerError>;
    /// Runs a command of the round after so many results.
    fn run(&self, round: usize, command: &Command) -> Result<CommandResult, ServerError>;
}

/// Calls the step function with the results so far.
pub(crate) type Ask<'a, T> = dyn Fn(&[CommandResult]) -> Result<Step<T>, ServerError> + 'a;

/// Asks until it is done.
///
/// # Errors
///
/// What the hook says; what became of the journal or of starting commands.
pub(crate) fn drive<T>(
    asked: &Asked<'_>,
    function: &str,
    journaled: &dyn Journaled,
    ask: &Ask<'_, T>,
    wait: &dyn Fn(Duration) -> Result<(), ServerError>,
) -> Result<T, ServerError> {
    let begin = Instant::now();
    let mut answers = 0;
    loop {
        let mut steps = journaled.read()?;
        match ask(&steps.results)? {
            Step::Done(end) => {
                steps.done = true;
                journaled.write(steps)?;
                return Ok(end);
            }
            Step::Again(commands) => {
                let round = steps.results.len();
                for command in &commands {
                    steps.results.push(journaled.run(round, command)?);
                }
                journaled.write(steps)?;
            }
            Step::WaitMs(milliseconds) => wait(Duration::from_millis(milliseconds.into()))?,
        }
        answers += 1;
        if answers >= MOST_ANSWERS || begin.elapsed() >= DEADLINE {
            return Err(Failure::because(format!(
                "`{function}` of the hook of service {} was not done after {answers} answers and {} seconds",
                asked.service,
                begin.elapsed().as_secs()
            ))
            .into());
        }
    }
}

/// Waits, unless the deployment is not wanted any more.
pub(crate) fn wait(work: &Work<'_>, duration: Duration) -> Result<(), ServerError> {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        if (work.cancel)() {
            return Err(Stale(work.number).into());
        }
        tables::pause();
    }
    Ok(())
}

/// A step function of a release, whose results are in the release's journal.
pub(super) struct OfRelease<'a> {
    pub(super) work: &'a Work<'a>,
    pub(super) function: &'a str,
    pub(super) asked: &'a Asked<'a>,
    pub(super) runner: &'a crate::commands::Runner<'a>,
}

impl OfRelease<'_> {
    /// Asks until it is done, or the deployment is not wanted any more.
    pub(super) fn drive<T>(&self, ask: &Ask<'_, T>) -> Result<T, ServerError> {
        drive(self.asked, self.function, self, ask, &|duration| wait(self.work, duration))
    }
}

impl Journaled for OfRelease<'_> {
    fn read(&self) -> Result<Steps, ServerError> {
        Ok(self.work.place.journal(self.work.number)?.steps(self.function, self.asked.service))
    }

    fn write(&self, steps: Steps) -> Result<(), ServerError> {
        let mut journal = self.work.place.journal(self.work.number)?;
        journal.record_steps(self.function, self.asked.service, steps);
        self.work.place.write_journal(self.work.number, &journal)
    }

    fn run(&self, round: usize, command: &Command) -> Result<CommandResult, ServerError> {
        self.runner.run_once(&format!("{}-{round}", self.function), command)
    }
}
