//! Processes that write one state in a directory.

use std::path::Path;
use std::process::{Command, ExitCode};

use jecloud_cloud::{DirectoryStore, StateFile, SystemWorld};
use jecloud_model::cloud::Change;
use jecloud_model::ids::{AppName, EnvironmentName, Generation};

const WRITERS: usize = 4;
const CHANGES: usize = 25;

fn app() -> AppName {
    "guestbook".parse().unwrap()
}

/// `writer DIRECTORY NAME`: makes all its changes.
pub(crate) fn writer(args: &[String]) -> ExitCode {
    let (store, app) = (DirectoryStore::new(Path::new(&args[0])), app());
    let file = StateFile::new(&store, &app, &SystemWorld);
    for change in 0..CHANGES {
        let variables = [(args[1].clone(), change.to_string())].into();
        let state = file.update(Change::SetEnv { environment: EnvironmentName::production(), variables }).unwrap();
        assert_eq!(state.environments[&EnvironmentName::production()].env[&args[1]], change.to_string());
    }
    ExitCode::SUCCESS
}

pub(crate) fn processes_share_a_directory() {
    // Fails without the lock around the comparison and the exchange.
    let directory = tempfile::tempdir().unwrap();
    let start = |writer: usize| {
        Command::new(std::env::current_exe().unwrap())
            .args(["writer".as_ref(), directory.path().as_os_str()])
            .arg(format!("W{writer}"))
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..WRITERS).map(start).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let (store, app) = (DirectoryStore::new(directory.path()), app());
    let state = StateFile::new(&store, &app, &SystemWorld).read().unwrap().unwrap().state;
    assert_eq!(state.generation, Generation((WRITERS * CHANGES) as u64));
    let variables = &state.environments[&EnvironmentName::production()].env;
    assert_eq!(variables.len(), WRITERS);
    assert!(variables.values().all(|value| *value == (CHANGES - 1).to_string()), "{variables:?}");
}
