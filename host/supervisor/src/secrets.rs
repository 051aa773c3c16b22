//! Secrets, which are filled in when a process is started and lie nowhere else but in its environment.

use std::collections::BTreeMap;
use std::ffi::OsString;

use jecloud_disk::{DiskError, durable};
use jecloud_model::layout::EnvironmentRoot;
use jecloud_model::template::{Placeholder, Template, TemplateError};

/// Why an environment could not be completed. No message holds a value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("the variable {variable} cannot be filled in")]
    Template { variable: String, source: TemplateError },
    #[error("the variable {variable} needs the secret {secret}, which is not set")]
    Missing { variable: String, secret: String },
}

/// The variables with `{secret:NAME}` filled in and `{{` made `{`.
///
/// The secrets are read anew for each start: a process that is started again sees those of now.
pub(crate) fn fill(
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
