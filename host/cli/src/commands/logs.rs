//! `jecloud logs`: what the processes write.

use std::time::Duration;

use jecloud_disk::log::{Follow, tail_and_follow};
use jecloud_disk::tree;
use jecloud_model::ids::{InstanceId, ProcessName};
use jecloud_model::layout::{EnvironmentRoot, ServerRoot};
use jecloud_model::time::Timestamp;

use crate::args::{Cli, Global};
use crate::failure::{Code, Failure};
use crate::output::{dim, print, print_json_line, say};
use crate::project::Project;
use crate::session::Session;

/// What the person wants to see.
pub(crate) struct Wish {
    pub(crate) follow: bool,
    pub(crate) lines: usize,
    pub(crate) since: Option<String>,
    pub(crate) process: Option<String>,
    pub(crate) json: bool,
}

/// How often new lines are looked for at the latest, with several logs at once.
const GLANCE: Duration = Duration::from_millis(200);

pub(crate) fn run(global: &Global, wish: &Wish) -> Result<(), Failure> {
    let project = Project::open_to_operate(global)?;
    let session = Session::open(&project, &global.env)?;
    session.environment_state()?;
    show(&session.home.server(), &session, wish)
}

fn show(root: &ServerRoot, session: &Session, wish: &Wish) -> Result<(), Failure> {
    let place = root.environment(&session.app, &session.environment);
    let filter = wish
        .process
        .as_deref()
        .map(Cli::process_filter)
        .transpose()
        .map_err(|error| Failure::usage(format!("-p: {error}")))?;
    let since = wish.since.as_deref().map(|text| parse_since(text, now())).transpose()?;
    let mut names = logs(&place, filter.as_ref())?;
    if names.is_empty() && !wish.follow {
        let all = logs(&place, None)?;
        let known: Vec<String> = all.iter().map(InstanceId::short).collect();
        return Err(match (&wish.process, known.is_empty()) {
            (Some(name), false) => Failure::usage(format!("no process {name} has written anything"))
                .hint(format!("There are: {}.", known.join(", "))),
            _ => Failure::new(Code::Failed, "no process has written anything yet"),
        });
    }
    let mut followed: Vec<Follow> = Vec::new();
    let mut lines = Vec::new();
    for id in &names {
        let (last, follow) = tail_and_follow(&place.process_log(id), wish.lines, since.as_deref())?;
        lines.extend(last);
        followed.push(follow);
    }
    // Each line begins with its time, so this is the order in which they were written.
    lines.sort();
    for line in &lines[lines.len().saturating_sub(wish.lines)..] {
        write(line, wish.json);
    }
    if !wish.follow {
        return Ok(());
    }
    loop {
        for id in logs(&place, filter.as_ref())? {
            if !names.contains(&id) {
                followed.push(tail_and_follow(&place.process_log(&id), usize::MAX, None)?.1);
                names.push(id);
            }
        }
        let mut new = Vec::new();
        for follow in &mut followed {
            new.extend(follow.lines()?);
        }
        new.sort();
        new.iter().for_each(|line| write(line, wish.json));
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

fn now() -> Timestamp {
    Timestamp::from_system(std::time::SystemTime::now())
}

/// The instances that have a log.
fn logs(place: &EnvironmentRoot, filter: Option<&(ProcessName, Option<u32>)>) -> Result<Vec<InstanceId>, Failure> {
    let mut ids = Vec::new();
    for name in tree::list(&place.logs())? {
        let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".log")) else { continue };
        let Ok(id) = id.parse::<InstanceId>() else { continue };
        let fits = filter.is_none_or(|(process, index)| id.process == *process && index.is_none_or(|i| i == id.index));
        if fits {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// `TIMESTAMP INSTANCE TEXT` as people or programs read it.
fn write(line: &str, json: bool) {
    let mut parts = line.splitn(3, ' ');
    let (at, id, text) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    if json {
        print_json_line(&serde_json::json!({"at": at, "process": id, "line": text}));
    } else if text.is_empty() && id.is_empty() {
        say(line);
    } else {
        print(&format!("{} {text}", dim(&format!("{at} {id}"))));
    }
}

/// `90s`, `10m`, `2h`, `3d` before now, or a time; as the beginning of lines.
fn parse_since(text: &str, now: Timestamp) -> Result<String, Failure> {
    let wrong = || {
        Failure::usage(format!("--since {text:?} is neither a duration nor a time"))
            .hint("Write 90s, 10m, 2h, 3d, or 2026-11-24T07:45:00Z.")
    };
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at.to_string());
    }
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = count.saturating_mul(seconds).saturating_mul(1000);
    let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    Ok(Timestamp::from_millisecond(now.as_millisecond().saturating_sub(milliseconds)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().expect("a time");
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(parse_since(text, now).ok().as_deref(), expected, "{text}");
        };
        check("90s", Some("2026-11-24T11:58:30.000Z"));
        check("10m", Some("2026-11-24T11:50:00.000Z"));
        check("2h", Some("2026-11-24T10:00:00.000Z"));
        check("3d", Some("2026-11-21T12:00:00.000Z"));
        check("2026-11-24T07:45:00Z", Some("2026-11-24T07:45:00.000Z"));
        check("", None);
        check("m", None);
        check("yesterday", None);
        check("99999999999999999999d", None);
    }
}
