//! From the text of a `jecloud.toml` to a [`Config`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::backups::backups;
use super::error::{Quoted, merge_conflict};
use super::layer::{CloudLayer, Layer, ServerLayer};
use super::section::{Document, Found, Ignored, Section};
use super::{
    ARCHITECTURES, Config, ConfigError, DEFAULT_GROUP, ProcessConfig, Provider, Reach, ServiceConfig, SourceText,
    Store, Written,
};

use crate::ids::{AppName, Digest, EnvironmentName, InvalidId, ServerGroup};
use crate::limits::{self, Limits};
use crate::suggest::{did_you_mean, nearest};

const TOP_KEYS: [&str; 8] = ["app", "cloud", "servers", "services", "processes", "backups", "env", "environments"];
const ENVIRONMENT_KEYS: [&str; 6] = ["cloud", "servers", "services", "processes", "backups", "env"];
const CLOUD_KEYS: [&str; 12] = [
    "provider", "region", "listen", "store", "endpoint", "connect", "image", "user", "ssh_from", "key", "jump",
    "binaries",
];
const SERVER_KEYS: [&str; 3] = ["count", "type", "hosts"];
/// Those that the host owns; all others are the hook's settings.
const SERVICE_KEYS: [&str; 2] = ["hook", "on"];
const PROCESS_KEYS: [&str; 5] = ["count", "health", "on", "memory", "cpu"];

/// More than this on purpose is rare, more by a slip is expensive.
const MOST: u32 = 100;

pub(super) fn config(text: &str, file: &str) -> Result<Config, Vec<ConfigError>> {
    match parse(text, file) {
        (Some(config), errors) if errors.is_empty() => Ok(config),
        (_, errors) => Err(errors),
    }
}

pub(super) fn what_is_right(text: &str, file: &str) -> Result<(Config, Vec<ConfigError>), Vec<ConfigError>> {
    let (config, errors) = parse(text, file);
    let says_no_provider = |config: &Config| {
        config.base.cloud.provider.is_none() && config.environments.values().all(|over| over.cloud.provider.is_none())
    };
    // What is no TOML has no key; a provider may be written there.
    let means = |segment: &str, key: &str| segment == key || nearest(segment, TOP_KEYS) == Some(key);
    let is_about_the_cloud = |config: &Config, error: &ConfigError| match error.key.as_str() {
        "" => says_no_provider(config) && text.contains("provider"),
        key => means(key, "app") || key.split('.').any(|segment| means(segment, "cloud")),
    };
    match config {
        Some(config) if !errors.iter().any(|error| is_about_the_cloud(&config, error)) => Ok((config, errors)),
        _ => Err(errors),
    }
}

/// What was understood, and everything that is wrong.
fn parse(text: &str, file: &str) -> (Option<Config>, Vec<ConfigError>) {
    if let Some(marker) = merge_conflict(text) {
        let message = "a merge left this marker: choose one side, and delete the markers".to_owned();
        return (None, vec![ConfigError::new(file, text, marker, "", message)]);
    }
    let document = Document::new(file, text, Ignored::XTables);
    let table = document.parse();
    let syntax = document.syntax();
    let read = read(&document, &table);
    let config = read.map(|(app, base, environments)| {
        let mut places = BTreeMap::new();
        find_places(table.get_ref(), &mut Vec::new(), &mut places);
        let source = SourceText { file: file.to_owned(), text: text.to_owned(), places };
        Config { app, base, environments, source }
    });
    (config, document.finish(&syntax))
}

type Parts = (AppName, Layer, BTreeMap<EnvironmentName, Layer>);

fn read(document: &Document<'_>, table: &Spanned<DeTable<'_>>) -> Option<Parts> {
    let syntax_is_fine = document.is_fine();
    let root = Section::root(document, table.get_ref());
    root.refuse_others(&TOP_KEYS);
    let app = root.parsed::<AppName>("app");
    let (base, on) = layer(&root);
    let groups = check_groups(&root, &base.servers, &[]);
    check_on(&root, &on, &groups);
    let mut environments = BTreeMap::new();
    for (name, section) in root.named::<EnvironmentName>("environments", &ENVIRONMENT_KEYS) {
        if let Some((span, _)) = section.entry("app") {
            let found = Found { value: (), span, key: format!("environments.{name}.app") };
            section.refuse(&found, "cannot be given here: the app has the same name in every environment");
        }
        section.refuse_others_but(&ENVIRONMENT_KEYS, &["app"]);
        let (over, on) = layer(&section);
        let groups = check_groups(&section, &over.servers, &groups);
        check_on(&section, &on, &groups);
        environments.insert(name, over);
    }
    // A key that is nearly `app` was reported already, and a text that is no TOML may have meant to give it.
    let is_misspelt = || root.entries().any(|(key, _)| nearest(key.value, TOP_KEYS) == Some("app"));
    if syntax_is_fine && !root.has("app") && !is_misspelt() {
        let message = "the app has no name: write `app = \"NAME\"` at the top".to_owned();
        document.note(0..0, "app", message);
    }
    Some((app?.value, base, environments))
}

/// What is said here, and every `on` of it.
fn layer(section: &Section<'_>) -> (Layer, Vec<Found<ServerGroup>>) {
    let mut on = Vec::new();
    let layer = Layer {
        cloud: section.section("cloud").map(|section| cloud(&section)).unwrap_or_default(),
        servers: each(section.named("servers", &SERVER_KEYS), server),
        services: each(section.named("services", &SERVICE_KEYS), |section| service(section, &mut on)),
        processes: each(section.named("processes", &PROCESS_KEYS), |section| process(section, &mut on)),
        backups: section.section("backups").map(|section| backups(&section)).unwrap_or_default(),
        env: section.section("env").map(|section| env(&section)).unwrap_or_default(),
    };
    (layer, on)
}

fn each<K: Ord, V>(sections: BTreeMap<K, Section<'_>>, mut read: impl FnMut(&Section<'_>) -> V) -> BTreeMap<K, V> {
    sections.into_iter().map(|(name, section)| (name, read(&section))).collect()
}

/// The group under `on`; that there is such a group is checked when all groups are known.
fn on(section: &Section<'_>, all: &mut Vec<Found<ServerGroup>>) -> Option<ServerGroup> {
    let found = section.parsed::<ServerGroup>("on")?;
    let group = found.value.clone();
    all.push(found);
    Some(group)
}

fn cloud(section: &Section<'_>) -> CloudLayer {
    section.refuse_others(&CLOUD_KEYS);
    let provider =
        one_of(section, "provider", "local, ec2 or ssh", Provider::ALL.map(|provider| (provider.as_str(), provider)));
    let region = section.text("region").and_then(|found| {
        word(section, &found, "a region is lower-case letters, digits and hyphens, as in eu-west-1", |byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
        })
    });
    let store = one_of(section, "store", "directory or s3", Store::ALL.map(|store| (store.as_str(), store)));
    let connect = one_of(section, "connect", "public or private", Reach::ALL.map(|reach| (reach.as_str(), reach)));
    let image = section.text("image").and_then(|found| {
        word(section, &found, "an image is named by its id, as in ami-0123456789abcdef0", |byte| {
            byte.is_ascii_alphanumeric() || byte == b'-'
        })
    });
    let user = section.text("user").and_then(|found| {
        word(section, &found, "a user is letters, digits, `-` and `_`, as in admin", |byte| {
            byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
        })
    });
    let ssh_from = section.has("ssh_from").then(|| {
        let networks = section.texts("ssh_from");
        networks.iter().filter_map(|found| network(section, found)).collect::<Vec<_>>()
    });
    let endpoint = section.text("endpoint").and_then(|found| {
        let is_url = ["https://", "http://"].iter().any(|scheme| found.value.starts_with(scheme));
        if !is_url {
            section
                .refuse(&found, &format!("is {}; it must be a URL, as in https://s3.example.com", Quoted(found.value)));
        }
        is_url.then(|| found.value.to_owned())
    });
    let key = section.text("key").and_then(|found| {
        word(section, &found, "it must be the path of a private key, as in ~/.ssh/id_ed25519", |byte| {
            !byte.is_ascii_control()
        })
    });
    let jump = section.text("jump").and_then(|found| address(section, &found));
    let listen = listen(section);
    let binaries = section.section("binaries").map(|section| {
        section.refuse_others(&ARCHITECTURES);
        let path = |name: &&str| {
            let found = section.text(name)?;
            let path = word(
                &section,
                &found,
                "it must be the path of a binary of JeCloud, as in bin/jecloud-aarch64",
                |byte| !byte.is_ascii_control(),
            );
            Some(((*name).to_owned(), path?))
        };
        ARCHITECTURES.iter().filter_map(path).collect()
    });
    CloudLayer { provider, region, listen, store, endpoint, connect, image, user, ssh_from, key, jump, binaries }
}

/// The value that a word under a key stands for.
fn one_of<T: Copy, const N: usize>(section: &Section<'_>, key: &str, words: &str, all: [(&str, T); N]) -> Option<T> {
    let found = section.text(key)?;
    let known = all.iter().find(|(word, _)| *word == found.value);
    if known.is_none() {
        let nearest = did_you_mean(found.value, all.map(|(word, _)| word));
        section.refuse(&found, &format!("is {}; it must be {words}{nearest}", Quoted(found.value)));
    }
    known.map(|(_, value)| *value)
}

/// A network in CIDR notation.
fn network(section: &Section<'_>, found: &Found<&str>) -> Option<String> {
    let is_network = found.value.split_once('/').is_some_and(|(address, bits)| {
        let most = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        bits.parse::<u8>().is_ok_and(|bits| bits <= most)
    });
    if !is_network {
        section.refuse(found, &format!("is {}; it must be a network, as in 203.0.113.0/24", Quoted(found.value)));
    }
    is_network.then(|| found.value.to_owned())
}

/// A server that is reached by SSH.
fn address(section: &Section<'_>, found: &Found<&str>) -> Option<String> {
    word(section, found, "a server is written [user@]host[:port], as in root@192.0.2.1", |byte| {
        byte.is_ascii_graphic() && !b"/\\'\"".contains(&byte)
    })
}

/// One address or a list of them.
fn listen(section: &Section<'_>) -> Option<Vec<SocketAddr>> {
    let (_, value) = section.entry("listen")?;
    let texts = if value.get_ref().is_str() { vec![section.text("listen")?] } else { section.texts("listen") };
    let addresses = texts.iter().filter_map(|found| {
        let address = found.value.parse::<SocketAddr>().ok();
        if address.is_none() {
            let message = format!("is {}; it must be an address and a port, as in 0.0.0.0:80", Quoted(found.value));
            section.refuse(found, &message);
        }
        address
    });
    Some(addresses.collect())
}

fn server(section: &Section<'_>) -> ServerLayer {
    section.refuse_others(&SERVER_KEYS);
    let machine_type = section.text("type").and_then(|found| {
        word(section, &found, "a machine type is letters, digits, dots and hyphens, as in t4g.small", |byte| {
            byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-'
        })
    });
    let hosts = section.has("hosts").then(|| {
        let hosts = section.texts("hosts");
        hosts.iter().filter_map(|found| address(section, found)).collect::<Vec<_>>()
    });
    ServerLayer { count: section.integer("count", 1..=MOST).map(|found| found.value), machine_type, hosts }
}

fn service(section: &Section<'_>, all_on: &mut Vec<Found<ServerGroup>>) -> ServiceConfig {
    ServiceConfig {
        hook: section.parsed::<HookDigest>("hook").map(|found| found.value.0),
        on: on(section, all_on),
        settings: section.json(&SERVICE_KEYS),
    }
}

fn process(section: &Section<'_>, all_on: &mut Vec<Found<ServerGroup>>) -> ProcessConfig {
    section.refuse_others(&PROCESS_KEYS);
    let health = section.text("health").and_then(|found| {
        let is_path = found.value.starts_with('/') && found.value.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if !is_path {
            let message = format!(
                "is {}; it must be a path that begins with `/`, in ASCII, without spaces and `#`",
                Quoted(found.value)
            );
            section.refuse(&found, &message);
        }
        is_path.then(|| found.value.to_owned())
    });
    ProcessConfig {
        count: section.integer("count", 0..=MOST).map(|found| found.value),
        health,
        on: on(section, all_on),
        limits: Limits { memory_bytes: memory(section), cpu_millis: cpu(section) },
    }
}

/// `memory = "512M"`, in bytes.
fn memory(section: &Section<'_>) -> Option<u64> {
    let found = section.text("memory")?;
    let Some(bytes) = limits::parse_memory(found.value) else {
        let rule = "it must be a whole number with K, M, G or T, as in 512M";
        section.refuse(&found, &format!("is {}; {rule}", Quoted(found.value)));
        return None;
    };
    let allowed = limits::LEAST_MEMORY..=limits::MOST_MEMORY;
    if !allowed.contains(&bytes) {
        section.refuse(&found, &format!("is {}; it must be from 4M to 64T", Quoted(found.value)));
        return None;
    }
    Some(bytes)
}

/// `cpu = 1.5`, in thousandths of a core.
fn cpu(section: &Section<'_>) -> Option<u32> {
    let found = section.value("cpu", "a number of cores, as in 1.5", |value| match value {
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        _ => None,
    })?;
    let allowed = f64::from(limits::LEAST_CPU_MILLIS)..=f64::from(limits::MOST_CPU_MILLIS);
    let millis = found.value.parse::<f64>().ok().map(|cores| (cores * 1000.0).round());
    let Some(millis) = millis.filter(|millis| allowed.contains(millis)) else {
        section.refuse(&found, &format!("is {}; it must be from 0.01 to 1024 cores", found.value));
        return None;
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was checked to be in the range")]
    Some(millis as u32)
}

fn env(section: &Section<'_>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (key, value) in section.entries() {
        if let Err(rule) = check_variable(key.value) {
            section.refuse(&key, rule);
            continue;
        }
        if let DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) = value.get_ref() {
            let text = match value.get_ref() {
                DeValue::Integer(number) => number.to_string(),
                DeValue::Float(number) => number.to_string(),
                other => other.as_bool().unwrap_or_default().to_string(),
            };
            let found = Found { value: (), span: value.span(), key: key.key };
            section.refuse(&found, &format!("must be a string: write \"{text}\", with quotes"));
            continue;
        }
        if let Some(text) = section.text(key.value) {
            env.insert(key.value.to_owned(), text.value.to_owned());
        }
    }
    env
}

/// What is wrong with the name of a variable, as what follows the name.
pub fn check_variable(name: &str) -> Result<(), &'static str> {
    let mut bytes = name.bytes();
    let is_name = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name {
        return Err("is not the name of a variable: letters, digits and `_`, not beginning with a digit");
    }
    if name == "PORT" {
        return Err("cannot be set: JeCloud chooses the port of every process, and tells it in `PORT`");
    }
    if name.starts_with("JECLOUD_") {
        return Err("cannot be set: names that begin with `JECLOUD_` are set by JeCloud");
    }
    Ok(())
}

fn word(section: &Section<'_>, found: &Found<&str>, rule: &str, is_ok: impl Fn(u8) -> bool) -> Option<String> {
    let is_word = !found.value.is_empty() && found.value.bytes().all(is_ok);
    if !is_word {
        section.refuse(found, &format!("is {}; {rule}", Quoted(found.value)));
    }
    is_word.then(|| found.value.to_owned())
}

/// The groups that are declared here and in what this is laid over. Notes it where nobody could tell on which of
/// them things without an `on` run.
fn check_groups(
    section: &Section<'_>,
    servers: &BTreeMap<ServerGroup, ServerLayer>,
    below: &[ServerGroup],
) -> Vec<ServerGroup> {
    let mut groups: Vec<_> = below.to_vec();
    groups.extend(servers.keys().filter(|name| !below.contains(name)).cloned());
    let is_unclear = |groups: &[ServerGroup]| groups.len() > 1 && groups.iter().all(|g| g.as_str() != DEFAULT_GROUP);
    let is_new = is_unclear(&groups) && !is_unclear(below);
    if let Some((span, _)) = section.entry("servers").filter(|_| is_new) {
        let message = "none of these groups of `servers` is called `app`, which runs what has no `on`: write a table \
                       [servers.app], or rename one";
        section.note(span, "servers", message.to_owned());
    }
    groups
}

/// Notes every `on` that names no group.
fn check_on(section: &Section<'_>, on: &[Found<ServerGroup>], groups: &[ServerGroup]) {
    let known: Vec<&str> =
        if groups.is_empty() { vec![DEFAULT_GROUP] } else { groups.iter().map(ServerGroup::as_str).collect() };
    for found in on.iter().filter(|found| !known.contains(&found.value.as_str())) {
        let name = &found.value;
        let nearest = did_you_mean(name.as_str(), known.iter().copied());
        section.refuse(found, &format!("is \"{name}\", but there is no [servers.{name}]{nearest}"));
    }
}

/// `sha256:` and the digest, as `jecloud hook add` writes it.
struct HookDigest(Digest);

impl FromStr for HookDigest {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        const RULE: &str = "`sha256:` and 64 lower-case hex digits, as `jecloud hook add FILE` prints it";
        text.strip_prefix("sha256:").and_then(|hex| hex.parse().ok()).map(Self).ok_or_else(|| InvalidId {
            text: text.to_owned(),
            kind: "hook",
            rule: RULE,
        })
    }
}

/// Where the value of every key is; for a table, where its own key is.
fn find_places(table: &DeTable<'_>, path: &mut Vec<String>, places: &mut BTreeMap<Vec<String>, Written>) {
    for (key, value) in table.iter() {
        path.push(key.get_ref().clone().into_owned());
        let of_value = if value.get_ref().is_table() { key.span() } else { value.span() };
        places.insert(path.clone(), Written { key: key.span(), value: of_value });
        if let Some(table) = value.get_ref().as_table() {
            find_places(table, path, places);
        }
        path.pop();
    }
}
