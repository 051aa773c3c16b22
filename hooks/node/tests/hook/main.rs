//! The hook, called natively as the host calls the component: apps and machines in, packages and plans out.

mod commands;
mod installs;
mod packages;
mod problems;
mod runs;
mod says;

use jecloud_hook_node::NodeHook;
use jecloud_sdk::testing::{self, ContextBuilder};
use jecloud_sdk::{Command, Context, Health, Package, Plan, Problem, Process, Source};

/// The SHA-256 of nothing: a version like any other.
const VERSION: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A server with x86-64 Linux and nothing on it, where nothing can be installed.
fn bare() -> ContextBuilder {
    testing::context("guestbook").service("node").version(VERSION).fact("os", "linux").fact("arch", "x86_64")
}

/// A server that has Node.js 20 and its npm.
fn with_node_20() -> ContextBuilder {
    bare().fact("program:node", "/usr/bin/node v20.20.2").fact("program:npm", "/usr/bin/npm 10.8.2")
}

/// A fresh Debian 12: no Node.js, but root and apt.
fn debian_12() -> ContextBuilder {
    bare()
        .fact("package-manager", "apt")
        .fact("can-install", "true")
        .fact("candidate:nodejs", "18.20.4+dfsg-1~deb12u1")
        .fact("candidate:npm", "9.2.0~ds1-1")
}

fn packages(context: &Context) -> Result<String, Problem> {
    let packages = testing::required_packages::<NodeHook>(context)?;
    Ok(packages.iter().map(package_line).collect::<Vec<_>>().join("\n"))
}

fn package_line(package: &Package) -> String {
    let source = match &package.source {
        Source::Present => "present".to_owned(),
        Source::Distribution => "distribution".to_owned(),
        Source::Archive(archive) => {
            let sums = archive.sums_url.as_deref().unwrap_or("no sums");
            format!("archive {} strip {} {sums}", archive.url, archive.strip)
        }
    };
    let pin = if package.pin { "pinned" } else { "free" };
    format!("{} {} {pin} {source}", package.name, package.version)
}

fn plan(context: &Context) -> Result<Plan, Problem> {
    testing::prepare_deploy::<NodeHook>(context)
}

/// A plan as lines: what is run in which order, and what it runs until the next deployment.
fn outline(plan: &Plan) -> String {
    let mut lines: Vec<String> = plan.build.iter().map(|command| command_line("build", command)).collect();
    lines.extend(plan.release.iter().map(|command| command_line("release", command)));
    lines.extend(plan.processes.iter().map(process_line));
    lines.extend(
        plan.routes.iter().map(|route| format!("route {} {}:{}", route.path_prefix, route.process, route.port)),
    );
    lines.join("\n")
}

fn command_line(kind: &str, command: &Command) -> String {
    let once = if command.once.is_empty() { String::new() } else { format!(" once->{}", command.produces.join(",")) };
    format!("{kind} {}{once}: {}", command.id, command.argv.join(" "))
}

fn process_line(process: &Process) -> String {
    let health = match &process.health {
        Health::StaysUp => "stays-up".to_owned(),
        Health::PortOpen(port) => format!("port-open {port}"),
        Health::Http { port, path } => format!("http {port} {path}"),
        Health::Command(argv) => argv.join(" "),
    };
    let words: Vec<String> = process.argv.iter().map(|word| format!("[{word}]")).collect();
    format!("process {} ({health}): {}", process.name, words.join(" "))
}

/// The contents of package.json, from parts.
fn package_json(fields: &str) -> String {
    format!("{{\"name\": \"guestbook\", \"version\": \"1.2.3\", {fields}}}")
}

/// A plain app: a start script, no dependencies.
const PLAIN: &str = r#"{"name": "guestbook", "scripts": {"start": "node server.js"}}"#;
