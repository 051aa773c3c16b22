//! Which MongoDB runs, and where it and its shell come from.

use jecloud_sdk::{Context, Package, Problem, Repository};

use crate::settings::Settings;
use crate::version::{Series, exact};
use crate::{SERVER, SHELL, WROTE};

/// MongoDB's package of the server.
pub const SERVER_PACKAGE: &str = "mongodb-org-server";

/// MongoDB's package of the shell.
pub const SHELL_PACKAGE: &str = "mongodb-mongosh";

/// Where MongoDB publishes packages: <https://www.mongodb.com/docs/manual/administration/install-on-linux/>.
pub const REPOSITORIES: &str = "https://repo.mongodb.org/apt/";

/// Where MongoDB publishes its keys.
pub const KEYS: &str = "https://pgp.mongodb.com/";

/// The name under which a server is pinned that no package brought.
const PRESENT: &str = "mongodb";

/// Distributions that MongoDB makes packages for: what the fact says, the directory, the suite, the component.
const DISTRIBUTIONS: [(&str, &str, &str, &str); 5] = [
    ("debian 11", "debian", "bullseye", "main"),
    ("debian 12", "debian", "bookworm", "main"),
    ("ubuntu 20.04", "ubuntu", "focal", "multiverse"),
    ("ubuntu 22.04", "ubuntu", "jammy", "multiverse"),
    ("ubuntu 24.04", "ubuntu", "noble", "multiverse"),
];

/// The MongoDB that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// What it reads and writes.
    pub series: Series,
    /// Its exact version; only its series where it is not installed yet.
    pub version: String,
    packages: Vec<Package>,
}

impl Release {
    /// Chooses it: the one on the server, if it will do; else that of MongoDB's repository.
    ///
    /// # Errors
    /// When none can be had.
    pub fn choose(context: &Context, settings: &Settings) -> Result<Self, Problem> {
        let present = context.program(SERVER).and_then(|program| exact(program.version_text));
        let installed = context.installed(SERVER_PACKAGE).and_then(exact).filter(|version| present == Some(version));
        // Data is not made that of another series without being asked.
        let wrote = context.remembered(WROTE).and_then(Series::of);
        let asked = settings.version.clone().or_else(|| wrote.map(|series| series.to_string()));
        let wanted = |version: &str| {
            Series::of(version).is_some()
                && asked.as_deref().is_none_or(|asked| {
                    version.strip_prefix(asked).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                })
        };
        // A pin that is not what is asked for by now counts no more.
        let pin = [SERVER_PACKAGE, PRESENT].into_iter().find_map(|name| {
            let text = context.pin(name)?;
            exact(text).filter(|version| wanted(version)).map(|version| (name, text, version))
        });
        let will_do = |version: &str| match pin {
            Some((_, _, pinned)) => version == pinned,
            None => wanted(version),
        };
        if let Some(version) = present.filter(|version| will_do(version)) {
            let server = match (installed, pin) {
                (_, Some((SERVER_PACKAGE, text, _))) if installed.is_some() => {
                    Package::distribution(SERVER_PACKAGE, text)
                }
                (Some(version), _) => Package::distribution(SERVER_PACKAGE, version),
                (None, _) => Package::present(PRESENT, version),
            };
            let series = Series::of(version).unwrap_or(Series::NEWEST);
            let packages = vec![server.pinned(), shell(context, settings, series)?];
            return Ok(Self { series, version: version.to_owned(), packages });
        }
        let version = match (pin, &asked) {
            (Some((_, text, _)), _) => text.to_owned(),
            (None, Some(asked)) => asked.clone(),
            (None, None) => Series::NEWEST.to_string(),
        };
        let series = exact(&version).map_or_else(|| Series::of(&version), Series::of).unwrap_or(Series::NEWEST);
        let repository = repository(context, settings, series).map_err(|why| {
            let pinned = if pin.is_some() { ", which jecloud.lock holds," } else { "" };
            let there = present.map_or_else(|| "has no MongoDB".to_owned(), |there| format!("has MongoDB {there}"));
            let hint = match (pin, present) {
                (Some((name, ..)), _) => format!("take the line of {name} out of jecloud.lock to pin another version"),
                (None, Some(there))
                    if Series::of(there).is_some_and(|there| Some(there) > wrote) && wrote.is_some() =>
                {
                    let there = Series::of(there).unwrap_or(Series::NEWEST);
                    format!(
                        "to go on with it for good, write `version = \"{there}\"` below [services.{}] in jecloud.toml",
                        context.service()
                    )
                }
                _ => format!("install mongod {series} and mongosh on the server"),
            };
            Problem::new(format!("MongoDB {version}{pinned} cannot be had: this server {there}, and {why}")).hint(hint)
        })?;
        let server = Package::distribution(SERVER_PACKAGE, &version).repository(repository).pinned();
        Ok(Self { series, version, packages: vec![server, shell(context, settings, series)?] })
    }

    /// What must be there before it is started.
    pub fn packages(self) -> Vec<Package> {
        self.packages
    }
}

/// The shell, by which the server is asked and told: any that is there, else that of MongoDB's repository.
fn shell(context: &Context, settings: &Settings, series: Series) -> Result<Package, Problem> {
    let version_text = context.program(SHELL).map(|program| program.version_text);
    if let Some(installed) = context.installed(SHELL_PACKAGE).filter(|_| version_text.is_some()) {
        return Ok(Package::distribution(SHELL_PACKAGE, installed).pinned());
    }
    if let Some(version) = version_text {
        return Ok(Package::present(SHELL, exact(version).unwrap_or_default()));
    }
    let repository = repository(context, settings, series).map_err(|why| {
        Problem::new(format!("MongoDB's shell is not on this server, and {why}")).hint("install mongosh on the server")
    })?;
    Ok(Package::distribution(SHELL_PACKAGE, context.pin(SHELL_PACKAGE).unwrap_or_default())
        .repository(repository)
        .pinned())
}

/// MongoDB's repository for this server; why it cannot be used otherwise.
fn repository(context: &Context, settings: &Settings, series: Series) -> Result<Repository, String> {
    if !context.can_install() {
        return Err("nothing can be installed on it".to_owned());
    }
    let distribution = context.fact("distribution").unwrap_or("an unknown system");
    let Some((_, directory, codename, component)) =
        DISTRIBUTIONS.into_iter().find(|(known, ..)| *known == distribution)
    else {
        return Err(format!("it runs {distribution}, for which this hook knows no packages of MongoDB"));
    };
    let key = settings.key.clone().unwrap_or_else(|| format!("{KEYS}server-{series}.asc"));
    Ok(Repository {
        url: settings.mirror.clone().unwrap_or_else(|| format!("{REPOSITORIES}{directory}")),
        key,
        key_sha256: settings.key_sha256.clone().unwrap_or_else(|| series.key_sha256().to_owned()),
        suite: format!("{codename}/mongodb-org/{series}"),
        components: vec![component.to_owned()],
    })
}
