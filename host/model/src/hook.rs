//! The words of the hook contract as plain data: what `wit/types.wit` says, for the crates that never see
//! WebAssembly. The sandbox translates one into the other. The meaning of every field is documented in the WIT.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{AppName, EnvironmentName, ServiceName, VersionId};

/// An option value of an options bag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "documented in wit/types.wit")]
pub enum OptionValue {
    Flag(bool),
    Integer(i64),
    Text(String),
    Texts(Vec<String>),
}

/// An options bag.
pub type Options = BTreeMap<String, OptionValue>;

/// Why a hook cannot do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// What the person can do; empty where the message says it all.
    pub hint: String,
}

/// Source files that a hook wants to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in wit/types.wit")]
pub struct Input {
    pub glob: String,
    pub max_bytes: u32,
    pub max_files: u32,
}

/// As whom a command or process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// The app's user.
    App,
    /// The administrator.
    Root,
}

/// A program that a hook may have run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in wit/types.wit")]
pub struct ProgramPower {
    pub program: String,
    pub run_as: Identity,
}

/// What a hook needs, or was granted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "documented in wit/types.wit")]
pub struct Powers {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<ProgramPower>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
}

/// What a hook says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in wit/types.wit")]
pub struct Description {
    pub name: ServiceName,
    pub version: String,
    pub summary: String,
    pub settings_schema: String,
    pub detect: Vec<String>,
    pub inputs: Vec<Input>,
    pub facts: Vec<String>,
    pub powers: Powers,
    pub options: Options,
}

/// What a hook is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in wit/types.wit")]
pub struct Context {
    pub app: AppName,
    pub environment: EnvironmentName,
    pub service: ServiceName,
    pub version: VersionId,
    pub current_version: Option<VersionId>,
    /// A JSON object, as text.
    pub settings: String,
    pub pins: BTreeMap<String, String>,
    /// Path to content.
    pub inputs: BTreeMap<String, Vec<u8>>,
    pub facts: BTreeMap<String, String>,
    pub remembered: BTreeMap<String, String>,
    pub options: Options,
}

/// An archive package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in wit/types.wit")]
pub struct Archive {
    pub sums_url: Option<String>,
    pub url: String,
    pub sha256: Option<String>,
    pub strip: u32,
}

/// Where a package comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "documented in wit/types.wit")]
pub enum Source {
    Present,
    Distribution,
    Archive(Archive),
}

/// A package that must be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in wit/types.wit")]
pub struct Package {
    pub name: String,
    pub version: String,
    pub source: Source,
    pub pin: bool,
    pub options: Options,
}

/// A file that the host writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in wit/types.wit")]
pub struct File {
    pub path: String,
    pub content: String,
    pub mode: u16,
}

/// A command that the host runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in wit/types.wit")]
pub struct Command {
    pub id: String,
    pub title: String,
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub cwd: String,
    pub run_as: Identity,
    pub timeout_ms: u32,
    pub once: String,
    pub produces: Vec<String>,
    pub options: Options,
}

/// How the host finds out that a process works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "documented in wit/types.wit")]
pub enum Health {
    StaysUp,
    PortOpen(String),
    Http { port: String, path: String },
    Command(Vec<String>),
}

/// A long-running command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in wit/types.wit")]
pub struct Process {
    /// Checked by the sandbox to be a [`crate::ids::ProcessName`].
    pub name: crate::ids::ProcessName,
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub cwd: String,
    pub ports: Vec<String>,
    pub health: Health,
    pub start_timeout_ms: u32,
    pub stop_timeout_ms: u32,
    pub run_as: Identity,
    pub replicas: u32,
    pub shards: u32,
    pub beside: bool,
    pub options: Options,
}

/// Requests that the front sends to a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in wit/types.wit")]
pub struct HookRoute {
    pub process: crate::ids::ProcessName,
    pub port: String,
    pub path_prefix: String,
    pub options: Options,
}

/// What a hook wants done for a deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in wit/types.wit")]
pub struct Plan {
    pub files: Vec<File>,
    pub checks: Vec<Command>,
    pub build: Vec<Command>,
    pub release: Vec<Command>,
    pub processes: Vec<Process>,
    pub routes: Vec<HookRoute>,
    pub values: BTreeMap<String, String>,
    pub remember: BTreeMap<String, String>,
    pub notes: Vec<String>,
    pub options: Options,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in wit/types.wit")]
pub struct CommandResult {
    pub id: String,
    pub exit_status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// What is in a copy of a service's data, or in the data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in wit/world.wit")]
pub struct Contents {
    pub version: String,
    pub counts: BTreeMap<String, u64>,
}

/// What a step function answers: `next` and `step` of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<T> {
    /// It is complete, and this is what came of it.
    Done(T),
    /// These are to be run, in order, and it is to be asked again with the results.
    Again(Vec<Command>),
    /// It is to be asked again after so many milliseconds with the same results.
    WaitMs(u32),
}

/// What a step function answers whose end says nothing.
pub type Next = Step<()>;

/// One member of a service that spans servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in wit/world.wit")]
pub struct Member {
    pub process: String,
    pub address: String,
}
