//! What a hook says about itself.

use crate::{Identity, OptionValue, Options};

/// What a hook is and needs: the answer to `describe`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// The name of the service: `^[a-z][a-z0-9-]{0,30}$`.
    pub name: String,
    /// The hook's own version, as `1.2.3`.
    pub version: String,
    /// One line for people.
    pub summary: String,
    /// JSON Schema (2020-12) of the `[services.NAME]` table without the keys `hook` and `on`. Empty: no settings.
    pub settings_schema: String,
    /// Globs: where one matches a file of the app, and `jecloud.toml` names no service, a built-in hook is used.
    pub detect: Vec<String>,
    /// The source files it wants to see.
    pub inputs: Vec<Input>,
    /// Names of the host facts it wants.
    pub facts: Vec<String>,
    /// The powers it needs.
    pub powers: Powers,
    /// Known keys: `gives`, see [`Description::gives`].
    pub options: Options,
}

/// Source files that a hook wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// A glob relative to the root of the app.
    pub glob: String,
    /// A longer file is an error of the deployment, in bytes; at most 8 MiB.
    pub max_bytes: u32,
    /// More matches are an error of the deployment; at most 1000.
    pub max_files: u32,
}

/// What a hook needs beyond its own directory. A person approves it once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Powers {
    /// Packages of the distribution that it may have installed.
    pub packages: Vec<String>,
    /// URL prefixes from which archives may be fetched.
    pub repositories: Vec<String>,
    /// Programs that it may have run, and as whom at most.
    pub programs: Vec<(String, Identity)>,
    /// Fixed ports that its processes may listen on.
    pub ports: Vec<u16>,
    /// Absolute paths outside of the service's own directory that it may write.
    pub paths: Vec<String>,
    /// Names of secrets that it may have filled in.
    pub secrets: Vec<String>,
}

/// How long an input may be where the hook does not say: 1 MiB, in bytes.
const DEFAULT_INPUT_BYTES: u32 = 1024 * 1024;

/// How many files may match an input where the hook does not say.
const DEFAULT_INPUT_FILES: u32 = 100;

impl Description {
    /// A hook that wants to see nothing and needs no power.
    ///
    /// `version` is usually `env!("CARGO_PKG_VERSION")`.
    pub fn new(name: impl Into<String>, version: impl Into<String>, summary: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into(), summary: summary.into(), ..Self::default() }
    }

    /// Sets the JSON Schema of its settings.
    #[must_use]
    pub fn settings_schema(mut self, schema: impl Into<String>) -> Self {
        self.settings_schema = schema.into();
        self
    }

    /// Adds a glob by which an app that needs this service is recognised.
    #[must_use]
    pub fn detect(mut self, glob: impl Into<String>) -> Self {
        self.detect.push(glob.into());
        self
    }

    /// Adds source files it wants to see: up to 100 of up to 1 MiB.
    #[must_use]
    pub fn input(self, glob: impl Into<String>) -> Self {
        self.input_up_to(glob, DEFAULT_INPUT_BYTES, DEFAULT_INPUT_FILES)
    }

    /// Adds source files it wants to see, up to this size in bytes and this number.
    #[must_use]
    pub fn input_up_to(mut self, glob: impl Into<String>, max_bytes: u32, max_files: u32) -> Self {
        self.inputs.push(Input { glob: glob.into(), max_bytes, max_files });
        self
    }

    /// Adds a fact it wants to know: `arch`, `program:node`, … (see `context.facts` in `wit/types.wit`).
    #[must_use]
    pub fn fact(mut self, name: impl Into<String>) -> Self {
        self.facts.push(name.into());
        self
    }

    /// Adds a program that it may have run as the app's user: a name in the system's PATH, or a template.
    #[must_use]
    pub fn program(mut self, program: impl Into<String>) -> Self {
        self.powers.programs.push((program.into(), Identity::App));
        self
    }

    /// Adds a program that it may have run as the administrator.
    #[must_use]
    pub fn root_program(mut self, program: impl Into<String>) -> Self {
        self.powers.programs.push((program.into(), Identity::Root));
        self
    }

    /// Adds a package of the distribution that it may have installed.
    #[must_use]
    pub fn package(mut self, name: impl Into<String>) -> Self {
        self.powers.packages.push(name.into());
        self
    }

    /// Adds a URL prefix from which archives may be fetched.
    #[must_use]
    pub fn repository(mut self, url_prefix: impl Into<String>) -> Self {
        self.powers.repositories.push(url_prefix.into());
        self
    }

    /// Adds a fixed port that its processes may listen on.
    #[must_use]
    pub fn fixed_port(mut self, port: u16) -> Self {
        self.powers.ports.push(port);
        self
    }

    /// Adds an absolute path outside of the service's own directory that it may write.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.powers.paths.push(path.into());
        self
    }

    /// Adds a secret that it may have filled in.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>) -> Self {
        self.powers.secrets.push(name.into());
        self
    }

    /// Adds the name of a value of its plans that what runs on other servers gets too. Its processes are started first
    /// then, and `{host}` is how they are reached.
    #[must_use]
    pub fn gives(mut self, name: impl Into<String>) -> Self {
        let names = self.options.entry("gives".to_owned()).or_insert_with(|| OptionValue::Texts(Vec::new()));
        if let OptionValue::Texts(names) = names {
            names.push(name.into());
        }
        self
    }

    /// Adds the fact `hosts`, which names all servers of the service where the person wrote one of these keys among its
    /// settings: only then it is prepared anew when they change.
    #[must_use]
    pub fn hosts_with<S: Into<String>>(self, keys: impl IntoIterator<Item = S>) -> Self {
        let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        self.fact("hosts").option("hosts-with", keys)
    }

    /// Sets an option.
    #[must_use]
    pub fn option(mut self, key: impl Into<String>, value: impl Into<OptionValue>) -> Self {
        self.options.insert(key.into(), value.into());
        self
    }
}
