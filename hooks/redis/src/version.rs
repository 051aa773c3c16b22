//! Which Redis runs, and where it comes from.

use std::fmt;

use jecloud_sdk::{Context, Package, Problem};

use crate::settings::Settings;
use crate::{INSTALLED, SERVER, TOOLS};

/// The oldest Redis that understands the configuration: `enable-protected-configs` came with 7.0.
const OLDEST_MAJOR: u32 = 7;

/// The name under which a Redis is pinned that was on the server before.
const REDIS: &str = "redis";

/// A version of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// `7` of 7.0.15.
    pub major: u32,
    /// `0` of 7.0.15.
    pub minor: u32,
    /// `15` of 7.0.15.
    pub patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Version {
    /// From `7.0.15`, or from what a distribution makes of it: `5:7.0.15-1~deb12u1`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split_once(':').map_or(text, |(_, rest)| rest);
        let upstream = text.split(['-', '+', '~']).next()?;
        let mut numbers = upstream.split('.').map(|part| part.parse().ok());
        let version = Self { major: numbers.next()??, minor: numbers.next()??, patch: numbers.next()?? };
        numbers.next().is_none().then_some(version)
    }

    /// From what `redis-server --version` prints: `Redis server v=7.0.15 sha=…`.
    pub fn of_program(text: &str) -> Option<Self> {
        Self::parse(text.split_whitespace().find_map(|word| word.strip_prefix("v="))?)
    }

    /// Whether it begins with what is asked for: `7`, `7.0`.
    fn is(&self, asked: &str) -> bool {
        let own = [self.major, self.minor, self.patch];
        asked.split('.').enumerate().all(|(index, part)| own.get(index).is_some_and(|own| part.parse() == Ok(*own)))
    }
}

/// The Redis that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its version.
    pub version: Version,
    /// Its version and build, as it says it itself once it is there.
    pub build: String,
    packages: Vec<Package>,
}

impl Release {
    /// Chooses it: the one on the server, if it will do; else the distribution's.
    ///
    /// # Errors
    /// When none can be had.
    pub fn choose(context: &Context, settings: &Settings) -> Result<Self, Problem> {
        let asked = settings.version();
        let wanted = |version: &Version| match &asked {
            Some(asked) => version.is(asked) && version.major >= OLDEST_MAJOR,
            None => version.major >= OLDEST_MAJOR,
        };
        // A pin that is not what is asked for by now counts no more.
        let pin = [SERVER, REDIS].into_iter().find_map(|name| {
            let text = context.pin(name)?;
            Version::parse(text).filter(|version| wanted(version)).map(|version| (name, text, version))
        });
        let will_do = |version: &Version| match &pin {
            Some((_, _, pinned)) => version == pinned,
            None => wanted(version),
        };
        let program = context.program(SERVER);
        let build = program.as_ref().map_or_else(String::new, |program| program.version_text.to_owned());
        let present = program.and_then(|program| Version::of_program(program.version_text));
        if let Some(version) = present.filter(will_do) {
            let packages = match pin {
                Some((SERVER, text, _)) => of_distribution(context, text),
                _ => vec![Package::present(REDIS, version.to_string()).pinned()],
            };
            return Ok(Self { version, build, packages });
        }
        let candidate = context.candidate(SERVER).filter(|_| context.can_install());
        if let Some(text) = candidate
            && let Some(version) = Version::parse(text).filter(will_do)
            // What is pinned of a distribution is one package, not all that are made of one version.
            && pin.as_ref().is_none_or(|(name, pinned, _)| *name == REDIS || *pinned == text)
            // Where it is installed, and another one is found, installing it changes nothing.
            && (context.fact(INSTALLED) != Some(text) || present.is_none_or(|present| present == version))
        {
            return Ok(Self { version, build: text.to_owned(), packages: of_distribution(context, text) });
        }
        let what = match (&pin, &asked) {
            (Some((_, text, _)), _) => format!("Redis {text}, which jecloud.lock holds,"),
            (None, Some(asked)) => format!("Redis {asked}"),
            (None, None) => format!("Redis {OLDEST_MAJOR} or later"),
        };
        let there = present.map_or_else(|| "has no Redis".to_owned(), |version| format!("has Redis {version}"));
        let offered = match candidate {
            Some(text) => format!("its distribution offers {text}"),
            None => "nothing can be installed on it".to_owned(),
        };
        let hint = match &pin {
            Some(_) => format!("`jecloud upgrade {}` moves on to one that there is", context.service()),
            None => "install redis-server on the server".to_owned(),
        };
        Err(Problem::new(format!("{what} cannot be had: this server {there}, and {offered}")).hint(hint))
    }

    /// What must be there before it is started.
    pub fn packages(self) -> Vec<Package> {
        self.packages
    }
}

/// Debian's package, and the one with the programs in it. That has the same version, and apt takes the newest of it by
/// itself, which the other one does not go with once it is no more the newest.
fn of_distribution(context: &Context, version: &str) -> Vec<Package> {
    let names = if context.fact("package-manager") == Some("apt") { &[SERVER, TOOLS][..] } else { &[SERVER] };
    names.iter().map(|name| Package::distribution(*name, version).pinned()).collect()
}
