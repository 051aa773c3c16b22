//! The surroundings in which the commands and processes of a service run: directories, packages, variables.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jecloud_disk::{durable, tree};
use jecloud_launch::{DEFAULT_PATH, User};
use jecloud_model::ids::{InstanceId, ServiceName};
use jecloud_model::release::Release;
use jecloud_model::secrets;
use jecloud_model::template::escape;

use crate::commands::Runner;
use crate::error::ServerError;
use crate::fill::Filling;
use crate::place::Place;
use crate::users;
use crate::work::Work;
use crate::work::packages;

/// What is the same for all that runs for one service of a release.
pub(crate) struct Surroundings<'a> {
    release: &'a Release,
    service: &'a ServiceName,
    /// `{source}`.
    pub source: PathBuf,
    /// `{data}`.
    pub data: PathBuf,
    packages: BTreeMap<String, String>,
    host: String,
    /// The host's own few variables, as templates: a hook may replace them.
    pub of_host: BTreeMap<String, String>,
    /// The same with the values of all services.
    pub before: BTreeMap<String, String>,
    /// Variables that the person sets, as templates: they have the last word.
    pub after: BTreeMap<String, String>,
    /// As whom the app runs, where JeCloud is root.
    user: Option<User>,
    none: BTreeMap<String, String>,
}

impl<'a> Surroundings<'a> {
    /// Makes the service's own directory where it is missing.
    pub(crate) fn new(
        place: &Place,
        user: Option<User>,
        release: &'a Release,
        service: &'a ServiceName,
    ) -> Result<Self, ServerError> {
        let data = place.root.service(service);
        let home = data.join("home");
        // What is above is for the user to pass through.
        durable::create_dirs(&place.root.path().join("services"), 0o755)?;
        for directory in [&data, &home] {
            match user {
                // Who dies in between leaves none that is there and is not the user's.
                Some(User { uid, gid }) => tree::make_for(directory, (uid, gid), users::PRIVATE)?,
                None => durable::create_dirs(directory, users::PRIVATE)?,
            }
        }
        let packages = packages::read(place, release.number)?
            .remove(service)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|package| Some((package.name, package.directory?)))
            .collect();
        let of_host = BTreeMap::from([
            ("PATH".to_owned(), DEFAULT_PATH.to_owned()),
            ("HOME".to_owned(), escape(&home.display().to_string())),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ]);
        let plain = release.env.iter().map(|(name, value)| (name.clone(), escape(value)));
        let topology = place.topology(release.number)?;
        let here = release.secrets_on(&topology);
        let secret = release.secrets.iter().filter(|(name, secret)| secret.variable && here.contains(name.as_str()));
        let after = plain.chain(secret.map(|(name, _)| (name.clone(), secrets::placeholder(name)))).collect();
        let source = place.root.version(&release.version);
        let host = topology.host().to_owned();
        let before = of_host.clone();
        Ok(Self { release, service, source, data, packages, host, of_host, before, after, user, none: BTreeMap::new() })
    }

    /// With the values of all services, as templates without gaps.
    #[must_use]
    pub(crate) fn with_values(mut self, values: &BTreeMap<String, String>) -> Self {
        self.before.extend(values.clone());
        self
    }

    /// For templates outside of any process.
    pub(crate) fn filling(&self) -> Filling<'_> {
        Filling {
            app: &self.release.app,
            environment: &self.release.environment,
            version: &self.release.version,
            service: self.service,
            source: &self.source,
            data: &self.data,
            packages: &self.packages,
            process: None,
            ports: BTreeMap::new(),
            host: &self.host,
        }
    }

    /// For templates that may have the ports of the service's processes.
    pub(crate) fn filling_with(&self, ports: &BTreeMap<String, u16>) -> Filling<'_> {
        Filling { ports: ports.clone(), ..self.filling() }
    }

    /// For templates of a process.
    pub(crate) fn filling_of<'b>(&'b self, process: &'b InstanceId, ports: &BTreeMap<String, u16>) -> Filling<'b> {
        Filling { process: Some(process), ports: ports.clone(), ..self.filling() }
    }

    /// For running commands that look after the service itself, and have neither the app's variables nor the values of
    /// other services.
    pub(crate) fn runner_of_service<'b>(&'b self, work: &'b Work<'_>, filling: &'b Filling<'b>) -> Runner<'b> {
        Runner { env_before: &self.of_host, env_after: &self.none, ..self.runner(work, filling) }
    }

    /// For running commands.
    pub(crate) fn runner<'b>(&'b self, work: &'b Work<'_>, filling: &'b Filling<'b>) -> Runner<'b> {
        Runner {
            place: work.place,
            is_told: true,
            release: self.release.number,
            service: self.service,
            filling,
            env_before: &self.before,
            env_after: &self.after,
            app_user: self.user,
            cancel: work.cancel,
        }
    }
}
