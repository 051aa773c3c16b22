//! Which route a request takes: a pure function of the tables, its host name and its path.

use std::borrow::Cow;
use std::collections::HashMap;

use jecloud_model::routes::RouteTable;

/// The routes of all apps and environments, ready to be asked.
///
/// Routes are known by the number under which they were counted: the routes of the first table, then those of the
/// second, each in the table's order.
#[derive(Debug, Default)]
pub(crate) struct RouteIndex {
    /// Host name → index in `apps`.
    hosts: HashMap<Box<str>, usize>,
    apps: Vec<AppRoutes>,
}

#[derive(Debug)]
struct AppRoutes {
    /// Prefixes without the slash at their end, the longest first; the number of the route.
    prefixes: Vec<(Box<str>, usize)>,
}

/// Why there is no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// No app is meant for this host name.
    Host,
    /// The app of this host name has no route for this path.
    Path,
}

/// A host name that two environments claim.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The name.
    pub(crate) host: String,
    /// `app/environment` whose routes serve it.
    pub(crate) serves: String,
    /// `app/environment` whose claim has no effect.
    pub(crate) ignored: String,
}

impl RouteIndex {
    /// Tables must come in a fixed order: of two that claim a host name, the first gets it.
    ///
    /// A table without routes does not count as an app that answers requests.
    pub(crate) fn new<'a>(tables: impl Iterator<Item = &'a RouteTable>) -> (Self, Vec<Conflict>) {
        let mut index = Self::default();
        let mut owners: Vec<&RouteTable> = Vec::new();
        let mut conflicts = Vec::new();
        let mut number = 0;
        for table in tables {
            if table.routes.is_empty() {
                continue;
            }
            let app = index.apps.len();
            for host in &table.hosts {
                let host = normalize_host(host).into_owned().into_boxed_str();
                match index.hosts.get(&host) {
                    Some(&first) if first != app => conflicts.push(Conflict {
                        host: host.into(),
                        serves: name(owners[first]),
                        ignored: name(table),
                    }),
                    Some(_) => {}
                    None => {
                        index.hosts.insert(host, app);
                    }
                }
            }
            let mut prefixes = Vec::with_capacity(table.routes.len());
            for route in &table.routes {
                prefixes.push((Box::from(route.path_prefix.trim_end_matches('/')), number));
                number += 1;
            }
            // Stable: of two equal prefixes the first one wins.
            prefixes.sort_by_key(|(prefix, _): &(Box<str>, usize)| std::cmp::Reverse(prefix.len()));
            index.apps.push(AppRoutes { prefixes });
            owners.push(table);
        }
        (index, conflicts)
    }

    /// The number of the route for a request.
    ///
    /// `host` is as the client sent it (any case, with or without a port); `path` is the path of the request target,
    /// undecoded: the front neither decodes nor normalises what it passes on.
    pub(crate) fn find(&self, host: &str, path: &str) -> Result<usize, NoRoute> {
        let app = match self.hosts.get(normalize_host(host).as_ref()) {
            Some(&app) => app,
            None if self.apps.len() == 1 => 0,
            None => return Err(NoRoute::Host),
        };
        let prefixes = &self.apps[app].prefixes;
        prefixes.iter().find(|(prefix, _)| covers(prefix, path)).map(|&(_, number)| number).ok_or(NoRoute::Path)
    }
}

/// Whether `path` is `prefix` or lies below it.
fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

/// Lower case, without the port and without the dot that ends a fully qualified name.
fn normalize_host(host: &str) -> Cow<'_, str> {
    let name = match host.rfind(':') {
        // The colons inside of `[::1]` are no port.
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

fn name(table: &RouteTable) -> String {
    format!("{}/{}", table.app, table.environment)
}

#[cfg(test)]
mod tests {
    use jecloud_model::ids::ReleaseNumber;
    use jecloud_model::routes::Route;

    use super::*;

    fn table(app: &str, hosts: &[&str], prefixes: &[&str]) -> RouteTable {
        RouteTable {
            format: 1,
            app: app.parse().unwrap(),
            environment: "production".parse().unwrap(),
            release: ReleaseNumber(1),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            routes: prefixes
                .iter()
                .map(|prefix| Route { path_prefix: (*prefix).to_owned(), backends: Vec::new() })
                .collect(),
        }
    }

    /// `expected` is `app prefix`, or why not.
    fn check(tables: &[RouteTable], host: &str, path: &str, expected: &str) {
        let names: Vec<String> = tables
            .iter()
            .flat_map(|table| table.routes.iter().map(|route| format!("{} {}", table.app, route.path_prefix)))
            .collect();
        let (index, _) = RouteIndex::new(tables.iter());
        let found = match index.find(host, path) {
            Ok(number) => names[number].as_str(),
            Err(NoRoute::Host) => "no host",
            Err(NoRoute::Path) => "no path",
        };
        assert_eq!(found, expected, "{host} {path}");
    }

    // Fails without: the comparison of hosts (all go to the first app), lower-casing, the removal of the port, the
    // brackets of IPv6 addresses, the dot at the end.
    #[test]
    fn host_chooses_the_app() {
        let tables = [
            table("shop", &["shop.example", "WWW.shop.example", "[::1]"], &["/"]),
            table("blog", &["blog.example"], &["/"]),
        ];
        for (host, expected) in [
            ("shop.example", "shop /"),
            ("SHOP.Example", "shop /"),
            ("shop.example:8080", "shop /"),
            ("shop.example.", "shop /"),
            ("shop.example.:80", "shop /"),
            ("www.shop.example", "shop /"),
            ("[::1]", "shop /"),
            ("[::1]:8080", "shop /"),
            ("blog.example", "blog /"),
            ("example", "no host"),
            ("other.shop.example", "no host"),
            ("", "no host"),
            (":8080", "no host"),
        ] {
            check(&tables, host, "/", expected);
        }
    }

    // Fails without: the case of one app (no host), the exclusion of tables without routes (two apps: no host).
    #[test]
    fn the_only_app_serves_every_host() {
        let tables = [table("shop", &["shop.example"], &["/"]), table("queue", &[], &[])];
        for host in ["shop.example", "127.0.0.1:8080", "anything", ""] {
            check(&tables, host, "/a", "shop /");
        }
        check(&[], "shop.example", "/", "no host");
        check(&[table("queue", &["queue.example"], &[])], "queue.example", "/", "no host");
    }

    // Fails without: sorting by length, the segment border, the trimming of a slash at the end.
    #[test]
    fn the_longest_prefix_wins() {
        let tables = [table("shop", &[], &["/", "/api", "/api/v2/", "/static/"])];
        for (path, expected) in [
            ("/", "shop /"),
            ("", "shop /"),
            ("*", "shop /"),
            ("/ap", "shop /"),
            ("/apis", "shop /"),
            ("/API", "shop /"),
            ("/api", "shop /api"),
            ("/api/", "shop /api"),
            ("/api/v1", "shop /api"),
            ("/api/v2", "shop /api/v2/"),
            ("/api/v2/x/y", "shop /api/v2/"),
            ("/api/v20", "shop /api"),
            ("/static/a.css", "shop /static/"),
            ("//api", "shop /"),
            ("/%61pi", "shop /"),
        ] {
            check(&tables, "h", path, expected);
        }
        let no_root = [table("shop", &[], &["/api"])];
        check(&no_root, "h", "/api/x", "shop /api");
        check(&no_root, "h", "/", "no path");
        check(&no_root, "h", "/apis", "no path");
    }

    // Fails without: the check for a first claim (the second table takes the name over, and nobody is told).
    #[test]
    fn of_two_claims_the_first_counts() {
        let tables = [table("a", &["x.example", "X.example"], &["/"]), table("b", &["x.example", "y.example"], &["/"])];
        check(&tables, "x.example", "/", "a /");
        check(&tables, "y.example", "/", "b /");
        let (_, conflicts) = RouteIndex::new(tables.iter());
        assert_eq!(
            conflicts,
            [Conflict {
                host: "x.example".to_owned(),
                serves: "a/production".to_owned(),
                ignored: "b/production".to_owned()
            }]
        );
    }
}
