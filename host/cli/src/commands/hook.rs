//! `jecloud hook`: hooks of one's own.

use std::path::Path;

use jecloud_cloud::Precondition;
use jecloud_disk::durable;
use jecloud_model::hook::Description;
use jecloud_model::ids::{Digest, ServiceName};
use jecloud_model::lock::LockedHook;
use jecloud_model::powers::check_powers;

use crate::args::{Global, HookAction};
use crate::failure::{Code, Failure};
use crate::hooks::{self, Components as _};
use crate::output::{Table, ask, bold, print, print_json, say, size};
use crate::project::{CONFIG, LOCK, Project};
use crate::session::{self, Session};

pub(crate) fn run(global: &Global, action: HookAction) -> Result<(), Failure> {
    match action {
        HookAction::Add { file, name } => add(global, &file, name),
        HookAction::Ls { json } => list(global, json),
        HookAction::Rm { name } => remove(global, &name),
        HookAction::Inspect { hook, json } => inspect(global, &hook, json),
    }
}

fn open(global: &Global) -> Result<(Project, Session), Failure> {
    let project = Project::open(global, None)?;
    let session = Session::open(&project, &global.env)?;
    Ok((project, session))
}

/// A file as a component.
fn component(file: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = durable::read(file)?.ok_or_else(|| Failure::usage(format!("there is no file {}", file.display())))?;
    jecloud_sandbox::componentize(&bytes).map_err(|error| {
        Failure::from_error(Code::Usage, &format!("{} cannot be used as a hook", file.display()), &error)
            .world("Nothing was changed.")
    })
}

fn add(global: &Global, file: &Path, name: Option<ServiceName>) -> Result<(), Failure> {
    let (project, session) = open(global)?;
    let wasm = component(file)?;
    let sandbox = session::sandbox(&session.home.server())?;
    let description = hooks::describe(&sandbox, &wasm)?;
    let problems = check_powers(&description.powers);
    if !problems.is_empty() {
        return Err(
            Failure::usage(format!("{} asks for powers that no hook can have", file.display())).details(problems)
        );
    }
    let service = name.unwrap_or_else(|| description.name.clone());
    let digest = Digest::of(&wasm);
    print(&format!(
        "{} {}: {}\n{} of {}",
        bold(description.name.as_str()),
        description.version,
        description.summary,
        digest.short(),
        size(wasm.len() as u64)
    ));
    let before = project.lock.approved(&service);
    let new =
        before.map_or_else(|| description.powers.clone(), |before| description.powers.missing_from(&before.powers));
    if new.is_empty() {
        print(if before.is_some() { "It needs no more than was approved before." } else { "It needs no powers." });
    } else {
        let powers: Vec<String> = new.in_words().iter().map(|line| format!("  - {line}")).collect();
        let heading = if before.is_some() { "It needs more than was approved before:" } else { "It needs to:" };
        print(&format!("{heading}\n{}", powers.join("\n")));
        if !global.yes && !ask("Approve this?") {
            return Err(Failure::usage("the powers were not approved")
                .hint("`jecloud hook add -y FILE` approves them without a question."));
        }
    }
    let key = jecloud_cloud::keys::hook(&digest);
    let store = &session.store;
    let failed = |error| Failure::from_store("the app's store cannot be written", &error);
    if !store.exists(&key).map_err(failed)? {
        store.put(&key, &wasm, &Precondition::None).map_err(failed)?;
    }
    let mut lock = project.lock.clone();
    let locked = LockedHook {
        name: description.name.clone(),
        version: description.version.clone(),
        digest: digest.clone(),
        powers: description.powers.clone(),
        builtin: false,
    };
    lock.set_hook(&service, Some(locked));
    project.write_lock(&lock)?;
    print(&format!("Recorded in {LOCK}."));
    configure(&project, global, &service, &digest)
}

/// Names the hook in jecloud.toml, where the service is not there yet; else says what to write.
fn configure(project: &Project, global: &Global, service: &ServiceName, digest: &Digest) -> Result<(), Failure> {
    let wished = project.environment(&global.env);
    match wished.services.get(service) {
        Some(found) if found.hook.as_ref() == Some(digest) => Ok(()),
        Some(_) => {
            say(&format!("Write into [services.{service}] of {CONFIG}:\n\n  hook = \"sha256:{digest}\"\n"));
            Ok(())
        }
        None => {
            let path = project.directory.join(CONFIG);
            let mut text = durable::read_text(&path)?.unwrap_or_default();
            if !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(&format!("\n[services.{service}]\nhook = \"sha256:{digest}\"\n"));
            durable::replace(&path, text.as_bytes(), 0o644)?;
            print(&format!("Wrote [services.{service}] into {CONFIG}."));
            if wished.services.is_empty() {
                say(&format!(
                    "note: {CONFIG} named no services before, so the app's own was found by its files. Name it too now: [services.NAME]."
                ));
            }
            Ok(())
        }
    }
}

fn list(global: &Global, json: bool) -> Result<(), Failure> {
    let (project, session) = open(global)?;
    let sandbox = session::sandbox(&session.home.server())?;
    let mut rows = Vec::new();
    for (builtin, description) in hooks::builtins(&sandbox)? {
        rows.push((builtin.name.to_owned(), description.version, "built in".to_owned(), builtin.sha256.to_owned()));
    }
    for service in project.lock.services() {
        let is_listed =
            |hook: &LockedHook| hook.builtin && rows.iter().any(|(.., found)| *found == hook.digest.to_string());
        if let Some(hook) = project.lock.hook(service).filter(|hook| !is_listed(hook)) {
            rows.push((service.to_string(), hook.version.clone(), LOCK.to_owned(), hook.digest.to_string()));
        }
    }
    if json {
        let rows: Vec<serde_json::Value> = rows
            .iter()
            .map(|(service, version, from, sha256)| {
                serde_json::json!({"service": service, "version": version, "from": from, "sha256": sha256})
            })
            .collect();
        print_json(&rows);
        return Ok(());
    }
    let mut table = Table::new(["service", "version", "from", "sha256"]);
    for (service, version, from, sha256) in rows {
        table.row([service, version, from, sha256.chars().take(12).collect()]);
    }
    print(&table.render());
    Ok(())
}

fn remove(global: &Global, name: &ServiceName) -> Result<(), Failure> {
    let (project, _) = open(global)?;
    if project.lock.approved(name).is_none() {
        return Err(Failure::usage(format!("{LOCK} has no hook for a service {name}"))
            .hint("`jecloud hook ls` lists those that there are."));
    }
    let mut lock = project.lock.clone();
    lock.set_hook(name, None);
    project.write_lock(&lock)?;
    print(&format!("Took {name} out of {LOCK}."));
    if project.environment(&global.env).services.contains_key(name) {
        say(&format!("Take [services.{name}] out of {CONFIG}, too."));
    }
    Ok(())
}

fn inspect(global: &Global, hook: &str, json: bool) -> Result<(), Failure> {
    let home = crate::home::Home::from_environment()?;
    let sandbox = session::sandbox(&home.server())?;
    let builtin = jecloud_builtin_hooks::find(hook);
    let wasm = match builtin {
        Some(builtin) => builtin.wasm.to_vec(),
        None if hook.contains(['/', '.']) => component(Path::new(hook))?,
        None => {
            let (project, session) = open(global)?;
            let locked = hook.parse::<ServiceName>().ok().and_then(|name| project.lock.hook(&name).cloned());
            let locked = locked.ok_or_else(|| {
                Failure::usage(format!("there is no hook {hook}")).hint("`jecloud hook ls` lists those that there are.")
            })?;
            session.component(&locked.digest)?.ok_or_else(|| {
                Failure::usage(format!("the component of {hook} is not in the app's store"))
                    .hint("`jecloud hook add FILE` puts it there.")
            })?
        }
    };
    let description = hooks::describe(&sandbox, &wasm)?;
    let digest = Digest::of(&wasm);
    if json {
        print_json(&serde_json::json!({"sha256": digest, "bytes": wasm.len(), "description": description}));
    } else {
        show(&description, &digest, wasm.len() as u64);
    }
    Ok(())
}

fn show(description: &Description, digest: &Digest, bytes: u64) {
    print(&format!("{} {}: {}", bold(description.name.as_str()), description.version, description.summary));
    print(&format!("sha256 {digest}, {}", size(bytes)));
    let section = |heading: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            print(&format!("\n{heading}\n{}", lines.iter().map(|l| format!("  - {l}")).collect::<Vec<_>>().join("\n")));
        }
    };
    section("It may", description.powers.in_words());
    section("It looks at", description.inputs.iter().map(|input| input.glob.clone()).collect());
    section("It asks about", description.facts.clone());
    section("It is recognised by", description.detect.clone());
    let schema: Option<serde_json::Value> = serde_json::from_str(&description.settings_schema).ok();
    let properties = schema.as_ref().and_then(|schema| schema.get("properties")?.as_object());
    let settings = properties.into_iter().flatten().map(|(key, about)| {
        let words = about.get("description").and_then(serde_json::Value::as_str).unwrap_or_default();
        format!("{key}: {words}").trim_end_matches([':', ' ']).to_owned()
    });
    section("Its settings", settings.collect());
}
