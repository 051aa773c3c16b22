//! The check of a plan.

use std::collections::BTreeSet;

use super::commands::shorten;
use super::refusal::Findings;
use super::{Allowed, Power, Refusal};
use crate::hook::{Health, Identity, Plan, Process};
use crate::template::{Placeholder, Template};

/// Checks every line of a plan.
///
/// # Errors
///
/// All lines that are refused, in the plan's order. Nothing of the plan may be done then.
pub fn check_plan(plan: &Plan, allowed: Allowed<'_>) -> Result<(), Vec<Refusal>> {
    let mut findings = Findings::new(allowed);
    findings.plan(plan);
    findings.into_result()
}

/// Which gaps a place may have beyond `{source}`, `{data}`, `{package:…}` and the names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gaps<'a> {
    /// `{secret:…}`, each with its power.
    pub(super) secrets: bool,
    /// `{process}`.
    pub(super) process: bool,
    /// `{port:…}` with one of these names.
    pub(super) ports: &'a [String],
}

impl Gaps<'_> {
    /// No others.
    pub(super) const NAMES: Self = Gaps { secrets: false, process: false, ports: &[] };
}

impl Findings<'_> {
    fn plan(&mut self, plan: &Plan) {
        let limits = self.allowed.limits;
        let ports = unambiguous_ports(plan);
        let shared = Gaps { ports: &ports, ..Gaps::NAMES };

        self.count("files", "files", plan.files.len(), limits.files);
        let mut paths = BTreeSet::new();
        for (index, file) in plan.files.iter().enumerate().take(limits.files) {
            let line = format!("files[{index}] {}", shorten(&file.path));
            if !paths.insert(&file.path) {
                self.refuse(&line, "its path is in use by another file");
            }
            self.file(&line, file, shared);
        }

        let mut ids = BTreeSet::new();
        self.commands("checks", &plan.checks, Gaps::NAMES, &mut ids);
        self.commands("build", &plan.build, Gaps::NAMES, &mut ids);
        self.commands("release", &plan.release, Gaps::NAMES, &mut ids);

        self.count("processes", "processes", plan.processes.len(), limits.processes);
        let mut names = BTreeSet::new();
        for (index, process) in plan.processes.iter().enumerate().take(limits.processes) {
            let line = format!("processes[{index}] {}", process.name);
            if !names.insert(&process.name) {
                self.refuse(&line, "its name is in use by another process");
            }
            self.process(&line, process);
        }

        self.routes(plan);
        self.environment("values", &plan.values, Identity::App, Gaps { secrets: true, ..shared });
        for name in plan.values.keys().filter(|name| matches!(name.as_str(), "PATH" | "HOME")) {
            self.refuse("values", format!("{name} belongs to the host and is not given to other services"));
        }
        self.remember(plan);

        self.count("notes", "notes", plan.notes.len(), limits.notes);
        for (index, note) in plan.notes.iter().enumerate().take(limits.notes) {
            self.one_line(&format!("notes[{index}]"), "the note", note);
        }
    }

    fn process(&mut self, line: &str, process: &Process) {
        let limits = self.allowed.limits;
        self.count(line, "ports", process.ports.len(), limits.ports);
        let mut ports = BTreeSet::new();
        for port in process.ports.iter().take(limits.ports) {
            if !ports.insert(port) {
                self.refuse(line, format!("it names the port {:?} twice", shorten(port)));
            }
            self.port(line, port);
        }
        let gaps = Gaps { secrets: false, process: true, ports: &process.ports };
        self.argv(line, &process.argv, process.run_as, gaps);
        self.environment(line, &process.env, process.run_as, Gaps { secrets: true, ..gaps });
        self.directory(line, &process.cwd, gaps);
        match &process.health {
            Health::StaysUp => {}
            Health::PortOpen(port) => self.health_port(line, process, port),
            Health::Http { port, path } => {
                self.health_port(line, process, port);
                let plain = path.bytes().all(|byte| byte.is_ascii_graphic()) && path.len() <= 2048;
                if !path.starts_with('/') || !plain {
                    self.refuse(line, format!("its health path {:?} is not a path that begins with /", shorten(path)));
                }
            }
            // Whoever looks after the process looks after its health, as the same user.
            Health::Command(argv) => self.argv(line, argv, process.run_as, gaps),
        }
        self.range(line, "its start time-out in milliseconds", process.start_timeout_ms, 1..=limits.process_ms);
        self.range(line, "its stop time-out in milliseconds", process.stop_timeout_ms, 0..=limits.process_ms);
        self.range(line, "its number of replicas", process.replicas, 0..=limits.replicas);
        self.range(line, "its number of shards", process.shards, 1..=limits.shards);
    }

    /// A named port: a name is chosen by the host, a number is fixed and needs a power.
    fn port(&mut self, line: &str, port: &str) {
        if port.starts_with(|first: char| first.is_ascii_digit()) {
            match port.parse::<u16>() {
                Ok(number) if number != 0 && number.to_string() == port => self.need(line, &Power::Port(number)),
                _ => self.refuse(line, format!("{:?} is neither a port number nor a name", shorten(port))),
            }
        } else if port.parse::<crate::ids::ServiceName>().is_err() {
            let rule = "a name of a port is a lower-case letter, then up to 30 lower-case letters, digits and hyphens";
            self.refuse(line, format!("{:?}: {rule}", shorten(port)));
        }
    }

    fn health_port(&mut self, line: &str, process: &Process, port: &str) {
        if !process.ports.iter().any(|known| known == port) {
            self.refuse(line, format!("its health check is on the port {:?}, which it does not have", shorten(port)));
        }
    }

    fn routes(&mut self, plan: &Plan) {
        let limits = self.allowed.limits;
        self.count("routes", "routes", plan.routes.len(), limits.routes);
        let mut prefixes = BTreeSet::new();
        for (index, route) in plan.routes.iter().enumerate().take(limits.routes) {
            let line = format!("routes[{index}] {}", shorten(&route.path_prefix));
            match plan.processes.iter().find(|process| process.name == route.process) {
                None => self
                    .refuse(&line, format!("it leads to the process {}, which the plan does not have", route.process)),
                Some(process) if !process.ports.contains(&route.port) => {
                    let port = shorten(&route.port);
                    self.refuse(&line, format!("it leads to the port {port:?}, which {} does not have", route.process));
                }
                Some(_) => {}
            }
            let prefix = &route.path_prefix;
            let plain = prefix.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
            if !prefix.starts_with('/') || !plain || prefix.len() > 2048 {
                self.refuse(&line, "its prefix is not a path that begins with /");
            }
            if !prefixes.insert(prefix.trim_end_matches('/')) {
                self.refuse(&line, "its prefix is in use by another route");
            }
        }
    }

    fn remember(&mut self, plan: &Plan) {
        let bytes = plan.remember.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.count("remember", "bytes", bytes, self.allowed.limits.remember_bytes);
        if plan.remember.keys().any(|name| name.is_empty() || name.chars().any(char::is_control)) {
            self.refuse("remember", "a name is empty or has control characters");
        }
    }

    /// Parses a template and checks its gaps. `None` where it does not parse, or has a NUL, which ends texts for the
    /// system.
    pub(super) fn template(&mut self, line: &str, what: &str, text: &str, gaps: Gaps<'_>) -> Option<Template> {
        if text.contains('\0') {
            self.refuse(line, format!("{what} has a NUL character"));
            return None;
        }
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(error) => {
                self.refuse(line, format!("{what} is not a template: {error}"));
                return None;
            }
        };
        for gap in template.placeholders() {
            match gap {
                Placeholder::Secret(_) if !gaps.secrets => self.refuse(
                    line,
                    format!(
                        "{what} has {gap}; secrets are filled in in environment values and in files of mode 0600 only"
                    ),
                ),
                Placeholder::Secret(name) => self.need(line, &Power::Secret(name.clone())),
                Placeholder::Process if !gaps.process => {
                    self.refuse(line, format!("{what} has {gap}, and belongs to no process"));
                }
                Placeholder::Port(name) if !gaps.ports.contains(name) => {
                    self.refuse(line, format!("{what} has {gap}, and there is no such port here"));
                }
                _ => {}
            }
        }
        Some(template)
    }
}

/// Names of ports that exactly one process of the plan has: those that can be named where there is no process.
fn unambiguous_ports(plan: &Plan) -> Vec<String> {
    let all = || plan.processes.iter().flat_map(|process| &process.ports);
    let once = |port: &&String| all().filter(|other| other == port).count() == 1;
    // A plan with more processes than allowed is refused anyway; what is counted here stays small.
    all().take(2000).filter(once).cloned().collect()
}
