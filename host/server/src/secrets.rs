//! Secrets, filled in at the last moment.

use std::collections::BTreeMap;

use jecloud_model::app::Failure;
use jecloud_model::layout::EnvironmentRoot;
use jecloud_supervisor::secrets::{SecretError, fill, fill_text};

use crate::error::{ServerError, chain};

/// The environment with its secrets, for handing to a process and nothing else.
pub(crate) fn filled(
    root: &EnvironmentRoot,
    env: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, ServerError> {
    fill(env, root).map_err(unfilled)
}

/// The text of a file with its secrets. `line` names it, for errors.
pub(crate) fn filled_text(root: &EnvironmentRoot, line: &str, text: &str) -> Result<String, ServerError> {
    fill_text(line, text, root).map_err(unfilled)
}

/// What the disk says is the disk's; anything else is why the deployment fails.
fn unfilled(error: SecretError) -> ServerError {
    match error {
        SecretError::Disk(error) => error.into(),
        error => Failure::because(chain(&error)).into(),
    }
}
