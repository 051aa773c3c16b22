//! What the hook says about itself, and that its plans keep to it.

use std::collections::BTreeSet;

use jecloud_hook_node::{NodeHook, settings};
use jecloud_sdk::testing::{self, ContextBuilder};
use jecloud_sdk::{Identity, ServiceHook, Source};

use super::{bare, debian_12, package_json, packages, plan, with_node_20};

#[test]
fn the_schema_is_json_and_documents_every_setting() {
    let schema: serde_json::Value = serde_json::from_str(settings::SCHEMA).expect("JSON");
    let properties = schema["properties"].as_object().expect("properties");
    for name in ["version", "mirror", "package_manager", "build", "keep_dev_dependencies"] {
        assert!(properties[name]["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
    assert_eq!(properties.len(), 5);
    assert_eq!(properties["mirror"]["default"], settings::OFFICIAL_MIRROR);
    assert_eq!(schema["additionalProperties"], false);
}

/// Fails where a plan names a program, package, file or fact that `describe` does not.
#[test]
fn what_it_asks_for_is_what_it_said() {
    let description = NodeHook::describe();
    let programs: BTreeSet<&str> = description.powers.programs.iter().map(|(name, _)| name.as_str()).collect();
    assert!(description.powers.programs.iter().all(|(_, run_as)| *run_as == Identity::App));

    let scripts = r#""scripts": {"start": "next start", "build": "tsc"}, "dependencies": {"a": "1"}"#;
    let dev = r#""devDependencies": {"b": "1"}"#;
    let app = |context: ContextBuilder| {
        context
            .file("package.json", package_json(&format!("{scripts}, {dev}")))
            .file("Procfile", "web: npm start\nworker: node a.js\nrelease: npx migrate | cat")
    };
    let with = |context: ContextBuilder, lock: &str| app(context).file(lock, "");
    let contexts = [
        app(bare()),
        app(with_node_20()),
        app(debian_12()),
        with(with_node_20(), "package-lock.json"),
        with(bare(), "yarn.lock"),
        with(with_node_20().fact("program:yarn", "/usr/bin/yarn 1.22.22"), "yarn.lock"),
        with(bare(), "pnpm-lock.yaml"),
        with(with_node_20().fact("program:pnpm", "/usr/bin/pnpm 10.0.0"), "pnpm-lock.yaml"),
    ];
    for context in contexts {
        let context = context.build();
        let plan = plan(&context).unwrap();
        let commands = testing::commands(&plan).map(|command| (&command.argv, command.run_as));
        let processes = plan.processes.iter().map(|process| (&process.argv, process.run_as));
        for (argv, run_as) in commands.chain(processes) {
            assert!(programs.contains(argv[0].as_str()), "{argv:?}");
            assert_eq!(run_as, Identity::App);
        }
        let ids: BTreeSet<&str> = testing::commands(&plan).map(|command| command.id.as_str()).collect();
        assert_eq!(ids.len(), testing::commands(&plan).count(), "ids are unique");
        for package in testing::required_packages::<NodeHook>(&context).unwrap() {
            match package.source {
                Source::Distribution => assert!(description.powers.packages.contains(&package.name)),
                Source::Archive(archive) => {
                    assert!(archive.url.starts_with(&description.powers.repositories[0]), "{}", archive.url);
                }
                Source::Present => {}
            }
        }
    }
}

/// A hook is a pure function: the host may call it as often as it wants.
#[test]
fn the_same_context_gives_the_same_answers() {
    let context =
        debian_12().file("package.json", package_json(r#""dependencies": {"a": "1"}, "main": "x.js""#)).build();
    assert_eq!(plan(&context), plan(&context));
    assert_eq!(packages(&context), packages(&context));
}
