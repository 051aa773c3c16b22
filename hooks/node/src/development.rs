//! Whether what runs needs a development dependency: `nest start`, `ts-node src/index.ts`, `release: prisma migrate`.
//!
//! Such apps work where nothing is removed, so nothing is removed for them either. What cannot be seen from here is what
//! a package loads by itself when it runs: that is what `keep_dev_dependencies` is for.

use std::collections::{BTreeMap, BTreeSet};

use jecloud_sdk::Context;
use serde::Deserialize;
use serde_json::Value;

use crate::manifest::Manifest;

/// How deep scripts may call each other.
const DEEPEST_SCRIPT: usize = 8;

/// Programs whose names tell nothing of their packages'.
const ODD_NAMES: [(&str, &str); 7] = [
    ("nf", "foreman"),
    ("run-p", "npm-run-all"),
    ("run-p", "npm-run-all2"),
    ("run-s", "npm-run-all"),
    ("run-s", "npm-run-all2"),
    ("svelte-kit", "@sveltejs/kit"),
    ("tsc", "typescript"),
];

/// The words of a command line, and of the scripts of package.json that it has a package manager run.
pub fn words(command: &str, manifest: Option<&Manifest>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(command, manifest, DEEPEST_SCRIPT, &mut found);
    found
}

fn collect(command: &str, manifest: Option<&Manifest>, depth: usize, found: &mut BTreeSet<String>) {
    let is_between = |c: char| c.is_whitespace() || ";&|()<>\"'`".contains(c);
    let words: Vec<&str> = command.split(is_between).filter(|word| !word.is_empty()).collect();
    for (index, word) in words.iter().enumerate() {
        found.insert((*word).to_owned());
        let (Some(manifest), true, true) = (manifest, ["npm", "yarn", "pnpm"].contains(word), depth > 0) else {
            continue;
        };
        let mut after = words[index + 1..].iter().filter(|word| !word.starts_with('-') && !word.starts_with("run"));
        let Some(script) = after.next() else { continue };
        for name in [format!("pre{script}"), (*script).to_owned(), format!("post{script}")] {
            if let Some(line) = manifest.scripts.get(&name) {
                collect(line, Some(manifest), depth - 1, found);
            }
        }
    }
}

/// The first of these words that is a program or a file of a development dependency, and that dependency's name.
pub fn needed<'a>(
    words: &'a BTreeSet<String>,
    manifest: &'a Manifest,
    context: &Context,
) -> Option<(&'a str, &'a str)> {
    if manifest.dev_packages.is_empty() {
        return None;
    }
    let programs = Programs::of(context);
    words.iter().find_map(|word| {
        let name = word.trim_start_matches("./").trim_start_matches("node_modules/");
        let name = name.trim_start_matches(".bin/");
        let is_of = |package: &&String| programs.is_of(name, package);
        if manifest.packages.iter().any(|package| is_of(&package)) {
            return None;
        }
        Some((word.as_str(), manifest.dev_packages.iter().find(is_of)?.as_str()))
    })
}

/// Which packages have which programs, as far as package-lock.json says it: that of pnpm and Yarn does not.
#[derive(Default)]
struct Programs(BTreeMap<String, BTreeSet<String>>);

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    packages: BTreeMap<String, Locked>,
}

#[derive(Deserialize)]
struct Locked {
    bin: Option<Value>,
}

impl Programs {
    fn of(context: &Context) -> Self {
        let lock = ["npm-shrinkwrap.json", "package-lock.json"]
            .into_iter()
            .find_map(|file| context.text(file).ok().flatten())
            .and_then(|text| serde_json::from_str::<Lock>(text).ok());
        let packages = lock.map(|lock| lock.packages).unwrap_or_default().into_iter();
        let known = packages.filter_map(|(path, package)| {
            let name = path.strip_prefix("node_modules/")?.to_owned();
            let programs = match package.bin {
                Some(Value::Object(programs)) => programs.into_iter().map(|(program, _)| program).collect(),
                _ => BTreeSet::new(),
            };
            Some((name, programs))
        });
        Self(known.collect())
    }

    /// Whether a word names a program of a package, or a file in it.
    fn is_of(&self, word: &str, package: &str) -> bool {
        if word == package || word.strip_prefix(package).is_some_and(|rest| rest.starts_with('/')) {
            return true;
        }
        match self.0.get(package) {
            Some(programs) => programs.contains(word),
            None => sounds_like(word, package),
        }
    }
}

/// Whether a program is likely one of a package: `tsx` of tsx, `nest` of @nestjs/cli, `dotenv` of dotenv-cli,
/// `babel-node` of @babel/node.
fn sounds_like(word: &str, package: &str) -> bool {
    if word == "node" || word == "npm" {
        return false;
    }
    let by_parts =
        package.strip_prefix('@').and_then(|package| package.split_once('/')).is_some_and(|(scope, name)| {
            let scope = scope.trim_end_matches("-run");
            name == word
                || word.split_once('-') == Some((scope, name))
                || (name == "cli" && (scope == word || scope.strip_suffix("js") == Some(word)))
        });
    by_parts || package.strip_suffix("-cli") == Some(word) || ODD_NAMES.contains(&(word, package))
}
