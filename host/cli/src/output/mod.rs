//! What people see. Data goes to standard output, everything else to standard error; colour and motion only where
//! standard error is a terminal, and never with `NO_COLOR`.

mod progress;
mod style;
mod table;

pub(crate) use progress::Progress;
pub(crate) use style::{bold, dim, duration, green, plural, red, size, yellow};
pub(crate) use table::Table;

use std::io::{IsTerminal as _, Write as _};

/// Whether standard error is a terminal.
pub(crate) fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// A line on standard output. Whoever closed it does not want more: the command ends quietly.
pub(crate) fn print(text: &str) {
    if writeln!(anstream::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// A JSON document on standard output.
pub(crate) fn print_json<T: serde::Serialize>(value: &T) {
    print(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// A JSON document on one line of standard output.
pub(crate) fn print_json_line<T: serde::Serialize>(value: &T) {
    print(&serde_json::to_string(value).unwrap_or_default());
}

/// A line on standard error.
pub(crate) fn say(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Asks a question that is answered with yes or no; no where nobody can be asked.
pub(crate) fn ask(question: &str) -> bool {
    if !std::io::stdin().is_terminal() {
        return false;
    }
    let _ = write!(anstream::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    let _ = std::io::stdin().read_line(&mut answer);
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Asks for a text; none where nobody can be asked.
pub(crate) fn ask_text(question: &str) -> Option<String> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    let _ = write!(anstream::stderr(), "{question} ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).ok()?;
    Some(answer.trim().to_owned())
}
