//! The Redis service hook: one Redis for an app and environment, behind a password that nobody has to know.
//!
//! It listens on the server's own loopback interface, and where what runs on other servers needs it, on the address by
//! which they reach it. It keeps what is written in an append-only file, and tells the app where it is in `REDIS_URL`.

mod backup;
pub mod configuration;
mod replicas;
pub mod settings;
pub mod version;

use std::time::Duration;

use jecloud_sdk::{CommandResult, Context, Description, Next, Package, Plan, Problem, Process, ServiceHook, SetupHook};

use configuration::Configuration;
use replicas::Replicas;
use settings::Settings;
use version::{Release, Version};

/// The Redis service hook.
#[derive(Debug)]
pub struct RedisHook;

/// The program, and the distribution's package that brings it.
const SERVER: &str = "redis-server";

/// The fact about which version of that package is there.
const INSTALLED: &str = "installed:redis-server";

/// Debian's package of what that one is made of.
const TOOLS: &str = "redis-tools";

/// The program that asks it how it is.
const CLIENT: &str = "redis-cli";

/// The secret that its clients need. The host makes it.
const PASSWORD: &str = "redis-password";

/// Where it is reached by what runs on the same server.
const LOOPBACK: &str = "127.0.0.1";

/// Under which name the last plan said which Redis wrote the data.
const WROTE: &str = "version";

/// How long loading the data may take after a start.
const START: Duration = Duration::from_secs(5 * 60);

/// How long writing everything down may take at the end: Redis does it at SIGTERM.
const STOP: Duration = Duration::from_secs(60);

impl ServiceHook for RedisHook {
    fn describe() -> Description {
        Description::new("redis", env!("CARGO_PKG_VERSION"), "Redis: a database in memory that survives restarts")
            .settings_schema(settings::SCHEMA)
            .gives("REDIS_URL")
            .gives("REDIS_SENTINELS")
            .gives("REDIS_SENTINEL_NAME")
            .fact("host")
            .fact("shared")
            .fact("group")
            .hosts_with(["replicas"])
            .fact("can-install")
            .fact("package-manager")
            .fact("program:redis-server")
            .fact("candidate:redis-server")
            .fact(INSTALLED)
            .package(SERVER)
            .package(TOOLS)
            .program(SERVER)
            .program(CLIENT)
            .program(backup::CHECK)
            .program("rm")
            .program("mkdir")
            .program("cp")
            .fixed_port(replicas::PORT)
            .fixed_port(replicas::SENTINEL_PORT)
            .secret(PASSWORD)
    }

    fn required_packages(context: &Context) -> Result<Vec<Package>, Problem> {
        let settings = Settings::of(context)?;
        let release = Release::choose(context, &settings)?;
        // Before it is installed: a Redis that is started again meanwhile would be the new one.
        check_data(context, &release.version, &settings)?;
        Ok(release.packages())
    }

    fn prepare_deploy(context: &Context) -> Result<Plan, Problem> {
        let settings = Settings::of(context)?;
        let release = Release::choose(context, &settings)?;
        check_data(context, &release.version, &settings)?;
        let replicas = Replicas::of(context, &settings)?;
        let shared = replicas.is_some() || context.fact("shared") == Some("true");
        let host = context.fact("host").filter(|host| shared && *host != LOOPBACK);
        let configuration =
            Configuration { settings: &settings, host, build: &release.build, replicas: replicas.as_ref() };
        let (path, content) = (configuration.path(), configuration.text());
        let plan = Plan::new()
            .file(&path, content, 0o600)
            .file(backup::MANIFEST_PATH, backup::MANIFEST, 0o600)
            .remember(WROTE, release.version.to_string());
        let plan = match wrote(context).is_some_and(|wrote| wrote.major < release.version.major) {
            // There is no other way back.
            true => plan.backup_first(),
            false => plan,
        };
        if let Some(replicas) = replicas {
            return Ok(replicas.plan(plan, &path));
        }
        let process = Process::new("redis")
            .argv([SERVER, &path])
            .env("REDISCLI_AUTH", format!("{{secret:{PASSWORD}}}"))
            .cwd("{data}")
            .port("redis")
            .health_command([CLIENT, "-e", "-p", "{port:redis}", "ping"])
            .start_timeout(START)
            .stop_timeout(STOP)
            .not_beside();
        Ok(plan
            .process(process)
            .value("REDIS_URL", format!("redis://:{{secret:{PASSWORD}}}@{{host}}:{{port:redis}}/0")))
    }
}

impl SetupHook for RedisHook {
    fn started(context: &Context, results: &[CommandResult]) -> Result<Next, Problem> {
        let settings = Settings::of(context)?;
        Ok(Replicas::of(context, &settings)?.map_or(Next::Done, |replicas| replicas.started(results)))
    }
}

/// Which Redis wrote the data; none where there is none yet.
fn wrote(context: &Context) -> Option<Version> {
    context.remembered(WROTE).and_then(Version::parse)
}

/// Whether a Redis may be given the data of the one before.
///
/// A newer one reads what an older one wrote, and writes what the older one may not read: there is no way back but a
/// backup. Releases that differ in the last number alone write the same.
fn check_data(context: &Context, now: &Version, settings: &Settings) -> Result<(), Problem> {
    let Some(wrote) = wrote(context) else { return Ok(()) };
    let service = context.service();
    let asked = settings.version();
    if now < &wrote && (now.major, now.minor) != (wrote.major, wrote.minor) {
        return Err(Problem::new(format!(
            "the data was written by Redis {wrote}, and Redis {now} may not be able to read it"
        ))
        .hint(format!(
            "keep Redis {}.{}, or begin with an empty service under another name",
            wrote.major, wrote.minor
        )));
    }
    if now < &wrote && asked.as_deref() != Some(now.to_string().as_str()) {
        return Err(Problem::new(format!("the data was written by Redis {wrote}, and Redis {now} is older")).hint(format!(
            "keep Redis {wrote}; or, to go back to exactly that one, write `version = \"{now}\"` below [services.{service}] \
             in jecloud.toml"
        )));
    }
    let is_asked = asked.is_some_and(|asked| asked.split('.').next() == Some(&now.major.to_string()));
    if now.major > wrote.major && !is_asked {
        return Err(Problem::new(format!(
            "the data was written by Redis {wrote}; this would make it that of Redis {now}, with no way back"
        ))
        .hint(format!("to do that, write `version = \"{}\"` below [services.{service}] in jecloud.toml", now.major)));
    }
    Ok(())
}

jecloud_sdk::export!(RedisHook, setup, backup);
