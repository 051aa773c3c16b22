//! The directory of an app: jecloud.toml and jecloud.lock.

use std::path::{Path, PathBuf};

use jecloud_disk::{durable, tree};
use jecloud_model::config::{Config, ConfigError, EnvironmentConfig};
use jecloud_model::ids::EnvironmentName;
use jecloud_model::lock::Lock;

use crate::args::Global;
use crate::failure::Failure;

/// What the configuration is called.
pub(crate) const CONFIG: &str = "jecloud.toml";

/// What the lock file is called.
pub(crate) const LOCK: &str = "jecloud.lock";

/// An app's directory with what was read from it.
#[derive(Debug)]
pub(crate) struct Project {
    /// Absolute.
    pub(crate) directory: PathBuf,
    /// jecloud.toml.
    pub(crate) config: Config,
    /// jecloud.lock; empty where there is none.
    pub(crate) lock: Lock,
}

impl Project {
    /// The directory that is meant: that of the command's own argument, else `-C`, else this one.
    pub(crate) fn directory(global: &Global, argument: Option<&Path>) -> Result<PathBuf, Failure> {
        let base = global.directory.clone().unwrap_or_else(|| PathBuf::from("."));
        let directory = match argument {
            Some(argument) => base.join(argument),
            None => base,
        };
        if !tree::is_dir(&directory)? {
            return Err(Failure::usage(format!("{} is not a directory", directory.display()))
                .hint("Name the directory of your app: `jecloud deploy path/to/app`."));
        }
        Ok(tree::canonical(&directory)?)
    }

    /// The nearest directory from here upwards that has a jecloud.toml.
    pub(crate) fn find(directory: &Path) -> Result<Option<PathBuf>, Failure> {
        for candidate in directory.ancestors() {
            if tree::exists(&candidate.join(CONFIG))? {
                return Ok(Some(candidate.to_owned()));
            }
        }
        Ok(None)
    }

    /// The project that is meant.
    pub(crate) fn open(global: &Global, argument: Option<&Path>) -> Result<Self, Failure> {
        let directory = Self::directory(global, argument)?;
        match Self::find(&directory)? {
            Some(found) => Self::read(found),
            None => Err(Failure::usage(format!("there is no {CONFIG} in {} or above it", directory.display()))
                .hint("`jecloud init` looks at the directory and writes one.")),
        }
    }

    /// The project in exactly this directory.
    pub(crate) fn read(directory: PathBuf) -> Result<Self, Failure> {
        let text = durable::read_text(&directory.join(CONFIG))?.unwrap_or_default();
        let config = Config::parse(&text, CONFIG).map_err(|errors| config_failure(&errors))?;
        let lock = match durable::read_text(&directory.join(LOCK))? {
            Some(text) => Lock::parse(&text)
                .map_err(|error| Failure::usage(format!("{LOCK} cannot be used: {}", jecloud_server::chain(&error))))?,
            None => Lock::default(),
        };
        Ok(Self { directory, config, lock })
    }

    /// Writes jecloud.lock, if it says anything else than before.
    pub(crate) fn write_lock(&self, lock: &Lock) -> Result<bool, Failure> {
        let path = self.directory.join(LOCK);
        let text = lock.render();
        if durable::read_text(&path)?.as_deref() == Some(text.as_str()) {
            return Ok(false);
        }
        durable::replace(&path, text.as_bytes(), 0o644)?;
        Ok(true)
    }

    /// What the configuration says for an environment.
    pub(crate) fn environment(&self, name: &EnvironmentName) -> EnvironmentConfig {
        self.config.environment(name)
    }
}

/// All errors of a configuration, each with its place.
pub(crate) fn config_failure(errors: &[ConfigError]) -> Failure {
    let what = match errors {
        [only] => only.to_string(),
        several => format!("{CONFIG} has {} errors", several.len()),
    };
    let mut details = Vec::new();
    for error in errors {
        if errors.len() > 1 {
            details.push(error.to_string());
        }
        details.extend(error.snippet().lines().map(str::to_owned));
    }
    Failure::usage(what).details(details)
}
