//! The directory of an app: jecloud.toml and jecloud.lock.

use std::path::{Path, PathBuf};

use jecloud_disk::{durable, tree};
use jecloud_model::config::{Config, ConfigError, EnvironmentConfig};
use jecloud_model::ids::EnvironmentName;
use jecloud_model::lock::Lock;

use crate::args::Global;
use crate::failure::Failure;
use crate::output::say;

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

    /// The directory with a jecloud.toml that is meant: the one that the command's own argument names, and no other;
    /// else the nearest from here upwards.
    pub(crate) fn find(directory: &Path, argument: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
        let candidates = if argument.is_some() { 1 } else { usize::MAX };
        for candidate in directory.ancestors().take(candidates) {
            if tree::exists(&candidate.join(CONFIG))? {
                return Ok(Some(candidate.to_owned()));
            }
        }
        Ok(None)
    }

    /// The project that is meant.
    pub(crate) fn open(global: &Global, argument: Option<&Path>) -> Result<Self, Failure> {
        Self::read(Self::found(global, argument)?)
    }

    /// The project that is meant, for commands that only have to find what runs: they work while the configuration is
    /// broken, as long as it says whose cloud it is.
    pub(crate) fn open_to_operate(global: &Global) -> Result<Self, Failure> {
        let directory = Self::found(global, None)?;
        let text = text_of(&directory)?;
        let (config, errors) = Config::parse_what_is_right(&text, CONFIG).map_err(|errors| config_failure(&errors))?;
        if let Some(first) = errors.first() {
            say(&format!("note: {first}. This command does without it; `jecloud deploy` will not."));
        }
        Self::with(directory, config)
    }

    fn found(global: &Global, argument: Option<&Path>) -> Result<PathBuf, Failure> {
        let directory = Self::directory(global, argument)?;
        Self::find(&directory, argument)?.ok_or_else(|| Self::missing(&directory, argument))
    }

    /// What is said where there is no configuration.
    pub(crate) fn missing(directory: &Path, argument: Option<&Path>) -> Failure {
        let above = if argument.is_some() { "" } else { " or above it" };
        Failure::usage(format!("there is no {CONFIG} in {}{above}", directory.display()))
            .hint("`jecloud init` looks at the directory and writes one; `jecloud deploy -y` does, and goes on.")
    }

    /// The project in exactly this directory.
    pub(crate) fn read(directory: PathBuf) -> Result<Self, Failure> {
        let config = Config::parse(&text_of(&directory)?, CONFIG).map_err(|errors| config_failure(&errors))?;
        Self::with(directory, config)
    }

    fn with(directory: PathBuf, config: Config) -> Result<Self, Failure> {
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

fn text_of(directory: &Path) -> Result<String, Failure> {
    let path = directory.join(CONFIG);
    match durable::read_text(&path) {
        Ok(text) => Ok(text.unwrap_or_default()),
        Err(error) => Err(Failure::usage(format!("{CONFIG} cannot be read: {}", jecloud_server::chain(&error)))
            .world("Nothing was changed.")
            .hint("Whoever deploys must be able to read it: look at its owner, its mode and its encoding (UTF-8).")),
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
