//! `jecloud.lock`: what was found out or granted once and holds from then on, for everyone who deploys the app:
//! which component a service's hook is, what it may do, and the exact versions of packages. Written by JeCloud,
//! committed by people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::config::{ConfigError, Document, Ignored, Section, merge_conflict};
use crate::hook::{Identity, Powers, ProgramPower};
use crate::ids::{Digest, ServiceName};

/// The name of the file, beside `jecloud.toml`.
pub const FILE_NAME: &str = "jecloud.lock";

/// The format that is written and read here.
const FORMAT: u32 = 1;

const HEADER: &str = "# Written by JeCloud. Commit it: it holds exact versions, and the hooks with what they may do.\n";

/// A whole `jecloud.lock`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    services: BTreeMap<ServiceName, LockedService>,
}

/// `[services.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct LockedService {
    hook: Option<LockedHook>,
    pins: BTreeMap<String, String>,
}

/// The hook of a service, as it was approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedHook {
    /// How the hook calls itself: the service may be called otherwise.
    pub name: ServiceName,
    /// The hook's own version.
    pub version: String,
    /// The component.
    pub digest: Digest,
    /// What was granted to exactly this component.
    pub powers: Powers,
    /// Whether it came with JeCloud, so that nobody had to approve it.
    pub builtin: bool,
}

/// Why a `jecloud.lock` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Two branches changed it.
    #[error(
        "jecloud.lock:{line}: a merge left its markers here: keep one side, delete the markers, and deploy; what is \
         missing then is found again"
    )]
    Conflict {
        /// Where the first marker is, from 1.
        line: usize,
    },
    /// It says something that this JeCloud does not know, and would lose by writing the file.
    #[error("jecloud.lock has {what}, which this JeCloud does not know: a newer one wrote it; update JeCloud")]
    Newer {
        /// `format 2`, or a dotted key.
        what: String,
    },
    /// It is not what JeCloud writes: a person changed it.
    #[error("jecloud.lock is damaged; delete it, and what it held is found out or asked for again\n{}", lines(.0))]
    Invalid(
        /// At least one, sorted by place.
        Vec<ConfigError>,
    ),
}

fn lines(errors: &[ConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl Lock {
    /// Reads the text of a `jecloud.lock`. A file that does not exist is `Lock::default()`.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        if let Some(marker) = merge_conflict(text) {
            return Err(LockError::Conflict { line: text[..marker.start].matches('\n').count() + 1 });
        }
        let document = Document::new(FILE_NAME, text, Ignored::Nothing);
        let table = document.parse();
        let syntax = document.syntax();
        if !document.is_fine() {
            return Err(LockError::Invalid(document.finish(&syntax)));
        }
        let root = Section::root(&document, table.get_ref());
        match root.integer("format", 1..=u32::MAX) {
            Some(format) if format.value > FORMAT => {
                return Err(LockError::Newer { what: format!("format {}", format.value) });
            }
            Some(_) => {}
            None if root.has("format") => {}
            None => root.note(0..0, "format", "the key `format` is missing".to_owned()),
        }
        let mut unknown = root.others(&["format", "services"]);
        let services = root
            .named::<ServiceName>("services", &["hook"])
            .into_iter()
            .map(|(name, section)| (name, service(&section, &mut unknown)))
            .collect();
        if let Some(what) = unknown.into_iter().next() {
            return Err(LockError::Newer { what: format!("the key `{what}`") });
        }
        if document.is_fine() { Ok(Self { services }) } else { Err(LockError::Invalid(document.finish(&syntax))) }
    }

    /// The text of the file: the same bytes for the same content, one thing a line, sorted.
    pub fn render(&self) -> String {
        let mut text = format!("{HEADER}format = {FORMAT}\n");
        for (name, service) in &self.services {
            if let Some(hook) = &service.hook {
                let _ = write!(
                    text,
                    "\n[services.{name}]\nhook = {}\nversion = {}\ndigest = {}\n",
                    quoted(hook.name.as_str()),
                    quoted(&hook.version),
                    quoted(&format!("sha256:{}", hook.digest))
                );
                if hook.builtin {
                    text.push_str("builtin = true\n");
                }
                render_powers(&mut text, name, &hook.powers);
            }
            if !service.pins.is_empty() {
                let _ = write!(text, "\n[services.{name}.pins]\n");
                for (name, version) in &service.pins {
                    let _ = writeln!(text, "{} = {}", key(name), quoted(version));
                }
            }
        }
        text
    }

    /// The exact versions of a service's packages, by name.
    pub fn pins(&self, service: &ServiceName) -> BTreeMap<String, String> {
        self.services.get(service).map(|service| service.pins.clone()).unwrap_or_default()
    }

    /// Records the exact versions of a service's packages: these and no others.
    pub fn set_pins(&mut self, service: &ServiceName, pins: BTreeMap<String, String>) {
        self.change(service, |locked| locked.pins = pins);
    }

    /// The hook of a service, as it was approved or as it came with JeCloud.
    pub fn hook(&self, service: &ServiceName) -> Option<&LockedHook> {
        self.services.get(service)?.hook.as_ref()
    }

    /// The hook of a service, if a person approved it.
    pub fn approved(&self, service: &ServiceName) -> Option<&LockedHook> {
        self.hook(service).filter(|hook| !hook.builtin)
    }

    /// The hook of a service, if it came with JeCloud.
    pub fn builtin(&self, service: &ServiceName) -> Option<&LockedHook> {
        self.hook(service).filter(|hook| hook.builtin)
    }

    /// Records that a hook was approved with these powers, or came with JeCloud; none: that it is not any more. Lists of powers are
    /// sets here: they are sorted.
    pub fn set_hook(&mut self, service: &ServiceName, hook: Option<LockedHook>) {
        let hook = hook.map(|hook| LockedHook { powers: sorted(hook.powers), ..hook });
        self.change(service, |locked| locked.hook = hook);
    }

    /// The services about which something is recorded.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.keys()
    }

    /// Forgets all services but those for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&ServiceName) -> bool) {
        self.services.retain(|name, _| keep(name));
    }

    /// A service about which nothing is recorded is not there.
    fn change(&mut self, service: &ServiceName, change: impl FnOnce(&mut LockedService)) {
        let mut locked = self.services.remove(service).unwrap_or_default();
        change(&mut locked);
        if locked != LockedService::default() {
            self.services.insert(service.clone(), locked);
        }
    }
}

fn service(section: &Section<'_>, unknown: &mut Vec<String>) -> LockedService {
    unknown.extend(section.others(&["hook", "version", "digest", "builtin", "powers", "pins"]));
    let mut pins = BTreeMap::new();
    if let Some(section) = section.section("pins") {
        for (key, _) in section.entries() {
            if let Some(version) = section.text(key.value) {
                pins.insert(key.value.to_owned(), version.value.to_owned());
            }
        }
    }
    let has_hook = ["hook", "version", "digest", "builtin", "powers"].iter().any(|key| section.has(key));
    LockedService { hook: if has_hook { hook(section, unknown) } else { None }, pins }
}

/// None is given only where something was noted.
fn hook(section: &Section<'_>, unknown: &mut Vec<String>) -> Option<LockedHook> {
    for key in ["hook", "version", "digest"].into_iter().filter(|key| !section.has(key)) {
        section.note(section.span(), key, format!("the key `{key}` is missing"));
    }
    let name = section.parsed("hook");
    let version = section.text("version");
    let digest = section.text("digest").and_then(|found| {
        let digest = found.value.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
        if digest.is_none() {
            section.refuse(&found, "must be `sha256:` and 64 lower-case hex digits");
        }
        digest
    });
    let powers = section.section("powers").map(|section| powers(&section, unknown)).unwrap_or_default();
    let builtin = section.boolean("builtin").is_some_and(|found| found.value);
    Some(LockedHook { name: name?.value, version: version?.value.to_owned(), digest: digest?, powers, builtin })
}

fn powers(section: &Section<'_>, unknown: &mut Vec<String>) -> Powers {
    unknown.extend(section.others(&["packages", "repositories", "programs", "ports", "paths", "secrets"]));
    let texts = |name| section.texts(name).into_iter().map(|found| found.value.to_owned()).collect();
    let program = |section: Section<'_>| {
        unknown.extend(section.others(&["program", "run-as"]));
        let run_as = section.text("run-as").and_then(|found| {
            let identity = identity(found.value);
            if identity.is_none() {
                section.refuse(&found, "must be \"app\" or \"root\"");
            }
            identity
        });
        let program = section.text("program");
        for key in ["program", "run-as"].iter().filter(|key| !section.has(key)) {
            section.note(section.span(), key, format!("the key `{key}` is missing"));
        }
        Some(ProgramPower { program: program?.value.to_owned(), run_as: run_as? })
    };
    sorted(Powers {
        packages: texts("packages"),
        repositories: texts("repositories"),
        programs: section.sections("programs").into_iter().filter_map(program).collect(),
        ports: section.ports("ports"),
        paths: texts("paths"),
        secrets: texts("secrets"),
    })
}

fn identity(text: &str) -> Option<Identity> {
    [Identity::App, Identity::Root].into_iter().find(|identity| identity_text(*identity) == text)
}

fn identity_text(identity: Identity) -> &'static str {
    match identity {
        Identity::App => "app",
        Identity::Root => "root",
    }
}

/// Each list of powers is a set.
fn sorted(powers: Powers) -> Powers {
    fn set<T: Ord>(mut items: Vec<T>) -> Vec<T> {
        items.sort_unstable();
        items.dedup();
        items
    }
    Powers {
        packages: set(powers.packages),
        repositories: set(powers.repositories),
        programs: set(powers.programs),
        ports: set(powers.ports),
        paths: set(powers.paths),
        secrets: set(powers.secrets),
    }
}

fn render_powers(text: &mut String, service: &ServiceName, powers: &Powers) {
    if *powers == Powers::default() {
        return;
    }
    let _ = write!(text, "\n[services.{service}.powers]\n");
    let mut list = |name: &str, items: Vec<String>| {
        if items.is_empty() {
            return;
        }
        let _ = writeln!(text, "{name} = [");
        for item in items {
            let _ = writeln!(text, "    {item},");
        }
        text.push_str("]\n");
    };
    let texts = |items: &[String]| items.iter().map(|item| quoted(item)).collect();
    let program = |power: &ProgramPower| {
        format!("{{ program = {}, run-as = {} }}", quoted(&power.program), quoted(identity_text(power.run_as)))
    };
    list("packages", texts(&powers.packages));
    list("repositories", texts(&powers.repositories));
    list("programs", powers.programs.iter().map(program).collect());
    list("ports", powers.ports.iter().map(ToString::to_string).collect());
    list("paths", texts(&powers.paths));
    list("secrets", texts(&powers.secrets));
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if is_bare { name.to_owned() } else { quoted(name) }
}

#[cfg(test)]
mod tests;
