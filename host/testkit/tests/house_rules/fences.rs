//! Rules about `clippy.toml`: a crate with one of its own loses the fences of the workspace, so it repeats them.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::none;
use crate::repository::files;

/// The crates that own what all others may not touch, and the words by which the reasons name them.
const OWNERS: [(&str, &str); 2] = [("host/disk", "host/disk"), ("host/launch", "jecloud_launch")];

/// The fences of a `clippy.toml`, with their reasons.
fn fences(text: &str) -> BTreeMap<String, String> {
    let table: Table = text.parse().expect("a clippy.toml is TOML");
    ["disallowed-methods", "disallowed-types"]
        .iter()
        .filter_map(|kind| table.get(*kind)?.as_array())
        .flatten()
        .map(|fence| {
            let text = |key| fence.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            (text("path"), text("reason"))
        })
        .collect()
}

/// What is wrong with the `clippy.toml` of one of the owners.
fn missing(workspace: &str, own: &str, owner: &str) -> Vec<String> {
    let own = fences(own);
    fences(workspace)
        .into_iter()
        .filter(|(path, reason)| !reason.contains(owner) && !own.contains_key(path))
        .map(|(path, _)| path)
        .collect()
}

#[test]
fn only_the_owners_may_step_over_their_own_fence() {
    let fence = |path: &str, owner: &str| format!("{{ path = \"{path}\", reason = \"only {owner}\" }}");
    let all = format!("disallowed-methods = [{}, {}]", fence("a", "host/disk"), fence("b", "jecloud_launch"));
    assert_eq!(missing(&all, "", "host/disk"), ["b"]);
    assert_eq!(missing(&all, &all, "jecloud_launch"), Vec::<String>::new());

    let files = files();
    let text = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text());
    let workspace = text("clippy.toml").expect("clippy.toml");
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with("/clippy.toml")) {
        let folder = file.path.trim_end_matches("/clippy.toml");
        match OWNERS.iter().find(|(owner, _)| *owner == folder) {
            Some((_, words)) => {
                let missing = missing(&workspace, &file.text(), words);
                wrong.extend(missing.into_iter().map(|path| format!("{}: {path} is missing", file.path)));
            }
            None => wrong.push(format!("{}: this crate owns nothing that others may not touch", file.path)),
        }
    }
    wrong.extend(
        fences(&workspace)
            .into_iter()
            .filter(|(_, reason)| reason.is_empty())
            .map(|(path, _)| format!("{path}: no reason")),
    );
    none("the fences are in clippy.toml", wrong);
}
