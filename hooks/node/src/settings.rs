//! The `[services.node]` table of `jecloud.toml`.

use jecloud_sdk::{Context, Problem};
use serde::Deserialize;

/// The official distribution site of Node.js: <https://nodejs.org/en/download> links there.
pub const OFFICIAL_MIRROR: &str = "https://nodejs.org/dist";

/// The JSON Schema of [`Settings`].
pub const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "version": {
      "description": "The Node.js version: `22`, `22.11.0`, a range as in package.json, or `lts/*`. Without it: .node-version, .nvmrc, `engines.node` in package.json.",
      "type": ["string", "integer"],
      "minimum": 1,
      "minLength": 1
    },
    "mirror": {
      "description": "Where archives of Node.js are fetched from: a URL below which v22.11.0/node-v22.11.0-linux-x64.tar.gz is found.",
      "type": "string",
      "pattern": "^https?://[^\\s{}]+$",
      "default": "https://nodejs.org/dist"
    },
    "package_manager": {
      "description": "`npm`, `yarn` or `pnpm`, with an exact version if wanted: `pnpm@9.15.0`. Without it: `packageManager` in package.json, then the lock file.",
      "type": "string",
      "pattern": "^(npm|yarn|pnpm)(@[0-9]+\\.[0-9]+\\.[0-9]+)?$"
    },
    "build": {
      "description": "The script of package.json that builds the app, or false for none. Without it: `build`, if there is one.",
      "type": ["string", "boolean"],
      "not": { "const": true }
    },
    "keep_dev_dependencies": {
      "description": "Whether development dependencies are there when the app runs. Without it: if a process or the release command runs a program of one.",
      "type": "boolean"
    }
  }
}"#;

/// What a person may write below `[services.node]`. Documented in [`SCHEMA`].
#[derive(Debug, Default, Deserialize)]
pub struct Settings {
    version: Option<Scalar>,
    mirror: Option<String>,
    /// `npm`, `yarn` or `pnpm`, with `@` and a version if wanted.
    pub package_manager: Option<String>,
    build: Option<BuildSetting>,
    /// Whether development dependencies are there when the app runs.
    pub keep_dev_dependencies: Option<bool>,
}

/// `version = 22` is as good as `version = "22"`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Number(u64),
    Text(String),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum BuildSetting {
    Off(bool),
    Script(String),
}

/// Which script builds the app.
#[derive(Debug, PartialEq, Eq)]
pub enum Build<'a> {
    /// The script `build`, if there is one.
    Default,
    /// None at all.
    Off,
    /// This one.
    Script(&'a str),
}

impl Settings {
    /// The settings of a call.
    ///
    /// # Errors
    /// When they do not fit the schema, which the host has checked before.
    pub fn of(context: &Context) -> Result<Self, Problem> {
        context.settings()
    }

    /// The Node.js version that is asked for, as text.
    pub fn version(&self) -> Option<String> {
        self.version.as_ref().map(|version| match version {
            Scalar::Number(major) => major.to_string(),
            Scalar::Text(text) => text.clone(),
        })
    }

    /// Where archives come from, without a slash at the end.
    pub fn mirror(&self) -> &str {
        self.mirror.as_deref().unwrap_or(OFFICIAL_MIRROR).trim_end_matches('/')
    }

    /// Which script builds the app.
    pub fn build(&self) -> Build<'_> {
        match &self.build {
            None | Some(BuildSetting::Off(true)) => Build::Default,
            Some(BuildSetting::Off(false)) => Build::Off,
            Some(BuildSetting::Script(name)) => Build::Script(name),
        }
    }
}
