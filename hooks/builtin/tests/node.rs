//! The component of the node hook in the sandbox: the examples of this repository, and the largest inputs.
#![expect(clippy::disallowed_methods, reason = "reads the examples that the hook is shown")]

use std::path::Path;

use jecloud_builtin_hooks::find;
use jecloud_model::hook::{Context, Plan, Source};
use jecloud_model::powers::{Allowed, PlanLimits, check_packages, check_plan};
use jecloud_sandbox::{Hook, InProcessCompiler, Sandbox};

/// A loaded hook; the cache of compiled components lives as long.
struct Loaded {
    hook: Hook,
    _cache: tempfile::TempDir,
}

fn load() -> Loaded {
    let cache = tempfile::tempdir().expect("a directory");
    let sandbox = Sandbox::new(cache.path().join("hooks"), Box::new(InProcessCompiler)).expect("a sandbox");
    let hook = sandbox.load(find("node").expect("the node hook").wasm).expect("a hook");
    Loaded { hook, _cache: cache }
}

/// A server that has Node.js 20, shown the files of an example.
fn context(files: &[(&str, Vec<u8>)]) -> Context {
    let facts = [
        ("os", "linux"),
        ("arch", "x86_64"),
        ("program:node", "/usr/bin/node v20.20.2"),
        ("program:npm", "/usr/bin/npm 10.8.2"),
    ];
    Context {
        app: "guestbook".parse().expect("a name"),
        environment: "production".parse().expect("a name"),
        service: "node".parse().expect("a name"),
        version: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".parse().expect("a version"),
        current_version: None,
        settings: "{}".to_owned(),
        pins: [].into(),
        inputs: files.iter().map(|(path, content)| ((*path).to_owned(), content.clone())).collect(),
        facts: facts.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        remembered: [].into(),
        options: [].into(),
    }
}

/// What the hook sees of an example: the files that match its inputs.
fn example(hook: &Hook, name: &str) -> Context {
    let description = hook.describe().expect("a description").answer;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    let globs = description.inputs.iter().map(|input| input.glob.as_str());
    let files: Vec<(&str, Vec<u8>)> =
        globs.filter_map(|path| Some((path, std::fs::read(directory.join(path)).ok()?))).collect();
    context(&files)
}

/// Calls the hook as the host does: packages first, with every line of the answers checked against the powers.
fn deploy(hook: &Hook, context: &Context) -> Plan {
    let powers = hook.describe().expect("a description").answer.powers;
    let limits = PlanLimits::default();
    let allowed = Allowed { service: &context.service, declared: &powers, granted: &powers, limits: &limits };
    let packages = hook.required_packages(context).expect("a call").answer.expect("packages");
    check_packages(&packages, allowed).expect("packages within the powers");
    assert!(packages.iter().all(|package| package.source == Source::Present && package.pin), "{packages:?}");
    let plan = hook.prepare_deploy(context).expect("a call").answer.expect("a plan");
    check_plan(&plan, allowed).expect("a plan within the powers");
    plan
}

#[test]
fn the_examples() {
    let loaded = load();
    let plan = deploy(&loaded.hook, &example(&loaded.hook, "hello-node"));
    assert!(plan.build.is_empty());
    assert_eq!(plan.processes[0].argv, ["node", "server.js"]);

    let plan = deploy(&loaded.hook, &example(&loaded.hook, "express-worker"));
    assert_eq!(plan.build[0].argv, ["npm", "ci", "--omit=dev"]);
    assert_eq!(plan.build[0].produces, ["node_modules"]);
    let processes: Vec<_> =
        plan.processes.iter().map(|process| (process.name.as_str(), process.argv.join(" "))).collect();
    assert_eq!(processes, [("web", "node web.js".to_owned()), ("worker", "node worker.js".to_owned())]);
    assert_eq!(plan.routes.len(), 1);
}

/// A lock file as long as the host allows: it is read within the time and memory of a call.
#[test]
fn the_largest_lock_file() {
    let loaded = load();
    let manifest = br#"{"scripts": {"start": "node a.js"}, "dependencies": {"express": "5"}}"#.to_vec();
    let input = loaded.hook.describe().expect("a description").answer.inputs;
    let largest = input.iter().find(|input| input.glob == "package-lock.json").expect("an input").max_bytes;
    let once = |byte: u8| {
        let lock = vec![byte; largest as usize];
        let plan = deploy(&loaded.hook, &context(&[("package.json", manifest.clone()), ("package-lock.json", lock)]));
        plan.build[0].once.clone()
    };
    assert_ne!(once(b'a'), once(b'b'));
}

#[test]
fn a_problem_arrives_with_its_hint() {
    let loaded = load();
    let context = context(&[("package.json", b"{\n  \"name\" 1\n}".to_vec())]);
    let problem = loaded.hook.prepare_deploy(&context).expect("a call").answer.expect_err("a problem");
    assert_eq!(problem.message, "package.json is not JSON: line 2, column 10: expected `:`");
    assert_eq!(problem.hint, "the line is: \"name\" 1");
}
