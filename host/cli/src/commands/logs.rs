//! `jecloud logs`: what the processes write.

use std::ops::ControlFlow;

use jecloud_cloud::MachineError;
use jecloud_model::cloud::ServerName;
use jecloud_model::time::Timestamp;

use crate::args::{Cli, Global};
use crate::failure::{Code, Failure};
use crate::fleet::{self, Reached};
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

pub(crate) fn run(global: &Global, wish: &Wish) -> Result<(), Failure> {
    let project = Project::open_to_operate(global)?;
    let session = Session::open(&project, &global.env)?;
    let since = wish.since.as_deref().map(|text| parse_since(text, now())).transpose()?;
    if let Some(name) = &wish.process {
        Cli::process_filter(name).map_err(|error| Failure::usage(format!("-p: {error}")))?;
    }
    let lines = wish.lines.to_string();
    let mut args = vec!["logs", session.app.as_str(), session.environment.as_str(), "--lines", &lines];
    args.extend(since.iter().flat_map(|since| ["--since", since]));
    args.extend(wish.process.iter().flat_map(|process| ["--process", process]));
    args.extend(wish.follow.then_some("--follow"));
    let servers = fleet::reachable(&session)?;
    let several = servers.len() > 1;
    if wish.follow { follow(servers, &args, several, wish.json) } else { collect(servers, &args, several, wish) }
}

/// The last lines of all servers together.
fn collect(servers: Vec<Reached>, args: &[&str], several: bool, wish: &Wish) -> Result<(), Failure> {
    let names: Vec<ServerName> = servers.iter().map(|(name, _)| name.clone()).collect();
    let answers = fleet::at_once(servers, |(name, machine)| {
        let mut lines = Vec::new();
        let mut on_line = |line: &str| {
            lines.push((line.to_owned(), name.clone()));
            ControlFlow::Continue(())
        };
        machine.follow(args, &mut on_line, &|| false).map(|()| lines)
    });
    let (mut lines, mut refusals, mut others, mut answered) = (Vec::new(), Vec::new(), Vec::new(), false);
    for (answer, name) in answers.into_iter().zip(names) {
        match answer {
            Ok(more) => {
                lines.extend(more);
                answered = true;
            }
            Err(error @ MachineError::Refused { .. }) => refusals.push((name, error)),
            Err(error) => others.push(error),
        }
    }
    // Where another server has something to show, that one has not is nothing to talk about.
    if let (true, Some(error)) = (lines.is_empty(), others.first()) {
        return Err(refused(error));
    }
    if let (false, Some((_, error))) = (answered, refusals.first()) {
        let of_each = refusals.iter().filter(|(_, error)| !error.hint().is_empty());
        let of_each: Vec<String> = of_each.map(|(name, error)| format!("{name}: {}", error.hint())).collect();
        let failure = refused(error);
        return Err(if of_each.len() > 1 { failure.hint(of_each.join("\n      ")) } else { failure });
    }
    // Each line begins with its time, so this is the order in which they were written; those of the same millisecond stay
    // as they came.
    lines.sort_by(|(a, _), (b, _)| a.split(' ').next().cmp(&b.split(' ').next()));
    for (line, server) in &lines[lines.len().saturating_sub(wish.lines)..] {
        write(line, several.then_some(server), wish.json);
    }
    Ok(())
}

/// Lines as they come, from all servers, until the person ends it.
fn follow(servers: Vec<Reached>, args: &[&str], several: bool, json: bool) -> Result<(), Failure> {
    let answers = fleet::at_once(servers, |(name, machine)| {
        let mut on_line = |line: &str| {
            write(line, several.then_some(&name), json);
            ControlFlow::Continue(())
        };
        machine.follow(args, &mut on_line, &|| false)
    });
    answers.into_iter().find_map(Result::err).map_or(Ok(()), |error| Err(refused(&error)))
}

fn refused(error: &MachineError) -> Failure {
    let code = match error {
        // It says which names there are.
        MachineError::Refused { hint, .. } if !hint.is_empty() => Code::Usage,
        _ => Code::of(error),
    };
    Failure::from_machine(code, error)
}

fn now() -> Timestamp {
    Timestamp::from_system(std::time::SystemTime::now())
}

/// `TIMESTAMP INSTANCE TEXT` as people or programs read it.
fn write(line: &str, server: Option<&ServerName>, json: bool) {
    let mut parts = line.splitn(3, ' ');
    let (at, id, text) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    if json {
        print_json_line(&serde_json::json!({"at": at, "server": server, "process": id, "line": text}));
    } else if text.is_empty() && id.is_empty() {
        say(line);
    } else {
        let server = server.map_or_else(String::new, |server| format!("{server} "));
        print(&format!("{} {text}", dim(&format!("{at} {server}{id}"))));
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
