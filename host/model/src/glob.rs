//! Globs: how a hook names the source files that it wants to see, and those it is recognised by.
//!
//! On paths relative to the root of the app, with `/` between segments:
//!
//! | pattern   | matches                                               |
//! |-----------|-------------------------------------------------------|
//! | `?`       | one byte, not `/`: a character of ASCII               |
//! | `*`       | any number of characters, not `/`                     |
//! | `**`      | as a whole segment: any number of segments            |
//! | `[a-z]`   | one byte of these, `[!a-z]` one that is not, even `/` |
//! | `{a,b}`   | either of them                                        |
//! | `\x`      | the character `x` itself                              |

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};

/// In bytes. Patterns come from strangers, and what they compile to grows with them.
const LONGEST: usize = 256;

/// A pattern of paths.
#[derive(Clone)]
pub struct Glob {
    pattern: String,
    matcher: GlobMatcher,
}

/// Why a text is no glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGlob {
    /// It could only match outside of the app, or nothing.
    #[error("the glob {pattern:?} must be relative to the root of the app, without empty, `.` and `..` segments")]
    NotRelative {
        /// As it came in.
        pattern: String,
    },
    /// It is longer than a glob may be.
    #[error("the glob that begins with {start:?} is longer than 256 bytes")]
    TooLong {
        /// Its first 40 characters.
        start: String,
    },
    /// A bracket or brace is not closed, or the like.
    #[error("the glob {pattern:?} is not valid")]
    Syntax {
        /// As it came in.
        pattern: String,
        /// What is wrong with it.
        source: globset::Error,
    },
}

impl Glob {
    /// A glob from its text.
    pub fn new(pattern: &str) -> Result<Self, InvalidGlob> {
        if pattern.len() > LONGEST {
            return Err(InvalidGlob::TooLong { start: pattern.chars().take(40).collect() });
        }
        if pattern.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(InvalidGlob::NotRelative { pattern: pattern.to_owned() });
        }
        let glob =
            GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).empty_alternates(true).build();
        match glob {
            Ok(glob) => Ok(Self { pattern: pattern.to_owned(), matcher: glob.compile_matcher() }),
            Err(source) => Err(InvalidGlob::Syntax { pattern: pattern.to_owned(), source }),
        }
    }

    /// Whether a path, relative to the root of the app, is one of those that are meant. Takes time in proportion to
    /// the length of the path, whatever the pattern is.
    pub fn matches(&self, path: &str) -> bool {
        self.matcher.is_match(path)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }
}

impl FromStr for Glob {
    type Err = InvalidGlob;

    fn from_str(text: &str) -> Result<Self, InvalidGlob> {
        Self::new(text)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.pattern, f)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.pattern)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The pattern matches all of the first and none of the second.
    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let glob = Glob::new(pattern).unwrap();
        for path in yes {
            assert!(glob.matches(path), "{pattern} does not match {path}");
        }
        for path in no {
            assert!(!glob.matches(path), "{pattern} matches {path}");
        }
    }

    /// Fails without `literal_separator`.
    #[test]
    fn what_is_matched() {
        check("package.json", &["package.json"], &["a/package.json", "package-json", "package.json/a", "package.jso"]);
        check(
            "packages/*/package.json",
            &["packages/a/package.json"],
            &["packages/package.json", "packages/a/b/package.json"],
        );
        check("*.toml", &["a.toml", ".toml"], &["a/b.toml", "a.toml.bak"]);
        check("**/a", &["a", "b/a", "b/c/a"], &["ba", "a/b"]);
        check("src/**", &["src/a", "src/a/b"], &["src", "srcs/a"]);
        check("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb"]);
        check("?.js", &["a.js"], &["ab.js", "ä.js", "/.js", ".js"]);
        check("{a,b}/c.{x,y}", &["a/c.x", "b/c.y"], &["c/c.x", "a/c.z"]);
        check("a{,.b}", &["a", "a.b"], &["a.", "ab"]);
        check("[a-c][!0-9]", &["ax", "c-"], &["a1", "dx", "a", "axx"]);
        check(r"\*", &["*"], &["a", r"\*"]);
        check(".*", &[".version"], &["version", "a/.version"]);
        check("A", &["A"], &["a"]);
    }

    #[test]
    fn what_is_refused() {
        for pattern in ["", "/etc/passwd", "../a", "a/../b", "a/..", "./a", "a//b", "a/", "/"] {
            assert!(matches!(Glob::new(pattern), Err(InvalidGlob::NotRelative { .. })), "{pattern}");
        }
        for pattern in ["[a", "{a", "a}", "[z-a]", "a\\"] {
            assert!(matches!(Glob::new(pattern), Err(InvalidGlob::Syntax { .. })), "{pattern}");
        }
        assert!(matches!(Glob::new(&"a".repeat(257)), Err(InvalidGlob::TooLong { .. })));
        assert!(Glob::new(&"a".repeat(256)).is_ok());
    }

    /// The worst that fits into the longest pattern is compiled and matched at once.
    #[test]
    fn a_hostile_pattern_costs_little() {
        for pattern in [
            "{a,b}".repeat(51),
            "*a".repeat(128),
            "**/".repeat(80) + "a",
            "{a,".repeat(64) + &"}".repeat(64),
            "[!a]".repeat(64),
        ] {
            if let Ok(glob) = Glob::new(&pattern) {
                glob.matches(&"a".repeat(4096));
            }
        }
    }

    proptest! {
        #[test]
        fn a_pattern_without_special_characters_matches_itself_alone(path in "[a-c]{1,3}(/[a-c]{1,3}){0,2}", other in "[a-c/]{0,9}") {
            let glob = Glob::new(&path).unwrap();
            prop_assert!(glob.matches(&path));
            prop_assert_eq!(glob.matches(&other), path == other);
        }

        #[test]
        fn any_text_is_a_glob_or_refused(pattern in "[a{},*?!\\[\\]/\\\\.-]{0,20}|.{0,20}", path in "[a/.]{0,8}") {
            if let Ok(glob) = Glob::new(&pattern) {
                glob.matches(&path);
            }
        }
    }
}
