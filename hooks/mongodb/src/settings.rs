//! The `[services.mongodb]` table of `jecloud.toml`.

use jecloud_sdk::{Context, Problem};
use serde::Deserialize;

use crate::version::Series;

/// The JSON Schema of [`Settings`].
pub const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "version": {
      "description": "The MongoDB version: `7.0` or `7.0.15`. Without it: that of the data, the one on the server, or 8.0.",
      "type": "string",
      "pattern": "^[0-9]+\\.[0-9]+(\\.[0-9]+)?$"
    },
    "memory": {
      "description": "How much memory the cache may take, at least 256mb: `512mb`, `2gb`. Without it: half of what the server has, less a gigabyte.",
      "type": "string",
      "pattern": "^[1-9][0-9]{0,5}(mb|gb)$"
    },
    "database": {
      "description": "The database that the app's user may read and write. Without it: the app's name.",
      "type": "string",
      "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,62}$"
    },
    "replicas": {
      "description": "Members of the replica set, on the first servers of the group: 1, 3, 5 or 7. Without it one, which can become more.",
      "type": "integer",
      "minimum": 1,
      "maximum": 7
    },
    "shards": {
      "description": "Groups of members that hold different data: 1.",
      "type": "integer",
      "minimum": 1
    },
    "mirror": {
      "description": "The URL of a copy of MongoDB's repository for this distribution, in place of `https://repo.mongodb.org/apt/debian`.",
      "type": "string",
      "pattern": "^https?://[!-~]+$"
    },
    "key": {
      "description": "The URL of the key that the packages are signed with, below the mirror. Without it: MongoDB's own.",
      "type": "string",
      "pattern": "^https?://[!-~]+$"
    },
    "key_sha256": {
      "description": "The SHA-256 of that key's file. Without it: that of MongoDB's own, as it was known when this hook was made.",
      "type": "string",
      "pattern": "^[0-9a-f]{64}$"
    }
  }
}"#;

/// Databases of MongoDB's own.
const RESERVED: [&str; 3] = ["admin", "config", "local"];

/// The smallest cache that mongod takes, in MiB: `cacheSizeGB` of
/// <https://www.mongodb.com/docs/manual/reference/configuration-options/>.
const SMALLEST_CACHE: u32 = 256;

/// What a person may write below `[services.mongodb]`. Documented in [`SCHEMA`].
#[derive(Debug, Default, Deserialize)]
pub struct Settings {
    /// `7.0` or `7.0.15`.
    pub version: Option<String>,
    memory: Option<String>,
    database: Option<String>,
    /// How many members the set has; none where it is one that nobody wants to become more.
    pub replicas: Option<usize>,
    shards: Option<u32>,
    /// A repository in place of MongoDB's own.
    pub mirror: Option<String>,
    /// A key in place of MongoDB's own.
    pub key: Option<String>,
    /// In hex.
    pub key_sha256: Option<String>,
}

impl Settings {
    /// The settings of a call.
    ///
    /// # Errors
    /// When they do not fit the schema, which the host has checked before; when they ask for what cannot be.
    pub fn of(context: &Context) -> Result<Self, Problem> {
        let settings: Self = context.settings()?;
        let table = format!("[services.{}]", context.service());
        if let Some(version) = &settings.version
            && Series::of(version).is_none()
        {
            return Err(Problem::new(format!("MongoDB {version} is not one of {}", Series::names()))
                .hint(format!("write one of them as `version` below {table} in jecloud.toml")));
        }
        let database = settings.database(context);
        if RESERVED.contains(&database) {
            return Err(Problem::new(format!("the database {database} is MongoDB's own"))
                .hint(format!("write `database = \"{}-data\"` below {table} in jecloud.toml", context.app())));
        }
        if settings.cache_mib().is_some_and(|mib| mib < SMALLEST_CACHE) {
            return Err(Problem::new(format!("MongoDB needs a cache of at least {SMALLEST_CACHE}mb"))
                .hint(format!("write `memory = \"{SMALLEST_CACHE}mb\"` below {table} in jecloud.toml")));
        }
        if let Some(replicas) = settings.replicas.filter(|replicas| *replicas % 2 == 0) {
            return Err(Problem::new(format!(
                "`replicas = {replicas}`: an even number of members can lose no more than one less of them"
            ))
            .hint(format!("write `replicas = {}` below {table} in jecloud.toml", replicas + 1)));
        }
        if let Some(shards) = settings.shards.filter(|shards| *shards > 1) {
            return Err(Problem::new(format!("`shards = {shards}`: MongoDB in shards is not set up by this hook"))
                .hint(format!("take `shards` out of {table}; all data is on each member of one replica set")));
        }
        Ok(settings)
    }

    /// The database that is the app's.
    pub fn database<'a>(&'a self, context: &'a Context) -> &'a str {
        self.database.as_deref().unwrap_or(context.app())
    }

    /// How large the cache may be, in MiB.
    pub fn cache_mib(&self) -> Option<u32> {
        let memory = self.memory.as_deref()?;
        match memory.strip_suffix("gb") {
            Some(gigabytes) => gigabytes.parse::<u32>().ok().map(|number| number.saturating_mul(1024)),
            None => memory.strip_suffix("mb")?.parse().ok(),
        }
    }
}
