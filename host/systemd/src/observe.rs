//! What is wanted, and what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jecloud_disk::{durable, tree};
use jecloud_model::hook::Identity;
use jecloud_model::layout::ServerRoot;
use jecloud_model::processes::ProcessSpec;
use jecloud_supervisor::secrets;
use jecloud_supervisor::tables::Tables;

use crate::control::{self, Shown};
use crate::error::SystemdError;
use crate::name::{PATTERN, UnitName};
use crate::plan::{Activity, AllSeen, AllWanted, SeenUnit, Wanted};
use crate::{AppUser, UNITS, unit};

/// What is called so after a unit holds its variables.
const ENVIRONMENT: &str = ".env";

/// What is called so after a unit is what it was started from.
const SPEC: &str = ".json";

/// Where both lie, for root alone.
pub(crate) fn directory(root: &ServerRoot) -> PathBuf {
    root.sys().join("units")
}

/// The variables of a unit.
pub(crate) fn environment_file(root: &ServerRoot, name: &UnitName) -> PathBuf {
    directory(root).join(format!("{name}{ENVIRONMENT}"))
}

/// What a unit was started from.
pub(crate) fn spec_file(root: &ServerRoot, name: &UnitName) -> PathBuf {
    directory(root).join(format!("{name}{SPEC}"))
}

/// The unit itself.
pub(crate) fn unit_file(name: &UnitName) -> PathBuf {
    Path::new(UNITS).join(name.to_string())
}

/// `jecloud.target`.
pub(crate) fn target_file() -> PathBuf {
    Path::new(UNITS).join("jecloud.target")
}

/// What is written in `jecloud.target`; nothing where there is none.
pub(crate) fn target() -> Result<String, SystemdError> {
    Ok(durable::read_text(&target_file())?.unwrap_or_default())
}

/// What all tables say that can be read.
pub(crate) fn wanted(root: &ServerRoot, app_user: &AppUser, tables: &Tables) -> AllWanted {
    let mut all = AllWanted::new();
    for ((app, environment), wanted) in &tables.wanted {
        for spec in wanted.processes.iter().flatten() {
            let name = UnitName { app: app.clone(), environment: environment.clone(), id: spec.id.clone() };
            // Of several processes with one id the first counts.
            all.entry(name.clone()).or_insert_with(|| wish(root, app_user, &name, spec.clone()));
        }
    }
    all
}

/// Where a table cannot be read, what runs there stays: nobody has said that it is not wanted.
pub(crate) fn keep_the_unknown(
    root: &ServerRoot,
    app_user: &AppUser,
    tables: &Tables,
    mut wanted: AllWanted,
    seen: &AllSeen,
) -> AllWanted {
    for (name, unit) in seen {
        let place = (name.app.clone(), name.environment.clone());
        let is_unknown = tables.blind || tables.wanted.get(&place).is_some_and(|wanted| wanted.processes.is_none());
        if let (true, Some(spec)) = (is_unknown, &unit.spec) {
            wanted.entry(name.clone()).or_insert_with(|| wish(root, app_user, name, spec.clone()));
        }
    }
    wanted
}

fn wish(root: &ServerRoot, app_user: &AppUser, name: &UnitName, spec: ProcessSpec) -> Wanted {
    let files = (|| {
        let user = match spec.run_as {
            Identity::App => app_user(&name.app, &name.environment)?,
            Identity::Root => None,
        };
        let place = root.environment(&name.app, &name.environment);
        // Without their values, which the error does not hold either.
        let filled = secrets::fill(&spec.env, &place).map_err(|error| jecloud_model::chain(&error))?;
        let variables: Vec<(String, String)> = filled.into_iter().collect();
        unit::render(root, name, &spec, user, &variables)
    })();
    Wanted { spec, files }
}

/// All of our units: those whose files there are, those that systemd knows, and those that are asked for.
pub(crate) fn seen<'a>(root: &ServerRoot, asked: impl Iterator<Item = &'a UnitName>) -> Result<AllSeen, SystemdError> {
    let mut names: BTreeSet<UnitName> = asked.cloned().collect();
    for file in tree::list(Path::new(UNITS))? {
        names.extend(file.to_str().and_then(UnitName::parse));
    }
    for file in tree::list(&directory(root))? {
        let Some(file) = file.to_str() else { continue };
        let unit = file.strip_suffix(ENVIRONMENT).or_else(|| file.strip_suffix(SPEC));
        names.extend(unit.and_then(UnitName::parse));
    }
    let units: Vec<String> = names.iter().map(UnitName::to_string).chain([PATTERN.to_owned()]).collect();
    let units: Vec<&str> = units.iter().map(String::as_str).collect();
    let mut shown: BTreeMap<UnitName, Shown> =
        control::show(&units)?.into_iter().filter_map(|(unit, shown)| Some((UnitName::parse(&unit)?, shown))).collect();
    names.extend(shown.iter().filter(|(_, shown)| !shown.has_ended()).map(|(name, _)| name.clone()));
    let mut all = AllSeen::new();
    for name in names {
        let shown = shown.remove(&name).unwrap_or_default();
        let unit = SeenUnit {
            // One that cannot be read is written anew, like one that is not there.
            spec: durable::read_json(&spec_file(root, &name)).unwrap_or_default(),
            unit: durable::read_text(&unit_file(&name))?,
            environment: durable::read_text(&environment_file(root, &name))?,
            activity: activity(&shown),
            shown,
        };
        all.insert(name, unit);
    }
    Ok(all)
}

fn activity(shown: &Shown) -> Activity {
    match shown.active.as_str() {
        "active" | "activating" | "reloading" => Activity::Alive,
        "deactivating" => Activity::Ending,
        "failed" => Activity::Failed(control::now().saturating_sub(shown.changed.unwrap_or_default())),
        _ => Activity::Dead,
    }
}
