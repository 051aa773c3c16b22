//! Secrets, which are filled in when a process is started, or a file that is written for one, and lie nowhere else.

use std::collections::BTreeMap;

use jecloud_disk::{DiskError, durable};
use jecloud_model::layout::EnvironmentRoot;
use jecloud_model::template::{Placeholder, Template, TemplateError};

/// Why a text could not be completed. No message holds a value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file of secrets.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A text that is no template, or has gaps that nobody can fill.
    #[error("{what} cannot be filled in")]
    Template {
        /// What the text is.
        what: String,
        /// Why.
        source: TemplateError,
    },
    /// Nobody has set it.
    #[error("{what} needs the secret {secret}, which is not set")]
    Missing {
        /// What the text is.
        what: String,
        /// The secret's name.
        secret: String,
    },
}

/// The secrets of an environment, read when the first one is needed.
struct Known<'a> {
    place: &'a EnvironmentRoot,
    secrets: Option<BTreeMap<String, String>>,
}

impl Known<'_> {
    fn fill(&mut self, what: &dyn Fn() -> String, text: &str) -> Result<String, SecretError> {
        let broken = |source| SecretError::Template { what: what(), source };
        let template = Template::parse(text).map_err(broken)?;
        for placeholder in template.placeholders() {
            let Placeholder::Secret(name) = placeholder else { continue };
            let secrets = match &mut self.secrets {
                Some(secrets) => secrets,
                none => none.insert(durable::read_json(&self.place.secrets())?.unwrap_or_default()),
            };
            if !secrets.contains_key(name) {
                return Err(SecretError::Missing { what: what(), secret: name.clone() });
            }
        }
        let filled = template.fill(&|placeholder| match placeholder {
            Placeholder::Secret(name) => self.secrets.as_ref()?.get(name).cloned(),
            _ => None,
        });
        filled.map_err(broken)
    }
}

/// The variables with `{secret:NAME}` filled in and `{{` made `{`.
///
/// The secrets are read anew for each start: a process that is started again sees those of now.
///
/// # Errors
///
/// When one is missing, or the file of secrets cannot be read.
pub fn fill(env: &BTreeMap<String, String>, place: &EnvironmentRoot) -> Result<BTreeMap<String, String>, SecretError> {
    let mut known = Known { place, secrets: None };
    let filled =
        |(name, text): (&String, &String)| Ok((name.clone(), known.fill(&|| format!("the variable {name}"), text)?));
    env.iter().map(filled).collect()
}

/// The same for any text; `what` names it, for errors.
///
/// # Errors
///
/// As [`fill`].
pub fn fill_text(what: &str, text: &str, place: &EnvironmentRoot) -> Result<String, SecretError> {
    Known { place, secrets: None }.fill(&|| what.to_owned(), text)
}
