//! The `[services.redis]` table of `jecloud.toml`.

use jecloud_sdk::{Context, Problem};
use serde::Deserialize;

/// The JSON Schema of [`Settings`]. The eviction policies are those of Redis 7: <https://redis.io/docs/latest/develop/reference/eviction/>.
pub const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "version": {
      "description": "The Redis version: `7`, `7.0` or `7.0.15`. Without it: the one on the server, or the distribution's.",
      "type": ["string", "integer"],
      "minimum": 1,
      "pattern": "^[0-9]+(\\.[0-9]+){0,2}$"
    },
    "memory": {
      "description": "How much memory the data may take: `256mb`, `2gb`. Without it: as much as there is.",
      "type": "string",
      "pattern": "^[1-9][0-9]*(kb|mb|gb)$"
    },
    "eviction": {
      "description": "What is given up when the memory is full. Without it nothing is: writes fail.",
      "enum": ["noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"]
    },
    "sync": {
      "description": "When a write is on the disk: `always` before it is acknowledged, `everysec` within a second, `no` when the system sees fit.",
      "enum": ["always", "everysec", "no"],
      "default": "everysec"
    },
    "replicas": {
      "description": "How many other Redis have the same data, on servers of their own. Sentinels have one take the place of a leader that is lost: that needs three servers. The app finds them in REDIS_SENTINELS and REDIS_SENTINEL_NAME.",
      "type": "integer",
      "minimum": 0,
      "maximum": 4,
      "default": 0
    }
  }
}"#;

/// What a person may write below `[services.redis]`. Documented in [`SCHEMA`].
#[derive(Debug, Default, Deserialize)]
pub struct Settings {
    version: Option<Scalar>,
    /// With a unit, as Redis reads it.
    pub memory: Option<String>,
    /// One of Redis's policies.
    pub eviction: Option<String>,
    sync: Option<String>,
    /// How many have the same data beside the one who leads.
    pub replicas: Option<usize>,
}

/// `version = 7` is as good as `version = "7"`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Number(u64),
    Text(String),
}

impl Settings {
    /// The settings of a call.
    ///
    /// # Errors
    /// When they do not fit the schema, which the host has checked before; when they make no sense together.
    pub fn of(context: &Context) -> Result<Self, Problem> {
        let settings: Self = context.settings()?;
        if let (Some(eviction), None) = (&settings.eviction, &settings.memory)
            && eviction != "noeviction"
        {
            return Err(Problem::new(format!("`eviction = \"{eviction}\"` means nothing without a limit"))
                .hint(format!("write `memory = \"256mb\"` below [services.{}] in jecloud.toml", context.service())));
        }
        Ok(settings)
    }

    /// The version that is asked for, as text.
    pub fn version(&self) -> Option<String> {
        self.version.as_ref().map(|version| match version {
            Scalar::Number(major) => major.to_string(),
            Scalar::Text(text) => text.clone(),
        })
    }

    /// When a write is on the disk.
    pub fn sync(&self) -> &str {
        self.sync.as_deref().unwrap_or("everysec")
    }
}
