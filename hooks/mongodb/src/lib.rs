//! The MongoDB service hook: a replica set for an app and environment, behind passwords that nobody has to know.
//!
//! It is a set from the start, of one member at first, so that growing needs no migration. It listens on the server's own
//! loopback interface, and where what runs on other servers needs it, on the address by which they reach it. What a driver
//! gets acknowledged is in the journal on the disk. The app is told where it is in `MONGODB_URL` and `MONGO_URL`.

mod backup;
mod configuration;
mod members;
pub mod release;
pub mod settings;
mod shell;
pub mod version;

use std::time::Duration;

use jecloud_sdk::{
    CommandResult, Context, Description, Member, Next, Package, Plan, Problem, Process, ServiceHook, SetupHook,
    TopologyHook,
};

use configuration::Configuration;
use members::Members;
use release::{KEYS, REPOSITORIES, Release, SERVER_PACKAGE, SHELL_PACKAGE};
use settings::Settings;
use shell::{Script, State};
use version::{Series, Step};

/// The MongoDB service hook.
#[derive(Debug)]
pub struct MongoHook;

/// The program.
const SERVER: &str = "mongod";

/// The program that asks and tells it something.
const SHELL: &str = "mongosh";

/// The secret by which members of the set know each other, and this hook is let in. The host makes it.
const KEY: &str = "mongodb-key";

/// The secret of the app's user. The host makes it.
const PASSWORD: &str = "mongodb-password";

/// Where mongod reads its key.
const KEY_FILE: &str = "{data}/key";

/// The name of the port.
const PORT: &str = "mongodb";

/// The name of the set: the same everywhere, since it is written into the data.
const SET: &str = "rs0";

/// Where it is reached by what runs on the same server.
const LOOPBACK: &str = "127.0.0.1";

/// Under which name the last plan said which MongoDB wrote the data.
const WROTE: &str = "version";

/// How long it may take after a start until the journal is replayed.
const START: Duration = Duration::from_secs(10 * 60);

/// How long writing everything down may take at the end: mongod does it at SIGTERM.
const STOP: Duration = Duration::from_secs(5 * 60);

/// What lies beside the data, for those who find it.
const README: &str = "Only MongoDB may change what is in here. A copy that is made while it runs cannot be used.\n";

impl ServiceHook for MongoHook {
    fn describe() -> Description {
        Description::new("mongodb", env!("CARGO_PKG_VERSION"), "MongoDB: a database of documents, as a replica set")
            .settings_schema(settings::SCHEMA)
            .gives("MONGODB_URL")
            .gives("MONGO_URL")
            .fact("host")
            .fact("shared")
            .fact("group")
            .hosts_with(["replicas"])
            .fixed_port(members::FIXED_PORT)
            .fact("distribution")
            .fact("can-install")
            .fact("program:mongod")
            .fact("program:mongosh")
            .fact("installed:mongodb-org-server")
            .fact("installed:mongodb-mongosh")
            .package(SERVER_PACKAGE)
            .package(SHELL_PACKAGE)
            .repository(REPOSITORIES)
            .repository(KEYS)
            .program(SERVER)
            .program(SHELL)
            .secret(KEY)
            .secret(PASSWORD)
    }

    fn required_packages(context: &Context) -> Result<Vec<Package>, Problem> {
        let settings = Settings::of(context)?;
        let release = Release::choose(context, &settings)?;
        // What cannot be is not installed either.
        check_data(context, release.series)?;
        Ok(release.packages())
    }

    fn prepare_deploy(context: &Context) -> Result<Plan, Problem> {
        let settings = Settings::of(context)?;
        let release = Release::choose(context, &settings)?;
        let step = check_data(context, release.series)?;
        let members = Members::of(context, &settings)?;
        let members = members.as_ref();
        let shared = members.is_some() || context.fact("shared") == Some("true");
        let host = context.fact("host").filter(|host| shared && *host != LOOPBACK);
        let port = members::port(members);
        let configuration = Configuration { settings: &settings, version: &release.version, host, port };
        let (path, content) = (configuration.path(), configuration.text());
        let process = Process::new("mongodb")
            .argv([SERVER, "--config", &path])
            .cwd("{data}")
            .port(members::port_name(members))
            .health_port(members::port_name(members))
            .start_timeout(START)
            .stop_timeout(STOP)
            .not_beside();
        let (addresses, options) = members::place(members);
        let url = format!(
            "mongodb://{user}:{{secret:{PASSWORD}}}@{addresses}/{database}?{options}",
            user = context.app(),
            database = settings.database(context),
        );
        let plan = Plan::new()
            .file(path, content, 0o600)
            .file(KEY_FILE, format!("{{secret:{KEY}}}\n"), 0o600)
            .file("{data}/db/README", README, 0o600)
            .process(process)
            .value("MONGODB_URL", &url)
            .value("MONGO_URL", url)
            .remember(WROTE, release.version);
        let plan = match members {
            Some(members) => plan.remember(members::WERE, members.count().to_string()),
            None => plan,
        };
        let plan = shell::files(plan);
        Ok(match step {
            Step::Same => plan,
            Step::Raised => plan.backup_first(),
        })
    }

    /// A newer series serves: from now on its data is not that of the one before any more.
    fn deployed(context: &Context, results: &[CommandResult]) -> Result<Next, Problem> {
        let settings = Settings::of(context)?;
        let series = Release::choose(context, &settings)?.series;
        let is_another_servers = Members::of(context, &settings)?.is_some_and(|members| !members.is_first());
        if is_another_servers || context.remembered(WROTE).and_then(Series::of).is_none_or(|wrote| wrote == series) {
            return Ok(Next::Done);
        }
        match results.last() {
            None => Ok(Next::Again(vec![shell::raise(series, context, &settings)])),
            Some(result) => shell::printed(result).map(|_| Next::Done),
        }
    }
}

impl SetupHook for MongoHook {
    fn started(context: &Context, results: &[CommandResult]) -> Result<Next, Problem> {
        let settings = Settings::of(context)?;
        if Members::of(context, &settings)?.is_some_and(|members| !members.is_first()) {
            // The first one makes the set, and takes the others into it.
            return Ok(Next::Done);
        }
        let Some(last) = results.last() else {
            return Ok(Next::Again(vec![shell::run(Script::Look, context, &settings)]));
        };
        let state = State::of(last)?;
        if state.is_set_up() {
            return Ok(Next::Done);
        }
        match results.len() {
            1 => Ok(Next::Again(vec![shell::run(Script::SetUp, context, &settings)])),
            _ if state.set => Err(Problem::new("MongoDB has a user for the app by now, and does not let it in")),
            _ => Err(Problem::new("MongoDB was set up, and is not the primary of its set all the same")
                .hint("`jecloud logs` shows what it says.")),
        }
    }
}

impl TopologyHook for MongoHook {
    /// The set says itself who is in it, which is true also where this server has just taken the place of another one.
    fn reshape(context: &Context, _: &[Member], _: &[Member], results: &[CommandResult]) -> Result<Next, Problem> {
        let settings = Settings::of(context)?;
        match results.last() {
            _ if Members::of(context, &settings)?.is_none() => Ok(Next::Done),
            None => Ok(Next::Again(vec![shell::run(Script::Reshape, context, &settings)])),
            Some(result) => shell::printed(result).map(|_| Next::Done),
        }
    }
}

/// Whether the data, if there is any, may be given to a MongoDB of this series, and what that makes of it.
fn check_data(context: &Context, now: Series) -> Result<Step, Problem> {
    match context.remembered(WROTE) {
        Some(wrote) => version::check_data(wrote, now, context.service()),
        None => Ok(Step::Same),
    }
}

jecloud_sdk::export!(MongoHook, setup, backup, topology);
