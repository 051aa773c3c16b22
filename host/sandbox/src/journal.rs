//! What a hook says about its work.

use std::fmt;

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the author of the hook.
    Debug,
    /// For whoever looks.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something failed.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        })
    }
}

/// One line. It has no line breaks and no control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How important it is.
    pub level: Level,
    /// The text, cut at [`crate::Limits::log_line_bytes`].
    pub message: String,
}

/// What a hook wrote during one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallLog {
    /// The first lines, at most [`crate::Limits::log_lines`].
    pub lines: Vec<LogLine>,
    /// How many more there were.
    pub dropped: u64,
    /// The last line, also if it is among the dropped.
    pub last: Option<LogLine>,
}

/// Collects a log within its bounds.
#[derive(Debug)]
pub(crate) struct Journal {
    log: CallLog,
    max_lines: usize,
    max_line_bytes: usize,
}

impl Journal {
    pub(crate) fn new(max_lines: usize, max_line_bytes: usize) -> Self {
        Self { log: CallLog::default(), max_lines, max_line_bytes }
    }

    /// Each line of the message becomes a line of the log; empty ones are left out.
    pub(crate) fn write(&mut self, level: Level, message: &str) {
        for line in message.lines().filter(|line| !line.trim().is_empty()) {
            let line = LogLine { level, message: printable(cut(line, self.max_line_bytes)) };
            if self.log.lines.len() < self.max_lines {
                self.log.lines.push(line.clone());
            } else {
                self.log.dropped += 1;
            }
            self.log.last = Some(line);
        }
    }

    pub(crate) fn last(&self) -> Option<&LogLine> {
        self.log.last.as_ref()
    }

    pub(crate) fn finish(self) -> CallLog {
        self.log
    }
}

/// The longest beginning of at most so many bytes.
pub(crate) fn cut(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

/// Without what could move the cursor, colour the terminal, or turn the direction of writing.
pub(crate) fn printable(text: &str) -> String {
    let is_harmful = |character: char| {
        character.is_control() && character != '\n' && character != '\t'
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.replace(is_harmful, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_cut_and_counted() {
        let mut journal = Journal::new(2, 5);
        journal.write(Level::Error, "one\n\n  \nt\u{1b}wo\r\nääää");
        let log = journal.finish();
        let lines: Vec<&str> = log.lines.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(lines, ["one", "t\u{fffd}wo"]);
        assert_eq!(log.dropped, 1);
        // Five bytes would end in the middle of a letter.
        assert_eq!(log.last.unwrap().message, "ää");
    }
}
