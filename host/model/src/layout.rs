//! Where everything lies on a server. The one place that knows the names of files; it opens none.

use std::path::{Path, PathBuf};

use crate::ids::{AppName, BackupId, Digest, EnvironmentName, InstanceId, ReleaseNumber, ServiceName, VersionId};

/// The directory below which JeCloud keeps everything on a server: `/var/cloud`, or `JECLOUD_HOME/server`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRoot(PathBuf);

impl ServerRoot {
    /// `root` must be absolute: it is handed on to processes with other working directories.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `sys`: what belongs to the server rather than to an app.
    pub fn sys(&self) -> PathBuf {
        self.0.join("sys")
    }

    /// What this server is, and what was installed on it.
    pub fn server_document(&self) -> PathBuf {
        self.sys().join("server.json")
    }

    /// From which states of which clouds the server was told something. See [`crate::cloud::KnownClouds`].
    pub fn known_clouds(&self) -> PathBuf {
        self.sys().join("clouds.json")
    }

    /// `sys/pids/WHO.pid`: locked while WHO runs, never unlinked; the number inside is for people.
    pub fn pid_file(&self, who: &str) -> PathBuf {
        self.sys().join("pids").join(format!("{who}.pid"))
    }

    /// `sys/run`: sockets, and what the process manager must remember to find its processes again.
    pub fn run(&self) -> PathBuf {
        self.sys().join("run")
    }

    /// `sys/logs/WHO.log`.
    pub fn system_log(&self, who: &str) -> PathBuf {
        self.sys().join("logs").join(format!("{who}.log"))
    }

    /// `sys/routes`: the route tables of all apps and environments. Everybody may read them.
    pub fn routes(&self) -> PathBuf {
        self.sys().join("routes")
    }

    /// Whose route table is called so in [`ServerRoot::routes`]; none where it is none.
    pub fn routes_of(name: &str) -> Option<(AppName, EnvironmentName)> {
        let (app, environment) = name.strip_suffix(".json")?.split_once('.')?;
        Some((app.parse().ok()?, environment.parse().ok()?))
    }

    /// `sys/hooks`.
    pub fn hooks(&self) -> PathBuf {
        self.sys().join("hooks")
    }

    /// `sys/hooks/SHA256.wasm`.
    pub fn hook(&self, digest: &Digest) -> PathBuf {
        self.hooks().join(format!("{digest}.wasm"))
    }

    /// `sys/hooks/compiled`: the private cache of compiled components.
    pub fn compiled_hooks(&self) -> PathBuf {
        self.hooks().join("compiled")
    }

    /// `sys/packages/NAME-VERSION`: an archive package.
    pub fn package(&self, name: &str, version: &str) -> PathBuf {
        self.sys().join("packages").join(format!("{name}-{version}"))
    }

    /// `sys/users/APP.ENV.json`: see [`crate::user::UserDocument`].
    pub fn user_document(&self, app: &AppName, environment: &EnvironmentName) -> PathBuf {
        self.sys().join("users").join(format!("{app}.{environment}.json"))
    }

    /// `APP/ENV`.
    pub fn environment(&self, app: &AppName, environment: &EnvironmentName) -> EnvironmentRoot {
        EnvironmentRoot {
            path: self.0.join(app.as_str()).join(environment.as_str()),
            route_table: self.routes().join(format!("{app}.{environment}.json")),
        }
    }
}

/// `APP/ENV`: what belongs to one app and environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentRoot {
    path: PathBuf,
    route_table: PathBuf,
}

impl EnvironmentRoot {
    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wanted here and how far it is: `app.json`.
    pub fn app_document(&self) -> PathBuf {
        self.path.join("app.json")
    }

    /// Locked while `app.json` is read, changed and written.
    pub fn app_lock(&self) -> PathBuf {
        self.path.join("app.lock")
    }

    /// See [`crate::processes::ProcessTable`].
    pub fn process_table(&self) -> PathBuf {
        self.path.join("processes.json")
    }

    /// `sys/routes/APP.ENV.json`: see [`crate::routes::RouteTable`]. Not below the environment, which is for nobody but
    /// its user: the front may be somebody else.
    pub fn route_table(&self) -> PathBuf {
        self.route_table.clone()
    }

    /// Secrets by name, 0600. Read by the process manager when it starts a process.
    pub fn secrets(&self) -> PathBuf {
        self.path.join("secrets.json")
    }

    /// `releases/N`: what is known of one release on this server.
    pub fn release(&self, release: ReleaseNumber) -> PathBuf {
        self.releases().join(release.0.to_string())
    }

    /// `releases`.
    pub fn releases(&self) -> PathBuf {
        self.path.join("releases")
    }

    /// `source/versions`.
    pub fn versions(&self) -> PathBuf {
        self.path.join("source").join("versions")
    }

    /// `source/versions/ID`: complete, or it does not exist.
    pub fn version(&self, version: &VersionId) -> PathBuf {
        self.versions().join(version.as_str())
    }

    /// `source/versions/ID.tar.bz2`, as uploaded.
    pub fn archive(&self, version: &VersionId) -> PathBuf {
        self.versions().join(format!("{version}.tar.bz2"))
    }

    /// `source/versions/ID.built.json`: what was run to build a version.
    pub fn built(&self, version: &VersionId) -> PathBuf {
        self.versions().join(format!("{version}.built.json"))
    }

    /// `source/versions/current`, a link to the version that serves.
    pub fn current(&self) -> PathBuf {
        self.versions().join("current")
    }

    /// `services/NAME`: data, config and kept build results of one service.
    pub fn service(&self, service: &ServiceName) -> PathBuf {
        self.path.join("services").join(service.as_str())
    }

    /// `backups`: see [`crate::backup::ServerBackup`].
    pub fn backups(&self) -> PathBuf {
        self.path.join("backups")
    }

    /// `backups/ID.json`.
    pub fn backup_document(&self, id: &BackupId) -> PathBuf {
        self.backups().join(format!("{id}.json"))
    }

    /// `backups/ID.sealed`: complete, or it does not exist.
    pub fn backup_file(&self, id: &BackupId) -> PathBuf {
        self.backups().join(format!("{id}.sealed"))
    }

    /// `backups/ID.steps.json`: how far the hook is with its copy.
    pub fn backup_steps(&self, id: &BackupId) -> PathBuf {
        self.backups().join(format!("{id}.steps.json"))
    }

    /// `backups/restore.sealed`: what is to be brought back.
    pub fn restore_file(&self) -> PathBuf {
        self.backups().join("restore.sealed")
    }

    /// `backups/restore.steps.json`: how far the hook is with bringing it back.
    pub fn restore_steps(&self) -> PathBuf {
        self.backups().join("restore.steps.json")
    }

    /// `services/NAME.before`: the data that a service had before a backup was brought back, until that is done. No
    /// service has a dot in its name.
    pub fn service_before(&self, service: &ServiceName) -> PathBuf {
        self.path.join("services").join(format!("{service}.before"))
    }

    /// `services/NAME.restoring`: the copy that is to be brought back, until the service's processes have ended.
    pub fn service_restoring(&self, service: &ServiceName) -> PathBuf {
        self.path.join("services").join(format!("{service}.restoring"))
    }

    /// `scratch.json`, in the place of a scratch instance: what it is for.
    pub fn scratch_document(&self) -> PathBuf {
        self.path.join("scratch.json")
    }

    /// What backups are sealed with, 0600.
    pub fn backup_key(&self) -> PathBuf {
        self.path.join("backup-key")
    }

    /// `backup-schedule.json`: when a scheduled backup of each service was asked for the last time.
    pub fn backup_schedule(&self) -> PathBuf {
        self.path.join("backup-schedule.json")
    }

    /// `restore.json`: see [`crate::backup::Restore`].
    pub fn restore_document(&self) -> PathBuf {
        self.path.join("restore.json")
    }

    /// `logs`.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// `logs/web.1.log`: what all releases' instances of this number wrote, line by line:
    /// `2026-11-24T07:45:44.123Z web.1@7 text`.
    pub fn process_log(&self, id: &InstanceId) -> PathBuf {
        self.logs().join(format!("{}.log", id.short()))
    }
}
