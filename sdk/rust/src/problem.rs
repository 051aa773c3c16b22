//! Why a hook cannot do what it was asked.

use std::error::Error;
use std::fmt;

/// Why a hook cannot do what it was asked, in words for a person.
///
/// Every [`std::error::Error`] becomes a problem with `?`; its sources are appended to the message. That is why
/// this type is not itself such an error.
///
/// ```
/// use jecloud_sdk::Problem;
///
/// fn port(text: &str) -> Result<u16, Problem> {
///     Ok(text.parse()?)
/// }
/// assert_eq!(port("x").unwrap_err().message, "invalid digit found in string");
///
/// let problem = Problem::new("there is no Procfile").hint("write one");
/// assert_eq!(problem.to_string(), "there is no Procfile (hint: write one)");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, as a sentence that follows "failed: ".
    pub message: String,
    /// What the person can do about it; empty where the message says it all.
    pub hint: String,
}

impl Problem {
    /// A problem without a hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: String::new() }
    }

    /// The same problem with what the person can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, " (hint: {})", self.hint)?;
        }
        Ok(())
    }
}

impl<E: Error> From<E> for Problem {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::new(message)
    }
}
