//! A plan and packages that are in order and use every power once, and how to see what a change to them leads to.

use std::collections::BTreeMap;

use super::super::*;
use crate::hook::{Archive, Command, File, Health, HookRoute, Identity, Package, Plan, Process, ProgramPower, Source};

pub(super) fn powers() -> Powers {
    Powers {
        packages: vec!["nodejs".to_owned()],
        repositories: vec!["https://nodejs.example/dist/".to_owned()],
        programs: vec![
            ProgramPower { program: "npm".to_owned(), run_as: Identity::App },
            ProgramPower { program: "{package:node}/bin/node".to_owned(), run_as: Identity::App },
            ProgramPower { program: "/usr/sbin/sysctl".to_owned(), run_as: Identity::Root },
        ],
        ports: vec![6379],
        paths: vec!["/etc/redis".to_owned()],
        secrets: vec!["KEY".to_owned()],
    }
}

pub(super) fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub(super) fn command(id: &str, argv: &[&str]) -> Command {
    Command {
        id: id.to_owned(),
        title: "install dependencies".to_owned(),
        argv: words(argv),
        env: texts(&[("PATH", "{package:node}/bin:/usr/bin"), ("TOKEN", "{secret:KEY}")]),
        cwd: "{source}/web".to_owned(),
        run_as: Identity::App,
        timeout_ms: 1000,
        once: "npm ci 123".to_owned(),
        produces: words(&["node_modules", "web/node_modules"]),
        options: BTreeMap::new(),
    }
}

pub(super) fn process(name: &str, port: &str) -> Process {
    Process {
        name: name.parse().unwrap(),
        argv: words(&[
            "{package:node}/bin/node",
            "{source}/server.js",
            &format!("--port={{port:{port}}}"),
            "{process}",
        ]),
        env: texts(&[("PORT", &format!("{{port:{port}}}")), ("TOKEN", "{secret:KEY}")]),
        cwd: String::new(),
        ports: words(&[port]),
        health: Health::Http { port: port.to_owned(), path: "/up".to_owned() },
        start_timeout_ms: 1000,
        stop_timeout_ms: 1000,
        run_as: Identity::App,
        replicas: 2,
        shards: 1,
        beside: true,
        options: BTreeMap::new(),
    }
}

pub(super) fn file(path: &str, mode: u16) -> File {
    File { path: path.to_owned(), content: "{app} {port:http} {{".to_owned(), mode }
}

pub(super) fn plan() -> Plan {
    let mut root = command("tune", &["/usr/sbin/sysctl", "-w", "x=1"]);
    root.run_as = Identity::Root;
    root.env.remove("PATH");
    Plan {
        files: vec![
            file("{data}/app-{environment}.conf", 0o600),
            file("{source}/config/x.json", 0o644),
            file("{data}/bin/x", 0o755),
            file("/etc/redis/redis.conf", 0o644),
        ],
        checks: vec![command("check", &["npm", "--version"])],
        build: vec![command("install", &["npm", "ci"]), root],
        release: vec![command("migrate", &["{source}/node_modules/.bin/migrate"])],
        processes: vec![process("web", "http"), process("redis", "6379")],
        routes: vec![HookRoute {
            process: "web".parse().unwrap(),
            port: "http".to_owned(),
            path_prefix: "/".to_owned(),
            options: BTreeMap::new(),
        }],
        values: texts(&[("REDIS_URL", "redis://:{secret:KEY}@127.0.0.1:{port:6379}")]),
        remember: texts(&[("node", "22.1.0")]),
        notes: words(&["Node.js 22 was chosen"]),
        options: BTreeMap::new(),
    }
}

pub(super) fn archive() -> Archive {
    Archive {
        sums_url: Some("https://nodejs.example/dist/v{version}/SHASUMS256.txt".to_owned()),
        url: "https://nodejs.example/dist/v{version}/node.tar.gz".to_owned(),
        sha256: None,
        strip: 1,
    }
}

pub(super) fn package(name: &str, source: Source) -> Package {
    Package { name: name.to_owned(), version: "22.1".to_owned(), source, pin: true, options: BTreeMap::new() }
}

pub(super) fn packages() -> Vec<Package> {
    vec![
        package("nodejs", Source::Distribution),
        package("node", Source::Archive(archive())),
        package("yarn", Source::Present),
    ]
}

pub(super) fn allowed<'a>(
    service: &'a ServiceName,
    declared: &'a Powers,
    granted: &'a Powers,
    limits: &'a PlanLimits,
) -> Allowed<'a> {
    Allowed { service, declared, granted, limits }
}

/// What all checks say about these, one refusal a line.
pub(super) fn refusals_with(
    declared: &Powers,
    granted: &Powers,
    limits: &PlanLimits,
    plan: &Plan,
    packages: &[Package],
) -> Vec<Refusal> {
    let service = "node".parse().unwrap();
    let allowed = allowed(&service, declared, granted, limits);
    let mut refusals = check_plan(plan, allowed).err().unwrap_or_default();
    refusals.extend(check_packages(packages, allowed).err().unwrap_or_default());
    refusals
}

pub(super) fn refusals(plan: &Plan, packages: &[Package]) -> Vec<Refusal> {
    refusals_with(&powers(), &powers(), &PlanLimits::default(), plan, packages)
}

/// The changed plan is refused with one line that contains `expected`, and for nothing else.
#[track_caller]
pub(super) fn refused(change: impl FnOnce(&mut Plan), expected: &str) {
    let mut plan = plan();
    change(&mut plan);
    one_refusal(&refusals(&plan, &packages()), expected);
}

#[track_caller]
pub(super) fn package_refused(change: impl FnOnce(&mut Vec<Package>), expected: &str) {
    let mut packages = packages();
    change(&mut packages);
    one_refusal(&refusals(&plan(), &packages), expected);
}

#[track_caller]
pub(super) fn one_refusal(refusals: &[Refusal], expected: &str) {
    let texts: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    assert!(matches!(&texts[..], [text] if text.contains(expected)), "expected one with {expected:?}: {texts:#?}");
}

#[track_caller]
pub(super) fn accepted(change: impl FnOnce(&mut Plan)) {
    let mut plan = plan();
    change(&mut plan);
    assert_eq!(refusals(&plan, &packages()), []);
}

pub(super) fn edit_archive(package: &mut Package, change: impl FnOnce(&mut Archive)) {
    let Source::Archive(archive) = &mut package.source else { panic!("not an archive") };
    change(archive);
}
