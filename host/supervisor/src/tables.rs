//! What is wanted: the tables of all apps and environments.

use std::collections::BTreeMap;

use jecloud_disk::{durable, tree};
use jecloud_model::format::FORMAT;
use jecloud_model::ids::{AppName, EnvironmentName};
use jecloud_model::layout::{EnvironmentRoot, ServerRoot};
use jecloud_model::processes::{ProcessSpec, ProcessTable};
use jecloud_model::routes::RouteTable;

/// Whose processes.
pub type Place = (AppName, EnvironmentName);

/// What is wanted of one app and environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// None where the table cannot be read: then what runs there goes on, and nothing is started.
    pub processes: Option<Vec<ProcessSpec>>,
    /// Whether the front has anything to do for it.
    pub has_routes: bool,
}

/// Everything that is wanted, and the problems that were met, for the log.
#[derive(Debug, Default)]
pub struct Tables {
    /// By whose it is.
    pub wanted: BTreeMap<Place, Wanted>,
    /// What cannot be read, in words.
    pub problems: Vec<String>,
    /// Whether the server's directory could not even be listed: then nothing is known.
    pub blind: bool,
}

/// Reads all tables. Names that are not those of an app or environment are none of our business.
pub fn read(root: &ServerRoot) -> Tables {
    let mut tables = Tables::default();
    let apps = match tree::list(root.path()) {
        Ok(apps) => apps,
        Err(error) => {
            tables.problems.push(crate::chain(&error));
            tables.blind = true;
            return tables;
        }
    };
    for app in apps.iter().filter_map(|name| name.to_str()?.parse::<AppName>().ok()) {
        // An entry that is a file, or that has just been removed, holds no environments.
        let environments = tree::list(&root.path().join(app.as_str())).unwrap_or_default();
        for environment in environments.iter().filter_map(|name| name.to_str()?.parse::<EnvironmentName>().ok()) {
            let place = root.environment(&app, &environment);
            let wanted = Wanted {
                processes: processes(&place).unwrap_or_else(|problem| {
                    tables.problems.push(problem);
                    None
                }),
                has_routes: has_routes(&place),
            };
            tables.wanted.insert((app.clone(), environment), wanted);
        }
    }
    tables
}

fn processes(place: &EnvironmentRoot) -> Result<Option<Vec<ProcessSpec>>, String> {
    let path = place.process_table();
    let table: Option<ProcessTable> = durable::read_json(&path).map_err(|error| crate::chain(&error))?;
    if let Some(format) = table.as_ref().map(|table| table.format).filter(|format| *format > FORMAT) {
        return Err(format!("{} was written by a newer JeCloud (format {format})", path.display()));
    }
    Ok(Some(table.map(|table| table.processes).unwrap_or_default()))
}

/// A table that cannot be read is the front's business to complain about; it may hold routes.
fn has_routes(place: &EnvironmentRoot) -> bool {
    match durable::read_json::<RouteTable>(&place.route_table()) {
        Ok(table) => table.is_some_and(|table| !table.routes.is_empty()),
        Err(_) => true,
    }
}
