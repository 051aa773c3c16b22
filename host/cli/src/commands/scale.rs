//! `jecloud scale`: so many servers of a group, or so many of a process.

use std::collections::BTreeMap;
use std::time::Instant;

use jecloud_cloud::{End, Options, Sources, roll_forward};
use jecloud_model::cloud::{Change, EnvironmentState, Scaled};
use jecloud_model::config::Provider;
use jecloud_model::ids::{ProcessName, ServerGroup};
use jecloud_model::release::Release;

use crate::args::Global;
use crate::failure::Failure;
use crate::follow::Watcher;
use crate::output::{Progress, plural, print, print_json};
use crate::project::Project;
use crate::providers;
use crate::session::Session;

/// The most of anything: as in jecloud.toml.
const MOST: u32 = 100;

/// What the person wants.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wishes {
    servers: BTreeMap<ServerGroup, u32>,
    processes: BTreeMap<ProcessName, u32>,
}

pub(crate) fn run(global: &Global, words: &[String], json: bool) -> Result<(), Failure> {
    let begin = Instant::now();
    let project = Project::open(global, None)?;
    let session = Session::open(&project, &global.env)?;
    let environment = session.environment_state()?;
    let wished = project.environment(&session.environment);
    let groups: Vec<ServerGroup> = wished.servers.into_keys().collect();
    let serving = environment.serving_release().map(|serving| serving.release.processes.keys().cloned());
    let known: Vec<ProcessName> = wished.processes.into_keys().chain(serving.into_iter().flatten()).collect();
    let wishes = parse(words, &groups, &known)?;
    let idle = super::deploy::idle_groups(&project, &session);
    if let Some(group) = wishes.servers.keys().find(|group| idle.contains(group)) {
        return Err(Failure::usage(format!("nothing runs on [servers.{group}], so it has no servers"))
            .world("Nothing was changed.")
            .hint(format!("Write `on = \"{group}\"` for a service or process, and `jecloud deploy`.")));
    }
    if session.provider == Provider::Local && wishes.servers.values().any(|count| *count != 1) {
        return Err(Failure::usage("this machine is one server, and cannot be more or fewer")
            .hint("`jecloud scale web=2` runs a process twice on it."));
    }
    providers::check_scale(&project, &session.environment, &wishes.servers)?;
    let mut scaled = environment.scaled.clone();
    scaled.servers.extend(wishes.servers.clone());
    scaled.processes.extend(wishes.processes.clone());
    let change = Change::Scale {
        environment: session.environment.clone(),
        scale: wishes.servers.clone(),
        scaled: scaled.clone(),
    };
    session.state_file().update(change)?;
    let mut progress = Progress::new(json);
    if !wishes.servers.is_empty() {
        servers(&session, &mut progress)?;
    }
    if !wishes.processes.is_empty() {
        return processes(&session, &project, &environment, &scaled, begin, json, &mut progress);
    }
    let count: u32 = session.environment_state()?.scale.values().sum();
    if json {
        print_json(&serde_json::json!({"outcome": "scaled", "servers": count}));
    } else {
        print(&format!("{} now.", plural(count.into(), "server", "servers")));
        super::status::urls(&session)?.iter().for_each(|url| print(url));
    }
    Ok(())
}

/// `app=3`, `web=4`; where both are called the same, `servers.web=3`, `processes.web=4`.
fn parse(words: &[String], groups: &[ServerGroup], processes: &[ProcessName]) -> Result<Wishes, Failure> {
    let mut wishes = Wishes::default();
    for word in words {
        let count = |text: &str| text.parse::<u32>().ok().filter(|count| *count <= MOST);
        let Some((name, count)) = word.split_once('=').and_then(|(name, text)| Some((name, count(text)?))) else {
            return Err(Failure::usage(format!("{word:?} is not NAME=COUNT, with a count of at most {MOST}"))
                .hint("For example `jecloud scale app=3` for servers, `jecloud scale web=4` for a process."));
        };
        let (kind, name) = name.split_once('.').map_or(("", name), |(kind, name)| (kind, name));
        let group = groups.iter().find(|group| group.as_str() == name);
        let is_process = processes.iter().any(|process| process.as_str() == name);
        let group = match (kind, group) {
            ("", Some(_)) if is_process => {
                return Err(Failure::usage(format!("{name} is a group of servers, and a process too"))
                    .world("Nothing was changed.")
                    .hint(format!("Say which is meant: servers.{name}={count} or processes.{name}={count}.")));
            }
            ("", group) | ("servers", group @ Some(_)) => group,
            ("processes", _) => None,
            ("servers", None) => {
                let known = groups.iter().map(ServerGroup::as_str).collect::<Vec<_>>().join(", ");
                return Err(
                    Failure::usage(format!("there is no [servers.{name}]")).hint(format!("There are: {known}."))
                );
            }
            (other, _) => {
                return Err(Failure::usage(format!("there is nothing to scale in {other:?}"))
                    .hint("There are servers.NAME and processes.NAME."));
            }
        };
        match group {
            Some(group) if count > 0 => drop(wishes.servers.insert(group.clone(), count)),
            Some(_) => {
                return Err(Failure::usage("a group of servers has at least one")
                    .hint("`jecloud destroy` deletes the whole environment."));
            }
            None => {
                let process = name.parse().map_err(|error| Failure::usage(format!("{error}")))?;
                wishes.processes.insert(process, count);
            }
        }
    }
    Ok(wishes)
}

/// Makes it so many servers.
fn servers(session: &Session, progress: &mut Progress) -> Result<(), Failure> {
    let wanted = session.environment_state()?.wanted.unwrap_or_default();
    let options = Options { environment: Some(session.environment.clone()), ..Options::default() };
    let report = roll_forward(session.cloud(), &options, &mut Watcher::new(session, progress, wanted))?;
    match report.end {
        End::Unfinished { troubles } => {
            Err(Failure::unfinished("not all servers are as they should be yet", &troubles)
                .world("The wish is recorded.")
                .hint(format!("`jecloud fwd{}` goes on with it.", session.environment_flag())))
        }
        _ => Ok(()),
    }
}

/// Deploys the version that serves once more, with these counts of processes.
fn processes(
    session: &Session,
    project: &Project,
    environment: &EnvironmentState,
    scaled: &Scaled,
    begin: Instant,
    json: bool,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let serving = environment.serving_release().ok_or_else(|| session.nothing_deployed())?;
    let mut processes = serving.release.processes.clone();
    for (name, count) in &scaled.processes {
        processes.entry(name.clone()).or_default().count = Some(*count);
    }
    let release = Release { processes, ..super::deploy::again(session, &serving.release) };
    let known = session.state()?;
    let scale = known
        .as_ref()
        .and_then(|state| state.environments.get(&session.environment))
        .map(|environment| environment.scale.clone())
        .unwrap_or_default();
    let recorded = super::deploy::record(session, known.as_ref(), release, scale, Sources::default(), progress)?;
    super::deploy::finish(session, project, &recorded, None, begin, progress, json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_processes_are_told_apart() {
        let groups = ["app".parse().expect("valid"), "db".parse().expect("valid")];
        let known = ["web".parse().expect("valid"), "db".parse().expect("valid")];
        let parse = |words: &[&str]| {
            let words = words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            parse(&words, &groups, &known)
        };
        let wishes = parse(&["app=3", "web=4", "worker=0"]).unwrap_or_else(|failure| panic!("{}", failure.render()));
        assert_eq!(wishes.servers, BTreeMap::from([("app".parse().expect("valid"), 3)]));
        let processes = [("web".parse().expect("valid"), 4), ("worker".parse().expect("valid"), 0)];
        assert_eq!(wishes.processes, BTreeMap::from(processes));
        // Fails without the look at both: the group would be taken, without a word.
        assert!(parse(&["db=2"]).is_err(), "db is both");
        let both = parse(&["servers.db=2", "processes.db=3"]).unwrap_or_else(|failure| panic!("{}", failure.render()));
        assert_eq!(both.servers, BTreeMap::from([("db".parse().expect("valid"), 2)]));
        assert_eq!(both.processes, BTreeMap::from([("db".parse().expect("valid"), 3)]));
        for wrong in
            ["servers.web=1", "services.db=1", "app", "app=", "app=0", "app=-1", "app=101", "=3", "We b=3", "app=3=4"]
        {
            assert!(parse(&[wrong]).is_err(), "{wrong}");
        }
    }
}
