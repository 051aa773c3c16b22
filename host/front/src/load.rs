//! Reading the tables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;

use jecloud_disk::{DiskError, durable, tree};
use jecloud_model::ids::{AppName, EnvironmentName};
use jecloud_model::layout::ServerRoot;
use jecloud_model::routes::RouteTable;

use crate::control::{Reloaded, Serving};
use crate::router::Router;

/// The tables of a server, as they were when they could last be read.
#[derive(Debug)]
pub(crate) struct TableStore {
    root: ServerRoot,
    good: BTreeMap<(AppName, EnvironmentName), RouteTable>,
}

impl TableStore {
    pub(crate) fn new(root: ServerRoot) -> Self {
        Self { root, good: BTreeMap::new() }
    }

    /// Reads all tables and puts them to use. A table that is there and cannot be read leaves the last good one of
    /// its app and environment in place; one that is gone takes its routes away.
    pub(crate) fn reload(&mut self, router: &Router) -> Reloaded {
        let mut problems = Vec::new();
        let found = self.environments(&mut problems);
        self.good.retain(|key, _| found.contains(key));
        for key in found {
            self.read(key, &mut problems);
        }
        for conflict in router.replace(self.good.values()) {
            problems.push(format!(
                "both {} and {} claim the host name {}: it goes to the first one",
                conflict.serves, conflict.ignored, conflict.host
            ));
        }
        let serving = self
            .good
            .values()
            .map(|table| Serving {
                app: table.app.clone(),
                environment: table.environment.clone(),
                release: table.release,
            })
            .collect();
        Reloaded { serving, problems }
    }

    fn read(&mut self, key: (AppName, EnvironmentName), problems: &mut Vec<String>) {
        let (app, environment) = &key;
        let path = self.root.environment(app, environment).route_table();
        let kept = if self.good.contains_key(&key) { "the last good table stays in use" } else { "it is left out" };
        match durable::read_json::<RouteTable>(&path) {
            Ok(Some(table)) if (&table.app, &table.environment) == (app, environment) => {
                self.good.insert(key, table);
            }
            Ok(Some(table)) => {
                problems.push(format!(
                    "{}: {kept}: it says it is of {}/{}",
                    path.display(),
                    table.app,
                    table.environment
                ));
            }
            Ok(None) => {
                self.good.remove(&key);
            }
            Err(error) => problems.push(format!("{}: {kept}: {}", path.display(), jecloud_model::chain(&error))),
        }
    }

    /// Whatever looks like `APP/ENV`, in the order of the names. Where a directory cannot be read, those that were
    /// known below it.
    fn environments(&self, problems: &mut Vec<String>) -> BTreeSet<(AppName, EnvironmentName)> {
        let mut known = |path: &Path, error: &DiskError, filter: &dyn Fn(&AppName) -> bool| {
            problems.push(format!("{}: its tables stay as they were: {}", path.display(), jecloud_model::chain(error)));
            self.good.keys().filter(|(app, _)| filter(app)).cloned().collect::<Vec<_>>()
        };
        let root = self.root.path();
        let apps = match names::<AppName>(root) {
            Ok(apps) => apps,
            Err(error) => return known(root, &error, &|_| true).into_iter().collect(),
        };
        let mut found = BTreeSet::new();
        for app in apps {
            let directory = root.join(app.as_str());
            match names::<EnvironmentName>(&directory) {
                Ok(environments) => found.extend(environments.into_iter().map(|name| (app.clone(), name))),
                Err(error) => found.extend(known(&directory, &error, &|name| *name == app)),
            }
        }
        found
    }
}

/// The directories in a directory whose names are of this kind. Others are not ours: `sys`, temporary ones.
fn names<T: FromStr>(directory: &Path) -> Result<Vec<T>, DiskError> {
    let mut names = Vec::new();
    for name in tree::list(directory)? {
        if let Some(Ok(id)) = name.to_str().map(str::parse)
            && tree::is_dir(&directory.join(&name))?
        {
            names.push(id);
        }
    }
    Ok(names)
}
