//! Texts with gaps that the host fills: `{source}/server.js`, `http://127.0.0.1:{port:http}`.
//!
//! A hook writes templates so that it never has to know directories, ports and secrets. `{{` stands for `{`; a `}`
//! outside of a placeholder is an ordinary character. See the comment on templates in `wit/types.wit`.

use std::fmt;

/// The longest name inside a placeholder, in bytes. Package names of distributions stay well below.
const LONGEST_NAME: usize = 100;

/// What an unclosed or unknown placeholder is quoted with at most, in characters.
const LONGEST_QUOTE: usize = 40;

/// A gap in a template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Placeholder {
    /// `{source}`: the directory of the version that is being deployed.
    Source,
    /// `{data}`: the service's own directory.
    Data,
    /// `{package:NAME}`: the directory of an archive package.
    Package(String),
    /// `{port:NAME}`: the port that was given to a named port.
    Port(String),
    /// `{secret:NAME}`: the value of a secret.
    Secret(String),
    /// `{app}`: the app's name.
    App,
    /// `{environment}`: the environment's name.
    Environment,
    /// `{version}`: the version as 64 hex digits.
    Version,
    /// `{process}`: the instance's name, `web.1`.
    Process,
    /// `{host}`: the address by which those who need the service reach the server.
    Host,
}

impl Placeholder {
    /// What stands between the braces; `None` where it is no placeholder.
    fn parse(inside: &str) -> Option<Self> {
        if let Some((kind, name)) = inside.split_once(':') {
            if !is_name(name) {
                return None;
            }
            return match kind {
                "package" => Some(Self::Package(name.to_owned())),
                "port" => Some(Self::Port(name.to_owned())),
                "secret" => Some(Self::Secret(name.to_owned())),
                _ => None,
            };
        }
        match inside {
            "source" => Some(Self::Source),
            "data" => Some(Self::Data),
            "app" => Some(Self::App),
            "environment" => Some(Self::Environment),
            "version" => Some(Self::Version),
            "process" => Some(Self::Process),
            "host" => Some(Self::Host),
            _ => None,
        }
    }
}

/// Letters, digits and `+ . _ -`, beginning with a letter, a digit or `_`.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'_' | b'-');
    name.len() <= LONGEST_NAME
        && name.bytes().all(allowed)
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_')
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source => f.write_str("{source}"),
            Self::Data => f.write_str("{data}"),
            Self::Package(name) => write!(f, "{{package:{name}}}"),
            Self::Port(name) => write!(f, "{{port:{name}}}"),
            Self::Secret(name) => write!(f, "{{secret:{name}}}"),
            Self::App => f.write_str("{app}"),
            Self::Environment => f.write_str("{environment}"),
            Self::Version => f.write_str("{version}"),
            Self::Process => f.write_str("{process}"),
            Self::Host => f.write_str("{host}"),
        }
    }
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Stands for itself. Never empty; two texts never follow each other.
    Text(String),
    /// Is filled in.
    Gap(Placeholder),
}

/// Why a text is not a template, or could not be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `{` without its `}`.
    #[error("{place:?} at character {position} is not closed; write {{{{ for a plain {{")]
    Unclosed {
        /// The text from the brace on, shortened.
        place: String,
        /// Counted in characters, from 1.
        position: usize,
    },
    /// Braces around what is no placeholder.
    #[error(
        "{place} at character {position} is not a placeholder; there are {{source}}, {{data}}, {{package:NAME}}, \
         {{port:NAME}}, {{secret:NAME}}, {{app}}, {{environment}}, {{version}}, {{process}} and {{host}}; write {{{{ for a plain {{"
    )]
    Unknown {
        /// The braces and what is between them, shortened.
        place: String,
        /// Counted in characters, from 1.
        position: usize,
    },
    /// The host has nothing to fill in here.
    #[error("there is nothing to fill in for {placeholder}")]
    Unfilled {
        /// Which gap.
        placeholder: Placeholder,
    },
}

/// A parsed template. [`fmt::Display`] writes it as it can be parsed again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

impl Template {
    /// Takes a text apart.
    ///
    /// # Errors
    ///
    /// An unclosed brace, or a placeholder that does not exist: both quote the place.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut template = Self::default();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            template.push_text(&rest[..open]);
            let from_brace = &rest[open..];
            if let Some(after) = from_brace.strip_prefix("{{") {
                template.push_text("{");
                rest = after;
                continue;
            }
            let position = text[..text.len() - from_brace.len()].chars().count() + 1;
            // A placeholder ends on its line: a forgotten brace does not swallow the rest of a file.
            let end = from_brace.find(['}', '\n']).filter(|end| from_brace.as_bytes()[*end] == b'}');
            let Some(end) = end else {
                return Err(TemplateError::Unclosed { place: quote(from_brace), position });
            };
            let Some(placeholder) = Placeholder::parse(&from_brace[1..end]) else {
                return Err(TemplateError::Unknown { place: quote(&from_brace[..=end]), position });
            };
            template.pieces.push(Piece::Gap(placeholder));
            rest = &from_brace[end + 1..];
        }
        template.push_text(rest);
        Ok(template)
    }

    /// A text without gaps, which needs no escaping.
    pub fn text(text: &str) -> Self {
        let mut template = Self::default();
        template.push_text(text);
        template
    }

    fn push_text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if let Some(Piece::Text(last)) = self.pieces.last_mut() {
            last.push_str(text);
        } else {
            self.pieces.push(Piece::Text(text.to_owned()));
        }
    }

    /// Its parts, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Its gaps, in order; one that occurs twice comes twice.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Gap(placeholder) => Some(placeholder),
            Piece::Text(_) => None,
        })
    }

    /// The text with every gap filled in. What is filled in is not looked at again: a value with braces stays as it is.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Unfilled`] for the first gap that `value` answers with `None`.
    pub fn fill(&self, value: &dyn Fn(&Placeholder) -> Option<String>) -> Result<String, TemplateError> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Gap(placeholder) => match value(placeholder) {
                    Some(filled) => text.push_str(&filled),
                    None => return Err(TemplateError::Unfilled { placeholder: placeholder.clone() }),
                },
            }
        }
        Ok(text)
    }

    /// Fills in every gap but the secrets. The result is a template again, in which `{secret:NAME}` are the only gaps,
    /// and its text form has `{{` for a plain `{`: whoever starts the process parses it once more and fills in the
    /// secrets, which therefore never lie in a document.
    ///
    /// # Errors
    ///
    /// As [`Template::fill`], for gaps that are not secrets.
    pub fn fill_all_but_secrets(&self, value: &dyn Fn(&Placeholder) -> Option<String>) -> Result<Self, TemplateError> {
        let mut filled = Self::default();
        for piece in &self.pieces {
            match piece {
                Piece::Text(plain) => filled.push_text(plain),
                Piece::Gap(Placeholder::Secret(_)) => filled.pieces.push(piece.clone()),
                Piece::Gap(placeholder) => match value(placeholder) {
                    Some(text) => filled.push_text(&text),
                    None => return Err(TemplateError::Unfilled { placeholder: placeholder.clone() }),
                },
            }
        }
        Ok(filled)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(&escape(text)),
            Piece::Gap(placeholder) => placeholder.fmt(f),
        })
    }
}

/// The template that stands for this text: every `{` is doubled.
pub fn escape(text: &str) -> String {
    text.replace('{', "{{")
}

/// The first line of a text, shortened.
fn quote(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut quoted: String = line.chars().take(LONGEST_QUOTE).collect();
    if quoted.len() < line.len() {
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(placeholder: &Placeholder) -> Option<String> {
        Some(match placeholder {
            Placeholder::Source => "/srv/app".to_owned(),
            Placeholder::Data => "/srv/data".to_owned(),
            Placeholder::Package(name) => format!("/srv/packages/{name}"),
            Placeholder::Port(name) if name == "web" => "8080".to_owned(),
            Placeholder::Secret(name) if name == "KEY" => "{source}".to_owned(),
            Placeholder::Port(_) | Placeholder::Secret(_) => return None,
            Placeholder::App => "shop".to_owned(),
            Placeholder::Environment => "staging".to_owned(),
            Placeholder::Version => "0".repeat(64),
            Placeholder::Process => "web.1".to_owned(),
            Placeholder::Host => "10.0.0.7".to_owned(),
        })
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let outcome = match Template::parse(text).and_then(|template| template.fill(&value)) {
            Ok(filled) => filled,
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(outcome, expected, "{text}");
    }

    #[test]
    fn every_placeholder_is_filled_in() {
        check("", "");
        check("plain } text", "plain } text");
        check("{source}/server.js", "/srv/app/server.js");
        check("{data}{app}-{environment}", "/srv/datashop-staging");
        check("{package:node}/bin/node", "/srv/packages/node/bin/node");
        check("http://127.0.0.1:{port:web}/", "http://127.0.0.1:8080/");
        check("{version}", &"0".repeat(64));
        check("{process}", "web.1");
        check("redis://{host}:6379", "redis://10.0.0.7:6379");
    }

    #[test]
    fn doubled_braces_are_plain() {
        check("{{source}", "{source}");
        check("{{{source}}", "{/srv/app}");
        check("{{{{", "{{");
        check("{{\"a\": {{}}", "{\"a\": {}}");
    }

    /// Fails where what was filled in is parsed again: a secret would then read the source's directory.
    #[test]
    fn values_are_not_templates() {
        check("{secret:KEY}", "{source}");
    }

    #[test]
    fn mistakes_quote_the_place() {
        check(
            "ä{sorce}",
            "error: {sorce} at character 2 is not a placeholder; there are {source}, {data}, {package:NAME}, {port:NAME}, {secret:NAME}, {app}, {environment}, {version}, {process} and {host}; write {{ for a plain {",
        );
        check("a{source", "error: \"{source\" at character 2 is not closed; write {{ for a plain {");
        check("{source\n}", "error: \"{source\" at character 1 is not closed; write {{ for a plain {");
        check("{port:db}", "error: there is nothing to fill in for {port:db}");
        for unknown in
            ["{}", "{port:}", "{port}", "{ source}", "{Source}", "{port:a/b}", "{secret:..}", "{x:y}", "{port:a:b}"]
        {
            assert!(
                matches!(Template::parse(unknown), Err(TemplateError::Unknown { .. })),
                "{unknown}: {:?}",
                Template::parse(unknown)
            );
        }
        let long = format!("{{port:{}}}", "a".repeat(LONGEST_NAME + 1));
        assert!(matches!(Template::parse(&long), Err(TemplateError::Unknown { place, .. }) if place.len() < 60));
    }

    /// Fails when `fill_all_but_secrets` does not double the braces of what it fills in.
    #[test]
    fn secrets_are_filled_in_by_a_second_pass() {
        let first = Template::parse("{{x} {app} {secret:KEY}").unwrap();
        let braces = |placeholder: &Placeholder| Some(format!("{{{placeholder}"));
        let stored = first.fill_all_but_secrets(&braces).unwrap().to_string();
        assert_eq!(stored, "{{x} {{{{app} {secret:KEY}");
        let second = Template::parse(&stored).unwrap();
        assert_eq!(second.fill(&value).unwrap(), "{x} {{app} {source}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(text in "[a{}:\n]{0,20}|([ab]|\\{\\{|\\{source\\}|\\{port:x\\}|\\}){0,10}") {
            if let Ok(template) = Template::parse(&text) {
                prop_assert_eq!(Template::parse(&template.to_string()), Ok(template));
            }
        }

        #[test]
        fn an_escaped_text_fills_to_itself(text in ".{0,60}") {
            let template = Template::parse(&escape(&text)).unwrap();
            prop_assert_eq!(template.fill(&|_| None).unwrap(), text.clone());
            prop_assert_eq!(template, Template::text(&text));
        }
    }
}
