//! Plans, and whole histories of them against a model of systemd.

use super::*;
use crate::unit::tests::{name, spec};

const OLD: &[&str] = &["/bin/old"];
const NEW: &[&str] = &["/bin/new"];

fn files(argv: &[&str]) -> Files {
    Files { unit: format!("unit of {argv:?}"), environment: format!("variables of {argv:?}") }
}

fn wanted(processes: &[(&str, &[&str])]) -> AllWanted {
    let wanted = |(id, argv): &(&str, &[&str])| (name(id), Wanted { spec: spec(id, argv), files: Ok(files(argv)) });
    processes.iter().map(wanted).collect()
}

fn unit(id: &str, argv: &[&str], activity: Activity) -> (UnitName, SeenUnit) {
    let Files { unit, environment } = files(argv);
    let seen = SeenUnit {
        spec: Some(spec(id, argv)),
        unit: Some(unit),
        environment: Some(environment),
        activity,
        ..SeenUnit::default()
    };
    (name(id), seen)
}

/// The plan, with the target as it should be.
fn planned(wanted: &AllWanted, seen: &[(UnitName, SeenUnit)]) -> Vec<Step> {
    plan(wanted, &seen.iter().cloned().collect(), &boot_target(wanted))
}

#[test]
fn everything_is_as_it_should_be() {
    let seen = [unit("web.1@7", NEW, Activity::Alive), unit("web.2@7", NEW, Activity::Alive)];
    assert_eq!(planned(&wanted(&[("web.1@7", NEW), ("web.2@7", NEW)]), &seen), []);
    assert_eq!(planned(&AllWanted::new(), &[]), []);
}

#[test]
fn from_nothing() {
    let wanted = wanted(&[("web.1@7", NEW)]);
    let web = || name("web.1@7");
    let Files { unit, environment } = files(NEW);
    assert_eq!(
        plan(&wanted, &AllSeen::new(), ""),
        [
            Step::WriteTarget(boot_target(&wanted)),
            Step::WriteSpec(web(), Box::new(spec("web.1@7", NEW))),
            Step::WriteEnvironment(web(), environment),
            Step::WriteUnit(web(), unit),
            Step::Reload,
            Step::Start(web()),
        ]
    );
}

#[test]
fn what_is_not_wanted_ends_and_is_removed_then() {
    let none = AllWanted::new();
    let web = || name("web.1@7");
    assert_eq!(planned(&none, &[unit("web.1@7", OLD, Activity::Alive)]), [Step::Stop(web())]);
    assert_eq!(planned(&none, &[unit("web.1@7", OLD, Activity::Ending)]), []);
    assert_eq!(planned(&none, &[unit("web.1@7", OLD, Activity::Dead)]), [Step::Remove(web()), Step::Reload]);
    let failed = unit("web.1@7", OLD, Activity::Failed(Duration::ZERO));
    assert_eq!(planned(&none, &[failed]), [Step::Reset(web()), Step::Remove(web()), Step::Reload]);
    // Whoever removed it died in the middle.
    let (_, half) = unit("web.1@7", OLD, Activity::Dead);
    let half = (web(), SeenUnit { unit: None, ..half });
    assert_eq!(planned(&none, &[half]), [Step::Remove(web()), Step::Reload]);
    // Somebody removed what was written, and it runs.
    let bare = SeenUnit { activity: Activity::Alive, ..SeenUnit::default() };
    assert_eq!(planned(&none, &[(web(), bare)]), [Step::Stop(web())]);
}

/// Fails where what a process is started from is written while it runs: the next look would take the old process for
/// the new one.
#[test]
fn a_spec_that_changes_is_stopped_first() {
    let wanted = wanted(&[("db.1", NEW)]);
    assert_eq!(planned(&wanted, &[unit("db.1", OLD, Activity::Alive)]), [Step::Stop(name("db.1"))]);
    assert_eq!(planned(&wanted, &[unit("db.1", OLD, Activity::Ending)]), []);
    let dead = planned(&wanted, &[unit("db.1", OLD, Activity::Dead)]);
    assert!(matches!(dead.first(), Some(Step::WriteSpec(..))), "{dead:?}");
    assert!(matches!(dead.last(), Some(Step::Start(_))), "{dead:?}");
    // What failed was another one.
    let failed = planned(&wanted, &[unit("db.1", OLD, Activity::Failed(Duration::ZERO))]);
    assert!(matches!(failed.first(), Some(Step::Reset(_))) && matches!(failed.last(), Some(Step::Start(_))));
}

#[test]
fn what_was_given_up_is_tried_again_later() {
    let wanted = wanted(&[("web.1@7", NEW)]);
    let failed = |since| planned(&wanted, &[unit("web.1@7", NEW, Activity::Failed(since))]);
    assert_eq!(failed(Duration::from_secs(29)), []);
    assert_eq!(failed(RETRY), [Step::Reset(name("web.1@7")), Step::Start(name("web.1@7"))]);
}

/// A newer JeCloud writes other units, and secrets change. Fails where either starts a process anew: then an upgrade is
/// felt by every app.
#[test]
fn another_unit_for_the_same_process_starts_nothing() {
    let (web, old) = unit("web.1@7", NEW, Activity::Alive);
    let wanted = wanted(&[("web.1@7", NEW)]);
    let Files { unit, environment } = files(NEW);
    let seen = [(web.clone(), SeenUnit { unit: Some("older".to_owned()), ..old.clone() })];
    assert_eq!(planned(&wanted, &seen), [Step::WriteUnit(web.clone(), unit), Step::Reload]);
    let seen = [(web.clone(), SeenUnit { environment: Some("older".to_owned()), ..old.clone() })];
    assert_eq!(planned(&wanted, &seen), [Step::WriteEnvironment(web.clone(), environment)]);
    // It was written, and whoever did it died before systemd was told.
    let shown = Shown { is_stale: true, ..Shown::default() };
    assert_eq!(planned(&wanted, &[(web, SeenUnit { shown, ..old })]), [Step::Reload]);
}

#[test]
fn what_cannot_be_written_stops_nothing_that_runs() {
    let mut wanted = wanted(&[("web.1@7", NEW)]);
    wanted.get_mut(&name("web.1@7")).expect("it").files = Err("no secret".to_owned());
    assert_eq!(planned(&wanted, &[unit("web.1@7", NEW, Activity::Alive)]), []);
    assert_eq!(planned(&wanted, &[unit("web.1@7", NEW, Activity::Dead)]), []);
    assert_eq!(planned(&wanted, &[unit("web.1@7", OLD, Activity::Alive)]), [Step::Stop(name("web.1@7"))]);
}

/// What systemd and the disk make of steps.
#[derive(Clone, Default)]
struct Model {
    seen: AllSeen,
    target: String,
}

impl Model {
    fn perform(&mut self, step: &Step) {
        match step {
            Step::WriteTarget(text) => self.target.clone_from(text),
            Step::Stop(name) => self.at(name).activity = Activity::Ending,
            Step::Reset(name) => self.at(name).activity = Activity::Dead,
            Step::Remove(name) => {
                let unit = self.at(name);
                assert!(unit.activity == Activity::Dead, "{name} is removed and is {:?}", unit.activity);
                *unit = SeenUnit::default();
            }
            Step::WriteSpec(name, spec) => {
                let unit = self.at(name);
                let runs = matches!(unit.activity, Activity::Alive | Activity::Ending);
                assert!(!runs, "{name} runs, and what it was started from is overwritten");
                unit.spec = Some((**spec).clone());
            }
            Step::WriteEnvironment(name, text) => self.at(name).environment = Some(text.clone()),
            Step::WriteUnit(name, text) => {
                let unit = self.at(name);
                unit.unit = Some(text.clone());
                unit.shown.is_stale = true;
            }
            Step::Reload => self.seen.values_mut().for_each(|unit| unit.shown.is_stale = false),
            Step::Start(name) => {
                let unit = self.at(name);
                assert!(unit.unit.is_some() && !unit.shown.is_stale, "{name} is started and systemd does not know it");
                unit.activity = Activity::Alive;
            }
        }
    }

    fn at(&mut self, name: &UnitName) -> &mut SeenUnit {
        self.seen.entry(name.clone()).or_default()
    }

    /// Time passes: what was told to end ends.
    fn settle(&mut self) {
        for unit in self.seen.values_mut() {
            if unit.activity == Activity::Ending {
                unit.activity = Activity::Dead;
            }
        }
        self.seen.retain(|_, unit| *unit != SeenUnit::default());
    }

    /// Rolls forward until nothing is to be done.
    fn finish(&mut self, wanted: &AllWanted) {
        for _ in 0..4 {
            let steps = plan(wanted, &self.seen, &self.target);
            steps.iter().for_each(|step| self.perform(step));
            self.settle();
        }
        assert_eq!(plan(wanted, &self.seen, &self.target), [], "no fixpoint");
    }
}

/// From every combination of what there is, to every combination of what is wanted, with a death after every step and
/// each step done twice: it ends as undisturbed, with exactly what is wanted running and nothing else written.
///
/// Fails without `is_stale`, without removing what is half removed, and where a spec is written before the process it
/// belongs to has ended.
#[test]
fn every_death_is_repaired() {
    let activities =
        [Activity::Dead, Activity::Alive, Activity::Ending, Activity::Failed(Duration::ZERO), Activity::Failed(RETRY)];
    let seen = |id: &'static str| {
        let units = activities.iter().flat_map(move |activity| [OLD, NEW].map(|argv| unit(id, argv, *activity)));
        // Whoever removed these died after one file or two.
        let half_removed = [1, 2].map(|files| {
            let (name, mut unit) = unit(id, OLD, Activity::Dead);
            unit.spec = None;
            unit.unit = unit.unit.filter(|_| files == 1);
            (name, unit)
        });
        std::iter::once(None).chain(units.chain(half_removed).map(Some)).collect::<Vec<_>>()
    };
    let wishes: [&[(&str, &[&str])]; 4] =
        [&[], &[("web.1@7", NEW)], &[("db.1", OLD)], &[("web.1@7", NEW), ("db.1", NEW)]];
    for wish in wishes.map(wanted) {
        for (web, db) in
            seen("web.1@7").into_iter().flat_map(|web| seen("db.1").into_iter().map(move |db| (web.clone(), db)))
        {
            let begin = Model { seen: web.into_iter().chain(db).collect(), target: String::new() };
            let steps = plan(&wish, &begin.seen, &begin.target);
            for death in 0..=steps.len() {
                let mut model = begin.clone();
                steps[..death].iter().for_each(|step| model.perform(step));
                if let Some(step) = steps[..death].last() {
                    model.perform(step);
                }
                model.settle();
                // What was given up only now is not tried at once; everything else is as wanted.
                let given_up = |unit: &SeenUnit| unit.activity == Activity::Failed(Duration::ZERO);
                model.finish(&wish);
                for (name, wanted) in &wish {
                    let unit = &model.seen[name];
                    assert!(unit.activity == Activity::Alive || given_up(unit), "{name}: {unit:?}");
                    assert_eq!(unit.spec.as_ref(), Some(&wanted.spec));
                }
                assert!(model.seen.keys().all(|name| wish.contains_key(name)), "{:?}", model.seen);
            }
        }
    }
}
