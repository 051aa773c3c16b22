//! What is embedded is what `hooks/dist` holds, and can do nothing but answer.
#![expect(clippy::disallowed_methods, reason = "compares what is embedded with the files it was made of")]

use std::path::{Path, PathBuf};

use jecloud_builtin_hooks::{builtin, find};
use sha2::{Digest as _, Sha256};
use wit_parser::WorldKey;

fn dist() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist")
}

/// Fails without a line of `BUILTIN` for a component that is listed, and with a digest that is not the component's.
#[test]
fn every_listed_component_is_embedded_with_its_digest() {
    let text = std::fs::read_to_string(dist().join("index.json")).expect("hooks/dist/index.json");
    let index: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let listed: Vec<(&str, &str)> = index["components"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|component| (component["name"].as_str().expect("a name"), component["sha256"].as_str().expect("a digest")))
        .collect();
    let embedded: Vec<(&str, &str)> = builtin().iter().map(|hook| (hook.name, hook.sha256)).collect();
    assert_eq!(embedded, listed);
    for hook in builtin() {
        let digest: String = Sha256::digest(hook.wasm).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, hook.sha256, "{}", hook.name);
        assert_eq!(find(hook.name), Some(hook));
    }
}

/// Fails where a component of the hooks imports WASI, as one compiled for another target does.
#[test]
fn components_import_the_log_and_the_types_only() {
    for hook in builtin() {
        let decoded = wit_component::decode(hook.wasm).expect("a component");
        let wit_component::DecodedWasm::Component(resolve, world) = decoded else {
            panic!("{} is a WIT package", hook.name)
        };
        let names = |items: Vec<&WorldKey>| -> Vec<String> {
            items.into_iter().map(|key| resolve.name_world_key(key)).collect()
        };
        let world = &resolve.worlds[world];
        assert_eq!(
            names(world.imports.keys().collect()),
            ["jecloud:hook/log@0.1.0", "jecloud:hook/types@0.1.0"],
            "{}",
            hook.name
        );
        let optional = match hook.name {
            "mongodb" => &["backup", "setup", "topology"][..],
            "redis" => &["backup", "setup"],
            _ => &[],
        };
        let mut exports: Vec<String> =
            ["service"].iter().chain(optional).map(|of| format!("jecloud:hook/{of}@0.1.0")).collect();
        exports.sort();
        let mut found = names(world.exports.keys().collect());
        found.sort();
        assert_eq!(found, exports, "{}", hook.name);
    }
}
