//! Installing packages: what the hooks require is there afterwards, in exactly known versions.

use std::collections::BTreeMap;

use jecloud_model::app::Failure;
use jecloud_model::events::What;
use jecloud_model::hook::{Package, Source};

use super::Work;
use crate::error::ServerError;
use crate::hooks::Asked;
use crate::packages::{Requirement, apt, archive};
use crate::place::Place;

/// A hook sees what its packages made of the facts and may ask for more; one that is not content by then never is.
const ROUNDS: usize = 4;

/// `releases/N/packages.json`: exact versions by service and package, as installed.
pub(crate) type Installed = BTreeMap<jecloud_model::ids::ServiceName, Vec<InstalledPackage>>;

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct InstalledPackage {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) pin: bool,
    /// Its directory, for an archive.
    pub(crate) directory: Option<String>,
}

pub(super) fn perform(work: &Work<'_>) -> Result<String, ServerError> {
    let release = work.place.release(work.number)?;
    let source = work.place.root.version(&release.version);
    let mut all = Installed::new();
    let mut names = Vec::new();
    for asked in Asked::of_release(work.server, &release, &source)? {
        let mut before: Option<Vec<Package>> = None;
        for _ in 0..ROUNDS {
            let context = asked.context(&release, work.document, work.document.current_version.as_ref());
            let packages = asked.required_packages(&context)?;
            if before.as_ref() == Some(&packages) {
                break;
            }
            let installed = install(work, &packages)?;
            let settled = packages.iter().all(|package| package.source == Source::Present);
            all.insert(asked.service.clone(), installed);
            before = Some(packages);
            if settled {
                break;
            }
        }
        names.extend(all.get(asked.service).into_iter().flatten().map(|p| format!("{} {}", p.name, p.version)));
    }
    write(work.place, work.number, &all)?;
    Ok(names.join(", "))
}

fn install(work: &Work<'_>, packages: &[Package]) -> Result<Vec<InstalledPackage>, ServerError> {
    let of_distribution: Vec<(String, Requirement)> = packages
        .iter()
        .filter(|package| package.source == Source::Distribution)
        .map(|package| (package.name.clone(), Requirement::new(&package.version)))
        .collect();
    let mut say = |line: &str| work.place.tell(work.number, What::Output { line: line.to_owned() });
    let mut from_distribution = apt::install(&of_distribution, work.cancel, &mut say)?.into_iter();
    packages
        .iter()
        .map(|package| {
            let (version, directory) = match &package.source {
                Source::Present => (package.version.clone(), None),
                Source::Distribution => (
                    from_distribution
                        .next()
                        .ok_or_else(|| Failure::because(format!("apt says nothing about {}", package.name)))?,
                    None,
                ),
                Source::Archive(from) => {
                    let requirement = Requirement::new(&package.version);
                    let root = &work.server.root;
                    let version = archive::install(root, &package.name, &requirement, from, work.cancel)?;
                    let directory = root.package(&package.name, &version).display().to_string();
                    (version, Some(directory))
                }
            };
            Ok(InstalledPackage { name: package.name.clone(), version, pin: package.pin, directory })
        })
        .collect()
}

fn path(place: &Place, number: jecloud_model::ids::ReleaseNumber) -> std::path::PathBuf {
    place.root.release(number).join("packages.json")
}

fn write(place: &Place, number: jecloud_model::ids::ReleaseNumber, installed: &Installed) -> Result<(), ServerError> {
    Ok(jecloud_disk::durable::write_json(&path(place, number), installed, 0o644)?)
}

/// What was installed for a release.
pub(crate) fn read(place: &Place, number: jecloud_model::ids::ReleaseNumber) -> Result<Installed, ServerError> {
    Ok(jecloud_disk::durable::read_json(&path(place, number))?.unwrap_or_default())
}
