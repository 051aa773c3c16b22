//! Secrets, which are filled in when a process is started and lie nowhere else but in its environment.

use std::collections::BTreeMap;
use std::ffi::OsString;

use jecloud_disk::{DiskError, durable};
use jecloud_model::layout::EnvironmentRoot;
use jecloud_model::template::{Placeholder, Template, TemplateError};

/// Why an environment could not be completed. No message holds a value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file of secrets.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A text that is no template, or has gaps that nobody can fill.
    #[error("the variable {variable} cannot be filled in")]
    Template {
        /// Its name.
        variable: String,
        /// Why.
        source: TemplateError,
    },
    /// Nobody has set it.
    #[error("the variable {variable} needs the secret {secret}, which is not set")]
    Missing {
        /// The variable's name.
        variable: String,
        /// The secret's.
        secret: String,
    },
}

/// The variables with `{secret:NAME}` filled in and `{{` made `{`.
///
/// The secrets are read anew for each start: a process that is started again sees those of now.
///
/// # Errors
///
/// When one is missing, or the file of secrets cannot be read.
pub fn fill(
    env: &BTreeMap<String, String>,
    place: &EnvironmentRoot,
) -> Result<BTreeMap<OsString, OsString>, SecretError> {
    let mut secrets: Option<BTreeMap<String, String>> = None;
    let mut filled = BTreeMap::new();
    for (variable, text) in env {
        let broken = |source| SecretError::Template { variable: variable.clone(), source };
        let template = Template::parse(text).map_err(broken)?;
        for placeholder in template.placeholders() {
            let Placeholder::Secret(name) = placeholder else { continue };
            let secrets = match &mut secrets {
                Some(secrets) => secrets,
                none => none.insert(durable::read_json(&place.secrets())?.unwrap_or_default()),
            };
            if !secrets.contains_key(name) {
                return Err(SecretError::Missing { variable: variable.clone(), secret: name.clone() });
            }
        }
        let value = template.fill(&|placeholder| match placeholder {
            Placeholder::Secret(name) => secrets.as_ref()?.get(name).cloned(),
            _ => None,
        });
        filled.insert(variable.into(), value.map_err(broken)?.into());
    }
    Ok(filled)
}
