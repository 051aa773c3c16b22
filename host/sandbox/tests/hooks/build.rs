//! Makes components from texts, and calls them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jecloud_model::hook::{Context, Plan, Problem};
use jecloud_sandbox::{CallFailure, Called, Hook, InProcessCompiler, Limits, Sandbox, SandboxError, Why, componentize};
use tempfile::TempDir;
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The functions of the contract that a text may define itself, and what stands for them where it does not.
const DEFAULTS: [(&str, &str, &str); 4] = [
    ("$describe", "describe", "(func $describe (result i32) (call $describe-evil))"),
    ("$packages", "required-packages", "(func $packages (param i32) (result i32) (call $empty-answer))"),
    ("$prepare", "prepare-deploy", "(func $prepare (param i32) (result i32) (call $empty-answer))"),
    ("$deployed", "deployed", "(func $deployed (param i32) (result i32) (call $empty-answer))"),
];

pub(crate) fn source_dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The text of a file in `tests/hostile`.
pub(crate) fn text(name: &str) -> String {
    let path = source_dir("tests/hostile").join(format!("{name}.wat"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A core module with the functions of the contract, as a toolchain makes it, but without metadata.
pub(crate) fn module(imports: &str, body: &str) -> Vec<u8> {
    let mut functions = String::new();
    for (name, export, default) in DEFAULTS {
        if !body.contains(&format!("(func {name} ")) {
            functions.push_str(default);
        }
        functions.push_str(&format!("(export \"jecloud:hook/service@0.1.0#{export}\" (func {name}))\n"));
    }
    let prelude = text("prelude");
    let log = r#"(import "jecloud:hook/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;
    let text = format!("(module {log} {imports} (memory (export \"memory\") 2)\n{prelude}\n{body}\n{functions})");
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The contract, and worlds that only tests have.
pub(crate) fn contract(more: &[(&str, &str)]) -> Resolve {
    let mut resolve = Resolve::default();
    resolve.push_dir(source_dir("../../wit")).unwrap_or_else(|error| panic!("{error:#}"));
    for (path, text) in more {
        resolve.push_str(path, text).unwrap_or_else(|error| panic!("{error:#}"));
    }
    resolve
}

/// Adds the metadata of a world.
pub(crate) fn with_metadata(mut module: Vec<u8>, resolve: &Resolve, world: &str) -> Vec<u8> {
    let (_, world) =
        resolve.worlds.iter().map(|(id, found)| (found, id)).find(|(found, _)| found.name == world).unwrap();
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8).unwrap();
    module
}

/// The component of a body in `tests/hostile`.
pub(crate) fn hostile(name: &str) -> Vec<u8> {
    component(&text(name))
}

/// The component of a body.
pub(crate) fn component(body: &str) -> Vec<u8> {
    componentize(&with_metadata(module("", body), &contract(&[]), "hook")).unwrap_or_else(|error| panic!("{error}"))
}

/// A sandbox of its own, with a cache of its own.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    pub(crate) sandbox: Sandbox,
}

impl Place {
    /// With the default limits, but for the deadline: a busy machine must not make other tests fail.
    pub(crate) fn new() -> Self {
        Self::with_limits(Limits { deadline: Duration::from_secs(60), ..Limits::default() })
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        let dir = TempDir::new().unwrap();
        let cache = dir.path().join("compiled");
        let sandbox = Sandbox::with_limits(cache, Box::new(InProcessCompiler), limits).unwrap();
        Self { dir, sandbox }
    }

    pub(crate) fn load(&self, component: &[u8]) -> Hook {
        self.sandbox.load(component).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// A hook of `tests/hostile`.
pub(crate) fn hook(name: &str) -> Hook {
    Place::new().load(&hostile(name))
}

pub(crate) fn context() -> Context {
    Context {
        app: "shop".parse().unwrap(),
        environment: "production".parse().unwrap(),
        service: "evil".parse().unwrap(),
        version: "0".repeat(64).parse().unwrap(),
        current_version: None,
        settings: "{}".to_owned(),
        pins: BTreeMap::new(),
        inputs: BTreeMap::from([("package.json".to_owned(), b"{}".to_vec())]),
        facts: BTreeMap::from([("os".to_owned(), "linux".to_owned())]),
        remembered: BTreeMap::new(),
        options: BTreeMap::new(),
    }
}

pub(crate) fn prepare(hook: &Hook) -> Result<Called<Result<Plan, Problem>>, SandboxError> {
    hook.prepare_deploy(&context())
}

/// How a call failed that has to fail.
#[track_caller]
pub(crate) fn failure<T: std::fmt::Debug>(outcome: Result<T, SandboxError>) -> CallFailure {
    match outcome {
        Err(SandboxError::Call(failure)) => *failure,
        other => panic!("expected a failed call: {other:?}"),
    }
}

/// Why `prepare-deploy` of a hook of `tests/hostile` fails.
#[track_caller]
pub(crate) fn why(name: &str) -> Why {
    failure(prepare(&hook(name))).why
}
