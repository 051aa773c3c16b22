//! Versions of packages, as requirements name them.

use std::cmp::Ordering;

/// What a hook requires: any version, an exact one, or the highest that begins so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement(String);

impl Requirement {
    /// `""`, `22`, `22.1`, `22.1.3`; an epoch (the number before a colon) is no part of it.
    pub fn new(text: &str) -> Self {
        let text = text.trim();
        let rest = text.split_once(':').filter(|(epoch, _)| epoch.bytes().all(|byte| byte.is_ascii_digit()));
        Self(rest.map_or(text, |(_, rest)| rest).to_owned())
    }

    /// As it was written; `any version` where nothing is required.
    pub fn in_words(&self) -> &str {
        if self.0.is_empty() { "any version" } else { &self.0 }
    }

    /// Whether a version is this one or begins with it on a border: `22.1` accepts `22.1`, `22.1.3`, `22.1-2`, not
    /// `22.10`.
    pub fn accepts(&self, version: &str) -> bool {
        self.0.is_empty()
            || version
                .strip_prefix(self.0.as_str())
                .is_some_and(|rest| rest.is_empty() || !rest.starts_with(|next: char| next.is_ascii_alphanumeric()))
    }

    /// The highest of these that it accepts.
    pub fn highest<'a>(&self, versions: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        versions.into_iter().filter(|version| self.accepts(version)).max_by(|a, b| compare(a, b))
    }

    /// Whether it can only mean one version, so that nothing has to be looked up: three numbers or more.
    pub fn is_exact(&self) -> bool {
        self.0.split('.').filter(|part| part.starts_with(|first: char| first.is_ascii_digit())).count() >= 3
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Compares versions number by number; what is no number compares as text, and sorts before numbers, so that
/// `1.0.0-rc` comes before `1.0.0.1` and digits are never compared as letters.
pub fn compare(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| -> Vec<(bool, u64, String)> {
        text.split(['.', '-', '+', '~'])
            .map(|part| match part.parse::<u64>() {
                Ok(number) => (true, number, String::new()),
                Err(_) => (false, 0, part.to_owned()),
            })
            .collect()
    };
    parts(a).cmp(&parts(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements() {
        let check = |requirement: &str, version: &str, accepted: bool| {
            assert_eq!(Requirement::new(requirement).accepts(version), accepted, "{requirement} {version}");
        };
        check("", "1.2.3", true);
        check("22", "22.11.0", true);
        check("22", "220.1.0", false);
        check("22.1", "22.1.0", true);
        check("22.1", "22.10.0", false);
        check("22.1.0", "22.1.0", true);
        check("18.20.4", "18.20.4+dfsg-1", true);
        check("22", "21.22.0", false);
        // As packages are pinned, and as they are compared.
        check("5:7.0.15-1~deb12u1", "7.0.15-1~deb12u1", true);
    }

    #[test]
    fn the_highest_is_found_by_number() {
        let versions = ["22.9.0", "22.11.0", "22.10.2", "23.0.0"];
        assert_eq!(Requirement::new("22").highest(versions), Some("22.11.0"));
        assert_eq!(Requirement::new("").highest(versions), Some("23.0.0"));
        assert_eq!(Requirement::new("24").highest(versions), None);
        assert!(Requirement::new("22.1.0").is_exact());
        assert!(!Requirement::new("22.1").is_exact());
    }
}
