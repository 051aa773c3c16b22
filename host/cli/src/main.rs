//! The `jecloud` command. This file chooses the verb and turns its failure into words and an exit code.

mod args;
mod backups;
mod commands;
mod compose;
mod failure;
mod fleet;
mod follow;
mod home;
mod hooks;
mod interrupt;
mod listen;
mod output;
mod project;
mod providers;
mod session;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Cli, Command};
use crate::failure::{Code, Failure};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(Code::Usage as u8) } else { ExitCode::SUCCESS };
        }
    };
    let json = wants_json(&cli.command);
    match run(cli) {
        Ok(code) => code,
        Err(failure) => {
            if json {
                output::print_json(&failure.to_json());
            } else {
                output::say(failure.render().trim_end());
            }
            ExitCode::from(failure.code as u8)
        }
    }
}

/// Whether the failure, too, is to be JSON on standard output.
fn wants_json(command: &Command) -> bool {
    use args::{HookAction, StateAction};

    match command {
        Command::Deploy { json, .. }
        | Command::Plan { json, .. }
        | Command::Upgrade { json, .. }
        | Command::Status { json }
        | Command::Releases { json }
        | Command::Rollback { json, .. }
        | Command::Logs { json, .. }
        | Command::Ps { json }
        | Command::Scale { json, .. }
        | Command::Env { json, .. }
        | Command::Fwd { json }
        | Command::Backup { json, .. }
        | Command::Backups { json, .. }
        | Command::Doctor { json }
        | Command::Version { json }
        | Command::State { action: StateAction::History { json } }
        | Command::Hook { action: HookAction::Ls { json } | HookAction::Inspect { json, .. } } => *json,
        Command::UpdateServer { .. } => true,
        _ => false,
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let global = &cli.global;
    match cli.command {
        Command::Init { dir } => commands::init::run(global, dir.as_deref())?,
        Command::Deploy { dir, force, json } => commands::deploy::run(global, dir.as_deref(), force, json)?,
        Command::Plan { dir, json } => commands::plan::run(global, dir.as_deref(), json)?,
        Command::Upgrade { services, check, json } => {
            return commands::upgrade::run(global, &commands::upgrade::Wish { services, check, json });
        }
        Command::Status { json } => commands::status::run(global, json)?,
        Command::Releases { json } => commands::releases::run(global, json)?,
        Command::Rollback { release, json } => commands::rollback::run(global, release, json)?,
        Command::Logs { follow, lines, since, process, json } => {
            commands::logs::run(global, &commands::logs::Wish { follow, lines, since, process, json })?;
        }
        Command::Ps { json } => commands::ps::run(global, json)?,
        Command::Ssh { server } => return commands::ssh::run(global, server.as_ref()),
        Command::Scale { wishes, json } => commands::scale::run(global, &wishes, json)?,
        Command::Run { command } => return commands::run::run(global, &command),
        Command::Env { action, json } => commands::env::run(global, action, json)?,
        Command::Backup { service, verify, json } => commands::backup::run(global, service.as_ref(), verify, json)?,
        Command::Backups { action, json } => commands::backups::run(global, action, json)?,
        Command::Restore { service, backup, into } => {
            commands::restore::run(global, &service, backup.as_deref(), into.as_ref())?;
        }
        Command::Destroy { no_backup } => commands::destroy::run(global, no_backup)?,
        Command::Fwd { json } => commands::fwd::run(global, json)?,
        Command::Doctor { json } => commands::doctor::run(global, json)?,
        Command::State { action } => commands::state::run(global, action)?,
        Command::Hook { action } => commands::hook::run(global, action)?,
        Command::Completions { shell } => commands::completions::run(shell),
        Command::Version { json } => commands::version::run(json),
        Command::UpdateServer { root, basis, action } => return commands::server::run(root, basis.as_ref(), action),
        Command::Supervisor { root } => commands::server::supervisor(root)?,
        Command::Front { root, replace } => commands::server::front(root, replace)?,
        Command::CompileHook => commands::server::compile_hook()?,
    }
    Ok(ExitCode::SUCCESS)
}
