//! Reading tables of a TOML text: what is missing, unknown or of the wrong type is noted with its place, and
//! reading goes on, so that a person sees everything that is wrong at once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Quoted};
use crate::ids::InvalidId;
use crate::suggest::did_you_mean;

/// How every message about the syntax begins, but those about keys that are given twice.
const NOT_TOML: &str = "not TOML";

/// A file with more is no TOML at all, and nobody reads on.
const MOST_SYNTAX_ERRORS: usize = 50;

/// A text that is being read, and what was found wrong with it so far.
pub(crate) struct Document<'t> {
    file: &'t str,
    text: &'t str,
    ignored: Ignored,
    errors: RefCell<Vec<ConfigError>>,
}

/// What is passed over when a table is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// Every key means something.
    Nothing,
    /// `[x-anything]`: a place for a person's or another program's notes, and for TOML that is meant to be copied.
    XTables,
}

impl<'t> Document<'t> {
    pub(crate) fn new(file: &'t str, text: &'t str, ignored: Ignored) -> Self {
        Self { file, text, ignored, errors: RefCell::new(Vec::new()) }
    }

    /// The table that the text is. Where the syntax is wrong, that is noted, and what could be made of the rest is
    /// given.
    pub(crate) fn parse(&self) -> Spanned<DeTable<'t>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors.into_iter().take(MOST_SYNTAX_ERRORS) {
            let span = error.span().unwrap_or(0..0);
            let message = self.syntax_message(error.message(), &span);
            self.note(span, "", message);
        }
        table
    }

    /// The parser's message, or a better one where its own tells a person little.
    fn syntax_message(&self, message: &str, span: &Range<usize>) -> String {
        let line = self.text.get(span.start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let value = line.split('#').next().unwrap_or_default().trim();
        if message == "duplicate key" {
            format!("`{}` is given twice", self.text.get(span.clone()).unwrap_or_default())
        } else if !message.starts_with("string values must be quoted") {
            format!("{NOT_TOML}: {message}")
        } else if value.is_empty() {
            format!("{NOT_TOML}: a value is missing here")
        } else if value.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\' | b',')) {
            format!("{NOT_TOML}: a string needs quotes: \"{value}\"")
        } else {
            format!("{NOT_TOML}: a string needs quotes")
        }
    }

    pub(crate) fn note(&self, span: Range<usize>, key: &str, message: String) {
        self.errors.borrow_mut().push(ConfigError::new(self.file, self.text, span, key, message));
    }

    /// Whether nothing was noted yet.
    pub(crate) fn is_fine(&self) -> bool {
        self.errors.borrow().is_empty()
    }

    /// What is wrong with the syntax; to be called before anything else is noted.
    pub(crate) fn syntax(&self) -> Syntax {
        let errors = self.errors.borrow();
        let is_header = |error: &&ConfigError| {
            let line = self.text.lines().nth(error.line - 1).unwrap_or_default();
            line.trim_start().starts_with('[') && error.message.starts_with(NOT_TOML)
        };
        Syntax {
            lines: errors.iter().map(|error| error.line).collect(),
            broken_header: errors.iter().filter(is_header).map(|error| error.line).min(),
        }
    }

    /// Everything that was noted, by place.
    ///
    /// Of several notes about the syntax of one line only the first is kept, for the others follow from it. So do
    /// notes about the meaning of a line whose syntax is wrong, and about what comes after a broken `[header]`,
    /// since nobody knows which table that is in.
    pub(crate) fn finish(self, syntax: &Syntax) -> Vec<ConfigError> {
        let mut errors = self.errors.into_inner();
        let meaning = errors.split_off(syntax.lines.len());
        errors.sort_by_key(|error| (error.line, error.column));
        errors.dedup_by_key(|error| error.line);
        errors.extend(meaning.into_iter().filter(|error| {
            !syntax.lines.contains(&error.line) && syntax.broken_header.is_none_or(|line| error.line < line)
        }));
        errors.sort_by_key(|error| (error.line, error.column));
        errors
    }
}

/// What is wrong with the syntax of a text.
pub(crate) struct Syntax {
    /// One for each note.
    lines: Vec<usize>,
    /// The first line that was meant to be a `[header]` and is none.
    broken_header: Option<usize>,
}

/// A value, where it is, and the dotted key it is found under.
pub(crate) struct Found<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
    pub(crate) key: String,
}

/// A table, and the dotted key it is found under.
#[derive(Clone)]
pub(crate) struct Section<'a> {
    document: &'a Document<'a>,
    table: &'a DeTable<'a>,
    /// `processes.web`; empty for the whole text.
    path: String,
    /// Where it begins.
    span: Range<usize>,
}

impl<'a> Section<'a> {
    pub(crate) fn root(document: &'a Document<'a>, table: &'a DeTable<'a>) -> Self {
        Self { document, table, path: String::new(), span: 0..0 }
    }

    /// Notes that a value that was found here is wrong. `message` follows its key: `` `count` must be … ``.
    pub(crate) fn refuse<T>(&self, found: &Found<T>, message: &str) {
        self.document.note(found.span.clone(), &found.key, format!("`{}` {message}", found.key));
    }

    /// Where the table begins.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Notes that something is wrong with a key of this table.
    pub(crate) fn note(&self, span: Range<usize>, name: &str, message: String) {
        self.document.note(span, &self.dotted(name), message);
    }

    /// Whether the key is there, whatever its value is.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// Where the key is, and its value.
    pub(crate) fn entry(&self, name: &str) -> Option<(Range<usize>, &'a Spanned<DeValue<'a>>)> {
        self.table.get_key_value(name).map(|(key, value)| (key.span(), value))
    }

    /// All keys but those of ignored tables, with their places.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Found<&'a str>, &'a Spanned<DeValue<'a>>)> {
        let is_ignored = |name: &str, value| self.document.ignored == Ignored::XTables && is_x_table(name, value);
        self.table.iter().filter(move |(key, value)| !is_ignored(key.get_ref(), value.get_ref())).map(|(key, value)| {
            let name: &'a str = key.get_ref();
            (Found { value: name, span: key.span(), key: self.dotted(name) }, value)
        })
    }

    /// The dotted keys of all that are not one of these.
    pub(crate) fn others(&self, known: &[&str]) -> Vec<String> {
        self.entries().filter(|(key, _)| !known.contains(&key.value)).map(|(key, _)| key.key).collect()
    }

    /// The dotted key of something in this table.
    pub(crate) fn key(&self, name: &str) -> String {
        self.dotted(name)
    }

    fn dotted(&self, name: &str) -> String {
        dotted(&self.path, name)
    }

    /// Notes every key that is not one of these.
    pub(crate) fn refuse_others(&self, known: &[&str]) {
        self.refuse_others_but(known, &[]);
    }

    /// As `refuse_others`, but says nothing about keys that were refused with a message of their own.
    pub(crate) fn refuse_others_but(&self, known: &[&str], refused: &[&str]) {
        let is_other = |name| !known.contains(&name) && !refused.contains(&name);
        for (key, _) in self.entries().filter(|(key, _)| is_other(key.value)) {
            let nearest = did_you_mean(key.value, known.iter().copied());
            let place = if self.path.is_empty() { String::new() } else { format!(" in [{}]", self.path) };
            let help = if key.value.starts_with("x-") {
                "; of keys that begin with `x-` only tables are ignored".to_owned()
            } else if nearest.is_empty() {
                format!("; what may be here: {}", known.join(", "))
            } else {
                nearest
            };
            self.document.note(key.span, &key.key, format!("unknown key `{}`{place}{help}", shown(key.value)));
        }
    }

    /// The value under a key, if it is what `take` takes; `expected` says what that is: `a string`.
    pub(crate) fn value<T>(
        &self,
        name: &str,
        expected: &str,
        take: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<Found<T>> {
        let (_, value) = self.entry(name)?;
        self.check(self.dotted(name), value, expected, take)
    }

    fn check<T>(
        &self,
        key: String,
        value: &'a Spanned<DeValue<'a>>,
        expected: &str,
        take: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<Found<T>> {
        let taken = take(value.get_ref());
        if taken.is_none() {
            let message = format!("`{key}` must be {expected}, found {}", kind(value.get_ref()));
            self.document.note(value.span(), &key, message);
        }
        Some(Found { value: taken?, span: value.span(), key })
    }

    /// The string under a key. No NUL character is in it: neither paths nor environments can hold one.
    pub(crate) fn text(&self, name: &str) -> Option<Found<&'a str>> {
        let found = self.value(name, "a string", DeValue::as_str)?;
        if found.value.contains('\0') {
            self.refuse(&found, "must not contain a NUL character");
            return None;
        }
        Some(found)
    }

    /// The boolean under a key.
    pub(crate) fn boolean(&self, name: &str) -> Option<Found<bool>> {
        self.value(name, "true or false", DeValue::as_bool)
    }

    /// The string under a key, read as a name or the like.
    pub(crate) fn parsed<T: FromStr<Err = InvalidId>>(&self, name: &str) -> Option<Found<T>> {
        let found = self.text(name)?;
        match found.value.parse() {
            Ok(value) => Some(Found { value, span: found.span, key: found.key }),
            Err(error) => {
                self.refuse(
                    &found,
                    &format!("is {}, which is not a valid {}: {}", Quoted(found.value), error.kind, error.rule),
                );
                None
            }
        }
    }

    /// The whole number under a key.
    pub(crate) fn integer(&self, name: &str, allowed: std::ops::RangeInclusive<u32>) -> Option<Found<u32>> {
        let found = self.value(name, "a whole number", DeValue::as_integer)?;
        let number = u32::from_str_radix(found.value.as_str(), found.value.radix()).ok();
        let Some(value) = number.filter(|number| allowed.contains(number)) else {
            let message = format!("is {}; it must be from {} to {}", found.value, allowed.start(), allowed.end());
            self.refuse(&found, &message);
            return None;
        };
        Some(Found { value, span: found.span, key: found.key })
    }

    /// The items of the list under a key, of which `expected` says what they are: `strings`.
    fn list(&self, name: &str, expected: &str) -> impl Iterator<Item = (String, &'a Spanned<DeValue<'a>>)> {
        let list = self.value(name, &format!("a list of {expected}"), DeValue::as_array);
        list.into_iter().flat_map(|list| {
            let keyed = move |(n, item)| (format!("{}[{n}]", list.key), item);
            list.value.iter().enumerate().map(keyed)
        })
    }

    /// The strings of the list under a key.
    pub(crate) fn texts(&self, name: &str) -> Vec<Found<&'a str>> {
        let items = self.list(name, "strings");
        items.filter_map(|(key, item)| self.check(key, item, "a string", DeValue::as_str)).collect()
    }

    /// The ports of the list under a key.
    pub(crate) fn ports(&self, name: &str) -> Vec<u16> {
        let port = |value: &DeValue<'_>| value.as_integer()?.as_str().parse().ok();
        let items = self.list(name, "ports");
        items.filter_map(|(key, item)| Some(self.check(key, item, "a port", port)?.value)).collect()
    }

    /// The tables of the list under a key.
    pub(crate) fn sections(&self, name: &str) -> Vec<Section<'a>> {
        let items = self.list(name, "tables");
        items
            .filter_map(|(key, item)| self.check(key, item, "a table", DeValue::as_table))
            .map(|found| Section { document: self.document, table: found.value, path: found.key, span: found.span })
            .collect()
    }

    /// The table under a key.
    pub(crate) fn section(&self, name: &str) -> Option<Section<'a>> {
        let found = self.value(name, "a table", DeValue::as_table)?;
        Some(Section { document: self.document, table: found.value, path: found.key, span: found.span })
    }

    /// All tables of the table under a key, by their names: `[servers.NAME]`. `keys` are those of such a table, for
    /// a hint to those who left the name out.
    pub(crate) fn named<T: FromStr<Err = InvalidId> + Ord>(
        &self,
        name: &str,
        keys: &[&str],
    ) -> BTreeMap<T, Section<'a>> {
        let Some(parent) = self.section(name) else { return BTreeMap::new() };
        let mut tables = BTreeMap::new();
        for (key, value) in parent.entries() {
            let Some(table) = value.get_ref().as_table() else {
                let hint = if keys.contains(&key.value) {
                    format!("`{}` belongs into a table [{}.NAME]", shown(key.value), parent.path)
                } else {
                    format!("write it as a table [{}]", key.key)
                };
                let found = kind(value.get_ref());
                self.document.note(key.span, &key.key, format!("`{}` must be a table, found {found}; {hint}", key.key));
                continue;
            };
            match key.value.parse::<T>() {
                Ok(id) => {
                    tables.insert(id, Section { document: self.document, table, path: key.key, span: key.span });
                }
                Err(error) => {
                    let message = format!("{} is not a valid {}: {}", Quoted(key.value), error.kind, error.rule);
                    self.document.note(key.span, &key.key, message);
                }
            }
        }
        tables
    }

    /// The table as JSON, without ignored tables and these keys.
    pub(crate) fn json(&self, without: &[&str]) -> serde_json::Map<String, Value> {
        self.entries()
            .filter(|(key, _)| !without.contains(&key.value))
            .filter_map(|(key, value)| Some((key.value.to_owned(), self.json_value(&key.key, value)?)))
            .collect()
    }

    fn json_value(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Option<Value> {
        let json = match value.get_ref() {
            DeValue::String(text) => Some(Value::String(text.clone().into_owned())),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::from),
            // JSON has neither infinity nor not-a-number; `from_f64` refuses both.
            DeValue::Float(number) => {
                number.as_str().parse().ok().and_then(serde_json::Number::from_f64).map(Value::Number)
            }
            DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
            DeValue::Datetime(time) => Some(Value::String(time.to_string())),
            DeValue::Array(items) => {
                let items: Vec<_> = items.iter().filter_map(|item| self.json_value(key, item)).collect();
                return Some(Value::Array(items));
            }
            DeValue::Table(table) => {
                let table = table
                    .iter()
                    .filter_map(|(name, item)| {
                        let name = name.get_ref();
                        Some((name.clone().into_owned(), self.json_value(&dotted(key, name), item)?))
                    })
                    .collect();
                return Some(Value::Object(table));
            }
        };
        if json.is_none() {
            self.document.note(value.span(), key, format!("`{key}` is a number that a setting cannot hold"));
        }
        json
    }
}

/// `[x-anything]` or `[[x-anything]]`.
fn is_x_table(name: &str, value: &DeValue<'_>) -> bool {
    let is_tables = |value: &DeValue<'_>| {
        value.as_array().is_some_and(|items| {
            let mut items = items.iter().peekable();
            items.peek().is_some() && items.all(|item| item.get_ref().is_table())
        })
    };
    name.starts_with("x-") && (value.is_table() || is_tables(value))
}

/// A dotted key, with quotes where TOML wants them.
pub(crate) fn dotted(path: &str, name: &str) -> String {
    let name = shown(name);
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

/// A key as it is written: quoted unless it is bare.
fn shown(name: &str) -> String {
    let is_bare = !name.is_empty()
        && name.len() <= 60
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_bare { name.to_owned() } else { Quoted(name).to_string() }
}

/// `a string`.
fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(_) => "a string".to_owned(),
        DeValue::Integer(number) => format!("the number {}", number.as_str()),
        DeValue::Float(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
