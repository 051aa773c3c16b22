//! What systemd says, in the words of a process manager.

use std::time::SystemTime;

use jecloud_model::processes::{Exit, ProcessSpec, ProcessState, ProcessStatus};
use jecloud_model::time::Timestamp;

use crate::control::{self, Shown};
use crate::name::UnitName;
use crate::plan::{Activity, AllSeen, AllWanted, SeenUnit, Wanted};

/// `CLD_EXITED` of `<signal.h>`.
const EXITED: i32 = 1;

/// `CLD_KILLED` and `CLD_DUMPED`.
const BY_SIGNAL: [i32; 2] = [2, 3];

/// What systemd itself cannot do before a program begins, by the exit status that it gives: man 5 systemd.exec.
const NOT_BEGUN: [(i32, &str); 6] = [
    (200, "its directory cannot be entered"),
    (203, "its program cannot be executed"),
    (216, "its group does not exist"),
    (217, "its user does not exist"),
    (226, "it cannot be fenced in (see `journalctl` on the server)"),
    (228, "its system calls cannot be filtered"),
];

/// What runs, or should; sorted by app, environment and id.
pub(crate) fn statuses(wanted: &AllWanted, seen: &AllSeen) -> Vec<ProcessStatus> {
    let nothing = SeenUnit::default();
    let mut all: Vec<ProcessStatus> =
        wanted.iter().map(|(name, wanted)| of_wanted(name, wanted, seen.get(name).unwrap_or(&nothing))).collect();
    all.extend(seen.iter().filter(|(name, _)| !wanted.contains_key(*name)).filter_map(|(name, unit)| {
        // It is ending, or will be asked to; what has ended is nobody's business.
        let runs = matches!(unit.activity, Activity::Alive | Activity::Ending);
        let spec = unit.spec.as_ref().filter(|_| runs)?;
        Some(ProcessStatus { state: ProcessState::Stopping, ..status(name, spec, &unit.shown) })
    }));
    all.sort_by(|a, b| (&a.app, &a.environment, &a.id).cmp(&(&b.app, &b.environment, &b.id)));
    all
}

fn of_wanted(name: &UnitName, wanted: &Wanted, unit: &SeenUnit) -> ProcessStatus {
    let status = status(name, &wanted.spec, &unit.shown);
    let is_same = unit.spec.as_ref() == Some(&wanted.spec);
    match unit.activity {
        Activity::Ending => ProcessStatus { state: ProcessState::Stopping, ..status },
        Activity::Alive if !is_same => ProcessStatus { state: ProcessState::Stopping, ..status },
        Activity::Alive if unit.shown.sub == "auto-restart" => ProcessStatus { state: ProcessState::BackOff, ..status },
        Activity::Alive if status.pid.is_some() => ProcessStatus { state: ProcessState::Running, ..status },
        Activity::Alive => status,
        Activity::Dead | Activity::Failed(_) => match &wanted.files {
            Err(why) => {
                ProcessStatus { state: ProcessState::BackOff, last_exit: Some(Exit::NotStarted(why.clone())), ..status }
            }
            Ok(_) if is_same && matches!(unit.activity, Activity::Failed(_)) => {
                ProcessStatus { state: ProcessState::BackOff, ..status }
            }
            Ok(_) => status,
        },
    }
}

/// One that waits, with what is known of its process.
fn status(name: &UnitName, spec: &ProcessSpec, shown: &Shown) -> ProcessStatus {
    let pid = Some(shown.pid).filter(|pid| *pid != 0);
    ProcessStatus {
        app: name.app.clone(),
        environment: name.environment.clone(),
        id: spec.id.clone(),
        service: spec.service.clone(),
        state: ProcessState::Waiting,
        pid,
        ports: spec.ports.clone(),
        restarts: shown.restarts,
        started: pid.and(shown.started).and_then(at),
        last_exit: exit(shown),
    }
}

/// A time of systemd's as people have it.
fn at(time: std::time::Duration) -> Option<Timestamp> {
    let ago = control::now().saturating_sub(time);
    SystemTime::now().checked_sub(ago).map(Timestamp::from_system)
}

fn exit(shown: &Shown) -> Option<Exit> {
    match (shown.exit_code, shown.exit_status) {
        (EXITED, status) => Some(match NOT_BEGUN.iter().find(|(known, _)| *known == status) {
            Some((_, why)) => Exit::NotStarted((*why).to_owned()),
            None => Exit::Status(status),
        }),
        (code, signal) if BY_SIGNAL.contains(&code) => Some(Exit::Signal(signal)),
        // It runs; how the one before ended is forgotten.
        _ => (shown.restarts > 0).then_some(Exit::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::unit::Files;
    use crate::unit::tests::{name, spec};

    fn shown(active: &str, sub: &str, pid: u32) -> Shown {
        Shown { active: active.to_owned(), sub: sub.to_owned(), pid, ..Shown::default() }
    }

    fn only(argv: &str, unit: SeenUnit) -> ProcessStatus {
        let files = Ok(Files { unit: String::new(), environment: String::new() });
        let wanted = AllWanted::from([(name("web.1@7"), Wanted { spec: spec("web.1@7", &[argv]), files })]);
        let mut all = statuses(&wanted, &AllSeen::from([(name("web.1@7"), unit)]));
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    fn unit(activity: Activity, shown: Shown) -> SeenUnit {
        SeenUnit { spec: Some(spec("web.1@7", &["/bin/x"])), activity, shown, ..SeenUnit::default() }
    }

    #[test]
    fn states() {
        let check = |activity, shown: Shown, state| {
            assert_eq!(only("/bin/x", unit(activity, shown.clone())).state, state, "{activity:?} {shown:?}");
        };
        check(Activity::Alive, shown("active", "running", 7), ProcessState::Running);
        check(Activity::Alive, shown("activating", "start", 0), ProcessState::Waiting);
        check(Activity::Alive, shown("activating", "auto-restart", 0), ProcessState::BackOff);
        check(Activity::Ending, shown("deactivating", "stop-sigterm", 7), ProcessState::Stopping);
        check(Activity::Dead, shown("inactive", "dead", 0), ProcessState::Waiting);
        check(Activity::Failed(Duration::ZERO), shown("failed", "failed", 0), ProcessState::BackOff);
    }

    /// Fails where the old process of a spec that changed counts as the new one: its health would be taken for that of
    /// the one that is to be started.
    #[test]
    fn what_runs_of_another_spec_is_ending() {
        let old = unit(Activity::Alive, shown("active", "running", 7));
        assert_eq!(only("/bin/y", old).state, ProcessState::Stopping);
    }

    #[test]
    fn what_is_not_wanted_and_has_ended_is_not_mentioned() {
        let of = |activity| {
            let unit = unit(activity, shown("", "", 0));
            statuses(&AllWanted::new(), &AllSeen::from([(name("web.1@7"), unit)])).len()
        };
        assert_eq!([of(Activity::Dead), of(Activity::Alive), of(Activity::Ending)], [0, 1, 1]);
    }

    #[test]
    fn exits() {
        let check = |code, status, restarts, expected| {
            let shown = Shown { exit_code: code, exit_status: status, restarts, ..Shown::default() };
            assert_eq!(exit(&shown), expected);
        };
        check(0, 0, 0, None);
        check(0, 0, 1, Some(Exit::Unknown));
        check(1, 3, 1, Some(Exit::Status(3)));
        check(2, 9, 1, Some(Exit::Signal(9)));
        check(3, 6, 1, Some(Exit::Signal(6)));
        check(1, 203, 0, Some(Exit::NotStarted("its program cannot be executed".to_owned())));
    }
}
