//! What the host puts into the gaps of a hook's templates.

use std::collections::BTreeMap;
use std::path::Path;

use jecloud_launch::{DEFAULT_PATH, find_program};
use jecloud_model::app::Failure;
use jecloud_model::ids::{AppName, EnvironmentName, InstanceId, ServiceName, VersionId};
use jecloud_model::template::{Placeholder, Template};

use crate::error::ServerError;

/// Everything that can be filled in for one service, and for one of its processes.
#[derive(Debug, Clone)]
pub(crate) struct Filling<'a> {
    /// `{app}`.
    pub app: &'a AppName,
    /// `{environment}`.
    pub environment: &'a EnvironmentName,
    /// `{version}`.
    pub version: &'a VersionId,
    /// Whose template it is: for errors.
    pub service: &'a ServiceName,
    /// `{source}`.
    pub source: &'a Path,
    /// `{data}`.
    pub data: &'a Path,
    /// `{package:NAME}`.
    pub packages: &'a BTreeMap<String, String>,
    /// `{process}`.
    pub process: Option<&'a InstanceId>,
    /// `{port:NAME}`.
    pub ports: BTreeMap<String, u16>,
    /// `{host}`.
    pub host: &'a str,
}

impl Filling<'_> {
    fn value(&self, placeholder: &Placeholder) -> Option<String> {
        match placeholder {
            Placeholder::App => Some(self.app.to_string()),
            Placeholder::Environment => Some(self.environment.to_string()),
            Placeholder::Version => Some(self.version.to_string()),
            Placeholder::Source => Some(self.source.display().to_string()),
            Placeholder::Data => Some(self.data.display().to_string()),
            Placeholder::Package(name) => self.packages.get(name).cloned(),
            Placeholder::Port(name) => self.ports.get(name).map(u16::to_string),
            Placeholder::Process => self.process.map(InstanceId::short),
            Placeholder::Host => Some(self.host.to_owned()),
            Placeholder::Secret(_) => None,
        }
    }

    /// The complete text. `line` names the line of the plan, for errors.
    pub(crate) fn text(&self, line: &str, template: &str) -> Result<String, ServerError> {
        Template::parse(template)
            .and_then(|parsed| parsed.fill(&|placeholder| self.value(placeholder)))
            .map_err(|error| self.failure(line, &error))
    }

    /// The text of a template in which only secrets are left.
    pub(crate) fn all_but_secrets(&self, line: &str, template: &str) -> Result<String, ServerError> {
        Template::parse(template)
            .and_then(|parsed| parsed.fill_all_but_secrets(&|placeholder| self.value(placeholder)))
            .map(|filled| filled.to_string())
            .map_err(|error| self.failure(line, &error))
    }

    /// Several texts.
    pub(crate) fn texts(&self, line: &str, templates: &[String]) -> Result<Vec<String>, ServerError> {
        templates.iter().map(|template| self.text(line, template)).collect()
    }

    /// An argv. A program that is named, rather than given by its path, is the system's own: what an app has installed
    /// beside its sources, and put first into PATH, cannot take the place of what was granted.
    pub(crate) fn argv(&self, line: &str, templates: &[String]) -> Result<Vec<String>, ServerError> {
        let mut argv = self.texts(line, templates)?;
        if let Some(program) = argv.first_mut().filter(|program| !program.contains('/')) {
            let found = find_program(&*program, DEFAULT_PATH).ok_or_else(|| {
                ServerError::from(
                    Failure::because(format!("{line}: there is no program {program} on this machine"))
                        .hint(format!("It was looked for in {DEFAULT_PATH}.")),
                )
            })?;
            *program = found.display().to_string();
        }
        Ok(argv)
    }

    /// Values of an environment, in which only secrets are left.
    pub(crate) fn environment(
        &self,
        line: &str,
        variables: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, ServerError> {
        variables
            .iter()
            .map(|(name, value)| Ok((name.clone(), self.all_but_secrets(&format!("{line}: {name}"), value)?)))
            .collect()
    }

    fn failure(&self, line: &str, error: &dyn std::error::Error) -> ServerError {
        Failure::because(format!("the plan of service {} cannot be carried out: {line}: {error}", self.service))
            .hint("This is a defect of the service's hook; report it to its author.")
            .into()
    }
}
