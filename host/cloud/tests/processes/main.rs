//! What takes several processes: writers that share a directory, and roll-forwards with servers that are processes.
//!
//! This program is its own helper: started with `update-server` it is a small server, with `writer` or `deployer` it is
//! somebody else at work. Without, it runs the checks, or those whose names contain the first argument.

#![expect(clippy::disallowed_methods, reason = "the tests start and look at processes and files by hand")]

mod cloud;
mod crashes;
mod deployments;
mod server;
mod writers;

use std::panic::catch_unwind;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("update-server") => return server::run(&args[1..]),
        Some("writer") => return writers::writer(&args[1..]),
        Some("deployer") => return crashes::deployer(&args[1..]),
        _ => {}
    }
    let checks: &[(&str, fn())] = &[
        ("processes_share_a_directory", writers::processes_share_a_directory),
        ("the_first_deployment_and_an_idle_round", deployments::the_first_deployment_and_an_idle_round),
        ("a_release_that_fails_changes_nothing", deployments::a_release_that_fails_changes_nothing),
        ("several_servers_switch_together", deployments::several_servers_switch_together),
        ("nobody_switches_when_one_fails", deployments::nobody_switches_when_one_fails),
        ("a_server_that_was_away_catches_up", deployments::a_server_that_was_away_catches_up),
        ("a_lost_race_is_told", deployments::a_lost_race_is_told),
        ("two_roll_forwards_do_the_work_once", deployments::two_roll_forwards_do_the_work_once),
        ("a_server_that_refuses_backs_off", deployments::a_server_that_refuses_backs_off),
        ("servers_come_and_go_with_the_scale", deployments::servers_come_and_go_with_the_scale),
        ("destroy_leaves_nothing", deployments::destroy_leaves_nothing),
        ("it_can_be_cancelled", deployments::it_can_be_cancelled),
        ("servers_that_fell_asleep_are_woken", deployments::servers_that_fell_asleep_are_woken),
        ("killed_at_every_point_and_again", crashes::killed_at_every_point_and_again),
    ];
    let wanted = args.iter().find(|arg| !arg.starts_with('-'));
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, check) in checks.iter().filter(|(name, _)| wanted.is_none_or(|wanted| name.contains(&**wanted))) {
        if catch_unwind(check).is_ok() {
            println!("test {name} ... ok");
            passed += 1;
        } else {
            println!("test {name} ... FAILED");
            failed.push(*name);
        }
    }
    println!("\ntest result: {passed} passed; {} failed", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
