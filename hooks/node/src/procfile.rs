//! The Procfile: one process type in a line, `web: node server.js`.

use jecloud_sdk::Problem;

/// Where it is.
pub const FILE: &str = "Procfile";

/// One line of a Procfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which line, from 1.
    pub line: usize,
    /// The process type.
    pub name: String,
    /// The command line.
    pub command: String,
}

/// Reads a Procfile.
///
/// # Errors
/// When a line is not `NAME: COMMAND`, a name occurs twice, or there is none at all.
pub fn parse(text: &str) -> Result<Vec<Entry>, Problem> {
    let mut entries: Vec<Entry> = Vec::new();
    for (index, content) in text.lines().enumerate() {
        let line = index + 1;
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let (name, command) =
            content.split_once(':').map(|(name, command)| (name.trim(), command.trim())).ok_or_else(|| {
                problem(line, format!("`{content}` has no colon"))
                    .hint("write `NAME: COMMAND`, as `web: node server.js`")
            })?;
        if !is_process_name(name) {
            return Err(problem(line, format!("`{name}` cannot be the name of a process"))
                .hint("use a lower-case letter, then up to 30 lower-case letters, digits, hyphens and underscores"));
        }
        if command.is_empty() {
            return Err(problem(line, format!("`{name}` has no command")).hint("write it after the colon"));
        }
        if let Some(first) = entries.iter().find(|entry| entry.name == name) {
            return Err(
                problem(line, format!("`{name}` is in line {} already", first.line)).hint("give it another name")
            );
        }
        entries.push(Entry { line, name: name.to_owned(), command: command.to_owned() });
    }
    if entries.is_empty() {
        return Err(Problem::new(format!("{FILE} names no process"))
            .hint("write `web: node server.js`, or remove the file to have the start script of package.json run"));
    }
    Ok(entries)
}

/// A problem with a line, from 1.
fn problem(line: usize, what: impl AsRef<str>) -> Problem {
    Problem::new(format!("{FILE}, line {line}: {}", what.as_ref()))
}

/// The same rule as the host's for process types.
fn is_process_name(name: &str) -> bool {
    name.len() <= 31
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
}
