//! `jecloud env`: variables. Those of jecloud.toml, and those that were set here, which win.

use std::collections::BTreeMap;
use std::time::Instant;

use jecloud_cloud::Sources;
use jecloud_model::cloud::Change;
use jecloud_model::config;
use jecloud_model::release::Release;

use crate::args::{EnvAction, Global};
use crate::compose::anew;
use crate::failure::Failure;
use crate::interrupt;
use crate::output::{Progress, Table, print, print_json, say};
use crate::project::{CONFIG, Project};
use crate::session::Session;

pub(crate) fn run(global: &Global, action: Option<EnvAction>, json: bool) -> Result<(), Failure> {
    let project = Project::open(global, None)?;
    let wished = project.environment(&global.env);
    let session = Session::open(&project, &global.env)?;
    let change = match action {
        None | Some(EnvAction::Ls) => return list(&session, &wished.env, json),
        Some(EnvAction::Set { variables }) => {
            Change::SetEnv { environment: session.environment.clone(), variables: parse(&variables)? }
        }
        Some(EnvAction::Unset { names }) => {
            let set = variables(&session)?;
            if let Some(unknown) = names.iter().find(|name| !set.contains_key(*name)) {
                let failure = Failure::usage(format!("{unknown} was not set with `jecloud env set`"));
                return Err(if wished.env.contains_key(unknown) {
                    failure.hint(format!("It is in [env] of {CONFIG}: change it there, then deploy."))
                } else {
                    failure.hint("`jecloud env` lists what is.")
                });
            }
            Change::UnsetEnv { environment: session.environment.clone(), variables: names }
        }
    };
    session.state_file().update(change)?;
    apply(&session, &project, &wished.env, json)
}

/// What was set here.
fn variables(session: &Session) -> Result<BTreeMap<String, String>, Failure> {
    let state = session.state()?;
    let environment = state.and_then(|state| state.environments.get(&session.environment).cloned());
    Ok(environment.map(|environment| environment.env).unwrap_or_default())
}

fn parse(words: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut variables = BTreeMap::new();
    for word in words {
        let Some((name, value)) = word.split_once('=') else {
            return Err(Failure::usage(format!("{word:?} is not NAME=VALUE")));
        };
        config::check_variable(name).map_err(|rule| Failure::usage(format!("{name} {rule}")))?;
        variables.insert(name.to_owned(), value.to_owned());
    }
    Ok(variables)
}

fn list(session: &Session, of_file: &BTreeMap<String, String>, json: bool) -> Result<(), Failure> {
    let set = variables(session)?;
    let mut all = of_file.clone();
    all.extend(set.clone());
    if json {
        print_json(&all);
        return Ok(());
    }
    if all.is_empty() {
        say(&format!("No variables are set. `jecloud env set NAME=VALUE` sets one, or [env] in {CONFIG}."));
        return Ok(());
    }
    let mut table = Table::new(["name", "value", "from"]);
    for (name, value) in all {
        let from = if set.contains_key(&name) { "jecloud env set" } else { CONFIG };
        table.row([name, value, from.to_owned()]);
    }
    print(&table.render());
    Ok(())
}

/// Deploys the version that serves once more, with the variables as they are now.
fn apply(session: &Session, project: &Project, of_file: &BTreeMap<String, String>, json: bool) -> Result<(), Failure> {
    let begin = Instant::now();
    let known = session.state()?;
    let environment = known.as_ref().and_then(|state| state.environments.get(&session.environment));
    let Some((environment, serving)) = environment.and_then(|found| Some((found, found.serving_release()?))) else {
        if json {
            print_json(&serde_json::json!({"outcome": "recorded"}));
        } else {
            print("Recorded. The next deployment uses it.");
        }
        return Ok(());
    };
    let mut env = of_file.clone();
    env.extend(environment.env.clone());
    let release = Release { env, ..anew(&serving.release) };
    let flag = session.environment_flag();
    interrupt::watch(format!(
        "Interrupted: the deployment goes on without you. `jecloud status{flag}` shows how far it is."
    ));
    let mut progress = Progress::new(json);
    let scale = environment.scale.clone();
    let recorded = super::deploy::record(session, known.as_ref(), release, scale, Sources::default(), &mut progress)?;
    super::deploy::finish(session, project, &recorded, begin, &mut progress, json)
}
