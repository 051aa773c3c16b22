//! Which versions of Node.js an app wants, and who says so.

use jecloud_sdk::{Context, Problem};
use nodejs_semver::{Range, Version};

use crate::manifest::Manifest;
use crate::settings::Settings;

/// The major version that is fetched where nothing else is asked for: 24 "Krypton", which is in long-term support until
/// April 2028 by the schedule at <https://github.com/nodejs/release#release-schedule>.
pub const DEFAULT_MAJOR: u64 = 24;

/// The oldest major version that is used where nothing is asked for: Debian 12 still gives security fixes for its 18.
pub const OLDEST_MAJOR: u64 = 18;

/// No release has a higher major version than this. Two appear in a year, from 27 on one (same schedule), so a hook for
/// which this is wrong is ten years old.
const HIGHEST_MAJOR: u64 = 40;

/// The newest major version when this was written.
const NEWEST_KNOWN_MAJOR: u64 = 26;

/// The oldest major version that has an archive of its own: before it were 0.x and a fork.
const OLDEST_ARCHIVE: u64 = 4;

/// Stands for the last of the minor or patch releases, which is not known here.
const LAST: u64 = 9999;

/// Code names of long-term support lines, from <https://github.com/nodejs/Release/blob/main/CODENAMES.md>.
const LTS_NAMES: [(&str, u64); 12] = [
    ("argon", 4),
    ("boron", 6),
    ("carbon", 8),
    ("dubnium", 10),
    ("erbium", 12),
    ("fermium", 14),
    ("gallium", 16),
    ("hydrogen", 18),
    ("iron", 20),
    ("jod", 22),
    ("krypton", 24),
    ("lithium", 26),
];

/// Which versions of Node.js an app wants.
#[derive(Debug, Clone)]
pub struct Requirement {
    /// As it is written.
    pub text: String,
    /// Who says so, for people: `.nvmrc`.
    pub origin: &'static str,
    range: VersionRange,
}

impl Requirement {
    /// The first of: `version` in jecloud.toml, .node-version, .nvmrc, `engines.node` in package.json.
    /// None where nobody asks for anything in particular.
    ///
    /// # Errors
    /// When the first one cannot be understood.
    pub fn of(context: &Context, settings: &Settings, manifest: Option<&Manifest>) -> Result<Option<Self>, Problem> {
        if let Some(text) = settings.version() {
            return Self::parse(&text, "`version` in jecloud.toml");
        }
        for file in [".node-version", ".nvmrc"] {
            let Some(content) = context.text(file)? else { continue };
            let mut lines = content.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
            let Some(text) = lines.find(|line| !line.is_empty()) else { continue };
            return Self::parse(text, file);
        }
        match manifest.and_then(|manifest| manifest.engine.as_deref()) {
            Some(text) => Self::parse(text, "`engines.node` in package.json"),
            None => Ok(None),
        }
    }

    /// Understands `22`, `v22.11.0`, `^20.9 || >=22`, `lts/*`, `lts/jod`, `node`. None for what allows everything.
    fn parse(text: &str, origin: &'static str) -> Result<Option<Self>, Problem> {
        let wanted = text.trim();
        let range_text = match wanted.to_ascii_lowercase().as_str() {
            "" | "*" | "x" | "system" => return Ok(None),
            "node" | "latest" | "current" | "stable" => format!(">={OLDEST_MAJOR}"),
            "lts" | "lts/*" | "--lts" => lts_majors(OLDEST_MAJOR),
            lower => match lower.strip_prefix("lts/") {
                Some(name) => {
                    let found = LTS_NAMES.iter().find(|(known, _)| *known == name);
                    let (_, major) = found.ok_or_else(|| not_understood(text, origin))?;
                    major.to_string()
                }
                None => wanted.strip_prefix("node@").unwrap_or(wanted).to_owned(),
            },
        };
        let range = VersionRange::parse(&range_text).ok_or_else(|| not_understood(text, origin))?;
        let requirement = Self { text: wanted.to_owned(), origin, range };
        if requirement.archive_version().is_none() {
            let problem = Problem::new(format!("no version of Node.js satisfies `{wanted}`, which {origin} asks for"));
            return Err(problem.hint(hint(origin)));
        }
        Ok(Some(requirement))
    }

    /// Whether this version will do.
    pub fn allows(&self, version: &Version) -> bool {
        self.range.allows(version)
    }

    /// What to ask the mirror for: `22` (the newest that begins so) or an exact version.
    ///
    /// The newest release of a line is known only to the mirror, so a whole line is taken where the range has no upper
    /// end in it: first the default one, then other even (long-term) ones, the newest first, then odd ones. Where the
    /// range allows no whole line, it is the lowest version that the range allows.
    pub fn archive_version(&self) -> Option<String> {
        let known = || (OLDEST_ARCHIVE..=NEWEST_KNOWN_MAJOR).rev();
        let lines = std::iter::once(DEFAULT_MAJOR)
            .chain(known().filter(|major| major % 2 == 0))
            .chain(known().filter(|major| major % 2 == 1))
            // Of those that this hook does not know the nearest is the likeliest to exist.
            .chain(NEWEST_KNOWN_MAJOR + 1..=HIGHEST_MAJOR);
        for major in lines {
            if self.range.allows(&Version::from((major, LAST, LAST))) {
                return Some(major.to_string());
            }
        }
        let lowest = self.range.lowest()?;
        let is_release = (OLDEST_ARCHIVE..=HIGHEST_MAJOR).contains(&lowest.major()) && !lowest.is_prerelease();
        is_release.then(|| lowest.to_string())
    }

    /// What a person does when this cannot be had.
    pub fn hint(&self) -> String {
        hint(self.origin)
    }
}

/// A range as npm reads it: alternatives, each of which is a list of conditions that must all hold.
///
/// The conditions are kept apart, since nodejs-semver 7.0 takes those that exclude each other (`>=22 <20`) for
/// alternatives.
#[derive(Debug, Clone)]
struct VersionRange(Vec<Vec<Range>>);

impl VersionRange {
    fn parse(text: &str) -> Option<Self> {
        text.split("||").map(Self::parse_alternative).collect::<Option<_>>().map(Self)
    }

    fn parse_alternative(text: &str) -> Option<Vec<Range>> {
        let parse = |condition: &str| Range::parse(condition.trim_start_matches('v')).ok();
        let mut words = text.split_whitespace();
        // `18 - 20` is one condition of three words, and `>= 18` one of two.
        if words.clone().any(|word| word == "-") || words.clone().next().is_none() {
            return Some(vec![parse(text)?]);
        }
        let mut conditions = Vec::new();
        while let Some(word) = words.next() {
            let is_operator = word.chars().all(|c| "<>=^~".contains(c));
            let operand = if is_operator { words.next()? } else { "" };
            conditions.push(parse(&format!("{word}{operand}"))?);
        }
        Some(conditions)
    }

    fn allows(&self, version: &Version) -> bool {
        self.0.iter().any(|conditions| conditions.iter().all(|condition| condition.satisfies(version)))
    }

    /// The lowest version that it allows.
    fn lowest(&self) -> Option<Version> {
        let lowest_of = |conditions: &Vec<Range>| conditions.iter().filter_map(Range::min_version).max();
        self.0.iter().filter_map(lowest_of).filter(|version| self.allows(version)).min()
    }
}

/// All long-term support lines from this one on: every even major version is one.
fn lts_majors(oldest: u64) -> String {
    let majors: Vec<String> = (oldest..=HIGHEST_MAJOR).step_by(2).map(|major| major.to_string()).collect();
    majors.join(" || ")
}

fn not_understood(text: &str, origin: &str) -> Problem {
    Problem::new(format!("{origin} asks for Node.js `{text}`, which is no version, range or known alias"))
        .hint(format!("write a version such as `{DEFAULT_MAJOR}` or `{DEFAULT_MAJOR}.1.0`, a range, or `lts/*`"))
}

fn hint(origin: &str) -> String {
    let instead = if origin.ends_with("jecloud.toml") {
        String::new()
    } else {
        ", or overrule it with `version` below [services.node] in jecloud.toml".to_owned()
    };
    format!("change {origin}, for example to `{DEFAULT_MAJOR}`{instead}")
}

/// A version as programs and packages write it: `v22.11.0`, `18.20.4+dfsg-1~deb12u1`, `1:20.1.0-1nodesource1`.
///
/// What comes after the three numbers is dropped: it tells how the same release was packaged.
pub fn upstream_version(text: &str) -> Option<Version> {
    let text = text.split_once(':').map_or(text, |(_, version)| version);
    let numbers = text.trim().trim_start_matches('v').split(['+', '~', '-', ' ']).next()?;
    Version::parse(numbers).ok()
}
