//! Which package manager installs the app's dependencies.

use jecloud_sdk::{Context, Problem};

use crate::manifest::Manifest;
use crate::requirement::upstream_version;
use crate::runtime::Runtime;
use crate::settings::Settings;

/// A package manager. Yarn from version 2 on ("berry") is another program than Yarn 1 ("classic").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "names")]
pub enum Kind {
    Npm,
    YarnClassic,
    YarnBerry,
    Pnpm,
}

/// How the package manager is called.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Program {
    /// The npm that belongs to the Node.js.
    Npm,
    /// A program of the server, by its name.
    OnServer(&'static str),
    /// A file of the app.
    InSource(String),
    /// A package that npm installs into the service's own directory.
    Package { name: &'static str, bin: &'static str },
}

/// The package manager of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    /// Which one.
    pub kind: Kind,
    /// Its version: exact, or the beginning of one, or empty for the npm of the Node.js.
    pub version: String,
    /// The lock file that it goes by.
    pub lock: Option<&'static str>,
    /// Guesses that were made.
    pub notes: Vec<String>,
    program: Program,
}

/// Lock files in the order in which they are looked for, and whose they are. npm prefers a shrinkwrap.
const LOCKS: [(&str, &str); 4] =
    [("npm-shrinkwrap.json", "npm"), ("package-lock.json", "npm"), ("pnpm-lock.yaml", "pnpm"), ("yarn.lock", "yarn")];

/// The Yarn 1 that is installed where the app names no version: the last one, by <https://classic.yarnpkg.com>.
const YARN_CLASSIC: &str = "1.22.22";

impl Manager {
    /// Finds it: by `package_manager` in jecloud.toml, `packageManager` in package.json, the lock file; else npm.
    ///
    /// # Errors
    /// When `packageManager` names another one.
    pub fn of(context: &Context, settings: &Settings, manifest: &Manifest) -> Result<Self, Problem> {
        let locks: Vec<(&str, &str)> = LOCKS.into_iter().filter(|(file, _)| context.file(file).is_some()).collect();
        let asked = settings
            .package_manager
            .as_deref()
            .map(|text| (text, "`package_manager` in jecloud.toml"))
            .or_else(|| Some((manifest.package_manager.as_deref()?, "`packageManager` in package.json")));
        let (name, version) = match asked {
            Some((text, origin)) => name_and_version(text, origin)?,
            None => (locks.first().map_or("npm", |(_, name)| *name), None),
        };
        let lock = locks.iter().find(|(_, whose)| *whose == name).map(|(file, _)| *file);
        let mut notes = Vec::new();
        let ignored: Vec<&str> =
            locks.iter().filter(|(file, whose)| Some(*file) != lock && *whose != name).map(|(f, _)| *f).collect();
        if !ignored.is_empty() {
            let by = lock.map_or(String::new(), |lock| format!(" by {lock}"));
            notes.push(format!(
                "dependencies are installed with {name}{by}; {} is ignored. Remove the one that is not kept up to date.",
                ignored.join(", ")
            ));
        }
        let (kind, version) = match name {
            "npm" => (Kind::Npm, String::new()),
            "pnpm" => (Kind::Pnpm, version.unwrap_or_else(|| pnpm_by_lock(context, lock))),
            _ => yarn(context, version),
        };
        let program = program(context, kind, &version)?;
        Ok(Self { kind, version, lock, notes, program })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Npm => "npm",
            Kind::YarnClassic | Kind::YarnBerry => "yarn",
            Kind::Pnpm => "pnpm",
        }
    }

    /// Whether npm must be there, to be it or to install it.
    pub fn needs_npm(&self) -> bool {
        matches!(self.program, Program::Npm | Program::Package { .. })
    }

    /// Its first words in an argv.
    pub fn argv(&self, runtime: &Runtime) -> Vec<String> {
        match &self.program {
            Program::Npm => runtime.npm(),
            Program::OnServer(name) => vec![(*name).to_owned()],
            Program::InSource(path) => vec![runtime.node().to_owned(), format!("{{source}}/{path}")],
            Program::Package { bin, .. } => {
                vec![runtime.node().to_owned(), format!("{}/node_modules/.bin/{bin}", self.directory())]
            }
        }
    }

    /// The npm package that must be installed first, and its version.
    pub fn package(&self) -> Option<(&'static str, &str)> {
        match self.program {
            Program::Package { name, .. } => Some((name, &self.version)),
            _ => None,
        }
    }

    /// Where that package is installed. A template.
    pub fn directory(&self) -> String {
        format!("{{data}}/package-managers/{}-{}", self.name(), self.version)
    }

    /// The directory of its program, where that is not in the PATH anyway.
    pub fn path(&self) -> Option<String> {
        self.package().map(|_| format!("{}/node_modules/.bin", self.directory()))
    }
}

/// `pnpm@9.15.0+sha512.…`: the name and, without the hash, the version.
fn name_and_version(text: &str, origin: &str) -> Result<(&'static str, Option<String>), Problem> {
    let (name, version) = text.split_once('@').map_or((text, None), |(name, version)| (name, Some(version)));
    let version = version.map(|version| version.split('+').next().unwrap_or_default().to_owned());
    let known = ["npm", "yarn", "pnpm"].into_iter().find(|known| *known == name);
    let is_version = |version: &String| {
        !version.is_empty() && version.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
    };
    match known {
        Some(name) if version.as_ref().is_none_or(is_version) => Ok((name, version)),
        _ => Err(Problem::new(format!("{origin} is `{text}`, which is no package manager that is known here"))
            .hint("write `npm`, `yarn` or `pnpm`, with a version if wanted: `pnpm@9.15.0`")),
    }
}

/// The major version of pnpm that wrote the lock file: by <https://github.com/pnpm/spec/tree/master/lockfile> 9.0 is
/// that of pnpm 9 and 10, 6.0 that of 8, and 5.x that of 7 and before.
fn pnpm_by_lock(context: &Context, lock: Option<&str>) -> String {
    let content = lock.and_then(|lock| context.text(lock).ok().flatten()).unwrap_or_default();
    let line = content.lines().find_map(|line| line.strip_prefix("lockfileVersion:"));
    let version = line.unwrap_or_default().trim().trim_matches(['\'', '"']);
    match version.split('.').next() {
        Some("5") => "7",
        Some("6") => "8",
        Some("9") => "9",
        _ => "10",
    }
    .to_owned()
}

/// Which Yarn: by its version, else by the lock file, else the classic one.
fn yarn(context: &Context, version: Option<String>) -> (Kind, String) {
    if let Some(version) = version {
        let kind = if version.starts_with("1.") || version == "1" { Kind::YarnClassic } else { Kind::YarnBerry };
        return (kind, version);
    }
    let lock = context.text("yarn.lock").ok().flatten().unwrap_or_default();
    // The head of a lock file is short; what is far below belongs to packages.
    let mut head = lock.lines().take(20).skip_while(|line| line.trim_end() != "__metadata:").skip(1);
    match head.next() {
        None => (Kind::YarnClassic, YARN_CLASSIC.to_owned()),
        Some(line) => {
            // By trying: the last Yarn that writes this version of the file. A later one would change it, and is asked
            // not to.
            let version = match line.trim().strip_prefix("version:").unwrap_or_default().trim() {
                "4" | "5" => "2",
                "6" | "7" => "3",
                "8" => "4.13",
                "9" => "4.14",
                _ => "4",
            };
            (Kind::YarnBerry, version.to_owned())
        }
    }
}

/// How a package manager is called: from the app's files, else from the server if it has this version, else installed.
fn program(context: &Context, kind: Kind, version: &str) -> Result<Program, Problem> {
    let (name, package) = match kind {
        Kind::Npm => return Ok(Program::Npm),
        Kind::YarnBerry => {
            if let Some(path) = yarn_path(context)? {
                return Ok(Program::InSource(path));
            }
            ("yarn", "@yarnpkg/cli-dist")
        }
        Kind::YarnClassic => ("yarn", "yarn"),
        Kind::Pnpm => ("pnpm", "pnpm"),
    };
    let on_server = context.program(name).and_then(|program| upstream_version(program.version_text));
    let begins_so = |present: String| present == version || present.starts_with(&format!("{version}."));
    if on_server.is_some_and(|present| begins_so(present.to_string())) {
        return Ok(Program::OnServer(name));
    }
    Ok(Program::Package { name: package, bin: name })
}

/// `yarnPath` in .yarnrc.yml: the Yarn that is kept with the app's sources. Yarn writes it as one plain line.
fn yarn_path(context: &Context) -> Result<Option<String>, Problem> {
    let Some(text) = context.text(".yarnrc.yml")? else { return Ok(None) };
    let value = text.lines().find_map(|line| line.strip_prefix("yarnPath:"));
    let Some(path) = value.map(|value| value.trim().trim_matches(['\'', '"'])) else { return Ok(None) };
    if path.is_empty() || path.starts_with('/') || path.split('/').any(|segment| segment == "..") {
        return Err(Problem::new(format!("`yarnPath` in .yarnrc.yml is `{path}`, which is not a file of the app"))
            .hint("`yarn set version stable` writes one below .yarn/releases"));
    }
    Ok(Some(jecloud_sdk::template::escape(path.trim_start_matches("./"))))
}
