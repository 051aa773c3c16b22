//! Secrets, filled into an environment at the last moment.

use std::collections::BTreeMap;

use jecloud_disk::durable;
use jecloud_model::app::Failure;
use jecloud_model::layout::EnvironmentRoot;
use jecloud_model::template::{Placeholder, Template};

use crate::error::ServerError;

/// The environment with its secrets, for handing to a process and nothing else.
pub(crate) fn filled(
    root: &EnvironmentRoot,
    env: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, ServerError> {
    let mut secrets: Option<BTreeMap<String, String>> = None;
    let mut complete = BTreeMap::new();
    for (name, value) in env {
        if !value.contains('{') {
            complete.insert(name, value);
            continue;
        }
        if value.contains("{secret:") && secrets.is_none() {
            secrets = Some(durable::read_json(&root.secrets())?.unwrap_or_default());
        }
        let text = Template::parse(&value)
            .and_then(|template| {
                template.fill(&|placeholder| match placeholder {
                    Placeholder::Secret(secret) => secrets.as_ref()?.get(secret).cloned(),
                    _ => None,
                })
            })
            .map_err(|error| Failure::because(format!("the variable {name} cannot be filled in: {error}")))?;
        complete.insert(name, text);
    }
    Ok(complete)
}

/// The text of a file with its secrets. `line` names it, for errors.
pub(crate) fn filled_text(root: &EnvironmentRoot, line: &str, text: &str) -> Result<String, ServerError> {
    let filled = filled(root, BTreeMap::from([(line.to_owned(), text.to_owned())]))?;
    Ok(filled.into_values().next().unwrap_or_default())
}
