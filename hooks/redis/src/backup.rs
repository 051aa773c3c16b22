//! Saving what Redis has, and bringing it back.
//!
//! A copy is an RDB file, as Redis gives it to a replica: one instant of the data, made while it is used. What is in it is
//! read from the file itself. It is brought back as the base of the append-only file, which is what Redis loads at a start:
//! <https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/>.

use std::time::Duration;

use jecloud_sdk::{BackupHook, BackupStep, Command, CommandResult, Contents, Context, Next, Problem};

use crate::replicas::{self, Replicas};
use crate::settings::Settings;
use crate::version::{Release, Version};
use crate::{CLIENT, PASSWORD, RedisHook};

/// The program that reads an RDB file; it comes with the server.
pub(crate) const CHECK: &str = "redis-check-rdb";

/// Where [`MANIFEST`] lies until it is needed.
pub(crate) const MANIFEST_PATH: &str = "{data}/restored.manifest";

/// An append-only file that has nothing but a base. Redis adds what comes.
pub(crate) const MANIFEST: &str = "file appendonly.aof.1.base.rdb seq 1 type b\n";

/// The copy.
const COPY: &str = "{data}/backup/dump.rdb";

/// What Redis loads.
const APPEND_ONLY: &str = "{data}/appendonlydir";

/// How long what takes longer with more data may take.
const LONG: Duration = Duration::from_secs(60 * 60);

/// What is counted: those that expire may do so at any moment, and are no loss.
const KEYS: &str = "keys that do not expire";

impl BackupHook for RedisHook {
    fn backup(context: &Context, results: &[CommandResult]) -> Result<BackupStep, Problem> {
        if results.is_empty() {
            return Ok(BackupStep::Again(vec![
                ask(context, "copy", "copy the data of Redis", &["--rdb", COPY])?,
                check(),
            ]));
        }
        let [.., copied, checked] = results else { return Err(Problem::new("the copy was not looked at")) };
        succeeded("Redis gave no copy of its data", copied)?;
        succeeded("the copy cannot be read", checked)?;
        let number = |what: &str| {
            let found = checked.stdout.lines().find_map(|line| line.strip_prefix("[info] ")?.strip_suffix(what));
            found.and_then(|number| number.trim().parse::<u64>().ok())
        };
        let (Some(keys), Some(expiring)) = (number("keys read"), number("expires")) else {
            return Err(Problem::new(format!("{CHECK} does not say how many keys the copy has")));
        };
        contents(context, keys.saturating_sub(expiring)).map(BackupStep::Done)
    }

    fn restore(context: &Context, results: &[CommandResult]) -> Result<Next, Problem> {
        let settings = Settings::of(context)?;
        let now = Release::choose(context, &settings)?.version;
        if let Some(wrote) = context.backup_version().and_then(Version::parse)
            && (wrote.major, wrote.minor) > (now.major, now.minor)
        {
            return Err(Problem::new(format!(
                "the copy is of Redis {wrote}, which Redis {now} may not be able to read"
            ))
            .hint(format!(
                "write `version = \"{}.{}\"` below [services.{}] in jecloud.toml and deploy, then bring it back",
                wrote.major,
                wrote.minor,
                context.service()
            )));
        }
        if settings.replicas.is_some_and(|replicas| replicas > 0) {
            return Err(Problem::new("a copy cannot be brought back while other Redis have the data too").hint(format!(
                "write `replicas = 0` below [services.{}] in jecloud.toml and deploy, bring it back, then write what there \
                 was and deploy again",
                context.service()
            )));
        }
        match results {
            // A copy that cannot be read takes nobody's place.
            [] => Ok(Next::Again(vec![check()])),
            [checked] => {
                succeeded("the copy cannot be read", checked)?;
                let run = |id: &str, title: &str, argv: &[&str]| {
                    Command::new(id, title).argv(argv.iter().copied()).cwd("{data}").timeout(LONG)
                };
                let base = format!("{APPEND_ONLY}/appendonly.aof.1.base.rdb");
                let manifest = format!("{APPEND_ONLY}/appendonly.aof.manifest");
                Ok(Next::Again(vec![
                    run("remove", "remove the data that there was", &["rm", "-rf", "--", APPEND_ONLY]),
                    run("make", "make room for the copy", &["mkdir", "-p", "--", APPEND_ONLY]),
                    run("base", "put the copy in its place", &["cp", "--reflink=auto", "--", COPY, &base]),
                    run("manifest", "have Redis load it", &["cp", "--", MANIFEST_PATH, &manifest]),
                ]))
            }
            [_, rest @ ..] => {
                rest.iter().try_for_each(|result| succeeded("the copy cannot be put in its place", result))?;
                Ok(Next::Done)
            }
        }
    }

    fn restored(context: &Context, results: &[CommandResult]) -> Result<BackupStep, Problem> {
        let Some(result) = results.last() else {
            return Ok(BackupStep::Again(vec![ask(context, "keyspace", "count the keys", &["info", "keyspace"])?]));
        };
        succeeded("Redis does not say what it has", result)?;
        let keys = result.stdout.lines().filter(|line| line.starts_with("db")).map(persistent);
        let keys = keys.sum::<Option<u64>>().ok_or_else(|| Problem::new("Redis does not say how many keys it has"))?;
        contents(context, keys).map(BackupStep::Done)
    }
}

/// Something that is asked of Redis. Its password is no argument.
fn ask(context: &Context, id: &str, title: &str, words: &[&str]) -> Result<Command, Problem> {
    let port = replicas::port(Replicas::of(context, &Settings::of(context)?)?.as_ref());
    let argv = [CLIENT, "-e", "-p", &port].into_iter().chain(words.iter().copied());
    Ok(Command::new(id, title)
        .argv(argv)
        .env("REDISCLI_AUTH", format!("{{secret:{PASSWORD}}}"))
        .cwd("{data}")
        .timeout(LONG))
}

/// Reads the copy from its beginning to its end, and checks its sum.
fn check() -> Command {
    Command::new("check", "look at the copy").argv([CHECK, COPY]).cwd("{data}").timeout(LONG)
}

fn contents(context: &Context, keys: u64) -> Result<Contents, Problem> {
    // Another one may be installed by now than the one that runs.
    let version = match crate::wrote(context) {
        Some(wrote) => wrote,
        None => Release::choose(context, &Settings::of(context)?)?.version,
    };
    Ok(Contents { version: version.to_string(), counts: [(KEYS.to_owned(), keys)].into() })
}

/// `db0:keys=3,expires=1,avg_ttl=0`: the keys of a database that do not expire; none where it is not that.
fn persistent(line: &str) -> Option<u64> {
    let (_, numbers) = line.trim().split_once(':')?;
    let number = |name: &str| numbers.split(',').find_map(|pair| pair.strip_prefix(name)?.parse::<u64>().ok());
    Some(number("keys=")?.saturating_sub(number("expires=")?))
}

fn succeeded(what: &str, result: &CommandResult) -> Result<(), Problem> {
    if result.succeeded() {
        return Ok(());
    }
    let status = result.exit_status.map_or_else(|| "took too long".to_owned(), |status| format!("status {status}"));
    let said =
        [&result.stderr, &result.stdout].into_iter().find_map(|text| text.lines().rev().find(|line| !line.is_empty()));
    Err(Problem::new(format!("{what} ({status}): {}", said.unwrap_or("nothing was said"))))
}
