//! Asking the hooks of a release, and checking every line of what they answer.

use std::collections::BTreeMap;
use std::path::Path;

use jecloud_disk::{durable, tree};
use jecloud_model::app::{AppDocument, Failure};
use jecloud_model::glob::Glob;
use jecloud_model::hook::{
    CommandResult, Contents, Context, Description, Member, Next, Options, Package, Plan, Problem, Step,
};
use jecloud_model::ids::{Digest, ServiceName, VersionId};
use jecloud_model::layout::ServerRoot;
use jecloud_model::powers::{self, Allowed, PlanLimits, Refusal};
use jecloud_model::release::{Release, ReleaseService};
use jecloud_model::topology::Topology;
use jecloud_sandbox::{Called, Exports, Hook, SandboxError};

use crate::error::{ServerError, chain};
use crate::facts;
use crate::pins;
use crate::place::Place;
use crate::server::Server;
use crate::work::packages;

/// The most that one input may be, whatever the hook asks for: `input` in `wit/types.wit`.
const LARGEST_INPUT: u64 = 8 << 20;

/// The most files that may match one input: `input` in `wit/types.wit`.
const MOST_INPUT_FILES: usize = 1000;

/// What package managers install is not source: the same name is left out of every packed tree.
const INSTALLED: &str = jecloud_disk::source::INSTALLED;

/// Where the source files are that hooks may see.
pub trait Sources {
    /// All paths, relative to the root, with `/` between segments.
    fn paths(&self) -> Result<Vec<String>, ServerError>;
    /// A file's content; at most `limit` bytes, else none.
    fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, ServerError>;
}

/// The files of an unpacked version.
struct UnpackedSources<'a>(&'a Path);

impl Sources for UnpackedSources<'_> {
    fn paths(&self) -> Result<Vec<String>, ServerError> {
        Ok(tree::files(self.0, INSTALLED)?)
    }

    fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, ServerError> {
        match tree::read_within(self.0, path, limit) {
            Err(jecloud_disk::DiskError::TooLarge { .. }) => Ok(None),
            other => Ok(Some(other?.unwrap_or_default())),
        }
    }
}

/// Where components come from; none where there is no such one.
pub(crate) type Component<'a> = &'a dyn Fn(&Digest) -> Result<Option<Vec<u8>>, ServerError>;

/// What a step function of a hook came to.
type Answered<T> = Result<Called<Result<Step<T>, Problem>>, SandboxError>;

/// One service of a release with its hook, ready to be asked.
pub(crate) struct Asked<'a> {
    /// Its name.
    pub service: &'a ServiceName,
    /// What the release says about it.
    pub wish: &'a ReleaseService,
    /// What the hook says about itself.
    pub description: Description,
    root: ServerRoot,
    hook: Hook,
    limits: PlanLimits,
    inputs: BTreeMap<String, Vec<u8>>,
    topology: Topology,
}

impl<'a> Asked<'a> {
    /// Loads the hooks of all services that this server has to ask and gathers their inputs.
    pub(crate) fn of_release(server: &Server, release: &'a Release, place: &Place) -> Result<Vec<Self>, ServerError> {
        let component = |digest: &Digest| Ok(durable::read(&server.root.hook(digest))?);
        let source = place.root.version(&release.version);
        Self::all(server, &component, release, &place.topology(release.number)?, &UnpackedSources(&source))
    }

    /// Those of the services that are prepared on this server: packages were looked after for exactly these.
    pub(crate) fn of_server(server: &Server, release: &'a Release, place: &Place) -> Result<Vec<Self>, ServerError> {
        let here = packages::read(place, release.number)?;
        let mut all = Self::of_release(server, release, place)?;
        all.retain(|asked| here.contains_key(asked.service));
        Ok(all)
    }

    /// The same with components and sources from anywhere.
    pub(crate) fn all(
        server: &Server,
        component: Component<'_>,
        release: &'a Release,
        topology: &Topology,
        sources: &dyn Sources,
    ) -> Result<Vec<Self>, ServerError> {
        let paths = sources.paths()?;
        release
            .services
            .iter()
            .filter(|(service, _)| release.asks(service, topology.group()))
            .map(|(service, wish)| {
                let hook = load(server, component, service, &wish.hook)?;
                let description = hook.describe().map_err(|error| hook_failure(service, &error))?.answer;
                let inputs = gather(service, &description, &paths, sources)?;
                let settings = serde_json::to_string(&wish.settings).unwrap_or_default();
                let limits = PlanLimits::default().with_mirror(&settings);
                Ok(Self {
                    service,
                    wish,
                    description,
                    root: server.root.clone(),
                    hook,
                    limits,
                    inputs,
                    topology: topology.clone(),
                })
            })
            .collect()
    }

    fn allowed(&self) -> Allowed<'_> {
        Allowed {
            service: self.service,
            declared: &self.description.powers,
            granted: &self.wish.powers,
            limits: &self.limits,
        }
    }

    /// What the hook is shown. Facts are looked at when this is called.
    pub(crate) fn context(&self, release: &Release, document: &AppDocument, current: Option<&VersionId>) -> Context {
        let mut facts = facts::collect(&self.root, &self.description.facts);
        let asked = |(name, _): &(String, String)| self.description.facts.contains(name);
        facts.extend(facts::of_topology(&self.topology, self.service).into_iter().filter(asked));
        Context {
            app: release.app.clone(),
            environment: release.environment.clone(),
            service: self.service.clone(),
            version: release.version.clone(),
            current_version: current.cloned(),
            settings: serde_json::to_string(&self.wish.settings).unwrap_or_default(),
            pins: self.wish.pins.clone(),
            inputs: self.inputs.clone(),
            facts,
            remembered: document.remembered.get(self.service).cloned().unwrap_or_default(),
            options: Options::new(),
        }
    }

    /// `required-packages`, checked.
    pub(crate) fn required_packages(&self, context: &Context) -> Result<Vec<Package>, ServerError> {
        let answer = self.hook.required_packages(context).map_err(|error| hook_failure(self.service, &error))?.answer;
        let mut packages = answer.map_err(|problem| self.problem(problem))?;
        powers::check_packages(&packages, self.allowed()).map_err(|refusals| self.refused(&refusals))?;
        pins::hold(&mut packages, &context.pins);
        Ok(packages)
    }

    /// `prepare-deploy`, checked.
    pub(crate) fn prepare_deploy(&self, context: &Context) -> Result<Plan, ServerError> {
        let answer = self.hook.prepare_deploy(context).map_err(|error| hook_failure(self.service, &error))?.answer;
        let plan = answer.map_err(|problem| self.problem(problem))?;
        powers::check_plan(&plan, self.allowed()).map_err(|refusals| self.refused(&refusals))?;
        Ok(plan)
    }

    /// Which optional interfaces the hook has.
    pub(crate) fn exports(&self) -> Exports {
        self.hook.exports()
    }

    /// `deployed`, checked. `ports` are those of the service's processes.
    pub(crate) fn deployed(
        &self,
        context: &Context,
        results: &[CommandResult],
        ports: &BTreeMap<String, u16>,
    ) -> Result<Next, ServerError> {
        self.step(Some(self.hook.deployed(context, results)), ports)
    }

    /// `started`, checked.
    pub(crate) fn started(
        &self,
        context: &Context,
        results: &[CommandResult],
        ports: &BTreeMap<String, u16>,
    ) -> Result<Next, ServerError> {
        self.step(self.hook.started(context, results), ports)
    }

    /// `reshape`, checked.
    pub(crate) fn reshape(
        &self,
        context: &Context,
        members: (&[Member], &[Member]),
        results: &[CommandResult],
        ports: &BTreeMap<String, u16>,
    ) -> Result<Next, ServerError> {
        self.step(self.hook.reshape(context, members.0, members.1, results), ports)
    }

    /// `backup`, checked.
    pub(crate) fn backup(
        &self,
        context: &Context,
        results: &[CommandResult],
        ports: &BTreeMap<String, u16>,
    ) -> Result<Step<Contents>, ServerError> {
        self.step(self.hook.backup(context, results), ports)
    }

    /// `restore`, checked.
    pub(crate) fn restore(
        &self,
        context: &Context,
        results: &[CommandResult],
        ports: &BTreeMap<String, u16>,
    ) -> Result<Next, ServerError> {
        self.step(self.hook.restore(context, results), ports)
    }

    /// `restored`, checked.
    pub(crate) fn restored(
        &self,
        context: &Context,
        results: &[CommandResult],
        ports: &BTreeMap<String, u16>,
    ) -> Result<Step<Contents>, ServerError> {
        self.step(self.hook.restored(context, results), ports)
    }

    /// The answer of a step function, checked.
    fn step<T>(&self, answer: Option<Answered<T>>, ports: &BTreeMap<String, u16>) -> Result<Step<T>, ServerError> {
        let Some(answer) = answer else {
            return Err(ServerError::Request(format!("the hook of service {} cannot do that", self.service)));
        };
        let answer = answer.map_err(|error| hook_failure(self.service, &error))?.answer;
        let step = answer.map_err(|problem| self.problem(problem))?;
        let ports: Vec<String> = ports.keys().cloned().collect();
        match &step {
            Step::Done(_) => Ok(()),
            Step::Again(commands) => powers::check_commands(commands, &ports, self.allowed()),
            Step::WaitMs(wait) => powers::check_wait(*wait, self.allowed()),
        }
        .map_err(|refusals| self.refused(&refusals))?;
        Ok(step)
    }

    fn problem(&self, problem: Problem) -> ServerError {
        Failure::because(problem.message).hint(problem.hint).into()
    }

    fn refused(&self, refusals: &[Refusal]) -> ServerError {
        let hint = refusals.iter().find_map(|refusal| refusal.grant.clone());
        Failure::because(format!("the hook of service {} asks for what it may not do", self.service))
            .details(refusals.iter().map(Refusal::to_string).collect())
            .hint(hint.map_or_else(String::new, |grant| format!("`{grant}` shows what it needs and asks you.")))
            .into()
    }
}

/// Loads the hook of a service; its component is read only if it was not compiled before.
fn load(
    server: &Server,
    component: Component<'_>,
    service: &ServiceName,
    digest: &Digest,
) -> Result<Hook, ServerError> {
    /// Why it is not there: what reading it came to, or what the sandbox says.
    enum Unloaded {
        Unread(ServerError),
        Unusable(SandboxError),
    }

    impl From<SandboxError> for Unloaded {
        fn from(error: SandboxError) -> Self {
            Self::Unusable(error)
        }
    }

    let missing = || ServerError::Request(format!("the component {} of service {service} is missing", digest.short()));
    let read = || component(digest).and_then(|bytes| bytes.ok_or_else(missing)).map_err(Unloaded::Unread);
    server.sandbox.load_known(digest, read).map_err(|unloaded| match unloaded {
        Unloaded::Unread(error) => error,
        Unloaded::Unusable(error) => hook_failure(service, &error),
    })
}

fn hook_failure(service: &ServiceName, error: &dyn std::error::Error) -> ServerError {
    Failure::because(format!("the hook of service {service} failed: {}", chain(error)))
        .hint("Nothing was done. If it is your own hook, try it natively; else report this to its author.")
        .into()
}

/// The files that match a hook's inputs.
fn gather(
    service: &ServiceName,
    description: &Description,
    paths: &[String],
    sources: &dyn Sources,
) -> Result<BTreeMap<String, Vec<u8>>, ServerError> {
    let mut inputs = BTreeMap::new();
    for input in &description.inputs {
        let glob = Glob::new(&input.glob)
            .map_err(|error| Failure::because(format!("the hook of service {service} has a wrong input: {error}")))?;
        let matching: Vec<&String> = paths.iter().filter(|path| glob.matches(path)).collect();
        let most = MOST_INPUT_FILES.min(usize::try_from(input.max_files).unwrap_or(usize::MAX));
        if matching.len() > most {
            return Err(Failure::because(format!(
                "{} files match {}, and service {service} looks at {most} at the most",
                matching.len(),
                input.glob
            ))
            .into());
        }
        let limit = LARGEST_INPUT.min(input.max_bytes.into());
        for path in matching {
            let Some(content) = sources.read(path, limit)? else {
                return Err(Failure::because(format!(
                    "{path} is larger than the {limit} bytes that service {service} can look at"
                ))
                .into());
            };
            inputs.insert(path.clone(), content);
        }
    }
    Ok(inputs)
}
