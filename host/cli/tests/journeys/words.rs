//! What needs no app: help, completions, the version, and slips of the finger.

use jecloud_testkit::World;

use crate::world;

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A summary that goes on on the next line is indented further.
    let names = list.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

/// How many help texts there are from here downwards.
#[track_caller]
fn read_help(world: &World, command: &[&str]) -> usize {
    let with = |flag| command.iter().copied().chain([flag]).collect::<Vec<_>>();
    let help = world.jecloud(&with("--help")).ok();
    assert!(help.stdout.contains("Usage: jecloud"), "{}", help.said());
    assert_eq!(help.stderr, "");
    world.jecloud(&with("-h")).ok();
    let below = commands(&help.stdout);
    1 + below.iter().map(|name| read_help(world, &with(name))).sum::<usize>()
}

#[test]
fn every_command_explains_itself() {
    let world = world();
    let all = read_help(&world, &[]);
    assert!(all >= 27, "only {all} commands explain themselves");
    read_help(&world, &["update-server"]);
    insta::assert_snapshot!(world.jecloud(&["--help"]).ok().stdout, @"
    The cloud stack in one binary: turns a directory into a running, supervised, health-checked
    application

    Usage: jecloud [OPTIONS] <COMMAND>

    Commands:
      init         Look at a directory and write a commented jecloud.toml for it
      deploy       Deploy the app: pack, build, start beside the old version, switch
      plan         Show exactly what deploy would do, and do nothing
      upgrade      Move to newer versions than jecloud.lock holds; deploy never does by itself
      status       Show what runs, where, and how well
      releases     List the releases, the newest first
      rollback     Go back to an earlier release, without building anything
      logs         Show what the app's processes write
      ssh          Open a shell on a server
      scale        Want so many servers of a group, or so many of a process: app=3, web=4
      ps           List the processes
      run          Run a command once, where and as the app's processes run
      env          Show or change environment variables; changes are a new release
      backup       Back the data of services up, into the app's store
      backups      List the backups of an environment, or delete some
      restore      Replace the data of a service by what is in a backup
      destroy      Delete an environment of the app, with its data, after a last backup
      fwd          Finish what was begun, from wherever it stopped
      doctor       Look for what is not as it should be: servers, permissions, left-overs
      state        Look at the cloud state, or mend it by hand
      hook         Add and look at service hooks
      completions  Print a completion script for a shell
      version      Print the version

    Options:
      -e, --env <ENV>        The environment of the app [default: production]
      -C, --directory <DIR>  The app's directory, or one below it [default: this one]
      -y, --yes              Answer yes to every question
      -h, --help             Print help
      -V, --version          Print version

    Exit codes: 0 done; 1 failed, the old version serves; 2 wrong usage or configuration;
    3 lost a race; 4 recorded but not reachable; 130 interrupted.

    JECLOUD_HOME is where everything is kept that runs on this machine.
    ");
    assert!(!world.server().join("sys/server.json").exists(), "reading help makes nothing");
}

#[test]
fn slips_of_the_finger_are_wrong_usage() {
    let world = world();
    world.jecloud(&["deploi"]).code(2).says("a similar subcommand exists: 'deploy'");
    world.jecloud(&["status", "--jsn"]).code(2).says("--json");
    world.jecloud(&["status", "-e", "My Env"]).code(2).says("is not a valid environment name");
    world.jecloud(&[]).code(2).says("Usage: jecloud");
}

#[test]
fn completions_are_scripts_for_each_shell() {
    let world = world();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        world.jecloud(&["completions", shell]).ok().says("rollback");
    }
    let script = world.jecloud(&["completions", "bash"]).ok().stdout;
    let complete = format!(
        "{script}\nCOMP_WORDS=(jecloud roll); COMP_CWORD=1; _jecloud jecloud roll jecloud; echo ${{COMPREPLY[@]}}"
    );
    let completed = world.run("bash", &["-c", &complete]).ok();
    assert_eq!(completed.stdout.trim(), "rollback", "{}", completed.said());
    world.jecloud(&["completions", "tcsh"]).code(2);
}

#[test]
fn the_version_is_told() {
    let world = world();
    let version = format!("jecloud {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(world.jecloud(&["version"]).ok().stdout, version);
    assert_eq!(world.jecloud(&["--version"]).ok().stdout, version);
    let json = world.jecloud(&["version", "--json"]).ok().json();
    assert_eq!((&json["version"], &json["os"]), (&env!("CARGO_PKG_VERSION").into(), &"linux".into()));
}
