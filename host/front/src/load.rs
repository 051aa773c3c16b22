//! Reading the tables.

use std::collections::{BTreeMap, BTreeSet};

use jecloud_disk::{durable, tree};
use jecloud_model::format::FORMAT;
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
            Ok(Some(table)) if table.format > FORMAT => {
                let format = table.format;
                problems.push(format!("{}: {kept}: a newer JeCloud wrote it (format {format})", path.display()));
            }
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

    /// All that have a table, in the order of their names. Where the directory cannot be read, those that were known.
    fn environments(&self, problems: &mut Vec<String>) -> BTreeSet<(AppName, EnvironmentName)> {
        let directory = self.root.routes();
        match tree::list(&directory) {
            // Others are not ours: temporary ones.
            Ok(names) => names.iter().filter_map(|name| ServerRoot::routes_of(name.to_str()?)).collect(),
            Err(error) => {
                let path = directory.display();
                problems.push(format!("{path}: all tables stay as they were: {}", jecloud_model::chain(&error)));
                self.good.keys().cloned().collect()
            }
        }
    }
}
