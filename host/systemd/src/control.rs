//! Telling and asking systemd, by `systemctl`: it needs no bus, and is there wherever systemd is.

use std::collections::BTreeMap;
use std::time::Duration;

use jecloud_launch::{Launch, RunLimits};
use rustix::time::{ClockId, clock_gettime};

use crate::error::SystemdError;

/// How long an answer may take: a machine that is very busy reads all of its units anew.
const TIMEOUT: Duration = Duration::from_secs(120);

/// No answer is longer: thousands of units.
const LONGEST_ANSWER: usize = 16 << 20;

/// What is asked of a unit.
const PROPERTIES: &str = "--property=Id,LoadState,ActiveState,SubState,Result,MainPID,NRestarts,NeedDaemonReload,\
                          ExecMainStartTimestampMonotonic,ExecMainCode,ExecMainStatus,StateChangeTimestampMonotonic";

/// What systemd says about a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// `loaded`, `not-found`, `bad-setting`.
    pub(crate) load: String,
    /// `active`, `activating`, `deactivating`, `inactive`, `failed`.
    pub(crate) active: String,
    /// `running`, `auto-restart`.
    pub(crate) sub: String,
    /// `success`, `exit-code`, `start-limit-hit`.
    pub(crate) result: String,
    /// 0 is none.
    pub(crate) pid: u32,
    /// How often it was started again since it was last told to start.
    pub(crate) restarts: u64,
    /// The file is another one than systemd has read.
    pub(crate) is_stale: bool,
    /// When its process was started; see [`now`].
    pub(crate) started: Option<Duration>,
    /// When it became what it is; see [`now`].
    pub(crate) changed: Option<Duration>,
    /// How its last process ended: a `CLD_` constant of `<signal.h>`, 0 where it has not.
    pub(crate) exit_code: i32,
    /// Its exit status, or the signal.
    pub(crate) exit_status: i32,
}

impl Shown {
    /// Whether nothing of it runs.
    pub(crate) fn has_ended(&self) -> bool {
        ["inactive", "failed"].contains(&self.active.as_str())
    }
}

/// Since the machine was started, without its sleep: the clock of the times that systemd says.
pub(crate) fn now() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

/// Tells systemd something about these units. Without units nothing is told.
pub(crate) fn systemctl(arguments: &[&str], units: &[&str]) -> Result<(), SystemdError> {
    if units.is_empty() {
        return Ok(());
    }
    call("systemctl", &[arguments, &["--"], units].concat()).map(drop)
}

/// Has systemd read all units anew.
pub(crate) fn reload() -> Result<(), SystemdError> {
    call("systemctl", &["daemon-reload"]).map(drop)
}

/// What systemd says about these units, and about all that it knows whose names are like these; by name. A unit that
/// nobody knows is there, too, as `not-found`.
pub(crate) fn show(units: &[&str]) -> Result<BTreeMap<String, Shown>, SystemdError> {
    let answer = call("systemctl", &[&["show", PROPERTIES, "--"], units].concat())?;
    Ok(answer.split("\n\n").filter_map(parse).collect())
}

fn parse(block: &str) -> Option<(String, Shown)> {
    let mut shown = Shown::default();
    let mut id = None;
    for line in block.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let time = || value.parse().ok().filter(|time| *time > 0).map(Duration::from_micros);
        match key {
            "Id" => id = Some(value.to_owned()),
            "LoadState" => value.clone_into(&mut shown.load),
            "ActiveState" => value.clone_into(&mut shown.active),
            "SubState" => value.clone_into(&mut shown.sub),
            "Result" => value.clone_into(&mut shown.result),
            "MainPID" => shown.pid = value.parse().unwrap_or_default(),
            "NRestarts" => shown.restarts = value.parse().unwrap_or_default(),
            "NeedDaemonReload" => shown.is_stale = value == "yes",
            "ExecMainStartTimestampMonotonic" => shown.started = time(),
            "StateChangeTimestampMonotonic" => shown.changed = time(),
            "ExecMainCode" => shown.exit_code = value.parse().unwrap_or_default(),
            "ExecMainStatus" => shown.exit_status = value.parse().unwrap_or_default(),
            _ => {}
        }
    }
    Some((id?, shown))
}

/// Runs a program of systemd's to its end, and returns what it wrote.
pub(crate) fn call(program: &str, arguments: &[&str]) -> Result<String, SystemdError> {
    let limits = RunLimits { timeout: TIMEOUT, keep_bytes: LONGEST_ANSWER };
    let launch = Launch::new(program)
        .args(arguments)
        // Words and numbers are read here.
        .variable("LC_ALL", "C")
        .variable("SYSTEMD_COLORS", "0")
        .cwd("/");
    let finished = jecloud_launch::run(launch, limits, &|| false, &mut |_, _| {})?;
    if finished.status.success() {
        return Ok(String::from_utf8_lossy(&finished.stdout).into_owned());
    }
    Err(SystemdError::Refused {
        command: format!("{program} {}", arguments.join(" ")),
        how: finished.status.to_string(),
        said: String::from_utf8_lossy(&finished.stderr).trim().replace('\n', "; "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_shows() {
        let block = "MainPID=54\nResult=success\nNRestarts=3\nExecMainStartTimestampMonotonic=28566373656\n\
                     ExecMainCode=0\nExecMainStatus=0\nId=jecloud-shop.production.web.1.7.service\nLoadState=loaded\n\
                     ActiveState=active\nSubState=running\nStateChangeTimestampMonotonic=0\nNeedDaemonReload=yes";
        let (id, shown) = parse(block).expect("a unit");
        assert_eq!(id, "jecloud-shop.production.web.1.7.service");
        let expected = Shown {
            load: "loaded".to_owned(),
            active: "active".to_owned(),
            sub: "running".to_owned(),
            result: "success".to_owned(),
            pid: 54,
            restarts: 3,
            is_stale: true,
            started: Some(Duration::from_micros(28_566_373_656)),
            changed: None,
            exit_code: 0,
            exit_status: 0,
        };
        assert_eq!(shown, expected);
        assert_eq!(parse(""), None);
    }
}
