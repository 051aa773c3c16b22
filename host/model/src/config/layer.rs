//! What one part of `jecloud.toml` says, and how one is laid over another.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Map, Value};

use super::{
    BackupWish, BackupsConfig, CloudConfig, DEFAULT_GROUP, EnvironmentConfig, ProcessConfig, Provider, Reach,
    ServerConfig, ServiceConfig, Store,
};
use crate::ids::{AppName, ProcessName, ServerGroup, ServiceName};
use crate::limits::Limits;

/// What holds everywhere, or what an environment lays over it. What is not said is none or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) cloud: CloudLayer,
    pub(super) servers: BTreeMap<ServerGroup, ServerLayer>,
    pub(super) services: BTreeMap<ServiceName, ServiceConfig>,
    pub(super) processes: BTreeMap<ProcessName, ProcessConfig>,
    pub(super) backups: BackupsConfig,
    pub(super) env: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CloudLayer {
    pub(super) provider: Option<Provider>,
    pub(super) region: Option<String>,
    pub(super) listen: Option<Vec<SocketAddr>>,
    pub(super) store: Option<Store>,
    pub(super) endpoint: Option<String>,
    pub(super) connect: Option<Reach>,
    pub(super) image: Option<String>,
    pub(super) user: Option<String>,
    pub(super) ssh_from: Option<Vec<String>>,
    pub(super) key: Option<String>,
    pub(super) jump: Option<String>,
    pub(super) binaries: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ServerLayer {
    pub(super) count: Option<u32>,
    pub(super) machine_type: Option<String>,
    pub(super) hosts: Option<Vec<String>>,
}

impl Layer {
    /// This with `over` laid over it: tables are merged, values replaced.
    pub(super) fn overlaid(self, over: Layer) -> Layer {
        Layer {
            cloud: self.cloud.overlaid(over.cloud),
            servers: merged(self.servers, over.servers, |under, over| ServerLayer {
                count: over.count.or(under.count),
                machine_type: over.machine_type.or(under.machine_type),
                hosts: over.hosts.or(under.hosts),
            }),
            services: merged(self.services, over.services, |under, over| ServiceConfig {
                hook: over.hook.or(under.hook),
                on: over.on.or(under.on),
                settings: merged_json(under.settings, over.settings),
            }),
            processes: merged(self.processes, over.processes, |under, over| ProcessConfig {
                count: over.count.or(under.count),
                health: over.health.or(under.health),
                on: over.on.or(under.on),
                limits: Limits {
                    memory_bytes: over.limits.memory_bytes.or(under.limits.memory_bytes),
                    cpu_millis: over.limits.cpu_millis.or(under.limits.cpu_millis),
                },
            }),
            backups: BackupsConfig {
                all: self.backups.all.overlaid(over.backups.all),
                services: merged(self.backups.services, over.backups.services, BackupWish::overlaid),
            },
            env: merged(self.env, over.env, |_, over| over),
        }
    }

    /// With what is meant where nothing is said.
    pub(super) fn resolve(self, app: AppName) -> EnvironmentConfig {
        let mut servers: BTreeMap<_, _> = self
            .servers
            .into_iter()
            .map(|(name, server)| {
                let ServerConfig { count, .. } = ServerConfig::default();
                let hosts = server.hosts.unwrap_or_default();
                // Whoever names servers and no number means all of them.
                let named = u32::try_from(hosts.len()).ok().filter(|named| *named > 0);
                let count = server.count.or(named).unwrap_or(count);
                (name, ServerConfig { count, machine_type: server.machine_type, hosts })
            })
            .collect();
        if servers.is_empty() {
            let name = DEFAULT_GROUP.parse().expect("`app` is a valid group name");
            servers.insert(name, ServerConfig::default());
        }
        EnvironmentConfig {
            app,
            cloud: CloudConfig {
                provider: self.cloud.provider.unwrap_or_default(),
                region: self.cloud.region,
                listen: self.cloud.listen.unwrap_or_default(),
                store: self.cloud.store,
                endpoint: self.cloud.endpoint,
                connect: self.cloud.connect.unwrap_or_default(),
                image: self.cloud.image,
                user: self.cloud.user,
                ssh_from: self.cloud.ssh_from.unwrap_or_default(),
                key: self.cloud.key,
                jump: self.cloud.jump,
                binaries: self.cloud.binaries.unwrap_or_default(),
            },
            servers,
            services: self.services,
            processes: self.processes,
            backups: self.backups,
            env: self.env,
        }
    }
}

impl CloudLayer {
    fn overlaid(self, over: Self) -> Self {
        Self {
            provider: over.provider.or(self.provider),
            region: over.region.or(self.region),
            listen: over.listen.or(self.listen),
            store: over.store.or(self.store),
            endpoint: over.endpoint.or(self.endpoint),
            connect: over.connect.or(self.connect),
            image: over.image.or(self.image),
            user: over.user.or(self.user),
            ssh_from: over.ssh_from.or(self.ssh_from),
            key: over.key.or(self.key),
            jump: over.jump.or(self.jump),
            binaries: over.binaries.or(self.binaries),
        }
    }
}

fn merged<K: Ord, V>(mut under: BTreeMap<K, V>, over: BTreeMap<K, V>, merge: impl Fn(V, V) -> V) -> BTreeMap<K, V> {
    for (key, value) in over {
        let value = match under.remove(&key) {
            Some(below) => merge(below, value),
            None => value,
        };
        under.insert(key, value);
    }
    under
}

fn merged_json(mut under: Map<String, Value>, over: Map<String, Value>) -> Map<String, Value> {
    for (key, value) in over {
        let value = match (under.remove(&key), value) {
            (Some(Value::Object(below)), Value::Object(above)) => Value::Object(merged_json(below, above)),
            (_, above) => above,
        };
        under.insert(key, value);
    }
    under
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::backup_policy::{Keep, Schedule, ScheduleWish};

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z]{0,3}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..3).prop_map(Value::Array),
                btree_map("[a-c]", inner, 0..3).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    prop_compose! {
        fn cloud()(
            provider in option::of(prop::sample::select(Provider::ALL.to_vec())),
            region in option::of("[a-c]"),
            listen in option::of(vec(any::<SocketAddr>(), 0..3)),
            key in option::of("[a-c]"),
            jump in option::of("[a-c]"),
            store in option::of(prop::sample::select(Store::ALL.to_vec())),
            endpoint in option::of("[a-c]"),
            connect in option::of(prop::sample::select(Reach::ALL.to_vec())),
            (image, user) in (option::of("[a-c]"), option::of("[a-c]")),
            ssh_from in option::of(vec("[a-c]", 0..3)),
            binaries in option::of(btree_map("[a-c]", "[a-c]", 0..3)),
        ) -> CloudLayer {
            CloudLayer { provider, region, listen, store, endpoint, connect, image, user, ssh_from, key, jump, binaries }
        }
    }

    prop_compose! {
        fn service()(hook in option::of(0u8..3), on in option::of("[a-c]"), settings in btree_map("[a-c]", json(), 0..4)) -> ServiceConfig {
            ServiceConfig {
                hook: hook.map(|n| crate::ids::Digest::of(&[n])),
                on: on.map(|on| on.parse().unwrap()),
                settings: settings.into_iter().collect(),
            }
        }
    }

    prop_compose! {
        fn process()(
            count in option::of(0u32..9),
            health in option::of("/[a-c]"),
            on in option::of(id()),
            memory_bytes in option::of(1u64..9),
            cpu_millis in option::of(1u32..9),
        ) -> ProcessConfig {
            ProcessConfig { count, health, on, limits: Limits { memory_bytes, cpu_millis } }
        }
    }

    fn id<T: std::str::FromStr<Err: std::fmt::Debug> + std::fmt::Debug>() -> impl Strategy<Value = T> {
        "[a-c]".prop_map(|text| text.parse().unwrap())
    }

    prop_compose! {
        fn backup()(
            schedule in option::of(prop::sample::select(vec![
                ScheduleWish::Off,
                ScheduleWish::On(Schedule::Daily),
                ScheduleWish::On(Schedule::At(150)),
            ])),
            keep in option::of((option::of(1u32..9), option::of(1u32..9)).prop_map(|(newest, days)| Keep { newest, days })),
            verify in option::of(any::<bool>()),
        ) -> BackupWish {
            BackupWish { schedule, keep, verify }
        }
    }

    prop_compose! {
        fn layer()(
            cloud in cloud(),
            servers in btree_map(id(), (option::of(1u32..9), option::of("[a-c]"), option::of(vec("[a-c]", 0..3))), 0..4),
            services in btree_map(id(), service(), 0..4),
            processes in btree_map(id(), process(), 0..4),
            backups in (backup(), btree_map(id(), backup(), 0..4)),
            env in btree_map("[A-C]", "[a-c]", 0..4),
        ) -> Layer {
            Layer {
                cloud,
                servers: servers.into_iter().map(|(name, (count, machine_type, hosts))| (name, ServerLayer { count, machine_type, hosts })).collect(),
                services,
                processes,
                backups: BackupsConfig { all: backups.0, services: backups.1 },
                env,
            }
        }
    }

    proptest! {
        #[test]
        fn an_empty_layer_changes_nothing(layer in layer()) {
            prop_assert_eq!(layer.clone().overlaid(Layer::default()), layer.clone());
            prop_assert_eq!(Layer::default().overlaid(layer.clone()), layer);
        }

        #[test]
        fn laying_the_same_over_twice_is_laying_it_over_once(under in layer(), over in layer()) {
            let once = under.overlaid(over.clone());
            prop_assert_eq!(once.clone().overlaid(over), once);
        }

        /// What is said above holds; what is said only below is kept; nothing else comes up. Fails with `over` and
        /// `under` exchanged in any line of `overlaid`.
        #[test]
        fn what_is_above_wins_and_the_rest_is_kept(under in layer(), over in layer()) {
            let both = under.clone().overlaid(over.clone());
            prop_assert_eq!(both.cloud.provider, over.cloud.provider.or(under.cloud.provider));
            prop_assert_eq!(&both.cloud.region, &over.cloud.region.clone().or(under.cloud.region.clone()));
            prop_assert_eq!(&both.cloud.listen, &over.cloud.listen.clone().or(under.cloud.listen.clone()));
            prop_assert_eq!(both.cloud.store, over.cloud.store.or(under.cloud.store));
            prop_assert_eq!(&both.cloud.endpoint, &over.cloud.endpoint.clone().or(under.cloud.endpoint.clone()));
            prop_assert_eq!(both.cloud.connect, over.cloud.connect.or(under.cloud.connect));
            prop_assert_eq!(&both.cloud.image, &over.cloud.image.clone().or(under.cloud.image.clone()));
            prop_assert_eq!(&both.cloud.user, &over.cloud.user.clone().or(under.cloud.user.clone()));
            prop_assert_eq!(&both.cloud.ssh_from, &over.cloud.ssh_from.clone().or(under.cloud.ssh_from.clone()));
            prop_assert_eq!(&both.cloud.key, &over.cloud.key.clone().or(under.cloud.key.clone()));
            prop_assert_eq!(&both.cloud.jump, &over.cloud.jump.clone().or(under.cloud.jump.clone()));
            for (name, server) in &both.servers {
                let (above, below) = (over.servers.get(name), under.servers.get(name));
                prop_assert!(above.is_some() || below.is_some());
                prop_assert_eq!(server.count, above.and_then(|s| s.count).or(below.and_then(|s| s.count)));
                let kind = |s: &ServerLayer| s.machine_type.clone();
                prop_assert_eq!(&server.machine_type, &above.and_then(kind).or(below.and_then(kind)));
                let hosts = |s: &ServerLayer| s.hosts.clone();
                prop_assert_eq!(&server.hosts, &above.and_then(hosts).or(below.and_then(hosts)));
            }
            let all = (&both.backups.all, &over.backups.all, &under.backups.all);
            prop_assert_eq!(all.0.schedule, all.1.schedule.or(all.2.schedule));
            prop_assert_eq!(all.0.keep, all.1.keep.or(all.2.keep));
            prop_assert_eq!(all.0.verify, all.1.verify.or(all.2.verify));
            for (name, backup) in &both.backups.services {
                let (above, below) = (over.backups.services.get(name), under.backups.services.get(name));
                prop_assert!(above.is_some() || below.is_some());
                prop_assert_eq!(backup.schedule, above.and_then(|b| b.schedule).or(below.and_then(|b| b.schedule)));
                prop_assert_eq!(backup.verify, above.and_then(|b| b.verify).or(below.and_then(|b| b.verify)));
            }
            for (name, process) in &both.processes {
                let (above, below) = (over.processes.get(name), under.processes.get(name));
                prop_assert!(above.is_some() || below.is_some());
                prop_assert_eq!(process.count, above.and_then(|p| p.count).or(below.and_then(|p| p.count)));
                let health = |p: &ProcessConfig| p.health.clone();
                prop_assert_eq!(&process.health, &above.and_then(health).or(below.and_then(health)));
                let on = |p: &ProcessConfig| p.on.clone();
                prop_assert_eq!(&process.on, &above.and_then(on).or(below.and_then(on)));
                let memory = |p: &ProcessConfig| p.limits.memory_bytes;
                prop_assert_eq!(process.limits.memory_bytes, above.and_then(memory).or(below.and_then(memory)));
                let cpu = |p: &ProcessConfig| p.limits.cpu_millis;
                prop_assert_eq!(process.limits.cpu_millis, above.and_then(cpu).or(below.and_then(cpu)));
            }
            for (name, service) in &both.services {
                let (above, below) = (over.services.get(name), under.services.get(name));
                prop_assert!(above.is_some() || below.is_some());
                let hook = |s: &ServiceConfig| s.hook.clone();
                prop_assert_eq!(&service.hook, &above.and_then(hook).or(below.and_then(hook)));
                let on = |s: &ServiceConfig| s.on.clone();
                prop_assert_eq!(&service.on, &above.and_then(on).or(below.and_then(on)));
                for (key, value) in &service.settings {
                    let above = above.and_then(|s| s.settings.get(key));
                    let below = below.and_then(|s| s.settings.get(key));
                    match (above, below) {
                        (Some(Value::Object(a)), Some(Value::Object(b))) => {
                            prop_assert!(a.keys().chain(b.keys()).all(|key| value.get(key).is_some()));
                        }
                        (Some(above), _) => prop_assert_eq!(value, above),
                        (None, below) => prop_assert_eq!(Some(value), below),
                    }
                }
            }
            for (name, value) in &both.env {
                prop_assert_eq!(Some(value), over.env.get(name).or(under.env.get(name)));
            }
            prop_assert!(under.env.keys().chain(over.env.keys()).all(|name| both.env.contains_key(name)));
            prop_assert!(under.servers.keys().chain(over.servers.keys()).all(|name| both.servers.contains_key(name)));
            prop_assert!(under.services.keys().chain(over.services.keys()).all(|name| both.services.contains_key(name)));
            prop_assert!(under.processes.keys().chain(over.processes.keys()).all(|name| both.processes.contains_key(name)));
        }

        #[test]
        fn there_is_always_a_group_of_servers(layer in layer()) {
            let resolved = layer.resolve("x".parse().unwrap());
            prop_assert!(resolved.servers.contains_key(resolved.group(None)));
            prop_assert!(resolved.servers.values().all(|server| server.count >= 1));
        }
    }

    #[test]
    fn settings_are_merged_table_by_table_and_lists_are_replaced() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let under = object(serde_json::json!({"a": {"b": 1, "c": [1, 2]}, "d": 1, "e": {"f": 1}}));
        let over = object(serde_json::json!({"a": {"c": [3]}, "d": {"x": 1}, "e": 2}));
        let expected = object(serde_json::json!({"a": {"b": 1, "c": [3]}, "d": {"x": 1}, "e": 2}));
        assert_eq!(merged_json(under, over), expected);
    }
}
