//! `jecloud env`: variables. Those of jecloud.toml, and those that were set here, which win.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Read as _};
use std::time::Instant;

use jecloud_cloud::Sources;
use jecloud_model::cloud::Change;
use jecloud_model::config;
use jecloud_model::release::Release;
use jecloud_model::secrets::{LONGEST_SECRET, SecretValue, Secrets};

use super::deploy::no_secrets;
use crate::args::{EnvAction, Global};
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
        Some(EnvAction::Set { variables, secret: true }) => {
            let [name] = variables.as_slice() else {
                return Err(Failure::usage("--secret sets one secret at a time").hint("Name one."));
            };
            let value = secret_value(&session, name)?;
            session
                .secrets()
                .update(&|secrets| secrets.set(name, value.clone()))
                .map_err(|error| no_secrets(&error))?;
            return apply(&session, &project, &wished.env, json);
        }
        Some(EnvAction::Set { variables, secret: false }) => {
            let variables = parse(&variables)?;
            let secrets = read_secrets(&session)?.secrets;
            if let Some(name) = variables.keys().find(|name| secrets.contains_key(*name)) {
                return Err(Failure::usage(format!("{name} is a secret")).world("Nothing was changed.").hint(format!(
                    "`jecloud env set --secret {name}` gives it another value, `jecloud env unset {name}` takes it away."
                )));
            }
            Change::SetEnv { environment: session.environment.clone(), variables }
        }
        Some(EnvAction::Unset { mut names }) => {
            let secrets = read_secrets(&session)?.secrets;
            let (of_secrets, of_variables) = names.into_iter().partition(|name| secrets.contains_key(name));
            names = of_variables;
            let of_secrets: Vec<String> = of_secrets;
            if let Some(name) = of_secrets.iter().find(|name| secrets.get(*name).is_some_and(|secret| !secret.variable))
            {
                return Err(Failure::usage(format!("{name} was made for a service, which works with it"))
                    .world("Nothing was changed.")
                    .hint("It goes with the environment."));
            }
            if !of_secrets.is_empty() {
                session.secrets().update(&|secrets| secrets.unset(&of_secrets)).map_err(|error| no_secrets(&error))?;
                if names.is_empty() {
                    return apply(&session, &project, &wished.env, json);
                }
            }
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

fn read_secrets(session: &Session) -> Result<Secrets, Failure> {
    session.secrets().read().map_err(|error| no_secrets(&error))
}

/// The value of a secret: what stands on standard input, but for a newline at its end, or what is typed unseen.
fn secret_value(session: &Session, name: &str) -> Result<SecretValue, Failure> {
    let nothing = |failure: Failure| failure.world("Nothing was changed.");
    if let Some((name, _)) = name.split_once('=') {
        return Err(nothing(Failure::usage(
            "a secret's value does not belong on the command line, where others see it",
        ))
        .hint(format!(
            "Type `jecloud env set --secret {name}`: it asks for the value, or reads it from a file: \
                           `jecloud env set --secret {name} < FILE`."
        )));
    }
    config::check_variable(name).map_err(|rule| nothing(Failure::usage(format!("{name} {rule}"))))?;
    if variables(session)?.contains_key(name) {
        return Err(nothing(Failure::usage(format!("{name} is a variable that is no secret")))
            .hint(format!("`jecloud env unset {name}` takes it away first.")));
    }
    let unreadable = |error: std::io::Error| nothing(Failure::usage(format!("the value cannot be read: {error}")));
    let text = if std::io::stdin().is_terminal() {
        rpassword::prompt_password(format!("Value of {name} (it is not shown): ")).map_err(unreadable)?
    } else {
        let mut text = String::new();
        std::io::stdin().take(LONGEST_SECRET as u64 + 2).read_to_string(&mut text).map_err(unreadable)?;
        text.strip_suffix('\n').map(str::to_owned).unwrap_or(text)
    };
    SecretValue::try_from(text)
        .map_err(|rule| nothing(Failure::usage(format!("the value of {name} cannot be used: {rule}"))))
}

fn list(session: &Session, of_file: &BTreeMap<String, String>, json: bool) -> Result<(), Failure> {
    let set = variables(session)?;
    let mut all = of_file.clone();
    all.extend(set.clone());
    let secrets = read_secrets(session)?.secrets;
    if json {
        let names: Vec<&String> = secrets.keys().collect();
        print_json(&serde_json::json!({"variables": all, "secrets": names}));
        return Ok(());
    }
    if all.is_empty() && secrets.is_empty() {
        say(&format!("No variables are set. `jecloud env set NAME=VALUE` sets one, or [env] in {CONFIG}."));
        return Ok(());
    }
    let mut table = Table::new(["name", "value", "from"]);
    for (name, value) in all {
        let from = if set.contains_key(&name) { "jecloud env set" } else { CONFIG };
        if !secrets.contains_key(&name) {
            table.row([name, value, from.to_owned()]);
        }
    }
    for (name, secret) in secrets {
        let from = if secret.variable { "jecloud env set --secret" } else { "made for a service" };
        table.row([name, "(secret)".to_owned(), from.to_owned()]);
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
    let mut release = Release { env, ..super::deploy::again(session, &serving.release) };
    release.secrets = read_secrets(session)?.used_by(&release).0;
    let flag = session.environment_flag();
    interrupt::watch(format!(
        "Interrupted: the deployment goes on without you. `jecloud status{flag}` shows how far it is."
    ));
    let mut progress = Progress::new(json);
    let scale = environment.scale.clone();
    let recorded = super::deploy::record(session, known.as_ref(), release, scale, Sources::default(), &mut progress)?;
    super::deploy::finish(session, project, &recorded, None, begin, &mut progress, json)
}
