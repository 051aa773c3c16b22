//! What is done next: a pure function from what is wanted and what there is.
//!
//! One rule carries the rest: what a unit is started from is written only while it does not run. So what is written is
//! always what runs, whoever died when, and a process whose spec changes is stopped first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use jecloud_model::processes::ProcessSpec;

use crate::control::Shown;
use crate::front;
use crate::name::UnitName;
use crate::unit::Files;

/// A process that systemd has given up is tried again after this.
pub(crate) const RETRY: Duration = Duration::from_secs(30);

/// A process that should run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) spec: ProcessSpec,
    /// What is written for it; or why it cannot be started.
    pub(crate) files: Result<Files, String>,
}

/// What there is of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SeenUnit {
    /// What it was started from.
    pub(crate) spec: Option<ProcessSpec>,
    pub(crate) unit: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) activity: Activity,
    /// What systemd says, for people.
    pub(crate) shown: Shown,
}

/// What a unit does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Activity {
    /// Nothing.
    #[default]
    Dead,
    /// Nothing, and systemd has given it up so long ago.
    Failed(Duration),
    /// It runs, or will again by itself.
    Alive,
    /// It was told to end, and has not yet.
    Ending,
}

pub(crate) type AllWanted = BTreeMap<UnitName, Wanted>;
pub(crate) type AllSeen = BTreeMap<UnitName, SeenUnit>;

/// Something to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Say what runs after a boot.
    WriteTarget(String),
    /// Tell it to end.
    Stop(UnitName),
    /// Forget that it failed.
    Reset(UnitName),
    /// Remove everything that was written for it. It does not run.
    Remove(UnitName),
    /// Write what it is started from. It does not run.
    WriteSpec(UnitName, Box<ProcessSpec>),
    /// Write its variables.
    WriteEnvironment(UnitName, String),
    /// Write its unit.
    WriteUnit(UnitName, String),
    /// Have systemd read all units anew.
    Reload,
    /// Have it run.
    Start(UnitName),
}

/// What to do now so that exactly the wanted processes run, and nothing is left of others. `target` is what is written
/// about the boot.
///
/// Guarantees: nothing is started that is not wanted; what a process is started from is not written while it runs; where
/// everything is as wanted the plan is empty.
pub(crate) fn plan(wanted: &AllWanted, seen: &AllSeen, target: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let at_boot = boot_target(wanted);
    if target != at_boot {
        steps.push(Step::WriteTarget(at_boot));
    }
    let (mut resets, mut files, mut starts, mut must_reload) = (Vec::new(), Vec::new(), Vec::new(), false);
    let nothing = SeenUnit::default();
    let names: BTreeSet<&UnitName> = wanted.keys().chain(seen.keys()).collect();
    for name in names {
        let unit = seen.get(name).unwrap_or(&nothing);
        let Some(wanted) = wanted.get(name) else {
            match unit.activity {
                Activity::Alive => steps.push(Step::Stop(name.clone())),
                Activity::Ending => {}
                Activity::Dead | Activity::Failed(_) => {
                    if matches!(unit.activity, Activity::Failed(_)) {
                        resets.push(Step::Reset(name.clone()));
                    }
                    if unit.is_written() {
                        files.push(Step::Remove(name.clone()));
                        must_reload = true;
                    }
                }
            }
            continue;
        };
        let is_same = unit.spec.as_ref() == Some(&wanted.spec);
        match unit.activity {
            Activity::Ending => continue,
            Activity::Alive if !is_same => {
                steps.push(Step::Stop(name.clone()));
                continue;
            }
            // What cannot be written now was written once: that runs on.
            Activity::Alive | Activity::Dead | Activity::Failed(_) => {}
        }
        let Ok(new) = &wanted.files else { continue };
        let write_unit = unit.unit.as_ref() != Some(&new.unit);
        if !is_same {
            files.push(Step::WriteSpec(name.clone(), Box::new(wanted.spec.clone())));
        }
        if unit.environment.as_ref() != Some(&new.environment) {
            files.push(Step::WriteEnvironment(name.clone(), new.environment.clone()));
        }
        if write_unit {
            files.push(Step::WriteUnit(name.clone(), new.unit.clone()));
        }
        must_reload |= write_unit || unit.shown.is_stale;
        match unit.activity {
            Activity::Dead => starts.push(Step::Start(name.clone())),
            Activity::Failed(since) if !is_same || since >= RETRY => {
                resets.push(Step::Reset(name.clone()));
                starts.push(Step::Start(name.clone()));
            }
            Activity::Failed(_) | Activity::Alive | Activity::Ending => {}
        }
    }
    steps.extend(resets);
    steps.extend(files);
    steps.extend(must_reload.then_some(Step::Reload));
    steps.extend(starts);
    steps
}

impl SeenUnit {
    fn is_written(&self) -> bool {
        self.spec.is_some() || self.unit.is_some() || self.environment.is_some()
    }
}

/// `jecloud.target`: what runs after a boot, before anybody looks at a table.
pub(crate) fn boot_target(wanted: &AllWanted) -> String {
    let mut text = "# Written by JeCloud.\n[Unit]\nDescription=JeCloud: the front and all processes\n".to_owned();
    for unit in front::at_boot().into_iter().chain(wanted.keys().map(UnitName::to_string)) {
        let _ = writeln!(text, "Wants={unit}");
    }
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    text
}

#[cfg(test)]
mod tests;
