//! What is wrong in a TOML file, and where, so that a person sees it at once.

use std::fmt;
use std::ops::Range;

/// Something wrong at one place of a file: `jecloud.toml:7:3: unknown key …`.
///
/// `Display` is one line. [`ConfigError::snippet`] shows the line of the file with the place marked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct ConfigError {
    /// The file, as the caller named it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The whole dotted key that is concerned: `processes.web.cuont`. Empty where there is none.
    pub key: String,
    /// What is wrong, and what to write, in one line. Names the key.
    pub message: String,
    /// The line of the file, without what would disturb a terminal.
    source_line: String,
    /// How many characters of it are marked, from `column` on; at least 1.
    width: usize,
}

impl ConfigError {
    /// `span` is in bytes of `text`; what lies beyond its end is taken for its end.
    pub(crate) fn new(file: &str, text: &str, span: Range<usize>, key: &str, message: String) -> Self {
        let place = Place::of(text, span);
        Self {
            file: file.to_owned(),
            line: place.line,
            column: place.column,
            key: key.to_owned(),
            message,
            source_line: place.source_line,
            width: place.width,
        }
    }

    /// The line of the file with a caret below the place, as compilers show it. Several lines, no line end at the
    /// end.
    ///
    /// ```text
    ///   |
    /// 7 |   cuont = 2
    ///   |   ^^^^^
    /// ```
    pub fn snippet(&self) -> String {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let indent: String =
            self.source_line.chars().take(self.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let caret = "^".repeat(self.width);
        format!("{gutter} |\n{number} | {}\n{gutter} | {indent}{caret}", self.source_line)
    }
}

/// Where a span of a text begins, for people.
struct Place {
    line: usize,
    column: usize,
    source_line: String,
    width: usize,
}

impl Place {
    fn of(text: &str, span: Range<usize>) -> Self {
        let start = floor(text, span.start);
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let rest = &text[line_start..];
        let line = rest.split('\n').next().unwrap_or_default();
        let line = line.strip_suffix('\r').unwrap_or(line);
        // A byte order mark is not seen, so it is not counted.
        let mark = if line_start == 0 && line.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let shown = &line[mark..];
        let start_in_line = start.saturating_sub(line_start + mark).min(shown.len());
        let end_in_line = floor(text, span.end).saturating_sub(line_start + mark).clamp(start_in_line, shown.len());
        Self {
            line: before.matches('\n').count() + 1,
            column: shown[..start_in_line].chars().count() + 1,
            source_line: shown.chars().map(harmless).collect(),
            width: shown[start_in_line..end_in_line].chars().count().max(1),
        }
    }
}

/// The last character boundary at or before `index`.
fn floor(text: &str, index: usize) -> usize {
    text.floor_char_boundary(index)
}

/// A control character could move the cursor or colour the terminal.
fn harmless(c: char) -> char {
    if c.is_control() && c != '\t' { '\u{fffd}' } else { c }
}

/// Text from a file inside a message: quoted, shortened, harmless.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        let short: String = chars.by_ref().take(60).collect();
        write!(f, "{short:?}")?;
        if chars.next().is_some() { f.write_str("…") } else { Ok(()) }
    }
}

/// The line, from 1, of the first marker that a merge left in the text.
pub(crate) fn merge_conflict(text: &str) -> Option<Range<usize>> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end();
        // `=======` alone could be text of a multi-line string; the other two never come without it.
        if bare.starts_with("<<<<<<< ") || bare.starts_with(">>>>>>> ") {
            return Some(start..start + bare.len());
        }
        start += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str, span: Range<usize>) -> ConfigError {
        ConfigError::new("jecloud.toml", text, span, "", "wrong".to_owned())
    }

    #[test]
    fn a_place_is_shown_as_compilers_do() {
        let text = "app = \"x\"\n\n[processes.web]\n\tcuont = 2\n";
        let error = error(text, 28..33);
        assert_eq!(error.to_string(), "jecloud.toml:4:2: wrong");
        assert_eq!(error.snippet(), "  |\n4 | \tcuont = 2\n  | \t^^^^^");
    }

    #[test]
    fn columns_are_characters_and_a_byte_order_mark_is_none() {
        assert_eq!(error("ä = ü", 5..7).column, 5);
        assert_eq!(error("\u{feff}app = 1", 3..6).column, 1);
        assert_eq!(error("\u{feff}app = 1", 3..6).snippet(), "  |\n1 | app = 1\n  | ^^^");
    }

    #[test]
    fn a_span_over_several_lines_is_marked_to_the_end_of_the_first() {
        assert_eq!(error("a = [\r\n1,\r\n]", 4..12).snippet(), "  |\n1 | a = [\n  |     ^");
    }

    #[test]
    fn any_span_of_any_text_has_a_place() {
        for text in ["", "\n", "\r\n", "ä", "\u{feff}", "a\nb", "a\r\n\r\n"] {
            for start in 0..8 {
                for end in 0..8 {
                    let error = error(text, start..end);
                    assert!(error.line >= 1 && error.column >= 1);
                    assert_eq!(error.snippet().lines().count(), 3, "{text:?} {start}..{end}");
                }
            }
        }
    }

    /// Fails without `harmless`.
    #[test]
    fn nothing_in_a_file_reaches_the_terminal_as_a_command() {
        let error = error("a = \"\u{1b}[31m\u{7}\"", 0..1);
        assert!(!error.snippet().contains(['\u{1b}', '\u{7}']));
        assert_eq!(Quoted("\u{1b}[31m").to_string(), r#""\u{1b}[31m""#);
        assert_eq!(Quoted(&"x".repeat(61)).to_string(), format!("\"{}\"…", "x".repeat(60)));
    }
}
