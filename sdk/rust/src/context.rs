//! What a hook is shown.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::{OptionValue, Options, Problem};

/// What a hook is shown: everything it will ever know. The same context gives the same answers.
///
/// Tests make one with [`crate::testing::context`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    pub(crate) app: String,
    pub(crate) environment: String,
    pub(crate) service: String,
    pub(crate) version: String,
    pub(crate) current_version: Option<String>,
    pub(crate) settings: String,
    pub(crate) pins: BTreeMap<String, String>,
    pub(crate) inputs: BTreeMap<String, Vec<u8>>,
    pub(crate) facts: BTreeMap<String, String>,
    pub(crate) remembered: BTreeMap<String, String>,
    pub(crate) options: Options,
}

/// A program that is on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program<'a> {
    /// Its absolute path.
    pub path: &'a str,
    /// The first line that it prints when called with `--version`: `v22.11.0`.
    pub version_text: &'a str,
}

impl Context {
    /// The app's name.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The environment's name: `production`, …
    pub fn environment(&self) -> &str {
        &self.environment
    }

    /// The name of the `[services.NAME]` table this call is for.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The version that is being deployed, as 64 hex digits.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The version that serves now, if any.
    pub fn current_version(&self) -> Option<&str> {
        self.current_version.as_deref()
    }

    /// The whole `[services.NAME]` table. Give `T` `#[serde(default)]` fields for what may be left out.
    ///
    /// # Errors
    /// When the table is not of this shape. The host has checked it against the settings schema already, so this
    /// means that schema and type differ.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let text = if self.settings.is_empty() { "{}" } else { &self.settings };
        serde_json::from_str(text).map_err(|error| {
            Problem::new(format!("cannot understand [services.{}] in jecloud.toml: {error}", self.service))
        })
    }

    /// One key of the `[services.NAME]` table; none where the person did not write it.
    ///
    /// # Errors
    /// When its value is not of this type.
    pub fn setting<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Problem> {
        let mut table: serde_json::Map<String, serde_json::Value> = self.settings()?;
        table.remove(key).map(serde_json::from_value).transpose().map_err(|error| {
            Problem::new(format!("cannot understand `{key}` in [services.{}] of jecloud.toml: {error}", self.service))
        })
    }

    /// The content of a source file: none where there is no such file, or no input of the hook matches it.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.inputs.get(path).map(Vec::as_slice)
    }

    /// The content of a source file as text, without a byte order mark.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn text(&self, path: &str) -> Result<Option<&str>, Problem> {
        let Some(content) = self.file(path) else { return Ok(None) };
        let text = std::str::from_utf8(content).map_err(|error| {
            Problem::new(format!("{path} is not UTF-8 text: byte {} is wrong", error.valid_up_to() + 1))
        })?;
        Ok(Some(text.strip_prefix('\u{feff}').unwrap_or(text)))
    }

    /// All source files that the hook sees, sorted by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.inputs.iter().map(|(path, content)| (path.as_str(), content.as_slice()))
    }

    /// A fact that the hook asked for; none where it could not be found out.
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.get(name).map(String::as_str)
    }

    /// The fact `program:NAME`: a program in the server's PATH.
    pub fn program(&self, name: &str) -> Option<Program<'_>> {
        let fact = self.fact(&format!("program:{name}"))?;
        let (path, version_text) = fact.split_once(' ').unwrap_or((fact, ""));
        Some(Program { path, version_text })
    }

    /// The fact `candidate:NAME`: the version of a package that the package manager would install.
    pub fn candidate(&self, package: &str) -> Option<&str> {
        self.fact(&format!("candidate:{package}"))
    }

    /// The fact `installed:NAME`: the version of a package that is installed.
    pub fn installed(&self, package: &str) -> Option<&str> {
        self.fact(&format!("installed:{package}"))
    }

    /// The fact `can-install`: whether packages of the distribution can be installed.
    pub fn can_install(&self) -> bool {
        self.fact("can-install") == Some("true")
    }

    /// The exact version that `jecloud.lock` holds under this name.
    pub fn pin(&self, name: &str) -> Option<&str> {
        self.pins.get(name).map(String::as_str)
    }

    /// What the plan of the release that serves now said to remember under this name.
    pub fn remembered(&self, name: &str) -> Option<&str> {
        self.remembered.get(name).map(String::as_str)
    }

    /// In `restore` and `restored`: which version of the service wrote the copy.
    pub fn backup_version(&self) -> Option<&str> {
        match self.options.get("backup-version") {
            Some(OptionValue::Text(version)) => Some(version),
            _ => None,
        }
    }

    /// Options of the context: see `context.options` in `wit/types.wit`.
    pub fn options(&self) -> &Options {
        &self.options
    }
}
