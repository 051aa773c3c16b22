//! What most commands begin with: the project, its cloud, and where hooks run.

use std::path::PathBuf;
use std::sync::Arc;

use jecloud_cloud::{
    Backups, Cloud, DirectoryStore, LocalMachines, ObjectStore, SecretsFile, StateFile, SystemWorld, World as _,
};
use jecloud_ec2::Ec2Machines;
use jecloud_model::cloud::{CloudState, EnvironmentState};
use jecloud_model::config::Provider;
use jecloud_model::ids::{AppName, Digest, EnvironmentName, ReleaseNumber};
use jecloud_model::layout::ServerRoot;
use jecloud_sandbox::{ChildCompiler, Sandbox};
use jecloud_server::Server;

use crate::failure::{Code, Failure};
use crate::home::Home;
use crate::hooks::Components;
use crate::output::plural;
use crate::project::Project;
use crate::providers::{self, Servers};

/// The running binary, by a path that outlives this process: what it starts must be found by later commands too.
pub(crate) fn executable() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::new(Code::Failed, format!("the path of the jecloud binary cannot be found: {error}")))
}

/// Where hooks run. Compiled components are kept beside the server's own: on this machine they are the same.
pub(crate) fn sandbox(root: &ServerRoot) -> Result<Sandbox, Failure> {
    let compiled = root.compiled_hooks();
    if let Some(parent) = compiled.parent() {
        jecloud_disk::durable::create_dirs(parent, 0o755)?;
    }
    // Not by its path: what is compiled must be compiled by exactly this binary.
    Sandbox::new(compiled, Box::new(ChildCompiler::new("/proc/self/exe")))
        .map_err(|error| Failure::from_error(Code::Failed, "hooks cannot be run on this machine", &error))
}

/// This machine as a server, made where it does not exist yet.
pub(crate) fn local_server(root: ServerRoot) -> Result<Server, Failure> {
    let sandbox = sandbox(&root)?;
    Ok(Server::open(root, executable()?, sandbox)?)
}

/// The cloud of one app.
pub(crate) struct Session {
    /// Whose.
    pub(crate) app: AppName,
    /// Which environment is meant.
    pub(crate) environment: EnvironmentName,
    /// Where everything lies that is kept on this machine.
    pub(crate) home: Home,
    /// Who makes its servers.
    pub(crate) provider: Provider,
    pub(crate) store: Arc<dyn ObjectStore>,
    servers: Servers,
    world: SystemWorld,
}

impl Session {
    /// The cloud that a project names.
    pub(crate) fn open(project: &Project, environment: &EnvironmentName) -> Result<Self, Failure> {
        let wished = project.environment(environment);
        let provider = wished.cloud.provider;
        let home = Home::from_environment()?;
        if provider == Provider::Local {
            return Self::at(home, &wished.app, environment);
        }
        let store = providers::store(&wished, &home)?;
        let servers = Servers::elsewhere(project, environment, &home, &store)?;
        Ok(Self {
            app: wished.app,
            environment: environment.clone(),
            provider,
            store,
            servers,
            world: SystemWorld,
            home,
        })
    }

    /// A cloud of this machine.
    pub(crate) fn at(home: Home, app: &AppName, environment: &EnvironmentName) -> Result<Self, Failure> {
        Ok(Self {
            app: app.clone(),
            environment: environment.clone(),
            provider: Provider::Local,
            store: Arc::new(DirectoryStore::new(home.cloud(app))),
            servers: Servers::Local(LocalMachines::new(executable()?, home.server())),
            world: SystemWorld,
            home,
        })
    }

    /// For the cloud crate.
    pub(crate) fn cloud(&self) -> Cloud<'_> {
        Cloud { app: &self.app, store: &*self.store, machines: self.servers.machines(), world: &self.world }
    }

    /// Those of EC2; none where servers come from somewhere else.
    pub(crate) fn ec2(&self) -> Option<Result<&Ec2Machines, Failure>> {
        self.servers.ec2()
    }

    /// The document of the state.
    pub(crate) fn state_file(&self) -> StateFile<'_> {
        StateFile::new(&*self.store, &self.app, &self.world)
    }

    /// The secrets of the environment.
    pub(crate) fn secrets(&self) -> SecretsFile<'_> {
        SecretsFile::new(&*self.store, &self.environment, &self.world)
    }

    /// The backups of the app.
    pub(crate) fn backups(&self) -> Backups<'_> {
        Backups::new(&*self.store, &self.app)
    }

    /// Four random bytes.
    pub(crate) fn chance(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.world.random();
        [a, b, c, d]
    }

    /// `on this machine`, `on 2 servers`: where the environment runs.
    pub(crate) fn where_in_words(&self, servers: u32) -> String {
        match self.provider {
            Provider::Local => "on this machine".to_owned(),
            _ => format!("on {}", plural(servers.into(), "server", "servers")),
        }
    }

    /// The state; none where nothing was ever deployed.
    pub(crate) fn state(&self) -> Result<Option<CloudState>, Failure> {
        Ok(self.state_file().read()?.map(|known| known.state))
    }

    /// The environment in the state, which a command needs.
    pub(crate) fn environment_state(&self) -> Result<EnvironmentState, Failure> {
        self.state()?
            .and_then(|state| state.environments.get(&self.environment).cloned())
            .filter(|environment| !environment.releases.is_empty())
            .ok_or_else(|| self.nothing_deployed())
    }

    /// What is said where nothing was deployed, or everything was destroyed.
    pub(crate) fn nothing_deployed(&self) -> Failure {
        let flag = self.environment_flag();
        Failure::new(Code::Failed, format!("{} is not deployed to {}", self.app, self.environment))
            .hint(format!("`jecloud deploy{flag}` does."))
    }

    /// ` -e staging`, where it has to be typed.
    pub(crate) fn environment_flag(&self) -> String {
        if self.environment == EnvironmentName::production() {
            String::new()
        } else {
            format!(" -e {}", self.environment)
        }
    }

    /// `r3 (841bc9d01fe3)`.
    pub(crate) fn release_in_words(environment: &EnvironmentState, number: ReleaseNumber) -> String {
        match environment.release(number) {
            Some(recorded) => format!("{number} ({})", recorded.release.version.short()),
            None => number.to_string(),
        }
    }

    /// What serves, as a sentence for failures.
    pub(crate) fn world_in_words(&self) -> String {
        let Ok(Some(state)) = self.state() else { return "Nothing serves.".to_owned() };
        let environment = state.environments.get(&self.environment);
        match environment.and_then(|environment| Some((environment, environment.serving?))) {
            Some((environment, serving)) => {
                format!("{} still serves; nothing was switched.", Self::release_in_words(environment, serving))
            }
            None => "Nothing serves yet.".to_owned(),
        }
    }
}

impl Components for Session {
    fn component(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Failure> {
        let found = self
            .store
            .get(&jecloud_cloud::keys::hook(digest))
            .map_err(|error| Failure::from_store("the app's store cannot be read", &error))?;
        match found {
            Some(object) => Ok(Some(object.bytes)),
            // What was deployed from this machine before, to whichever cloud.
            None => Ok(jecloud_disk::durable::read(&self.home.hook(digest))?),
        }
    }
}

impl From<jecloud_cloud::StateError> for Failure {
    fn from(error: jecloud_cloud::StateError) -> Self {
        use jecloud_model::cloud::Rejected;
        let code = match &error {
            jecloud_cloud::StateError::Rejected(Rejected::LostRace { .. }) => Code::LostRace,
            _ => Code::Failed,
        };
        let failure = Failure::new(code, jecloud_server::chain(&error)).hint(sentence(&error.hint()));
        if error.is_about_what_is_recorded() {
            return failure.world("Nothing was changed; what runs on the servers goes on.");
        }
        failure
    }
}

impl From<jecloud_cloud::RollForwardError> for Failure {
    fn from(error: jecloud_cloud::RollForwardError) -> Self {
        match error {
            jecloud_cloud::RollForwardError::State(error) => error.into(),
            jecloud_cloud::RollForwardError::Store(error) => {
                Failure::from_store("the app's store cannot be used", &error)
            }
            error @ jecloud_cloud::RollForwardError::Outdated { .. } => {
                Failure::new(Code::LostRace, format!("it could not be rolled forward: {error}"))
                    .world("What serves there serves on. What was wished for is recorded.")
                    .hint(error.hint())
            }
        }
    }
}

/// A fragment as a sentence: a capital letter and a full stop.
pub(crate) fn sentence(fragment: &str) -> String {
    let mut letters = fragment.chars();
    match letters.next() {
        Some(first) if fragment.ends_with(['.', '!', '?', '`']) && !first.is_lowercase() => fragment.to_owned(),
        Some(first) => {
            let text: String = first.to_uppercase().chain(letters).collect();
            if text.ends_with('.') { text } else { format!("{text}.") }
        }
        None => String::new(),
    }
}
