//! Rules about crates: who may know whom, and what all have in common.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::none;
use crate::repository::{files, root};

/// The crates of the core, from below. A crate knows only those of the rows above its own.
const LAYERS: [&[&str]; 6] = [
    &["jecloud-model"],
    &["jecloud-disk", "jecloud-launch", "jecloud-seal", "jecloud-aws"],
    &["jecloud-sandbox", "jecloud-supervisor", "jecloud-front", "jecloud-cloud"],
    &["jecloud-systemd"],
    &["jecloud-server", "jecloud-remote", "jecloud-s3", "jecloud-ec2"],
    &["jecloud"],
];

/// What the tests of every crate may use besides.
const FOR_TESTS: &str = "jecloud-testkit";

/// A `Cargo.toml`.
struct Manifest {
    /// `host/model`; empty for the workspace.
    folder: String,
    table: Table,
}

impl Manifest {
    fn name(&self) -> &str {
        self.table["package"]["name"].as_str().expect("a package has a name")
    }

    /// All tables of dependencies of a kind, those for some targets only too.
    fn dependencies(&self, kind: &str) -> BTreeMap<&str, &Value> {
        let for_targets = self.table.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
        let places = for_targets.filter_map(Value::as_table).chain([&self.table]);
        let tables = places.filter_map(|place| place.get(kind)?.as_table());
        tables.flatten().map(|(name, value)| (name.as_str(), value)).collect()
    }

    /// What is needed to build it, not to test it.
    fn needs(&self) -> BTreeSet<&str> {
        ["dependencies", "build-dependencies"].iter().flat_map(|kind| self.dependencies(kind).into_keys()).collect()
    }

    fn is_below(&self, folder: &str) -> bool {
        self.folder.split('/').next() == Some(folder)
    }
}

fn workspace() -> Table {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    text.parse().expect("Cargo.toml is TOML")
}

/// The manifests of all crates of the workspace.
fn members() -> Vec<Manifest> {
    let workspace = workspace();
    let members = workspace["workspace"]["members"].as_array().expect("members");
    let members: Vec<Manifest> = members
        .iter()
        .map(|folder| {
            let folder = folder.as_str().expect("a folder").to_owned();
            let text = std::fs::read_to_string(root().join(&folder).join("Cargo.toml")).expect("a Cargo.toml");
            Manifest { table: text.parse().expect("a Cargo.toml is TOML"), folder }
        })
        .collect();
    assert!(members.len() > 10, "only {} members", members.len());
    members
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

/// What is wrong with a dependency of one of the core's crates on one of ours.
fn wrong_direction(from: &str, to: &str, is_ours: bool) -> Option<String> {
    let (Some(from_layer), true) = (layer(from), is_ours) else { return None };
    match layer(to) {
        Some(to_layer) if to_layer < from_layer => None,
        Some(_) => Some(format!("{from} depends on {to}, which is not below it")),
        // The one crate outside of the core that is built into the binary.
        None if from == "jecloud" && to == "jecloud-builtin-hooks" => None,
        None => Some(format!("{from} depends on {to}, which is no part of the core")),
    }
}

/// There can be no cycle where everything points down.
#[test]
fn dependencies_point_down() {
    assert!(wrong_direction("jecloud-disk", "jecloud-model", true).is_none());
    assert!(wrong_direction("jecloud-model", "jecloud-disk", true).is_some());
    assert!(wrong_direction("jecloud-disk", "jecloud-launch", true).is_some());
    assert!(wrong_direction("jecloud-server", "jecloud-builtin-hooks", true).is_some());
    assert!(wrong_direction("jecloud-disk", "serde", false).is_none());

    let members = members();
    let ours: BTreeSet<&str> = members.iter().map(Manifest::name).collect();
    let mut wrong = Vec::new();
    for member in &members {
        let name = member.name();
        let needs = member.needs();
        wrong.extend(needs.iter().filter_map(|to| wrong_direction(name, to, ours.contains(to))));
        let tests = member.dependencies("dev-dependencies").into_keys().filter(|&to| to != FOR_TESTS);
        wrong.extend(
            tests.filter_map(|to| wrong_direction(name, to, ours.contains(to))).map(|what| format!("tests: {what}")),
        );
        let is_tool = matches!(name, FOR_TESTS | "xtask");
        if member.is_below("host") && layer(name).is_none() && !is_tool {
            wrong.push(format!("{name} has no place in LAYERS"));
        }
        if !is_tool && needs.contains(FOR_TESTS) {
            wrong.push(format!("{name} needs {FOR_TESTS}, which is for tests"));
        }
    }
    none("the order is in LAYERS", wrong);
}

/// A hook author installs the SDK without the core, and a hook is written with nothing but the SDK.
#[test]
fn hooks_know_the_sdk_and_the_sdk_knows_nobody() {
    let members = members();
    let ours: BTreeSet<&str> = members.iter().map(Manifest::name).collect();
    let mut wrong = Vec::new();
    for member in members.iter().filter(|member| member.is_below("hooks") || member.is_below("sdk")) {
        let allowed = if member.is_below("hooks") { "jecloud-sdk" } else { "" };
        // The list of components is no hook: its tests may hold it against the real sandbox.
        let is_the_list = member.name() == "jecloud-builtin-hooks";
        let tests = member.dependencies("dev-dependencies").into_keys().filter(|_| !is_the_list);
        for to in member.needs().into_iter().chain(tests).filter(|to| ours.contains(to) && *to != allowed) {
            wrong.push(format!("{} depends on {to}", member.name()));
        }
    }
    none("not these", wrong);
}

#[test]
fn every_crate_has_the_lints_and_the_version_of_the_workspace() {
    let inherits =
        |table: Option<&Value>| table.and_then(|table| table.get("workspace")).and_then(Value::as_bool) == Some(true);
    let mut wrong = Vec::new();
    for member in members() {
        if !inherits(member.table.get("lints")) {
            wrong.push(format!("{}: [lints] workspace = true is missing", member.folder));
        }
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            if !inherits(member.table["package"].get(key)) {
                wrong.push(format!("{}: {key}.workspace = true is missing", member.folder));
            }
        }
    }
    none("inherit these", wrong);
}

#[test]
fn every_crate_is_a_member() {
    let members = members();
    let is_member = |folder: &str| members.iter().any(|member| member.folder == folder);
    let manifests = files().into_iter().filter_map(|file| file.path.strip_suffix("/Cargo.toml").map(str::to_owned));
    // Examples are workspaces of their own: they are what a newcomer copies.
    let wrong = manifests.filter(|folder| !folder.starts_with("examples/") && !is_member(folder));
    none("add these to the members of the workspace", wrong.collect());
}

/// What a dependency of a crate says beside `workspace = true`; none where that is missing.
fn is_from_the_table(dependency: &Value) -> bool {
    let Some(table) = dependency.as_table() else { return false };
    let is_known = |key: &String| ["workspace", "features", "optional"].contains(&key.as_str());
    table.get("workspace").and_then(Value::as_bool) == Some(true) && table.keys().all(is_known)
}

/// One table says which versions there are and why.
#[test]
fn there_is_one_table_of_dependencies() {
    let parse = |text: &str| text.parse::<Table>().expect("TOML")["x"].clone();
    assert!(is_from_the_table(&parse("x.workspace = true")));
    assert!(is_from_the_table(&parse("x = { workspace = true, features = ['a'] }")));
    assert!(!is_from_the_table(&parse("x = '1'")) && !is_from_the_table(&parse("x = { path = '../x' }")));

    let workspace = workspace();
    let table = workspace["workspace"]["dependencies"].as_table().expect("a table of dependencies");
    let mut unused: BTreeSet<&str> = table.keys().map(String::as_str).collect();
    let mut wrong = Vec::new();
    for member in members() {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, dependency) in member.dependencies(kind) {
                unused.remove(name);
                if !is_from_the_table(dependency) {
                    wrong.push(format!("{}: {name} is not from the table", member.folder));
                }
            }
        }
    }
    wrong.extend(unused.into_iter().map(|name| format!("{name}: no crate uses it")));
    none("the table is in Cargo.toml", wrong);
}
