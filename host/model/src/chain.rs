//! Errors in one line.

use std::error::Error;

/// An error with everything that caused it, in one line of a log or a message. What an error says that repeats its cause in
/// its own words is not said twice.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !line.ends_with(&cause) {
            line.push_str(": ");
            line.push_str(&cause);
        }
        next = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Because {
        text: &'static str,
        source: Option<Box<Because>>,
    }

    fn because(texts: &[&'static str]) -> Option<Box<Because>> {
        let (text, causes) = texts.split_first()?;
        Some(Box::new(Because { text, source: because(causes) }))
    }

    #[test]
    fn every_cause_is_said_once() {
        let said = |texts: &[&'static str]| because(texts).map(|error| chain(&*error));
        assert_eq!(said(&["cannot start", "no memory"]), Some("cannot start: no memory".to_owned()));
        // Fails without the comparison.
        assert_eq!(
            said(&["cannot start: no memory", "no memory", "why"]),
            Some("cannot start: no memory: why".to_owned())
        );
        assert_eq!(said(&["alone"]), Some("alone".to_owned()));
    }
}
