//! Commands: which programs, as whom, where, with which environment, for how long.

use std::collections::{BTreeMap, BTreeSet};

use super::files::{below_own, is_inside};
use super::plan::Gaps;
use super::refusal::{Findings, is_unprintable};
use super::{Allowed, Power, Refusal};
use crate::hook::{Command, Identity};
use crate::template::{Piece, Placeholder, Template};

/// Checks commands that stand outside of a plan: those of an `again` answer of a step function. `ports` are the names of
/// ports that may be filled in.
///
/// # Errors
///
/// All lines that are refused.
pub fn check_commands(commands: &[Command], ports: &[String], allowed: Allowed<'_>) -> Result<(), Vec<Refusal>> {
    let mut findings = Findings::new(allowed);
    findings.commands("again", commands, Gaps { ports, ..Gaps::NAMES }, &mut BTreeSet::new());
    findings.into_result()
}

/// Checks how long a step function wants to wait, in milliseconds.
///
/// # Errors
///
/// When it is too long.
pub fn check_wait(wait: u32, allowed: Allowed<'_>) -> Result<(), Vec<Refusal>> {
    let mut findings = Findings::new(allowed);
    findings.range("wait-ms", "the time", wait, 0..=allowed.limits.wait_ms);
    findings.into_result()
}

/// Variables through which the loader or a shell runs code that nobody named: with them, any granted program is every
/// program.
fn injects_code(name: &str) -> bool {
    name.starts_with("LD_")
        || matches!(name, "BASH_ENV" | "ENV" | "GCONV_PATH" | "PROMPT_COMMAND" | "PS4" | "SHELLOPTS")
}

/// Variables that choose the program, or code that it loads. Harmless as the app's user, whose code it is; not as root.
fn chooses_code(name: &str) -> bool {
    const PREFIXES: [&str; 7] = ["PYTHON", "PERL", "RUBY", "NODE_", "JAVA_", "GIT_", "NPM_CONFIG_"];
    matches!(name, "PATH" | "HOME" | "IFS" | "GEM_PATH" | "GEM_HOME" | "SHELL" | "EDITOR" | "PAGER")
        || PREFIXES.iter().any(|prefix| name.to_ascii_uppercase().starts_with(prefix))
}

/// A letter or `_`, then letters, digits and `_`.
pub(super) fn is_variable(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
        && name.len() <= 256
}

/// What a command is called in refusals: `build[1] install dependencies`.
fn label(list: &str, index: usize, title: &str) -> String {
    let title: String = title.chars().filter(|character| !is_unprintable(*character)).take(60).collect();
    format!("{list}[{index}] {title}").trim_end().to_owned()
}

impl Findings<'_> {
    /// `ids` are those in use so far: they are unique within one answer.
    pub(super) fn commands<'c>(
        &mut self,
        list: &str,
        commands: &'c [Command],
        gaps: Gaps<'_>,
        ids: &mut BTreeSet<&'c str>,
    ) {
        self.count(list, "commands", commands.len(), self.allowed.limits.commands);
        for (index, command) in commands.iter().enumerate().take(self.allowed.limits.commands) {
            let line = label(list, index, &command.title);
            if !ids.insert(&command.id) {
                self.refuse(&line, format!("its id {:?} is in use by another command", command.id));
            }
            self.command(&line, command, gaps);
        }
    }

    fn command(&mut self, line: &str, command: &Command, gaps: Gaps<'_>) {
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        if command.id.is_empty() || command.id.len() > 100 || !command.id.bytes().all(is_id) {
            self.refuse(line, "its id is not 1 to 100 letters, digits and - _ . :");
        }
        self.one_line(line, "its title", &command.title);
        self.one_line(line, "its once key", &command.once);
        self.argv(line, &command.argv, command.run_as, gaps);
        self.environment(line, &command.env, command.run_as, Gaps { secrets: true, ..gaps });
        self.directory(line, &command.cwd, gaps);
        self.range(line, "its time-out in milliseconds", command.timeout_ms, 1..=self.allowed.limits.command_ms);
        self.produces(line, &command.produces);
    }

    fn produces(&mut self, line: &str, produces: &[String]) {
        self.count(line, "kept directories", produces.len(), 100);
        for (index, path) in produces.iter().enumerate() {
            if !is_inside(path) || path.len() > 4096 {
                self.refuse(line, format!("{path:?}, which it produces, is not a relative path inside of {{source}}"));
                continue;
            }
            let below = |above: &str| super::files::path_covers(&format!("/{above}"), &format!("/{path}"));
            if produces.iter().enumerate().any(|(other, above)| other != index && below(above)) {
                self.refuse(line, format!("{path:?}, which it produces, lies inside of another one"));
            }
        }
    }

    /// A program and its arguments.
    pub(super) fn argv(&mut self, line: &str, argv: &[String], run_as: Identity, gaps: Gaps<'_>) {
        let limits = self.allowed.limits;
        self.count(line, "words of a command", argv.len(), limits.arguments);
        let mut parsed = Vec::new();
        for word in argv.iter().take(limits.arguments) {
            self.count(line, "bytes of one word of a command", word.len(), limits.text_bytes);
            parsed.push(self.template(line, "its command", word, gaps));
        }
        let Some(program) = argv.first().filter(|program| !program.is_empty()) else {
            self.refuse(line, "it names no program");
            return;
        };
        let Some(Some(template)) = parsed.into_iter().next() else { return };
        if run_as == Identity::App && is_own_code(&template) {
            return;
        }
        let begins_with_gap = matches!(template.pieces().first(), Some(Piece::Gap(_)));
        if program.contains('/') && !program.starts_with('/') && !begins_with_gap {
            self.refuse(
                line,
                format!("{program:?} depends on the working directory; write {{source}}/… for the app's own programs"),
            );
            return;
        }
        self.need(line, &Power::Program(program.clone(), run_as));
    }

    /// The variables of a command or process.
    pub(super) fn environment(
        &mut self,
        line: &str,
        variables: &BTreeMap<String, String>,
        run_as: Identity,
        gaps: Gaps<'_>,
    ) {
        let limits = self.allowed.limits;
        self.count(line, "variables", variables.len(), limits.variables);
        for (name, value) in variables.iter().take(limits.variables) {
            if !is_variable(name) {
                self.refuse(line, format!("{:?} is not a name of an environment variable", shorten(name)));
            } else if injects_code(name) {
                self.refuse(line, format!("the variable {name} makes programs run code that nobody granted"));
            } else if run_as == Identity::Root && chooses_code(name) {
                self.refuse(line, format!("the variable {name} would choose what runs as root"));
            }
            self.count(line, &format!("bytes of the variable {}", shorten(name)), value.len(), limits.text_bytes);
            self.template(line, &format!("the variable {}", shorten(name)), value, gaps);
        }
    }

    /// A working directory.
    pub(super) fn directory(&mut self, line: &str, cwd: &str, gaps: Gaps<'_>) {
        if cwd.is_empty() {
            return;
        }
        self.count(line, "bytes of its working directory", cwd.len(), 4096);
        let Some(template) = self.template(line, "its working directory", cwd, gaps) else { return };
        let inside = below_own(&template)
            .is_some_and(|(_, rest)| rest.is_empty() || rest == "/" || rest.starts_with('/') && is_inside(&rest[1..]));
        if !inside {
            self.refuse(line, "its working directory is not inside of {source} or {data}");
        }
    }
}

/// `{source}/…`: a program that came with the app.
fn is_own_code(template: &Template) -> bool {
    below_own(template).is_some_and(|(root, rest)| {
        *root == Placeholder::Source && rest.starts_with('/') && !rest.ends_with('/') && is_inside(&rest[1..])
    })
}

/// For the words of refusals.
pub(super) fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}
