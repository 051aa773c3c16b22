//! Which Node.js runs the app, and where it comes from.

use jecloud_sdk::{Archive, Context, Package, Problem};
use nodejs_semver::Version;

use crate::requirement::{DEFAULT_MAJOR, OLDEST_MAJOR, Requirement, upstream_version};
use crate::settings::Settings;

/// The name under which a Node.js is pinned that is on the server or comes from an archive.
const NODE: &str = "node";
/// The name of the distribution's package, and of its pin.
const NODEJS: &str = "nodejs";

/// The directories in which a server's programs are found, after those of the app and of Node.js.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Which Node.js runs the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// Where it comes from.
    pub source: Source,
    /// Its exact version, where it is known already; else what is asked for.
    pub version: String,
    /// The name under which it is pinned.
    name: &'static str,
    /// The version as the package manager writes it; empty for those that it did not install.
    package_version: String,
    /// Whether the distribution's package npm is needed beside it.
    needs_npm_package: bool,
    /// Whether an npm is needed, wherever it comes from.
    uses_npm: bool,
    /// The directory of the program, where it is not among the system's.
    directory: Option<String>,
}

/// Where a Node.js comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It is on the server.
    Present,
    /// The distribution's package.
    Distribution,
    /// An archive of the mirror.
    Archive,
}

/// A version that `jecloud.lock` holds.
struct Pin<'a> {
    name: &'static str,
    text: &'a str,
    version: Version,
}

impl Runtime {
    /// Chooses it: the one on the server, if it will do; else the distribution's; else an archive of the mirror.
    ///
    /// A pinned version that still satisfies what is asked for is used exactly. One that was found on a server may come
    /// from the distribution on the next: it was installed there in the same way.
    ///
    /// # Errors
    /// When none can be had.
    pub fn choose(context: &Context, requirement: Option<&Requirement>, needs_npm: bool) -> Result<Self, Problem> {
        let pin = pin(context).filter(|pin| requirement.is_none_or(|wanted| wanted.allows(&pin.version)));
        let will_do = |version: &Version| match (&pin, requirement) {
            (Some(pin), _) => *version == pin.version,
            (None, Some(wanted)) => wanted.allows(version),
            (None, None) => version.major() >= OLDEST_MAJOR,
        };
        // NodeSource's package has npm in it, and conflicts with the distribution's.
        let npm_package = |package_version: &str| needs_npm && !package_version.contains("nodesource");
        let can_install_npm = context.can_install() && context.candidate("npm").is_some();

        if let Some(program) = context.program(NODE)
            && let Some(version) = upstream_version(program.version_text)
            && will_do(&version)
        {
            let has_npm = context.program("npm").is_some();
            if !needs_npm || has_npm || can_install_npm {
                let (name, package_version) = match &pin {
                    Some(pin) if pin.name == NODEJS => (NODEJS, pin.text.to_owned()),
                    _ => (NODE, String::new()),
                };
                return Ok(Self {
                    source: Source::Present,
                    version: version.to_string(),
                    name,
                    package_version,
                    needs_npm_package: needs_npm && !has_npm,
                    uses_npm: needs_npm,
                    directory: directory(program.path),
                });
            }
        }
        if context.can_install()
            && let Some(candidate) = context.candidate(NODEJS)
            && let Some(version) = upstream_version(candidate)
            && will_do(&version)
            && pin.as_ref().is_none_or(|pin| pin.name == NODE || pin.text == candidate)
            && (!npm_package(candidate) || context.candidate("npm").is_some())
        {
            return Ok(Self {
                source: Source::Distribution,
                version: version.to_string(),
                name: NODEJS,
                package_version: candidate.to_owned(),
                needs_npm_package: npm_package(candidate),
                uses_npm: needs_npm,
                directory: None,
            });
        }
        let version = match (&pin, requirement) {
            (Some(pin), _) => pin.version.to_string(),
            // It was found to be satisfiable when it was parsed.
            (None, Some(wanted)) => wanted.archive_version().unwrap_or_else(|| DEFAULT_MAJOR.to_string()),
            (None, None) => DEFAULT_MAJOR.to_string(),
        };
        platform(context).map_err(|problem| match requirement {
            Some(wanted) => Problem::new(format!(
                "Node.js `{}`, which {} asks for, is not on this server ({}), and {}",
                wanted.text,
                wanted.origin,
                what_is_there(context),
                problem.message
            ))
            .hint(format!("install it on the server, or {}", wanted.hint())),
            None => Problem::new(format!("Node.js is not on this server, and {}", problem.message))
                .hint(format!("install Node.js {OLDEST_MAJOR} or later on the server")),
        })?;
        Ok(Self {
            source: Source::Archive,
            version,
            name: NODE,
            package_version: String::new(),
            needs_npm_package: false,
            uses_npm: needs_npm,
            directory: Some("{package:node}/bin".to_owned()),
        })
    }

    /// What must be there before the build.
    ///
    /// # Errors
    /// When there is no archive for this kind of server.
    pub fn packages(
        &self,
        context: &Context,
        settings: &Settings,
        requirement: Option<&Requirement>,
    ) -> Result<Vec<Package>, Problem> {
        let node = match self.source {
            Source::Present if self.package_version.is_empty() => Package::present(self.name, &self.version),
            Source::Present => Package::present(self.name, &self.package_version),
            Source::Distribution => Package::distribution(self.name, &self.package_version),
            Source::Archive => Package::archive(self.name, &self.version, self.archive(context, settings)?)
                .hint(self.by_hand(context, requirement)),
        };
        let mut packages = vec![node.pinned()];
        if self.needs_npm_package {
            packages.push(Package::distribution("npm", context.candidate("npm").unwrap_or_default()));
        }
        Ok(packages)
    }

    /// How a person gets a Node.js onto the server that will do, where the archive cannot be had.
    fn by_hand(&self, context: &Context, requirement: Option<&Requirement>) -> String {
        let names = if self.uses_npm { "nodejs npm" } else { "nodejs" };
        let candidate = context.candidate(NODEJS).and_then(upstream_version);
        let will_do = candidate.as_ref().is_some_and(|version| match requirement {
            Some(wanted) => wanted.allows(version),
            None => version.major() >= OLDEST_MAJOR,
        });
        match (context.fact("package-manager"), candidate) {
            (Some("apt"), Some(_)) if will_do => format!("Or type `sudo apt-get install {names}`, then deploy again."),
            (Some("apt"), None) if requirement.is_none() => {
                format!("Or type `sudo apt-get update`, then `sudo apt-get install {names}`, then deploy again.")
            }
            _ => format!("Or install Node.js {} on the server, then deploy again.", self.version),
        }
    }

    fn archive(&self, context: &Context, settings: &Settings) -> Result<Archive, Problem> {
        let mirror = settings.mirror();
        // The mirror has a directory for the newest release of each line, and one for each release.
        let directory =
            if self.is_exact() { format!("v{}", self.version) } else { format!("latest-v{}.x", self.version) };
        let url = format!("{mirror}/v{{version}}/node-v{{version}}-{}.tar.gz", platform(context)?);
        Ok(Archive::new(url).sums_url(format!("{mirror}/{directory}/SHASUMS256.txt")).strip(1))
    }

    fn is_exact(&self) -> bool {
        self.version.contains('.')
    }

    /// The major version.
    pub fn major(&self) -> u64 {
        self.version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(DEFAULT_MAJOR)
    }

    /// The program, as the first word of an argv.
    pub fn node(&self) -> &'static str {
        match self.source {
            Source::Archive => "{package:node}/bin/node",
            // By its name, as the power for it is declared: it is the one that the fact was about.
            Source::Present | Source::Distribution => NODE,
        }
    }

    /// npm, as the first words of an argv: the one that belongs to this Node.js.
    pub fn npm(&self) -> Vec<String> {
        match self.source {
            Source::Archive => {
                vec![self.node().to_owned(), "{package:node}/lib/node_modules/npm/bin/npm-cli.js".to_owned()]
            }
            Source::Present | Source::Distribution => vec!["npm".to_owned()],
        }
    }

    /// The variable PATH: the app's own programs, then those of `more`, then this Node.js, then the system's.
    pub fn path(&self, more: Option<&str>) -> String {
        let mut directories = vec!["{source}/node_modules/.bin"];
        directories.extend(more);
        directories.extend(self.directory.as_deref());
        directories.push(SYSTEM_PATH);
        directories.join(":")
    }

    /// A sentence about where it comes from.
    pub fn describe(&self) -> String {
        match self.source {
            Source::Present => format!("Node.js {} of this server", self.version),
            Source::Distribution => format!("Node.js {} of the distribution", self.version),
            Source::Archive => format!("Node.js {} of the official archives", self.version),
        }
    }
}

/// The pinned version; that of a distribution's package under its own name.
fn pin(context: &Context) -> Option<Pin<'_>> {
    [NODE, NODEJS].into_iter().find_map(|name| {
        let text = context.pin(name)?;
        Some(Pin { name, text, version: upstream_version(text)? })
    })
}

/// The directory of a program, where it is not among the system's.
fn directory(path: &str) -> Option<String> {
    let (directory, _) = path.rsplit_once('/')?;
    let is_known = SYSTEM_PATH.split(':').any(|known| known == directory);
    (!is_known && !directory.is_empty()).then(|| jecloud_sdk::template::escape(directory))
}

/// How the official archives call this kind of server.
fn platform(context: &Context) -> Result<&'static str, Problem> {
    let os = context.fact("os").unwrap_or("linux");
    let arch = context.fact("arch").unwrap_or_default();
    match (os, arch) {
        ("linux", "x86_64") => Ok("linux-x64"),
        ("linux", "aarch64") => Ok("linux-arm64"),
        _ => Err(Problem::new(format!("there is no official archive of it for {os} on `{arch}`"))),
    }
}

fn what_is_there(context: &Context) -> String {
    let present = match context.program(NODE) {
        Some(program) => format!("it has {}", program.version_text),
        None => "it has no Node.js".to_owned(),
    };
    match context.candidate(NODEJS) {
        Some(candidate) => format!("{present}; its distribution has {candidate}"),
        None => present,
    }
}
