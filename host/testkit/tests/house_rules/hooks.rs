//! Rules about `hooks/dist`: what is built in is there, listed, and nothing else is.

use std::collections::BTreeSet;

use crate::none;
use crate::repository::{files, root};

#[test]
fn every_built_component_is_listed_and_every_listed_one_is_there() {
    let text = std::fs::read_to_string(root().join("hooks/dist/index.json")).expect("hooks/dist/index.json");
    let index: serde_json::Value = serde_json::from_str(&text).expect("hooks/dist/index.json is JSON");
    let components = index["components"].as_array().expect("a list of components");
    assert!(!components.is_empty());

    let there: BTreeSet<String> =
        files().into_iter().map(|file| file.path).filter(|path| path.starts_with("hooks/dist/")).collect();
    let mut listed = BTreeSet::from(["hooks/dist/index.json".to_owned()]);
    for component in components {
        let name = component["name"].as_str().expect("a component has a name");
        listed.insert(format!("hooks/dist/{name}.wasm"));
        listed.insert(format!("hooks/dist/{name}.sha256"));
    }
    none("listed but not there", listed.difference(&there).cloned().collect());
    none("there but not listed", there.difference(&listed).cloned().collect());

    let wrong = components.iter().filter_map(|component| {
        let (name, sha256) = (component["name"].as_str()?, component["sha256"].as_str()?);
        let path = format!("hooks/dist/{name}.sha256");
        let text = std::fs::read_to_string(root().join(&path)).expect("a digest");
        (text.split_whitespace().next() != Some(sha256)).then_some(path)
    });
    none("not the digest of the index", wrong.collect());
}
