//! Installing packages: what the hooks require is there afterwards, in exactly known versions.

use std::collections::BTreeMap;

use jecloud_model::app::Failure;
use jecloud_model::events::What;
use jecloud_model::hook::{OptionValue, Package, Source};
use jecloud_model::repository::Repository;

use super::Work;
use crate::error::ServerError;
use crate::hooks::Asked;
use crate::packages::{self, Requirement, Wanted, archive};
use crate::part;
use crate::pins;
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
    let topology = work.place.topology(work.number)?;
    let mut all = Installed::new();
    let mut names = Vec::new();
    let asked = Asked::of_release(work.server, &release, work.place)?;
    for asked in part::here(asked, &release, work.document, &topology)? {
        let mut before: Option<Vec<Package>> = None;
        let asks = asked.description.facts.iter().any(|fact| fact.starts_with("candidate:"));
        if let Some(manager) = packages::of_this_machine().filter(|manager| asks && manager.lacks_lists()) {
            // A fresh machine knows no packages. Without a mirror it may still have other places to get them from.
            let mut say = |line: &str| work.place.tell(work.number, What::Output { line: line.to_owned() });
            if let Err(error) = manager.refresh(work.cancel, &mut say) {
                work.place.tell(work.number, What::Output { line: crate::error::chain(&error) });
            }
        }
        for _ in 0..ROUNDS {
            let mut context = asked.context(&release, work.document, work.document.current_version.as_ref());
            // As the next deployment finds it: what was installed a moment ago is not what was on the server.
            let installed = all.get(asked.service).into_iter().flatten().filter(|package| package.pin);
            context.pins.extend(installed.map(|package| (package.name.clone(), package.version.clone())));
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
        let of_service = all.get(asked.service).into_iter().flatten().filter(|package| package.pin);
        let now = of_service.map(|package| (&*package.name, &*package.version)).collect();
        for text in pins::moved(asked.service, &asked.wish.pins, &now) {
            work.place.tell(work.number, What::Note { text });
        }
        names.extend(all.get(asked.service).into_iter().flatten().map(|p| format!("{} {}", p.name, p.version)));
    }
    write(work.place, work.number, &all)?;
    Ok(names.join(", "))
}

fn install(work: &Work<'_>, packages: &[Package]) -> Result<Vec<InstalledPackage>, ServerError> {
    let of_distribution: Vec<Wanted> = packages
        .iter()
        .filter(|package| package.source == Source::Distribution)
        .map(|package| {
            // What is wrong with one was refused before.
            let repository = Repository::of(&package.options).map_err(Failure::because)?;
            Ok(Wanted { name: package.name.clone(), version: Requirement::new(&package.version), repository })
        })
        .collect::<Result<_, Failure>>()?;
    let mut say = |line: &str| work.place.tell(work.number, What::Output { line: line.to_owned() });
    let versions = match packages::of_this_machine() {
        _ if of_distribution.is_empty() => Vec::new(),
        Some(manager) => packages::install(&*manager, &of_distribution, work.cancel, &mut say)?,
        None => {
            let names: Vec<&str> = of_distribution.iter().map(|package| package.name.as_str()).collect();
            return Err(Failure::because(format!(
                "{} must be installed, and the server has neither apt nor dnf",
                names.join(", ")
            ))
            .hint("Install it on the server by hand, then deploy again.")
            .into());
        }
    };
    let mut from_distribution = versions.into_iter();
    packages
        .iter()
        .map(|package| {
            let (version, directory) = match &package.source {
                Source::Present => (package.version.clone(), None),
                Source::Distribution => (
                    from_distribution
                        .next()
                        .ok_or_else(|| Failure::because(format!("nothing is known of the package {}", package.name)))?,
                    None,
                ),
                Source::Archive(from) => {
                    let requirement = Requirement::new(&package.version);
                    let root = &work.server.root;
                    let version = archive::install(root, &package.name, &requirement, from, work.cancel)
                        .map_err(|error| with_hint(error, package))?;
                    let directory = root.package(&package.name, &version).display().to_string();
                    (version, Some(directory))
                }
            };
            Ok(InstalledPackage { name: package.name.clone(), version, pin: package.pin, directory })
        })
        .collect()
}

/// Adds what the hook says a person can do instead.
fn with_hint(error: ServerError, package: &Package) -> ServerError {
    match (error, package.options.get("hint")) {
        (ServerError::Deployment(failure), Some(OptionValue::Text(more))) => {
            let hint = format!("{} {more}", failure.hint);
            failure.hint(hint.trim()).into()
        }
        (error, _) => error,
    }
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
