//! What the processes of an environment write.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use jecloud_disk::log::{Follow, tail_and_follow};
use jecloud_disk::tree;
use jecloud_model::app::Failure;
use jecloud_model::ids::{InstanceId, ProcessName};

use crate::error::ServerError;
use crate::place::Place;

/// How often new lines are looked for at the latest, with several logs at once.
const GLANCE: Duration = Duration::from_millis(200);

/// Which lines are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogWish {
    /// The last so many.
    pub lines: usize,
    /// Not those before this time, which is written as in the logs.
    pub since: Option<String>,
    /// Only those of this process, or of this instance of it.
    pub process: Option<(ProcessName, Option<u32>)>,
    /// Those too that come from now on, until whoever asks has enough.
    pub follow: bool,
}

impl LogWish {
    /// Whether one of those of whom lines are asked is among these.
    fn is_among(&self, known: &BTreeSet<String>) -> bool {
        match &self.process {
            None => !known.is_empty(),
            Some((name, Some(index))) => known.contains(&format!("{name}.{index}")),
            Some((name, None)) => known.iter().any(|short| short.split('.').next() == Some(name.as_str())),
        }
    }
}

/// The lines that the embedded process manager has written into files: `TIME INSTANCE TEXT`.
pub(crate) fn of_files(
    place: &Place,
    wish: &LogWish,
    write: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<(), ServerError> {
    let mut names = of_processes(place, wish)?;
    if names.is_empty() && !wish.follow {
        let written = of_processes(place, &LogWish::default())?.iter().map(InstanceId::short).collect();
        return nothing(place, wish, written);
    }
    let mut followed: Vec<Follow> = Vec::new();
    let mut lines = Vec::new();
    for id in &names {
        let (last, follow) = tail_and_follow(&place.root.process_log(id), wish.lines, wish.since.as_deref())?;
        lines.extend(last);
        followed.push(follow);
    }
    // Each line begins with its time, so this is the order in which they were written.
    lines.sort();
    for line in &lines[lines.len().saturating_sub(wish.lines)..] {
        if write(line).is_break() {
            return Ok(());
        }
    }
    if !wish.follow {
        return Ok(());
    }
    loop {
        for id in of_processes(place, wish)? {
            if !names.contains(&id) {
                followed.push(tail_and_follow(&place.root.process_log(&id), usize::MAX, None)?.1);
                names.push(id);
            }
        }
        let mut new = Vec::new();
        for follow in &mut followed {
            new.extend(follow.lines()?);
        }
        new.sort();
        for line in &new {
            if write(line).is_break() {
                return Ok(());
            }
        }
        if new.is_empty() {
            match followed.as_slice() {
                [only] => only.wait(GLANCE)?,
                _ => pause(),
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "several logs are looked at in turn until the person ends it")]
fn pause() {
    std::thread::sleep(GLANCE);
}

/// There is nothing to be shown, which is well where who is meant exists and has not written anything, or not lately.
/// `written` are those who ever have.
pub(crate) fn nothing(place: &Place, wish: &LogWish, written: BTreeSet<String>) -> Result<(), ServerError> {
    let mut known = written;
    let document = place.document()?;
    let deploying = document.deployment.as_ref().map(|deployment| deployment.release);
    for release in document.serving_release().into_iter().chain(deploying) {
        let processes = place.prepared(release)?.map(|prepared| prepared.processes).unwrap_or_default();
        known.extend(processes.iter().map(|process| process.id.short()));
    }
    if wish.is_among(&known) { Ok(()) } else { Err(unknown(wish, &known).into()) }
}

fn unknown(wish: &LogWish, known: &BTreeSet<String>) -> Failure {
    let name = wish.process.as_ref().map(|(name, index)| match index {
        Some(index) => format!("{name}.{index}"),
        None => name.to_string(),
    });
    match (name, known.is_empty()) {
        (Some(name), false) => Failure::because(format!("no process {name} has written anything"))
            .hint(format!("There are: {}.", known.iter().map(String::as_str).collect::<Vec<_>>().join(", "))),
        _ => Failure::because("no process has written anything yet"),
    }
}

/// The instances that have a log.
fn of_processes(place: &Place, wish: &LogWish) -> Result<Vec<InstanceId>, ServerError> {
    let mut ids = Vec::new();
    for name in tree::list(&place.root.logs())? {
        let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".log")) else { continue };
        let Ok(id) = id.parse::<InstanceId>() else { continue };
        let fits = |(process, index): &(ProcessName, Option<u32>)| {
            id.process == *process && index.is_none_or(|index| index == id.index)
        };
        if wish.process.as_ref().is_none_or(fits) {
            ids.push(id);
        }
    }
    Ok(ids)
}
