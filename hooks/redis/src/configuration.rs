//! Redis's configuration file. Its keys: <https://raw.githubusercontent.com/redis/redis/7.0/redis.conf>.

use sha2::{Digest as _, Sha256};

use crate::PASSWORD;
use crate::replicas::{self, Replicas};
use crate::settings::Settings;

/// What one Redis is configured with.
pub(crate) struct Configuration<'a> {
    pub(crate) settings: &'a Settings,
    /// The address by which other servers reach it; none where none does.
    pub(crate) host: Option<&'a str>,
    /// Which Redis reads it.
    pub(crate) build: &'a str,
    /// The others, where there are others.
    pub(crate) replicas: Option<&'a Replicas<'a>>,
}

impl Configuration<'_> {
    /// Where it lies. Another content is another file: a Redis that runs on, or is started again while a deployment that
    /// fails in the end goes on, keeps its own; and one whose configuration stays the same is not restarted. Another
    /// Redis is another configuration: what runs is what was installed.
    pub(crate) fn path(&self) -> String {
        let digest = Sha256::digest(self.text());
        let name: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        format!("{{data}}/redis-{name}.conf")
    }

    /// A template.
    pub(crate) fn text(&self) -> String {
        // The minus sign: an address that this machine does not have itself does not keep Redis from starting.
        let others = self.host.map(|host| format!(" -{host}")).unwrap_or_default();
        let mut lines = vec![
            format!("# {}", jecloud_sdk::template::escape(self.build)),
            format!("bind 127.0.0.1{others}"),
            format!("port {}", replicas::port(self.replicas)),
            format!("requirepass {{secret:{PASSWORD}}}"),
            "dir {data}".to_owned(),
            "daemonize no".to_owned(),
            "supervised no".to_owned(),
            // What nobody may change from a distance: where files are written, and what is loaded.
            "enable-protected-configs no".to_owned(),
            "enable-module-command no".to_owned(),
            "enable-debug-command no".to_owned(),
            "appendonly yes".to_owned(),
            format!("appendfsync {}", self.settings.sync()),
            // A power cut may have cut the last write in two. Everything before it is used.
            "aof-load-truncated yes".to_owned(),
            // The append-only file has everything.
            "save \"\"".to_owned(),
        ];
        lines.extend(self.settings.memory.as_ref().map(|memory| format!("maxmemory {memory}")));
        lines.extend(self.settings.eviction.as_ref().map(|policy| format!("maxmemory-policy {policy}")));
        lines.extend(self.replicas.map(Replicas::configuration).unwrap_or_default());
        lines.join("\n") + "\n"
    }
}
