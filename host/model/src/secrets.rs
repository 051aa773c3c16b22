//! Secrets of an environment: values that only the processes they are meant for ever see.
//!
//! They are a document of their own in the app's store, never a part of the cloud state. A release names the secrets that it
//! uses and says how new each is, so that a secret that was changed is a change; the values reach a server beside the
//! release, and lie there in one file that nobody but JeCloud reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::format::Format;
use crate::release::{Release, ReleaseSecret};
use crate::template::{Piece, Placeholder, Template};

/// The longest value, in bytes: a certificate with its chain fits well, and an environment of a process takes it.
pub const LONGEST_SECRET: usize = 64 << 10;

/// The value of a secret. It shows itself to nobody who does not ask for it by name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretValue(String);

impl SecretValue {
    /// The value, for handing it on.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// Why a text cannot be a secret. No message holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSecret {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// See [`LONGEST_SECRET`].
    #[error("it is longer than {} KiB", LONGEST_SECRET >> 10)]
    TooLong,
    /// No environment of a process could hold it.
    #[error("it has a NUL character")]
    Nul,
}

impl TryFrom<String> for SecretValue {
    type Error = NoSecret;

    fn try_from(text: String) -> Result<Self, NoSecret> {
        match text {
            text if text.is_empty() => Err(NoSecret::Empty),
            text if text.len() > LONGEST_SECRET => Err(NoSecret::TooLong),
            text if text.contains('\0') => Err(NoSecret::Nul),
            text => Ok(Self(text)),
        }
    }
}

/// One secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// What nobody is shown.
    pub value: SecretValue,
    /// The revision of the document in which it became this.
    pub revision: u64,
    /// Whether all processes and commands get it as the variable of its name: a person set it. One that a hook asked for
    /// goes only where the hook says.
    pub variable: bool,
}

/// `secrets/ENV.json` in the app's store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// See [`Format`].
    #[serde(flatten)]
    pub format: Format,
    /// Raised by every change.
    pub revision: u64,
    /// By name.
    pub secrets: BTreeMap<String, Secret>,
}

impl Secrets {
    /// Sets a secret that is a variable.
    pub fn set(&mut self, name: &str, value: SecretValue) {
        if self.secrets.get(name).is_some_and(|known| known.variable && known.value == value) {
            return;
        }
        self.put(name, value, true);
    }

    /// Takes secrets away.
    pub fn unset(&mut self, names: &[String]) {
        let before = self.secrets.len();
        self.secrets.retain(|name, _| !names.contains(name));
        self.revision += u64::from(self.secrets.len() < before);
    }

    /// Makes those that there are none of yet.
    pub fn generate(&mut self, names: &BTreeSet<String>, mut value: impl FnMut() -> SecretValue) {
        for name in names {
            if !self.secrets.contains_key(name) {
                self.put(name, value(), false);
            }
        }
    }

    fn put(&mut self, name: &str, value: SecretValue, variable: bool) {
        self.revision += 1;
        self.secrets.insert(name.to_owned(), Secret { value, revision: self.revision, variable });
    }

    /// What a release has to say of the secrets that it uses: all variables, and those that its hooks may have filled in.
    /// And the names of those that its hooks may have and nobody has made yet.
    pub fn used_by(&self, release: &Release) -> (BTreeMap<String, ReleaseSecret>, BTreeSet<String>) {
        let asked: BTreeSet<&String> = release.services.values().flat_map(|service| &service.powers.secrets).collect();
        let used = self.secrets.iter().filter(|(name, secret)| secret.variable || asked.contains(name));
        let used = used
            .map(|(name, secret)| {
                (name.clone(), ReleaseSecret { revision: secret.revision, variable: secret.variable })
            })
            .collect();
        let missing =
            asked.iter().filter(|name| !self.secrets.contains_key(**name)).map(|&name| name.clone()).collect();
        (used, missing)
    }

    /// The values of these.
    ///
    /// # Errors
    ///
    /// The name of one that is not there any more.
    pub fn values_of<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<BTreeMap<String, SecretValue>, String> {
        let value = |name: &str| match self.secrets.get(name) {
            Some(secret) => Ok((name.to_owned(), secret.value.clone())),
            None => Err(name.to_owned()),
        };
        names.into_iter().map(value).collect()
    }
}

/// The template that stands for a secret until a process is started.
pub fn placeholder(name: &str) -> String {
    Placeholder::Secret(name.to_owned()).to_string()
}

/// Whether a secret can have this name: whether a template can name it.
pub fn is_name(name: &str) -> bool {
    Template::parse(&placeholder(name))
        .is_ok_and(|template| matches!(template.pieces(), [Piece::Gap(Placeholder::Secret(parsed))] if parsed == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> SecretValue {
        SecretValue::try_from(text.to_owned()).expect("a value")
    }

    /// A release whose hook asks for these.
    fn release(asked: &[&str]) -> Release {
        let mut release = crate::release::tests::release(&[]);
        for service in release.services.values_mut() {
            service.powers.secrets = asked.iter().map(|&name| name.to_owned()).collect();
        }
        release
    }

    #[test]
    fn nobody_is_shown_a_value() {
        let mut secrets = Secrets::default();
        secrets.set("TOKEN", value("hunter2"));
        assert!(!format!("{secrets:?}").contains("hunter2"));
        let text = serde_json::to_string(&secrets).expect("JSON");
        assert_eq!(serde_json::from_str::<Secrets>(&text).expect("what was written"), secrets);
    }

    #[test]
    fn a_release_names_what_it_uses_and_how_new_it_is() {
        let mut secrets = Secrets::default();
        secrets.set("TOKEN", value("one"));
        secrets.generate(&BTreeSet::from(["other".to_owned()]), || value("made"));
        let (used, missing) = secrets.used_by(&release(&["password"]));
        assert_eq!(used, BTreeMap::from([("TOKEN".to_owned(), ReleaseSecret { revision: 1, variable: true })]));
        assert_eq!(missing, BTreeSet::from(["password".to_owned()]));
        secrets.generate(&missing, || value("made"));
        let mut release = release(&["password"]);
        let (used, missing) = secrets.used_by(&release);
        assert_eq!(used["password"], ReleaseSecret { revision: 3, variable: false });
        assert!(missing.is_empty() && !used.contains_key("other"));
        release.secrets = used.clone();
        let values = secrets.values_of(release.secrets.keys().map(String::as_str)).expect("all there");
        assert_eq!(values.keys().collect::<Vec<_>>(), ["TOKEN", "password"]);
        // What is set to what it is is no change; anything else is.
        secrets.set("TOKEN", value("one"));
        assert_eq!(secrets.used_by(&release).0, used);
        secrets.set("TOKEN", value("two"));
        assert_ne!(secrets.used_by(&release).0, used);
        let before = secrets.revision;
        secrets.unset(&["TOKEN".to_owned()]);
        secrets.unset(&["TOKEN".to_owned()]);
        assert_eq!(secrets.revision, before + 1);
        assert_eq!(secrets.values_of(release.secrets.keys().map(String::as_str)), Err("TOKEN".to_owned()));
    }

    #[test]
    fn what_exists_is_never_generated_again() {
        let mut secrets = Secrets::default();
        let names = BTreeSet::from(["password".to_owned()]);
        secrets.generate(&names, || value("first"));
        let before = secrets.clone();
        secrets.generate(&names, || value("second"));
        assert_eq!(secrets, before);
    }

    #[test]
    fn values_have_limits_and_names_are_those_of_templates() {
        assert_eq!(SecretValue::try_from(String::new()), Err(NoSecret::Empty));
        assert_eq!(SecretValue::try_from("a\0b".to_owned()), Err(NoSecret::Nul));
        assert_eq!(SecretValue::try_from("a".repeat(LONGEST_SECRET + 1)), Err(NoSecret::TooLong));
        assert!(is_name("TOKEN") && is_name("redis-password"));
        assert!(!is_name("a}b") && !is_name("") && !is_name("a b"));
    }
}
