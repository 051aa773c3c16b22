//! The command line's grammar.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use jecloud_model::cloud::Basis;
use jecloud_model::cloud::ServerName;
use jecloud_model::ids::{
    AppName, BackupId, Digest, EnvironmentName, ProcessName, ReleaseNumber, ServiceName, VersionId,
};

/// The cloud stack in one binary: turns a directory into a running, supervised, health-checked application.
#[derive(Debug, Parser)]
#[command(
    name = "jecloud",
    version,
    propagate_version = false,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done; 1 failed, the old version serves; 2 wrong usage or configuration;\n3 lost a race; 4 recorded but not reachable; 130 interrupted.\n\nJECLOUD_HOME is where everything is kept that runs on this machine."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The environment of the app
    #[arg(short, long, global = true, default_value = "production", value_name = "ENV", value_parser = own_environment)]
    pub(crate) env: EnvironmentName,
    /// The app's directory, or one below it [default: this one]
    #[arg(short = 'C', long = "directory", global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) directory: Option<PathBuf>,
    /// Answer yes to every question
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,
}

/// An environment that somebody may have: those in which backups are tried out are nobody's.
fn own_environment(text: &str) -> Result<EnvironmentName, String> {
    let name: EnvironmentName = text.parse().map_err(|error: jecloud_model::ids::InvalidId| error.to_string())?;
    match name.is_scratch() {
        true => Err(format!("{name} is what JeCloud calls a place in which it tries a backup out")),
        false => Ok(name),
    }
}

/// One verb each.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look at a directory and write a commented jecloud.toml for it
    Init {
        /// The app's directory [default: this one]
        #[arg(value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
    /// Deploy the app: pack, build, start beside the old version, switch
    Deploy {
        /// The app's directory [default: this one]
        #[arg(value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
        /// Deploy even if nothing changed: every process is replaced
        #[arg(long)]
        force: bool,
        /// Print what came of it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show exactly what deploy would do, and do nothing
    Plan {
        /// The app's directory [default: this one]
        #[arg(value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Move to newer versions than jecloud.lock holds; deploy never does by itself
    #[command(after_help = "Exit codes with --check: 0 nothing is newer; 10 something is.")]
    Upgrade {
        /// Only these services [default: all]
        services: Vec<jecloud_model::ids::ServiceName>,
        /// Change nothing: the exit code says whether there is something newer
        #[arg(long)]
        check: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what runs, where, and how well
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the releases, the newest first
    Releases {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Go back to an earlier release, without building anything
    Rollback {
        /// As `jecloud releases` lists it: r7 [default: the one that served before]
        release: Option<ReleaseNumber>,
        /// Print what came of it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what the app's processes write
    Logs {
        /// Go on as more is written
        #[arg(short, long)]
        follow: bool,
        /// How many lines to begin with
        #[arg(short = 'n', long, default_value_t = 100, value_name = "N")]
        lines: usize,
        /// Only lines since then: 10m, 2h, 3d, or 2026-11-24T07:45:00Z
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Only this process: web, or web.1
        #[arg(short, long, value_name = "NAME")]
        process: Option<String>,
        /// Print a JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Open a shell on a server
    Ssh {
        /// As `jecloud status` calls it: app-1 [default: the first]
        server: Option<ServerName>,
    },
    /// Want so many servers of a group, or so many of a process: app=3, web=4
    Scale {
        /// NAME=COUNT, where NAME is a group of servers or a process; where it is both, servers.NAME or processes.NAME
        #[arg(required = true, value_name = "NAME=COUNT")]
        wishes: Vec<String>,
        /// Print what came of it as JSON
        #[arg(long)]
        json: bool,
    },
    /// List the processes
    Ps {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a command once, where and as the app's processes run
    Run {
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Show or change environment variables; changes are a new release
    Env {
        #[command(subcommand)]
        action: Option<EnvAction>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Back the data of services up, into the app's store
    Backup {
        /// Which [default: every service that can be backed up]
        service: Option<ServiceName>,
        /// Restore it into a scratch instance, and compare what is found there
        #[arg(long)]
        verify: bool,
        /// Print what came of it as JSON
        #[arg(long)]
        json: bool,
    },
    /// List the backups of an environment, or delete some
    Backups {
        #[command(subcommand)]
        action: Option<BackupsAction>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Replace the data of a service by what is in a backup
    Restore {
        /// Which service
        service: ServiceName,
        /// As `jecloud backups` lists it, or what it begins or ends with [default: the newest]
        backup: Option<String>,
        /// Into this environment [default: the one that the backup is of]
        #[arg(long, value_name = "ENV", value_parser = own_environment)]
        into: Option<EnvironmentName>,
    },
    /// Delete an environment of the app, with its data, after a last backup
    Destroy {
        /// Make no last backup
        #[arg(long)]
        no_backup: bool,
    },
    /// Finish what was begun, from wherever it stopped
    Fwd {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Look for what is not as it should be: servers, permissions, left-overs
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Look at the cloud state, or mend it by hand
    State {
        #[command(subcommand)]
        action: StateAction,
    },
    /// Add and look at service hooks
    Hook {
        #[command(subcommand)]
        action: HookAction,
    },
    /// Print a completion script for a shell
    Completions {
        /// Which
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// What a server is told
    #[command(hide = true)]
    UpdateServer {
        /// The server's directory
        #[arg(long, global = true, value_name = "DIR")]
        root: Option<PathBuf>,
        /// The state on which this is based; an older one is refused
        #[arg(long, global = true, value_name = "CLOUD:GENERATION")]
        basis: Option<Basis>,
        #[command(subcommand)]
        action: ServerAction,
    },
    /// The process manager
    #[command(hide = true)]
    Supervisor {
        /// The server's directory
        #[arg(long)]
        root: PathBuf,
    },
    /// The HTTP reverse proxy
    #[command(hide = true)]
    Front {
        /// The server's directory
        #[arg(long)]
        root: PathBuf,
        /// Take the place of the front that runs
        #[arg(long)]
        replace: bool,
    },
    /// Compiles a component from standard input to standard output, within limits
    #[command(hide = true)]
    CompileHook,
}

/// `jecloud env …`
#[derive(Debug, Subcommand)]
pub(crate) enum EnvAction {
    /// List the variables
    Ls,
    /// Set variables and deploy them
    Set {
        /// NAME=VALUE; with --secret the NAME alone
        #[arg(required = true, value_name = "NAME=VALUE")]
        variables: Vec<String>,
        /// A secret: its value is asked for, or read from standard input, and never shown
        #[arg(long)]
        secret: bool,
    },
    /// Take variables away that were set, and deploy that
    Unset {
        /// Their names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

/// `jecloud backups …`
#[derive(Debug, Subcommand)]
pub(crate) enum BackupsAction {
    /// List them, the newest first
    Ls,
    /// Delete backups for good
    Delete {
        /// As listed, or what they begin or end with
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

/// `jecloud state …`
#[derive(Debug, Subcommand)]
pub(crate) enum StateAction {
    /// Print it
    Show {
        /// An earlier one, as `history` lists it
        id: Option<String>,
    },
    /// Change it with $VISUAL or $EDITOR
    Edit {
        /// Begin with an earlier one, as `history` lists it
        #[arg(long, value_name = "ID")]
        from: Option<String>,
    },
    /// Put an earlier one in its place: where it was deleted or damaged, the newest that can be used
    Restore {
        /// Which, as `history` lists it
        id: Option<String>,
    },
    /// List earlier ones, the newest first
    History {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// `jecloud hook …`
#[derive(Debug, Subcommand)]
pub(crate) enum HookAction {
    /// Show what a component needs, ask, and record it in jecloud.lock
    Add {
        /// A WebAssembly component, or a core module with embedded component metadata
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// The service it is to serve [default: its own name]
        #[arg(long)]
        name: Option<ServiceName>,
    },
    /// List built-in and added hooks
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a hook out of jecloud.lock
    Rm {
        /// The service
        name: ServiceName,
    },
    /// Show what a component is and needs
    Inspect {
        /// A file, or the name of a built-in or added hook
        hook: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// `jecloud update-server …`
#[derive(Debug, Subcommand)]
pub(crate) enum ServerAction {
    /// Make the server's directory
    Init {
        /// Addresses for the front
        #[arg(long)]
        listen: Vec<std::net::SocketAddr>,
    },
    /// Say what is there
    Status {
        #[arg(long)]
        app: Option<AppName>,
        #[arg(long)]
        environment: Option<EnvironmentName>,
    },
    /// Say which of the objects on standard input are missing
    Want,
    /// Put an archive in place
    PutArchive { app: AppName, environment: EnvironmentName, version: VersionId, file: PathBuf },
    /// Put a hook in place
    PutHook { digest: Digest, file: PathBuf },
    /// Keep the secrets on standard input
    PutSecrets { app: AppName, environment: EnvironmentName },
    /// Record the release on standard input and begin with it
    Deploy { version: VersionId },
    /// Let a release start that waits for the release commands of other servers
    Proceed { app: AppName, environment: EnvironmentName, release: ReleaseNumber },
    /// Let a release that is held go on
    Commit { app: AppName, environment: EnvironmentName, release: ReleaseNumber },
    /// Give up a release that is not switched yet
    Abort { app: AppName, environment: EnvironmentName, release: ReleaseNumber },
    /// Tell the events of a release until its end
    Follow { app: AppName, environment: EnvironmentName, release: ReleaseNumber },
    /// Delete everything of an environment
    Destroy { app: AppName, environment: EnvironmentName },
    /// Finish what was begun
    Rollforward {
        #[arg(long)]
        app: Option<AppName>,
        #[arg(long)]
        environment: Option<EnvironmentName>,
        /// Say nothing where there is nothing to do
        #[arg(long)]
        quiet: bool,
    },
    /// Say what the deployment on standard input would do here
    Plan,
    /// Tell what the processes write
    Logs {
        app: AppName,
        environment: EnvironmentName,
        #[arg(long)]
        lines: usize,
        #[arg(long)]
        since: Option<String>,
        #[arg(long)]
        process: Option<String>,
        #[arg(long)]
        follow: bool,
    },
    /// Run a command as the app's processes run
    Run {
        app: AppName,
        environment: EnvironmentName,
        #[arg(required = true, last = true)]
        command: Vec<String>,
    },
    /// Tell the exact versions that a release resolved to
    Pins { app: AppName, environment: EnvironmentName, release: ReleaseNumber },
    /// Keep the key on standard input, with which backups are sealed
    PutBackupKey { app: AppName, environment: EnvironmentName },
    /// Record that a backup is wanted and begin with it
    Backup {
        app: AppName,
        environment: EnvironmentName,
        service: ServiceName,
        id: BackupId,
        /// Restore it into a scratch instance and compare
        #[arg(long)]
        verify: bool,
        /// The schedule asks for it
        #[arg(long)]
        scheduled: bool,
    },
    /// Say what is known of backups
    Backups { app: AppName, environment: EnvironmentName },
    /// Remove a backup that is at its end
    ForgetBackup { app: AppName, environment: EnvironmentName, id: BackupId },
    /// Take a sealed file, of which the manifest is on standard input, and begin to bring it back
    Restore { app: AppName, environment: EnvironmentName, service: ServiceName, file: PathBuf },
    /// End the process manager, the front and all processes
    Shutdown,
}

impl Cli {
    /// `logs -p` takes `web` or `web.1`.
    pub(crate) fn process_filter(text: &str) -> Result<(ProcessName, Option<u32>), jecloud_model::ids::InvalidId> {
        match text.split_once('.') {
            Some((name, index)) => {
                let id: jecloud_model::ids::InstanceId = format!("{name}.{index}").parse()?;
                Ok((id.process, Some(id.index)))
            }
            None => Ok((text.parse()?, None)),
        }
    }
}
