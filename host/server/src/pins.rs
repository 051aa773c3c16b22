//! Pins: the exact versions of packages in jecloud.lock. A deployment never moves on from one by itself.

use std::collections::BTreeMap;

use jecloud_model::app::Failure;
use jecloud_model::hook::{Package, Source};
use jecloud_model::ids::ServiceName;
use jecloud_model::repository::Repository;

use crate::error::ServerError;
use crate::packages::{self, Requirement, Wanted, archive, distribution, without_epoch};

/// Holds packages to their pins: where what a hook asks for can be the pinned version, it is that. A hook need not look
/// at pins for this.
pub(crate) fn hold(packages: &mut [Package], pins: &BTreeMap<String, String>) {
    for package in packages.iter_mut().filter(|package| package.pin && package.source != Source::Present) {
        if let Some(pinned) = pins.get(&package.name)
            && Requirement::new(&package.version).accepts(without_epoch(pinned))
        {
            package.version.clone_from(pinned);
        }
    }
}

/// What is said of pins that do not hold any more, since what is asked for excludes them: `now` is what a service uses
/// instead, by name and version.
pub(crate) fn moved(service: &ServiceName, pins: &BTreeMap<String, String>, now: &BTreeMap<&str, &str>) -> Vec<String> {
    let gone = pins.iter().filter(|(name, pinned)| match now.get(name.as_str()) {
        // A version that is a range holds the pin.
        Some(now) => !Requirement::new(now).accepts(without_epoch(pinned)),
        // The same version in another package: what was on one server is installed on another one.
        None => !now.values().any(|now| Requirement::new(pinned).accepts(without_epoch(now))),
    });
    let instead = |name: &str| match now.get(name) {
        Some(version) => (*version).to_owned(),
        None => now.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", "),
    };
    gone.map(|(name, pinned)| match instead(name) {
        nothing if nothing.is_empty() => {
            format!("service {service} does not need {name} {pinned} of jecloud.lock any more")
        }
        instead => format!(
            "service {service} cannot use {name} {pinned} of jecloud.lock with what is asked for now: it uses {instead}"
        ),
    })
    .collect()
}

/// What is pinned of these packages.
pub(crate) fn pinned(packages: &[Package]) -> BTreeMap<&str, &str> {
    packages.iter().filter(|package| package.pin).map(|package| (&*package.name, &*package.version)).collect()
}

/// Fetches the lists of packages, where any of these pins is about what this machine's package manager has installed:
/// a newer version is known only then. What is said where they cannot be had.
pub(crate) fn refresh<'a>(pins: impl IntoIterator<Item = &'a BTreeMap<String, String>>) -> Option<String> {
    let manager = packages::of_this_machine().filter(|_| jecloud_launch::is_root())?;
    let is_of_manager = |name: &String| manager.installed(name).is_some();
    pins.into_iter().flatten().any(|(name, _)| is_of_manager(name)).then_some(())?;
    let error = manager.refresh(&|| false, &mut |_| {}).err()?;
    Some(format!("the lists of packages are those of before: {}", crate::error::chain(&error)))
}

/// Takes facts away that pinned packages made true, as if they were not installed: a hook that finds a program on the
/// server takes that one, whatever the distribution has by now.
pub(crate) fn forget(facts: &mut BTreeMap<String, String>, pins: &BTreeMap<String, String>) {
    let Some(manager) = packages::of_this_machine() else { return };
    let installed = |(name, version): &(&String, &String)| {
        manager.installed(name).is_some_and(|found| Requirement::new(version).accepts(without_epoch(&found)))
    };
    let ours: Vec<&String> = pins.iter().filter(installed).map(|(name, _)| name).collect();
    facts.retain(|name, value| {
        let path = name.strip_prefix("program:").and_then(|_| value.split(' ').next());
        !path.is_some_and(|path| ours.iter().any(|package| manager.brings(package, path)))
    });
}

/// The version that would be installed of a package.
///
/// # Errors
///
/// A [`Failure`] where it cannot be had.
pub(crate) fn exact(package: &Package) -> Result<String, ServerError> {
    let version = Requirement::new(&package.version);
    match &package.source {
        Source::Present => Ok(package.version.clone()),
        Source::Archive(archive) => archive::exact(&package.name, &version, archive),
        Source::Distribution => {
            let repository = Repository::of(&package.options).map_err(Failure::because)?;
            let wanted = Wanted { name: package.name.clone(), version, repository };
            let manager = packages::of_this_machine()
                .ok_or_else(|| Failure::because("the server has neither apt nor dnf".to_owned()))?;
            distribution::exact(&*manager, &wanted)
        }
    }
}

#[cfg(test)]
mod tests {
    use jecloud_model::hook::Options;

    use super::*;

    fn package(version: &str, pin: bool) -> Package {
        let (name, source) = ("thing".to_owned(), Source::Distribution);
        Package { name, version: version.to_owned(), source, pin, options: Options::new() }
    }

    fn pins(version: &str) -> BTreeMap<String, String> {
        [("thing".to_owned(), version.to_owned())].into()
    }

    /// Fails without `hold`: a hook that does not look at its pins would move on with every deployment.
    #[test]
    fn what_can_be_the_pinned_version_is_it() {
        let held = |version: &str, pin: bool, pinned: &str| {
            let mut packages = [package(version, pin)];
            hold(&mut packages, &pins(pinned));
            let [package] = packages;
            package.version
        };
        assert_eq!(held("", true, "1.2-3"), "1.2-3");
        assert_eq!(held("1", true, "5:1.2-3"), "5:1.2-3");
        assert_eq!(held("2", true, "1.2-3"), "2");
        assert_eq!(held("", false, "1.2-3"), "");
    }

    #[test]
    fn what_holds_no_more_is_said() {
        let service: ServiceName = "bell".parse().expect("a name");
        let said = |pinned: &str, now: &[(&str, &str)]| moved(&service, &pins(pinned), &now.iter().copied().collect());
        assert_eq!(said("5:1.2-3", &[("thing", "5:1.2-3")]), Vec::<String>::new());
        assert_eq!(said("1.2-3", &[("thing", "1")]), Vec::<String>::new());
        let other = said("1.2-3", &[("thing", "2")]);
        assert_eq!(
            other,
            ["service bell cannot use thing 1.2-3 of jecloud.lock with what is asked for now: it uses 2"]
        );
        assert_eq!(said("1.2", &[("thing-server", "5:1.2-3")]), Vec::<String>::new());
        assert!(said("1.2-3", &[("other", "7")])[0].ends_with("it uses other 7"));
        assert!(said("1.2-3", &[])[0].contains("does not need thing 1.2-3"));
    }
}
