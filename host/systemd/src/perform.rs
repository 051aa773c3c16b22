//! Doing what was planned. Nothing is decided here.

use jecloud_disk::{durable, fault};
use jecloud_model::layout::ServerRoot;

use crate::control;
use crate::error::SystemdError;
use crate::observe::{directory, environment_file, spec_file, target_file, unit_file};
use crate::plan::Step;

/// Performs all steps in their order; calls of systemd of the same kind are one.
///
/// # Errors
///
/// The first that occurs. What systemd does not do for one unit keeps no other from what is planned for it.
pub(crate) fn perform(root: &ServerRoot, steps: &[Step]) -> Result<(), SystemdError> {
    durable::create_dirs(&directory(root), 0o700)?;
    let mut first = Ok(());
    let mut rest = steps;
    while let Some(step) = rest.first() {
        fault::point("systemd.step").map_err(|source| SystemdError::Io { action: "have systemd act", source })?;
        let alike = rest.iter().take_while(|other| std::mem::discriminant(*other) == std::mem::discriminant(step));
        let (now, later) = rest.split_at(alike.count());
        rest = later;
        let told = match step {
            Step::Stop(_) => tell(&["stop", "--no-block"], now),
            Step::Reset(_) => tell(&["reset-failed"], now),
            Step::Start(_) => tell(&["start", "--no-block"], now),
            Step::Reload => control::reload(),
            _ => {
                now.iter().try_for_each(|step| write(root, step))?;
                Ok(())
            }
        };
        first = first.and(told);
    }
    first
}

fn tell(arguments: &[&str], steps: &[Step]) -> Result<(), SystemdError> {
    let units: Vec<String> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Stop(name) | Step::Reset(name) | Step::Start(name) => Some(name.to_string()),
            _ => None,
        })
        .collect();
    let units: Vec<&str> = units.iter().map(String::as_str).collect();
    control::systemctl(arguments, &units)
}

fn write(root: &ServerRoot, step: &Step) -> Result<(), SystemdError> {
    match step {
        Step::WriteTarget(text) => durable::replace(&target_file(), text.as_bytes(), 0o644)?,
        Step::WriteSpec(name, spec) => durable::write_json(&spec_file(root, name), spec, 0o600)?,
        Step::WriteEnvironment(name, text) => {
            durable::replace(&environment_file(root, name), text.as_bytes(), 0o600)?;
        }
        Step::WriteUnit(name, text) => durable::replace(&unit_file(name), text.as_bytes(), 0o644)?,
        Step::Remove(name) => {
            for file in [unit_file(name), environment_file(root, name), spec_file(root, name)] {
                durable::remove(&file)?;
            }
        }
        Step::Stop(_) | Step::Reset(_) | Step::Start(_) | Step::Reload => {}
    }
    Ok(())
}
