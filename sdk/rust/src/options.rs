//! Options bags: how the contract grows without changing the shape of its records.

use std::collections::BTreeMap;

/// What an option may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionValue {
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
}

/// A bag of typed options. Its known keys are listed beside each bag in `wit/types.wit`; a host ignores others.
pub type Options = BTreeMap<String, OptionValue>;

impl From<bool> for OptionValue {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

impl From<i64> for OptionValue {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<&str> for OptionValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for OptionValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Vec<String>> for OptionValue {
    fn from(value: Vec<String>) -> Self {
        Self::Texts(value)
    }
}
