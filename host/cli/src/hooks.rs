//! Which hook serves a service, and where its component comes from.

use std::collections::BTreeMap;

use jecloud_builtin_hooks::Builtin;
use jecloud_disk::source::SourceTree;
use jecloud_model::config::{Config, EnvironmentConfig};
use jecloud_model::glob::Glob;
use jecloud_model::hook::{Description, Powers};
use jecloud_model::ids::{Digest, EnvironmentName, ServiceName};
use jecloud_model::lock::{Lock, LockedHook};
use jecloud_model::suggest;
use jecloud_sandbox::Sandbox;

use crate::failure::{Code, Failure};
use crate::project::CONFIG;

/// Where components that were added are kept.
pub(crate) trait Components {
    /// The component, if it is there.
    fn component(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Failure>;
}

/// A service with its hook.
pub(crate) struct Resolved {
    /// The service.
    pub(crate) service: ServiceName,
    /// The component.
    pub(crate) digest: Digest,
    /// Its bytes.
    pub(crate) wasm: Vec<u8>,
    /// What it says about itself.
    pub(crate) description: Description,
    /// What the person granted; all it declares, for one that is built in.
    pub(crate) granted: Powers,
    /// The `[services.NAME]` table.
    pub(crate) settings: serde_json::Map<String, serde_json::Value>,
    /// Whether it comes, or came, with JeCloud.
    pub(crate) builtin: bool,
    /// What a person has to be told: that jecloud.lock holds another hook than the one that this JeCloud brings.
    pub(crate) note: Option<String>,
}

impl Resolved {
    /// As it is recorded in jecloud.lock.
    pub(crate) fn locked(&self) -> LockedHook {
        LockedHook {
            name: self.description.name.clone(),
            version: self.description.version.clone(),
            digest: self.digest.clone(),
            powers: self.description.powers.clone(),
            builtin: self.builtin,
        }
    }
}

/// All built-in hooks with what they say about themselves.
pub(crate) fn builtins(sandbox: &Sandbox) -> Result<Vec<(&'static Builtin, Description)>, Failure> {
    jecloud_builtin_hooks::builtin().iter().map(|builtin| Ok((builtin, describe(sandbox, builtin.wasm)?))).collect()
}

/// What a component says about itself.
pub(crate) fn describe(sandbox: &Sandbox, wasm: &[u8]) -> Result<Description, Failure> {
    sandbox.load(wasm).and_then(|hook| hook.describe()).map(|called| called.answer).map_err(|error| {
        Failure::from_error(Code::Failed, "the hook cannot be used", &error).world("Nothing was changed.")
    })
}

/// Whether a component can back its service's data up.
pub(crate) fn backs_up(sandbox: &Sandbox, wasm: &[u8]) -> Result<bool, Failure> {
    let loaded = sandbox.load(wasm).map_err(|error| {
        Failure::from_error(Code::Failed, "the hook cannot be used", &error).world("Nothing was changed.")
    })?;
    Ok(loaded.exports().backup)
}

/// Services that a directory is recognised by: the built-in hooks, each with the file that gave it away.
pub(crate) fn detect(
    sandbox: &Sandbox,
    tree: &SourceTree,
) -> Result<Vec<(&'static Builtin, Description, String)>, Failure> {
    let mut found = Vec::new();
    for (builtin, description) in builtins(sandbox)? {
        let globs: Vec<Glob> = description.detect.iter().filter_map(|glob| Glob::new(glob).ok()).collect();
        let mut paths = tree.paths().filter_map(|path| path.to_str());
        if let Some(path) = paths.find(|path| globs.iter().any(|glob| glob.matches(path))) {
            let path = path.to_owned();
            found.push((builtin, description, path));
        }
    }
    Ok(found)
}

/// The services of an environment with their hooks: those that the configuration names, or where it names none those
/// that the directory is recognised by.
pub(crate) fn resolve(
    sandbox: &Sandbox,
    components: &dyn Components,
    config: &Config,
    environment: &EnvironmentName,
    wished: &EnvironmentConfig,
    lock: &Lock,
    tree: &SourceTree,
) -> Result<Vec<Resolved>, Failure> {
    if wished.services.is_empty() {
        let found = detect(sandbox, tree)?;
        if found.is_empty() {
            return Err(nothing_found(tree));
        }
        let of_found = |(builtin, description, _): (_, Description, _)| {
            let service = description.name.clone();
            of_builtin(sandbox, components, service, builtin, description, lock)
        };
        return found.into_iter().map(of_found).collect();
    }
    let mut all = Vec::new();
    for (service, wish) in &wished.services {
        let mut resolved = match &wish.hook {
            Some(digest) => added(sandbox, components, service, digest, lock)?,
            None => {
                let builtin = jecloud_builtin_hooks::builtin().iter().find(|builtin| builtin.name == service.as_str());
                match builtin {
                    Some(builtin) => {
                        let description = describe(sandbox, builtin.wasm)?;
                        of_builtin(sandbox, components, service.clone(), builtin, description, lock)?
                    }
                    None => return Err(unknown_service(config, environment, service)),
                }
            }
        };
        resolved.settings = wish.settings.clone();
        check_settings(config, environment, &resolved)?;
        all.push(resolved);
    }
    Ok(all)
}

/// The built-in hook, or the one that jecloud.lock holds in its place: it came with another JeCloud.
fn of_builtin(
    sandbox: &Sandbox,
    components: &dyn Components,
    service: ServiceName,
    builtin: &Builtin,
    description: Description,
    lock: &Lock,
) -> Result<Resolved, Failure> {
    let digest = Digest::of(builtin.wasm);
    let Some(locked) = lock.builtin(&service).filter(|locked| locked.digest != digest) else {
        return Ok(Resolved {
            service,
            digest,
            wasm: builtin.wasm.to_vec(),
            granted: description.powers.clone(),
            description,
            settings: serde_json::Map::new(),
            builtin: true,
            note: None,
        });
    };
    let held = format!("{} ({})", locked.version, locked.digest.short());
    let brought = format!("{} ({})", description.version, digest.short());
    let found = components.component(&locked.digest)?.filter(|wasm| Digest::of(wasm) == locked.digest);
    let Some(wasm) = found else {
        let what = format!("the hook {held} of service {service}, which jecloud.lock holds, is not to be had here");
        return Err(Failure::usage(what)
            .details(vec![format!("this JeCloud brings the hook {brought}")])
            .hint(format!("`jecloud upgrade {service}` moves to the one that there is.")));
    };
    let note = if is_older(&description.version, &locked.version) {
        format!("service {service} uses the hook {held} of jecloud.lock: this JeCloud is older and brings {brought}")
    } else {
        format!(
            "service {service} uses the hook {held} of jecloud.lock; this JeCloud brings {brought}: `jecloud upgrade \
             {service}` moves to it"
        )
    };
    Ok(Resolved {
        digest: locked.digest.clone(),
        description: describe(sandbox, &wasm)?,
        wasm,
        granted: locked.powers.clone(),
        settings: serde_json::Map::new(),
        builtin: true,
        note: Some(note),
        service,
    })
}

/// Whether a hook's version is lower than another one.
pub(crate) fn is_older(version: &str, than: &str) -> bool {
    jecloud_server::packages::compare(version, than).is_lt()
}

fn added(
    sandbox: &Sandbox,
    components: &dyn Components,
    service: &ServiceName,
    digest: &Digest,
    lock: &Lock,
) -> Result<Resolved, Failure> {
    let add = format!("`jecloud hook add --name {service} FILE` shows what it needs and asks you.");
    let approved = lock.approved(service).filter(|hook| hook.digest == *digest).ok_or_else(|| {
        Failure::usage(format!("the hook {} of service {service} was not approved in jecloud.lock", digest.short()))
            .hint(add.clone())
    })?;
    let wasm = components.component(digest)?.ok_or_else(|| {
        Failure::usage(format!("the component {} of service {service} is not in the app's store", digest.short()))
            .hint(add)
    })?;
    Ok(Resolved {
        service: service.clone(),
        digest: digest.clone(),
        description: describe(sandbox, &wasm)?,
        wasm,
        granted: approved.powers.clone(),
        settings: serde_json::Map::new(),
        builtin: false,
        note: None,
    })
}

fn nothing_found(tree: &SourceTree) -> Failure {
    let known: Vec<&str> = jecloud_builtin_hooks::builtin().iter().map(|builtin| builtin.name).collect();
    Failure::usage(format!("nothing in {} says what this app is made of", tree.root().display())).hint(format!(
        "Name a service in {CONFIG}: a table [services.NAME] with one of {}, or one of your own (`jecloud hook add`).",
        known.join(", ")
    ))
}

fn unknown_service(config: &Config, environment: &EnvironmentName, service: &ServiceName) -> Failure {
    let known: Vec<&str> = jecloud_builtin_hooks::builtin().iter().map(|builtin| builtin.name).collect();
    let near = suggest::did_you_mean(service.as_str(), known.iter().copied());
    let error = config.error_at(
        environment,
        &["services", service.as_str()],
        format!("no built-in hook is called {service}{near}"),
    );
    crate::project::config_failure(&[error])
        .hint(format!("Built in are: {}. `jecloud hook add ./{service}.wasm` adds one of your own.", known.join(", ")))
}

/// Checks a service's settings against the schema of its hook. All errors are shown at once, each with its place.
fn check_settings(config: &Config, environment: &EnvironmentName, resolved: &Resolved) -> Result<(), Failure> {
    let schema_text = &resolved.description.settings_schema;
    let settings = serde_json::Value::Object(resolved.settings.clone());
    let schema: serde_json::Value = match schema_text.trim() {
        "" => serde_json::json!({"type": "object", "additionalProperties": false}),
        text => serde_json::from_str(text).map_err(|error| broken_schema(resolved, &error))?,
    };
    let validator = jsonschema::validator_for(&schema).map_err(|error| broken_schema(resolved, &error))?;
    let known: Vec<String> = schema
        .get("properties")
        .and_then(serde_json::Value::as_object)
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default();
    let mut errors = Vec::new();
    for key in resolved.settings.keys().filter(|key| !known.contains(key)) {
        let near = suggest::did_you_mean(key, known.iter().map(String::as_str));
        let message = format!("unknown key `{key}` in [services.{}]{near}", resolved.service);
        errors.push(config.error_at_key(environment, &["services", resolved.service.as_str(), key], message));
    }
    if errors.is_empty() {
        for error in validator.iter_errors(&settings) {
            let pointer = error.instance_path().to_string();
            let inner: Vec<&str> = pointer.split('/').skip(1).collect();
            let mut path = vec!["services", resolved.service.as_str()];
            path.extend(&inner);
            let message = format!("`{}` in [services.{}]: {error}", inner.join("."), resolved.service);
            errors.push(config.error_at(environment, &path, message));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(crate::project::config_failure(&errors)) }
}

fn broken_schema(resolved: &Resolved, error: &dyn std::error::Error) -> Failure {
    Failure::new(
        Code::Failed,
        format!("the hook of service {} has a settings schema that cannot be used: {error}", resolved.service),
    )
    .world("Nothing was changed.")
    .hint("Report this to the hook's author.")
}

/// What of a source tree any of these hooks wants to see: for a dry run on a server that does not have the tree.
pub(crate) fn visible(tree: &SourceTree, resolved: &[Resolved]) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let mut contents = BTreeMap::new();
    for input in resolved.iter().flat_map(|resolved| &resolved.description.inputs) {
        let Ok(glob) = Glob::new(&input.glob) else { continue };
        for path in tree.paths() {
            let Some(text) = path.to_str().filter(|text| glob.matches(text)) else { continue };
            if let Some(content) = tree.read(path, input.max_bytes.into())? {
                contents.insert(text.to_owned(), content);
            }
        }
    }
    Ok(contents)
}
