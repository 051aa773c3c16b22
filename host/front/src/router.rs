//! The tables in use, and the choice of the backend for each request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jecloud_model::routes::{BackendStatus, RouteTable};

use crate::backend::{Backend, BackendKey, Lease};
use crate::routing::{Conflict, NoRoute, RouteIndex};

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Router {
    /// One for each worker, always all the same between two replacements.
    tables: Box<[Slot]>,
    backends: Mutex<Backends>,
}

/// A worker's own way to the tables: what a core writes for every request, no other core should have to write.
#[derive(Debug)]
#[repr(align(128))]
struct Slot(Mutex<Arc<Tables>>);

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Arc<Tables>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Tables {
    index: RouteIndex,
    /// By the number that the index gives.
    routes: Vec<RouteBackends>,
}

#[derive(Debug, Default)]
struct Backends {
    /// Every backend that has a route.
    routed: HashMap<BackendKey, Arc<Backend>>,
    /// Backends without a route that had requests in flight when they lost it.
    retired: Vec<Arc<Backend>>,
}

#[derive(Debug)]
struct RouteBackends {
    backends: Vec<Arc<Backend>>,
    /// Where to begin the search, so that equally busy backends take turns.
    turn: AtomicUsize,
}

/// Why no backend was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoBackend {
    /// There is no route.
    NoRoute(NoRoute),
    /// Every backend of the route was tried, or it has none.
    AllTried,
}

/// The backends that refused a request in this round.
#[derive(Debug, Default)]
pub(crate) struct Tried(Vec<Arc<Backend>>);

impl Tried {
    pub(crate) fn add(&mut self, backend: &Arc<Backend>) {
        self.0.push(Arc::clone(backend));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    fn contains(&self, backend: &Arc<Backend>) -> bool {
        self.0.iter().any(|tried| Arc::ptr_eq(tried, backend))
    }
}

impl Router {
    /// Without any route. `workers`: how many threads keep pools of connections.
    pub(crate) fn new(workers: usize) -> Self {
        Self { tables: (0..workers).map(|_| Slot(Mutex::default())).collect(), backends: Mutex::default() }
    }

    /// As given to [`Router::new`].
    pub(crate) fn workers(&self) -> usize {
        self.tables.len()
    }

    /// Chooses the backend for a request of a worker and counts the request as in flight to it.
    ///
    /// Both happen under one lock, which [`Router::replace`] takes, too: once `replace` has returned, every request
    /// that chose from the old tables is counted, and none chooses from them any more. So whoever sees a count of zero
    /// after a replacement may end the process.
    pub(crate) fn acquire(&self, worker: usize, host: &str, path: &str, tried: &Tried) -> Result<Lease, NoBackend> {
        let tables = self.tables[worker].lock();
        let route = tables.index.find(host, path).map_err(NoBackend::NoRoute)?;
        let chosen = tables.routes[route].choose(tried).ok_or(NoBackend::AllTried)?;
        Ok(Lease::new(Arc::clone(chosen), worker))
    }

    /// Whether the route of such a request has any backend, able or not.
    pub(crate) fn has_backend(&self, worker: usize, host: &str, path: &str) -> bool {
        let tables = self.tables[worker].lock();
        tables.index.find(host, path).is_ok_and(|route| !tables.routes[route].backends.is_empty())
    }

    /// Replaces all tables at once. `tables` must come in a fixed order: see [`RouteIndex::new`].
    ///
    /// Requests in flight stay with their backends, routed or not. A backend that both the old and the new tables
    /// name is the same one before and after: its connections, count and health are kept.
    pub(crate) fn replace<'a>(&self, tables: impl Iterator<Item = &'a RouteTable> + Clone) -> Vec<Conflict> {
        let (index, conflicts) = RouteIndex::new(tables.clone());
        let mut all = self.backends.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = std::mem::take(&mut all.routed);
        known.extend(all.retired.drain(..).map(|backend| (backend.key.clone(), backend)));

        let mut routed: HashMap<BackendKey, Arc<Backend>> = HashMap::new();
        let mut routes = Vec::new();
        for table in tables {
            for route in &table.routes {
                let mut backends: Vec<Arc<Backend>> = Vec::with_capacity(route.backends.len());
                for backend in &route.backends {
                    let key = BackendKey {
                        app: table.app.clone(),
                        environment: table.environment.clone(),
                        id: backend.id.clone(),
                        address: backend.address,
                    };
                    let entry = routed.entry(key).or_insert_with_key(|key| match known.remove(key) {
                        Some(backend) => backend,
                        None => Backend::new(key.clone(), self.workers()),
                    });
                    if !backends.iter().any(|other| Arc::ptr_eq(other, entry)) {
                        backends.push(Arc::clone(entry));
                    }
                }
                routes.push(RouteBackends { backends, turn: AtomicUsize::new(0) });
            }
        }
        let replacement = Arc::new(Tables { index, routes });
        // From here to the end of this function no worker chooses: for all of them it is one instant.
        let mut slots: Vec<_> = self.tables.iter().map(Slot::lock).collect();
        for backend in routed.values() {
            backend.set_routed(true);
        }
        let mut retired: Vec<Arc<Backend>> = known.into_values().collect();
        for backend in &retired {
            backend.set_routed(false);
        }
        for slot in &mut slots {
            **slot = Arc::clone(&replacement);
        }
        retired.retain(|backend| backend.in_flight() > 0);
        *all = Backends { routed, retired };
        conflicts
    }

    /// Every backend that is routed or has requests in flight, in a fixed order.
    pub(crate) fn status(&self) -> Vec<BackendStatus> {
        let mut backends = self.backends.lock().unwrap_or_else(PoisonError::into_inner);
        backends.retired.retain(|backend| backend.in_flight() > 0);
        let mut all: Vec<BackendStatus> =
            backends.routed.values().chain(&backends.retired).map(|backend| backend.status()).collect();
        all.sort_by(|a, b| (&a.app, &a.environment, &a.id, a.address).cmp(&(&b.app, &b.environment, &b.id, b.address)));
        all
    }
}

impl RouteBackends {
    /// The one with the fewest requests in flight; those that refuse connections only where nothing else is left.
    fn choose(&self, tried: &Tried) -> Option<&Arc<Backend>> {
        if let [only] = self.backends.as_slice() {
            return (!tried.contains(only)).then_some(only);
        }
        let begin = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = |offset: usize| &self.backends[begin.wrapping_add(offset) % self.backends.len()];
        (0..self.backends.len())
            .map(in_turn)
            .filter(|backend| !tried.contains(backend))
            .min_by_key(|backend| (backend.is_skipped(), backend.in_flight()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64};
    use std::time::{Duration, Instant};

    use jecloud_model::ids::ReleaseNumber;
    use jecloud_model::routes::{Backend as Entry, Route};

    use super::*;

    fn table(app: &str, release: u64, ports: &[u16]) -> RouteTable {
        let backends = ports
            .iter()
            .zip(1u32..)
            .map(|(port, index)| Entry {
                id: format!("web.{index}@{release}").parse().unwrap(),
                address: ([127, 0, 0, 1], *port).into(),
            })
            .collect();
        RouteTable {
            format: 1,
            app: app.parse().unwrap(),
            environment: "production".parse().unwrap(),
            release: ReleaseNumber(release),
            hosts: vec![format!("{app}.example")],
            routes: vec![Route { path_prefix: "/".to_owned(), backends }],
        }
    }

    fn acquire(router: &Router, tried: &Tried) -> Option<Lease> {
        router.acquire(0, "shop.example", "/", tried).ok()
    }

    fn port(lease: &Lease) -> u16 {
        lease.backend().key.address.port()
    }

    // Fails without: counting (all on one), the turns (ties always go to the first).
    #[test]
    fn the_least_busy_backend_is_chosen_and_ties_take_turns() {
        let router = Router::new(1);
        router.replace([table("shop", 1, &[1, 2, 3])].iter());
        let mut leases: Vec<Lease> = (0..9).map(|_| acquire(&router, &Tried::default()).unwrap()).collect();
        assert!(router.status().iter().all(|status| status.in_flight == 3), "{:?}", router.status());
        leases.retain(|lease| port(lease) != 2);
        for _ in 0..3 {
            let lease = acquire(&router, &Tried::default()).unwrap();
            assert_eq!(port(&lease), 2);
            leases.push(lease);
        }
        drop(leases);
        let ports: Vec<u16> = (0..6).map(|_| port(&acquire(&router, &Tried::default()).unwrap())).collect();
        for one in [1, 2, 3] {
            assert_eq!(ports.iter().filter(|port| **port == one).count(), 2, "{ports:?}");
        }
    }

    // Fails without: `is_skipped` in the choice (the idle, refusing backend wins); with skipped backends left out
    // altogether (None at the end).
    #[test]
    fn a_refusing_backend_is_the_last_resort() {
        let router = Router::new(1);
        router.replace([table("shop", 1, &[1, 2])].iter());
        let first = acquire(&router, &Tried::default()).unwrap();
        first.backend().refused();
        let refusing = port(&first);
        let mut tried = Tried::default();
        let leases: Vec<Lease> = (0..5).map(|_| acquire(&router, &tried).unwrap()).collect();
        assert!(leases.iter().all(|lease| port(lease) != refusing));
        tried.add(leases[0].backend());
        let last = acquire(&router, &tried).unwrap();
        assert_eq!(port(&last), refusing);
        tried.add(last.backend());
        assert_eq!(router.acquire(0, "shop.example", "/", &tried).unwrap_err(), NoBackend::AllTried);
    }

    // Fails without: taking known backends over (the count starts from 0 again), keeping retired ones that are busy.
    #[test]
    fn a_replaced_table_keeps_what_it_shares_with_the_old_one() {
        let router = Router::new(1);
        router.replace([table("shop", 1, &[1])].iter());
        let lease = acquire(&router, &Tried::default()).unwrap();
        router.replace([table("shop", 2, &[2])].iter());
        let summary = |router: &Router| -> Vec<(u16, bool, u64)> {
            router.status().iter().map(|s| (s.address.port(), s.routed, s.in_flight)).collect()
        };
        assert_eq!(summary(&router), [(1, false, 1), (2, true, 0)]);
        router.replace([table("shop", 1, &[1])].iter());
        assert_eq!(summary(&router), [(1, true, 1)]);
        router.replace([table("shop", 2, &[2])].iter());
        assert_eq!(summary(&router), [(1, false, 1), (2, true, 0)]);
        drop(lease);
        assert_eq!(summary(&router), [(2, true, 0)]);
    }

    // What the roll-forward relies on: it ends a process when the count is zero after a replacement.
    //
    // Fails without: the count under the lock (`acquire` that lets go of the lock before it makes the lease).
    #[test]
    fn a_backend_that_was_seen_idle_after_a_replacement_gets_no_request() {
        let router = Router::new(4);
        let stop = AtomicBool::new(false);
        let ended_release = AtomicU64::new(0);
        router.replace([table("shop", 1, &[1])].iter());
        std::thread::scope(|scope| {
            // More threads than cores, so that they are interrupted at every possible place.
            let (router, stop, ended_release) = (&router, &stop, &ended_release);
            let requests: Vec<_> = (0..4)
                .map(|worker| {
                    scope.spawn(move || {
                        while !stop.load(Ordering::Relaxed) {
                            let lease = router.acquire(worker, "shop.example", "/", &Tried::default()).unwrap();
                            let release = lease.backend().key.id.release.unwrap().0;
                            let ended = ended_release.load(Ordering::SeqCst);
                            assert!(release > ended, "a request for release {release}, ended is {ended}");
                        }
                    })
                })
                .collect();
            let end = Instant::now() + Duration::from_secs(2);
            for release in 1_u64.. {
                let old = Arc::clone(router.backends.lock().unwrap().routed.values().next().unwrap());
                router.replace([table("shop", release + 1, &[1])].iter());
                while old.in_flight() > 0 {
                    std::thread::yield_now();
                }
                ended_release.store(release, Ordering::SeqCst);
                if Instant::now() > end || requests.iter().any(|request| request.is_finished()) {
                    break;
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
