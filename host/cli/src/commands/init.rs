//! `jecloud init`: looks at a directory and writes a commented jecloud.toml.

use std::path::Path;

use jecloud_disk::source::SourceTree;
use jecloud_disk::store;
use jecloud_model::config::{Detected, app_name_from_directory, template};

use crate::args::Global;
use crate::failure::{Code, Failure};
use crate::home::Home;
use crate::output::{print, say};
use crate::project::{CONFIG, Project};
use crate::{hooks, session};

pub(crate) fn run(global: &Global, dir: Option<&Path>) -> Result<(), Failure> {
    let directory = Project::directory(global, dir)?;
    write(&directory)?;
    say("Look at it, then type `jecloud deploy`.");
    Ok(())
}

/// Writes jecloud.toml into a directory that has none.
pub(crate) fn write(directory: &Path) -> Result<(), Failure> {
    let tree = SourceTree::scan(directory)?;
    let sandbox = session::sandbox(&Home::from_environment()?.server())?;
    let found: Vec<Detected> = hooks::detect(&sandbox, &tree)?
        .into_iter()
        .map(|(_, description, because)| Detected { service: description.name, because })
        .collect();
    let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let app = app_name_from_directory(&name);
    let path = directory.join(CONFIG);
    match store::create_new(&path, template(&app, &found).as_bytes(), 0o644) {
        Ok(()) => {}
        Err(error) if error.exists_already() => {
            return Err(Failure::usage(format!("{} exists already", path.display()))
                .hint("`jecloud plan` shows what it would do."));
        }
        Err(error) => return Err(Failure::from_error(Code::Failed, "cannot write the configuration", &error)),
    }
    for detected in &found {
        say(&format!("Found {} ({}).", detected.service, detected.because));
    }
    if found.is_empty() {
        say(&format!("Nothing here says what the app is made of: name a service in {CONFIG} before you deploy."));
    }
    print(&format!("Wrote {}", path.display()));
    Ok(())
}
