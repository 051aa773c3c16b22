//! Repositories of packages beside those of the distribution, as a hook asks for them with a package.

use crate::hook::{OptionValue, Options};
use crate::ids::Digest;

/// A repository, with the key that its packages are signed with: the options of a package in `wit/types.wit`.
///
/// All of it is checked: none of these texts has spaces, quotes or control characters, so that they can be written into
/// files of package managers as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Where it is.
    pub url: String,
    /// Where its key is found.
    pub key: String,
    /// What the file of the key is.
    pub key_sha256: Digest,
    /// For apt: the suite; it ends with `/` where the repository is flat.
    pub suite: String,
    /// For apt: the components of the suite; none for a flat one.
    pub components: Vec<String>,
}

impl Repository {
    /// The repository that the options of a package name; none where they name none.
    ///
    /// # Errors
    ///
    /// What is wrong or missing, as what follows the name of the package. Whether the URLs may be used is for others to
    /// check.
    pub fn of(options: &Options) -> Result<Option<Self>, String> {
        const KEYS: [&str; 5] = ["repository", "repository-key", "repository-key-sha256", "suite", "components"];
        if !KEYS.iter().any(|key| options.contains_key(*key)) {
            return Ok(None);
        }
        let text = |key: &str| match options.get(key) {
            Some(OptionValue::Text(text)) if is_plain(text) => Ok(text.clone()),
            Some(_) => Err(format!("its option {key} is not a text without spaces and quotes")),
            None => Err(format!("it has options of a repository, and {key} is not among them")),
        };
        let components = match options.get("components") {
            None => Vec::new(),
            Some(OptionValue::Texts(all)) if all.iter().all(|one| is_plain(one)) => all.clone(),
            Some(_) => return Err("its option components is not a list of words".to_owned()),
        };
        let suite = text("suite")?;
        if suite.ends_with('/') != components.is_empty() {
            return Err("its repository has either components, or a suite that ends with /".to_owned());
        }
        let key_sha256 = text("repository-key-sha256")?;
        let key_sha256 = key_sha256.parse().map_err(|_| "its repository-key-sha256 is not 64 lower-case hex digits")?;
        Ok(Some(Self { url: text("repository")?, key: text("repository-key")?, key_sha256, suite, components }))
    }

    /// The name under which it is known on a server: the same for the same repository, whoever asks for it.
    pub fn name(&self) -> String {
        let what = format!("{} {} {} {}", self.url, self.suite, self.components.join(" "), self.key_sha256);
        format!("jecloud-{}", Digest::of(what.as_bytes()).short())
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 2048
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'`\\".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        let text = |text: &str| OptionValue::Text(text.to_owned());
        Options::from([
            ("repository".to_owned(), text("https://packages.example/apt")),
            ("repository-key".to_owned(), text("https://packages.example/key.asc")),
            ("repository-key-sha256".to_owned(), text(&"0".repeat(64))),
            ("suite".to_owned(), text("bookworm")),
            ("components".to_owned(), OptionValue::Texts(vec!["main".to_owned()])),
        ])
    }

    /// What is wrong with the options after a change.
    fn fault(change: impl FnOnce(&mut Options)) -> Option<String> {
        let mut options = options();
        change(&mut options);
        Repository::of(&options).err()
    }

    #[test]
    fn repositories() {
        assert_eq!(Repository::of(&Options::new()), Ok(None));
        let repository = Repository::of(&options()).expect("in order").expect("named");
        assert_eq!(repository.components, ["main"]);
        assert!(repository.name().starts_with("jecloud-"));
        assert_eq!(
            fault(|options| {
                options.remove("components");
                options.insert("suite".to_owned(), OptionValue::Text("./".to_owned()));
            }),
            None
        );
    }

    /// Fails where a line of a file could be begun, or a word of it added, by what a hook says.
    #[test]
    fn what_cannot_stand_in_a_file_of_a_package_manager_is_refused() {
        for key in ["repository", "repository-key", "suite"] {
            for bad in ["", "a b", "a\nTrusted: yes", "a\"b", "ä", "a\\b"] {
                let refused = fault(|options| drop(options.insert(key.to_owned(), OptionValue::Text(bad.to_owned()))));
                assert!(refused.is_some_and(|fault| fault.contains(key)), "{key} {bad:?}");
            }
        }
        for missing in ["repository", "repository-key", "repository-key-sha256", "suite", "components"] {
            assert!(fault(|options| drop(options.remove(missing))).is_some(), "{missing}");
        }
        let wrong = OptionValue::Text("abc".to_owned());
        assert!(fault(|options| drop(options.insert("repository-key-sha256".to_owned(), wrong))).is_some());
        let wrong = OptionValue::Texts(vec!["main\nTrusted: yes".to_owned()]);
        assert!(fault(|options| drop(options.insert("components".to_owned(), wrong))).is_some());
    }
}
