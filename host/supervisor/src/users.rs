//! As whom the processes of an app and environment run: what is recorded, and what the machine says about it.

use jecloud_disk::{DiskError, durable};
use jecloud_launch::User;
use jecloud_model::ids::{AppName, EnvironmentName};
use jecloud_model::layout::ServerRoot;
use jecloud_model::user::UserDocument;

/// Why it cannot be said as whom something is to run. Then it does not run: never as root instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// What is recorded cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Nothing is recorded.
    #[error("no user is recorded for {app} {environment}; its next deployment makes one")]
    Unrecorded {
        /// Whose.
        app: AppName,
        /// In which environment.
        environment: EnvironmentName,
    },
    /// Somebody removed it.
    #[error("the user {name} of {app} {environment} does not exist on this machine; its next deployment makes it")]
    Missing {
        /// The user.
        name: String,
        /// Whose.
        app: AppName,
        /// In which environment.
        environment: EnvironmentName,
    },
}

/// The user of an app and environment, as it is at this moment; none where JeCloud is not root, and everything runs as
/// whoever it is.
///
/// An environment that was deployed before each had a user of its own has the one that all had, until its next release.
///
/// # Errors
///
/// See [`UserError`].
pub fn user_of(root: &ServerRoot, app: &AppName, environment: &EnvironmentName) -> Result<Option<User>, UserError> {
    if !jecloud_launch::is_root() {
        return Ok(None);
    }
    let own: Option<UserDocument> = durable::read_json(&root.user_document(app, environment))?;
    let name = match own {
        Some(document) => document.user,
        None => user_of_all(root)?
            .ok_or_else(|| UserError::Unrecorded { app: app.clone(), environment: environment.clone() })?,
    };
    match User::lookup(&name) {
        Some(user) => Ok(Some(user)),
        None => Err(UserError::Missing { name, app: app.clone(), environment: environment.clone() }),
    }
}

/// The user of all apps, which servers had that were set up before each environment had one of its own.
fn user_of_all(root: &ServerRoot) -> Result<Option<String>, DiskError> {
    #[derive(serde::Deserialize)]
    struct Before {
        #[serde(default)]
        app_user: Option<String>,
    }
    let document: Option<Before> = durable::read_json(&root.server_document())?;
    Ok(document.and_then(|document| document.app_user))
}

#[cfg(test)]
mod tests {
    use jecloud_model::format::Format;

    use super::*;

    /// Fails when a user that does not exist, or of which nothing is recorded, is taken for none: apps would run as
    /// root.
    #[test]
    fn a_missing_user_is_never_root() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = ServerRoot::new(directory.path());
        let (app, environment): (AppName, _) = ("shop".parse().expect("a name"), EnvironmentName::production());
        let found = || user_of(&root, &app, &environment);
        if !jecloud_launch::is_root() {
            assert!(found().is_ok_and(|user| user.is_none()));
            return;
        }
        assert!(matches!(found(), Err(UserError::Unrecorded { .. })));
        durable::create_dirs(&root.sys(), 0o755).expect("a directory");
        let before = serde_json::json!({"format": 1, "min_writer": 1, "app_user": "nobody"});
        durable::write_json(&root.server_document(), &before, 0o644).expect("written");
        assert_eq!(found().expect("a user"), User::lookup("nobody"));
        let own = UserDocument {
            format: Format::default(),
            app: app.clone(),
            environment: environment.clone(),
            user: "no-such-user-anywhere".to_owned(),
            files: None,
        };
        let path = root.user_document(&app, &environment);
        durable::create_dirs(path.parent().expect("a directory"), 0o755).expect("a directory");
        durable::write_json(&path, &own, 0o644).expect("written");
        assert!(matches!(found(), Err(UserError::Missing { .. })));
    }
}
