//! Saving what MongoDB has, and bringing it back.
//!
//! A copy is the files of the database, copied while they cannot change: `fsyncLock`, see
//! <https://www.mongodb.com/docs/manual/reference/method/db.fsyncLock/>. Reads go on meanwhile, writes wait. It is brought
//! back by putting it in the place of the data, and is then made this environment's own: its address, its user's password.

use jecloud_sdk::{BackupHook, BackupStep, CommandResult, Contents, Context, Next, Problem};
use serde::Deserialize;
use std::collections::BTreeMap;

use crate::MongoHook;
use crate::release::Release;
use crate::settings::Settings;
use crate::shell::{self, Script};
use crate::version::Series;

impl BackupHook for MongoHook {
    fn backup(context: &Context, results: &[CommandResult]) -> Result<BackupStep, Problem> {
        match results.last() {
            None => Ok(BackupStep::Again(vec![shell::run(Script::Copy, context, &Settings::of(context)?)])),
            Some(result) => contents(result).map(BackupStep::Done),
        }
    }

    fn restore(context: &Context, results: &[CommandResult]) -> Result<Next, Problem> {
        let settings = Settings::of(context)?;
        let now = Release::choose(context, &settings)?.series;
        if settings.replicas.is_some_and(|replicas| replicas > 1) {
            return Err(Problem::new("a copy cannot be brought back while other members have the data too").hint(format!(
                "write `replicas = 1` below [services.{}] in jecloud.toml and deploy, bring it back, then write what there \
                 was and deploy again",
                context.service()
            )));
        }
        if let Some(wrote) = context.backup_version() {
            check_copy(wrote, now, context.service())?;
        }
        match results.last() {
            None => Ok(Next::Again(vec![shell::offline(Script::Restore)])),
            Some(result) => shell::printed(result).map(|_| Next::Done),
        }
    }

    fn restored(context: &Context, results: &[CommandResult]) -> Result<BackupStep, Problem> {
        let settings = Settings::of(context)?;
        let Some(last) = results.last() else {
            let series = Release::choose(context, &settings)?.series;
            return Ok(BackupStep::Again(vec![
                shell::run(Script::SetUp, context, &settings),
                shell::raise(series, context, &settings),
                shell::run(Script::Contents, context, &settings),
            ]));
        };
        results.iter().try_for_each(|result| shell::printed(result).map(drop))?;
        contents(last).map(BackupStep::Done)
    }
}

/// Whether a MongoDB of this series can be given a copy: what the one before wrote, it reads.
fn check_copy(wrote: &str, now: Series, service: &str) -> Result<(), Problem> {
    crate::version::check_data(wrote, now, service).map(drop).map_err(|_| {
        let problem = Problem::new(format!("the copy is of MongoDB {wrote}, which MongoDB {now} cannot read"));
        match Series::of(wrote) {
            Some(series) => problem.hint(format!(
                "bring it back into an environment with `version = \"{series}\"` below [services.{service}] in jecloud.toml"
            )),
            None => problem,
        }
    })
}

/// What `copy` and `contents` print in the end.
fn contents(result: &CommandResult) -> Result<Contents, Problem> {
    #[derive(Deserialize)]
    struct Inventory {
        version: String,
        counts: BTreeMap<String, u64>,
    }

    let text = shell::printed(result)?;
    let Inventory { version, counts } = serde_json::from_str(text)
        .map_err(|error| Problem::new(format!("MongoDB's shell does not say what is in the data: {error}")))?;
    Ok(Contents { version, counts })
}
