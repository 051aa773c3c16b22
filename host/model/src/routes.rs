//! What the front is told: which requests go to which processes.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::ids::{AppName, EnvironmentName, InstanceId, ReleaseNumber};

/// `sys/routes/APP.ENV.json`: the routes of one app and environment. Replaced as a whole, atomically.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// 1.
    pub format: u32,
    /// Whose.
    pub app: AppName,
    /// In which environment.
    pub environment: EnvironmentName,
    /// The release that serves.
    pub release: ReleaseNumber,
    /// Host names (lower case, no port) for which these routes are meant. Where a server has the routes of one app
    /// and environment only, they are used for every host name.
    pub hosts: Vec<String>,
    /// The longest matching prefix wins.
    pub routes: Vec<Route>,
}

/// Requests below a path, and who answers them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// `/` or `/api`: matches `/api`, `/api/…`, not `/apis`.
    pub path_prefix: String,
    /// Requests go to the one with the fewest in flight.
    pub backends: Vec<Backend>,
}

/// A process that answers requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Which process.
    pub id: InstanceId,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What the front says about a backend: one it has a route to, or one that is not routed any more and still has
/// requests in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendStatus {
    /// Whose.
    pub app: AppName,
    /// In which environment.
    pub environment: EnvironmentName,
    /// Which process.
    pub id: InstanceId,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether new requests may go to it.
    pub routed: bool,
    /// Requests (and upgraded connections) that are not complete.
    pub in_flight: u64,
}
