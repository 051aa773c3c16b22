//! Deployments that are killed.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use jecloud_cloud::End;

use crate::cloud::TestCloud;

const SIGKILL: i32 = 9;

/// `deployer HOME CONTENT`: deploys to two servers.
pub(crate) fn deployer(args: &[String]) -> ExitCode {
    let cloud = TestCloud::at(PathBuf::from(&args[0]));
    match cloud.deploy(&args[1], 2, &[]).1.end {
        End::Serving => ExitCode::SUCCESS,
        end => {
            eprintln!("{end:?}");
            ExitCode::FAILURE
        }
    }
}

/// Deploys in a process of its own, with a fault; whether it was killed.
fn deploy(home: &Path, content: &str, fault: Option<&str>, log: Option<&Path>) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["deployer".as_ref(), home.as_os_str()]).arg(content);
    command.env_remove("JECLOUD_FAULT").env_remove("JECLOUD_FAULT_LOG");
    if let Some(fault) = fault {
        command.env("JECLOUD_FAULT", fault);
    }
    if let Some(log) = log {
        command.env("JECLOUD_FAULT_LOG", log);
    }
    let status = command.status().unwrap();
    let killed = status.signal() == Some(SIGKILL);
    assert!(killed || status.success(), "{fault:?}: {status}");
    killed
}

pub(crate) fn killed_at_every_point_and_again() {
    // Which points a deployment passes, and how often.
    let (quiet, log) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    assert!(!deploy(quiet.path(), "one", None, Some(log.path())));
    let text = std::fs::read_to_string(log.path()).unwrap();
    let mut points = Vec::new();
    for name in text.lines().filter(|name| name.starts_with("cloud.")) {
        let hit = points.iter().filter(|(seen, _)| *seen == name).count() + 1;
        points.push((name, hit));
    }
    for name in ["cloud.state.put", "cloud.state.put.done", "cloud.store.put", "cloud.server.create"] {
        assert!(points.iter().any(|(seen, _)| *seen == name), "{name} is not passed: {points:?}");
    }
    for name in ["cloud.server.put", "cloud.server.hand", "cloud.server.proceed", "cloud.server.commit"] {
        assert!(points.iter().any(|(seen, _)| *seen == name), "{name} is not passed: {points:?}");
    }
    for (index, (name, hit)) in points.iter().enumerate() {
        let home = tempfile::tempdir().unwrap();
        let fault = format!("{name}#{hit}=crash");
        assert!(deploy(home.path(), "one", Some(&fault), None), "{fault} killed nobody");
        // Somebody else goes on, is killed too, and then a third one finishes.
        let (next, _) = points[(index + 1) % points.len()];
        deploy(home.path(), "two", Some(&format!("{next}#1=crash")), None);
        deploy(home.path(), "three", None, None);
        let cloud = TestCloud::at(home.path().to_owned());
        assert_eq!(cloud.roll(None, &mut ()).unwrap().end, End::Settled, "{fault}");
        let environment = cloud.environment();
        assert!(environment.releases.iter().all(|recorded| !recorded.is_pending()), "{fault}: {environment:#?}");
        assert_eq!(environment.servers.len(), 2, "{fault}");
        let last = environment.newest().unwrap().release.number;
        assert_eq!(environment.serving, Some(last), "{fault}");
        for server in ["app-1", "app-2"] {
            let document = cloud.document(server);
            assert_eq!((document.current_release, document.deployment), (Some(last), None), "{fault}: {server}");
        }
        // What each of them was about to do is done once: no number is missing.
        assert_eq!(environment.releases.len() as u64, last.0, "{fault}");
        assert!(cloud.home().exists());
    }
}
