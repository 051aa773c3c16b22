//! Powers as sets: what covers what, what two have in common, what one has beyond another.

use super::url;
use super::{Power, files};
use crate::hook::{Powers, ProgramPower};

impl Powers {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.each().next().is_none()
    }

    /// Every single power.
    pub(super) fn each(&self) -> impl Iterator<Item = Power> + '_ {
        let packages = self.packages.iter().map(|name| Power::Package(name.clone()));
        let repositories = self.repositories.iter().map(|url| Power::Repository(url.clone()));
        let programs = self.programs.iter().map(|power| Power::Program(power.program.clone(), power.run_as));
        let ports = self.ports.iter().map(|port| Power::Port(*port));
        let paths = self.paths.iter().map(|path| Power::Path(path.clone()));
        let secrets = self.secrets.iter().map(|name| Power::Secret(name.clone()));
        packages.chain(repositories).chain(programs).chain(ports).chain(paths).chain(secrets)
    }

    /// Whether a power is among these, or is a part of one of them.
    pub fn covers(&self, power: &Power) -> bool {
        match power {
            Power::Package(name) => self.packages.contains(name),
            Power::Repository(wanted) => self.repositories.iter().any(|prefix| url::covers(prefix, wanted)),
            Power::Program(program, run_as) => {
                self.programs.iter().any(|power| power.program == *program && *run_as <= power.run_as)
            }
            Power::Port(port) => self.ports.contains(port),
            Power::Path(wanted) => self.paths.iter().any(|path| files::path_covers(path, wanted)),
            Power::Secret(name) => self.secrets.contains(name),
        }
    }

    /// What is covered by both. Of two that overlap, the narrower one.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let mut common = Self::default();
        for power in self.each().filter(|power| other.covers(power)) {
            common.add(power);
        }
        for power in other.each().filter(|power| self.covers(power)) {
            common.add(power);
        }
        common
    }

    /// Those of these that `granted` does not cover: what an update asks for beyond what was approved.
    #[must_use]
    pub fn missing_from(&self, granted: &Self) -> Self {
        let mut missing = Self::default();
        for power in self.each().filter(|power| !granted.covers(power)) {
            missing.add(power);
        }
        missing
    }

    /// Adds a power unless it is covered.
    fn add(&mut self, power: Power) {
        if self.covers(&power) {
            return;
        }
        match power {
            Power::Package(name) => self.packages.push(name),
            Power::Repository(url) => self.repositories.push(url),
            Power::Program(program, run_as) => {
                self.programs.retain(|known| known.program != program);
                self.programs.push(ProgramPower { program, run_as });
            }
            Power::Port(port) => self.ports.push(port),
            Power::Path(path) => self.paths.push(path),
            Power::Secret(name) => self.secrets.push(name),
        }
    }
}
