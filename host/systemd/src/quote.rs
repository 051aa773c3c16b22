//! Text as systemd reads it: man 5 systemd.service, systemd.exec, systemd.syntax.

use std::fmt::Write as _;

/// A word of a command line or of a list of paths. Variables are not touched: the command line begins with `:`, which
/// turns them off.
pub(crate) fn word(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '%' => quoted.push_str("%%"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => {
                for byte in control.to_string().bytes() {
                    let _ = write!(quoted, "\\x{byte:02x}");
                }
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// A setting that takes the rest of its line as it is: a path, a description. None for what no line can hold.
pub(crate) fn line(text: &str) -> Option<String> {
    let fits = !text.contains(char::is_control) && text.trim() == text && !text.ends_with('\\');
    fits.then(|| text.replace('%', "%%"))
}

/// One line of a file of variables.
pub(crate) fn variable(name: &str, value: &str) -> String {
    let mut quoted = format!("{name}=\"");
    for character in value.chars() {
        if matches!(character, '"' | '\\' | '`' | '$') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push_str("\"\n");
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That systemd reads them so is tried by the tests with machines.
    #[test]
    fn words() {
        assert_eq!(word("server.js"), "\"server.js\"");
        assert_eq!(word(r#"a "b" c\d $HOME %n"#), r#""a \"b\" c\\d $HOME %%n""#);
        assert_eq!(word("1\n2\t3\u{7}"), r#""1\n2\t3\x07""#);
        assert_eq!(word(""), "\"\"");
    }

    #[test]
    fn lines() {
        assert_eq!(line("/var/a b/100%").as_deref(), Some("/var/a b/100%%"));
        for bad in ["a\nExecStart=/bin/sh", " a", "a\\"] {
            assert_eq!(line(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn variables() {
        assert_eq!(variable("A", "x y"), "A=\"x y\"\n");
        assert_eq!(variable("A", "\"$`\\\n'#"), "A=\"\\\"\\$\\`\\\\\n'#\"\n");
    }
}
