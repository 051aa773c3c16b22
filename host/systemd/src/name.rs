//! The names of units: whose process it is can be read from them, and that it is ours.

use std::fmt;

use jecloud_model::ids::{AppName, EnvironmentName, InstanceId};

/// What all our units begin with.
const PREFIX: &str = "jecloud-";

/// What they end with.
const SUFFIX: &str = ".service";

/// All units of processes, for `systemctl`. The front's have no dot in their names.
pub(crate) const PATTERN: &str = "jecloud-*.*.*.*.service";

/// The unit of a process: `jecloud-shop.production.web.1.7.service` is `web.1@7`.
///
/// No part of it can hold a dot, so that no two processes have the same; and none can hold what has a meaning in the name
/// of a unit. A `:` would have none either, but `systemd-analyze verify` takes it for the beginning of an alias.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitName {
    /// Whose.
    pub app: AppName,
    /// In which environment.
    pub environment: EnvironmentName,
    /// Which.
    pub id: InstanceId,
}

impl UnitName {
    /// The process that a unit is of; none for a unit that is none of ours.
    pub fn parse(unit: &str) -> Option<Self> {
        let parts: Vec<&str> = unit.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split('.').collect();
        let (id, release) = match parts.as_slice() {
            [_, _, process, index] => (format!("{process}.{index}"), None),
            [_, _, process, index, release] => (format!("{process}.{index}@{release}"), Some(release)),
            _ => return None,
        };
        let name = Self { app: parts[0].parse().ok()?, environment: parts[1].parse().ok()?, id: id.parse().ok()? };
        // Numbers can be written in several ways, and a name only in one.
        (release.is_none() || name.id.release.is_some()).then_some(())?;
        (name.to_string() == unit).then_some(name)
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}.{}.{}.{}", self.app, self.environment, self.id.process, self.id.index)?;
        if let Some(release) = self.id.release {
            write!(f, ".{}", release.0)?;
        }
        f.write_str(SUFFIX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_processes_and_back() {
        let check = |app: &str, environment: &str, id: &str, unit: &str| {
            let name = UnitName {
                app: app.parse().expect("valid"),
                environment: environment.parse().expect("valid"),
                id: id.parse().expect("valid"),
            };
            assert_eq!(name.to_string(), unit);
            assert_eq!(UnitName::parse(unit), Some(name));
        };
        check("shop", "production", "web.1@7", "jecloud-shop.production.web.1.7.service");
        check("shop", "production", "db.2", "jecloud-shop.production.db.2.service");
        check("front", "x", "release_worker.12@3", "jecloud-front.x.release_worker.12.3.service");
        // Dashes would not tell these two apart.
        check("a-b", "c", "web.1", "jecloud-a-b.c.web.1.service");
        check("a", "b-c", "web.1", "jecloud-a.b-c.web.1.service");
    }

    /// Fails where whatever begins like ours is taken for ours: it would be removed, because nobody wants it.
    #[test]
    fn units_of_others_are_not_ours() {
        for unit in [
            "jecloud-front.socket",
            "jecloud-front@1.service",
            "jecloud-rollforward.service",
            "jecloud-rollforward.timer",
            "jecloud.target",
            "jecloud-a.b.service",
            "jecloud-shop.production.web.0.service",
            "jecloud-shop.production.web.01.service",
            "jecloud-shop.production.web.1.7.8.service",
            "jecloud-shop.production.web.1.x.service",
            "jecloud-shop.production.web.1.timer",
            "ssh.service",
        ] {
            assert_eq!(UnitName::parse(unit), None, "{unit}");
        }
    }
}
