//! What `package.json` says, as far as a deployment needs it.

use std::collections::{BTreeMap, BTreeSet};

use jecloud_sdk::{Context, Problem};
use serde_json::{Map, Value};

/// Where it is.
pub const FILE: &str = "package.json";

/// Scripts that a package manager runs by itself when it installs an app's dependencies. They may read any source file.
const LIFECYCLE_SCRIPTS: [&str; 7] =
    ["preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare"];

/// Those of them that are for development: they may use development dependencies.
const DEVELOPMENT_SCRIPTS: [&str; 4] = ["prepublish", "preprepare", "prepare", "postprepare"];

/// Tables of package.json whose packages are there when the app runs.
const RUNTIME_TABLES: [&str; 3] = ["dependencies", "optionalDependencies", "peerDependencies"];

/// What `package.json` says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The package's name.
    pub name: Option<String>,
    /// The package's version.
    pub version: Option<String>,
    /// The file that the package is.
    pub main: Option<String>,
    /// `packageManager`: `pnpm@9.15.0+sha512.…`.
    pub package_manager: Option<String>,
    /// `engines.node`: a range.
    pub engine: Option<String>,
    /// Names and command lines.
    pub scripts: BTreeMap<String, String>,
    /// Whether packages are needed when the app runs.
    pub has_dependencies: bool,
    /// The packages that are there when the app runs, as far as this file names them.
    pub packages: BTreeSet<String>,
    /// The packages that are needed to develop it.
    pub dev_packages: BTreeSet<String>,
    /// Whether installing puts files beside those in the root's `node_modules`: packages of a workspace, or of
    /// directories.
    pub has_local_packages: bool,
}

impl Manifest {
    /// Reads it; none where the app has no such file.
    ///
    /// # Errors
    /// When it is not what npm would read, with line and column.
    pub fn of(context: &Context) -> Result<Option<Self>, Problem> {
        context.text(FILE)?.map(Self::parse).transpose()
    }

    /// Reads the text of a `package.json`.
    ///
    /// # Errors
    /// When it is not what npm would read, with line and column.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let value: Value = serde_json::from_str(text).map_err(|error| syntax_problem(text, &error))?;
        let Value::Object(root) = value else {
            return Err(Problem::new(format!("{FILE} is not a JSON object")).hint("it begins with { and ends with }"));
        };
        let mut manifest = Self {
            name: string(&root, "name")?,
            version: string(&root, "version")?,
            main: string(&root, "main")?,
            package_manager: string(&root, "packageManager")?,
            has_local_packages: root.contains_key("workspaces"),
            ..Self::default()
        };
        // A list of engines was allowed by npm before 2012; it says nothing that is still known.
        if let Some(Value::Object(engines)) = root.get("engines") {
            manifest.engine = string_below(engines, "engines", "node")?;
        }
        if let Some(scripts) = table(&root, "scripts")? {
            for name in scripts.keys() {
                manifest.scripts.extend(string_below(scripts, "scripts", name)?.map(|line| (name.clone(), line)));
            }
        }
        for name in RUNTIME_TABLES.into_iter().chain(["devDependencies"]) {
            let Some(packages) = table(&root, name)? else { continue };
            let names = if name == "devDependencies" { &mut manifest.dev_packages } else { &mut manifest.packages };
            names.extend(packages.keys().cloned());
            manifest.has_local_packages |= packages.values().filter_map(Value::as_str).any(is_local);
        }
        // The packages of a workspace have dependencies of their own, which cannot be seen from here.
        manifest.has_dependencies = !manifest.packages.is_empty() || root.contains_key("workspaces");
        Ok(manifest)
    }

    /// Whether installing its dependencies runs scripts of the app itself, whose effects may depend on any of its files.
    pub fn has_lifecycle_scripts(&self) -> bool {
        LIFECYCLE_SCRIPTS.iter().any(|name| self.scripts.contains_key(*name))
    }

    /// Whether installing its dependencies runs scripts that may use development dependencies.
    pub fn has_development_scripts(&self) -> bool {
        DEVELOPMENT_SCRIPTS.iter().any(|name| self.scripts.contains_key(*name))
    }
}

/// Whether a version is a directory instead.
fn is_local(version: &str) -> bool {
    ["file:", "link:", "portal:", "workspace:", "./", "../"].iter().any(|prefix| version.starts_with(prefix))
}

fn syntax_problem(text: &str, error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    let what = error.to_string();
    let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(what, _)| what);
    let problem = Problem::new(format!("{FILE} is not JSON: line {line}, column {column}: {what}"));
    match text.lines().nth(line.saturating_sub(1)).map(str::trim) {
        _ if text.trim().is_empty() => Problem::new(format!("{FILE} is empty")).hint("`npm init` writes one"),
        Some(seen) if !seen.is_empty() && seen.len() <= 120 => problem.hint(format!("the line is: {seen}")),
        _ => problem,
    }
}

fn string(root: &Map<String, Value>, key: &str) -> Result<Option<String>, Problem> {
    string_of(root.get(key), key)
}

fn string_below(map: &Map<String, Value>, parent: &str, key: &str) -> Result<Option<String>, Problem> {
    string_of(map.get(key), &format!("{parent}.{key}"))
}

fn string_of(value: Option<&Value>, name: &str) -> Result<Option<String>, Problem> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(wrong_type(name, "a string", other)),
    }
}

fn table<'a>(root: &'a Map<String, Value>, name: &str) -> Result<Option<&'a Map<String, Value>>, Problem> {
    match root.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(other) => Err(wrong_type(name, "an object", other)),
    }
}

fn wrong_type(name: &str, wanted: &str, value: &Value) -> Problem {
    let mut seen = value.to_string();
    if seen.chars().count() > 60 {
        seen = seen.chars().take(59).chain(['…']).collect();
    }
    Problem::new(format!("`{name}` in {FILE} is not {wanted}: {seen}"))
}
