//! mongod's configuration file. Its keys: <https://www.mongodb.com/docs/manual/reference/configuration-options/>.

use sha2::{Digest as _, Sha256};

use crate::settings::Settings;
use crate::{KEY_FILE, SET};

/// What one mongod is configured with.
pub(crate) struct Configuration<'a> {
    pub(crate) settings: &'a Settings,
    /// Which mongod it is for.
    pub(crate) version: &'a str,
    /// The address by which other servers reach it; none where none does.
    pub(crate) host: Option<&'a str>,
    /// Its port, as a template.
    pub(crate) port: String,
}

impl Configuration<'_> {
    /// Where it lies. Another content is another file: a mongod that runs on, or is started again while a deployment that
    /// fails in the end goes on, keeps its own; and one whose configuration stays the same is not restarted.
    pub(crate) fn path(&self) -> String {
        let digest = Sha256::digest(self.text());
        let name: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        format!("{{data}}/mongod-{name}.conf")
    }

    /// A template. JSON is YAML.
    pub(crate) fn text(&self) -> String {
        let others = self.host.map(|host| format!(",{host}")).unwrap_or_default();
        let cache = self
            .settings
            .cache_mib()
            .map(|mib| format!("  wiredTiger:\n    engineConfig:\n      cacheSizeGB: {}\n", f64::from(mib) / 1024.0));
        format!(
            "# MongoDB {version}: another version is another file, and a restart.\n\
             net:\n  port: {port}\n  bindIp: 127.0.0.1{others}\n  unixDomainSocket:\n    enabled: false\n\
             storage:\n  dbPath: \"{{data}}/db\"\n{cache}\
             security:\n  authorization: enabled\n  keyFile: \"{KEY_FILE}\"\n\
             replication:\n  replSetName: {SET}\n\
             systemLog:\n  quiet: true\n",
            version = self.version,
            cache = cache.unwrap_or_default(),
            port = self.port,
        )
    }
}
