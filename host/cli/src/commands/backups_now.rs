//! What `jecloud status` says of backups: what failed, what is overdue, what waits to be collected.

use jecloud_model::backup::ServerBackup;
use jecloud_model::backup_policy::Schedule;
use jecloud_model::cloud::CloudState;
use jecloud_model::ids::{EnvironmentName, ServiceName};
use jecloud_model::time::Timestamp;

use crate::backups::{self, Sight};
use crate::output::{duration, red, yellow};
use crate::session::Session;

/// How the backups of an environment are.
#[derive(Default)]
pub(crate) struct BackupsNow {
    /// How many are complete on servers, and not in the store.
    waiting: usize,
    /// Services whose last backup failed, and the newest good one.
    failed: Vec<(ServerBackup, Option<Timestamp>)>,
    /// Services whose schedule should have made one, and the newest that there is.
    overdue: Vec<(ServiceName, Schedule, Option<Timestamp>)>,
    troubles: Vec<String>,
}

/// Looks at those of an environment; costs nothing where no service of it can be backed up.
pub(crate) fn of(session: &Session, state: Option<&CloudState>, name: &EnvironmentName) -> BackupsNow {
    let environment = state.and_then(|state| state.environments.get(name));
    let Some(environment) = environment else { return BackupsNow::default() };
    let policies = backups::policies(environment);
    let Some(serving) = environment.serving_release().filter(|_| !policies.is_empty()) else {
        return BackupsNow::default();
    };
    let sight: Sight = backups::look(session, state, name);
    let mut now =
        BackupsNow { waiting: sight.complete().count(), troubles: sight.troubles.clone(), ..BackupsNow::default() };
    for (service, policy) in policies {
        let newest = sight.newest(&service).map(|manifest| manifest.created);
        if let Some(failed) = sight.failed(&service) {
            now.failed.push((failed.clone(), newest));
        } else if let Some(schedule) = policy.schedule
            && schedule.is_overdue(newest, serving.release.created, backups::now())
        {
            now.overdue.push((service, schedule, newest));
        }
    }
    now
}

impl BackupsNow {
    /// A line for each thing that people should know.
    pub(crate) fn lines(&self, session: &Session, environment: &EnvironmentName) -> Vec<String> {
        let now = backups::now();
        let flag =
            if *environment == session.environment { session.environment_flag() } else { format!(" -e {environment}") };
        let newest = |newest: &Option<Timestamp>| match newest {
            Some(created) => format!("the newest good one is {} old", duration(now.since(*created))),
            None => "there is no good one".to_owned(),
        };
        let mut lines = Vec::new();
        for (backup, good) in &self.failed {
            let reason = backup.failure.as_ref().map_or("nobody said why", |failure| failure.reason.as_str());
            let text = format!("The backup {} of {} failed: {reason};", backup.id, backup.service);
            let hint = format!("{}. `jecloud backup {}{flag}` makes another.", newest(good), backup.service);
            lines.push(format!("{} {hint}", red(&text)));
        }
        for (service, schedule, good) in &self.overdue {
            let text = format!("The backup of {service} ({schedule}) is overdue:");
            let hint = format!(
                "{}. `jecloud fwd{flag}` has servers look what is due; `jecloud backup {service}{flag}` makes one now.",
                newest(good)
            );
            lines.push(format!("{} {hint}", red(&text)));
        }
        if self.waiting > 0 {
            let waiting = backups::number_in_words(self.waiting);
            let text = format!("{waiting} on servers, not in the store yet:");
            lines.push(format!("{} `jecloud fwd{flag}` collects.", yellow(&text)));
        }
        lines.extend(self.troubles.iter().map(|trouble| format!("{} {trouble}", yellow("note:"))));
        lines
    }

    /// For `--json`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let failed: Vec<serde_json::Value> = self
            .failed
            .iter()
            .map(|(backup, newest)| {
                serde_json::json!({
                    "id": backup.id, "service": backup.service, "scheduled": backup.scheduled,
                    "failure": backup.failure, "newest_good": newest,
                })
            })
            .collect();
        let overdue: Vec<serde_json::Value> = self
            .overdue
            .iter()
            .map(|(service, schedule, newest)| {
                serde_json::json!({"service": service, "schedule": schedule, "newest_good": newest})
            })
            .collect();
        serde_json::json!({
            "waiting": self.waiting, "failed": failed, "overdue": overdue, "troubles": self.troubles,
        })
    }
}
