//! EC2 in memory, with its own time and with faults: what is launched is seen late, the same token launches nothing
//! twice, answers get lost, and whoever asks can be killed at any call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jecloud_cloud::World;
use jecloud_ec2::{
    Action, Api, Failure, Group, ImageInfo, Instance, InstanceState, InstanceType, KeyPair, LaunchRequest, Rule,
    Source, Subnet, Tags,
};
use jecloud_model::time::Timestamp;

/// How long a machine takes to start, and to end.
const STARTS: Duration = Duration::from_secs(20);
const ENDS: Duration = Duration::from_secs(40);
/// How long the network interface of one that has ended keeps its group in use.
const INTERFACE_STAYS: Duration = Duration::from_secs(10);
/// How long one that has ended is shown.
const SHOWN: Duration = Duration::from_secs(3600);

/// A clock that only pauses move, and chance that is the same every time.
pub(crate) struct Clock(Mutex<(Timestamp, u64)>);

impl Clock {
    fn new(seed: u64) -> Self {
        Self(Mutex::new((Timestamp::from_millisecond(15_000_000_000), seed)))
    }
}

impl World for Clock {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap().0
    }

    fn random(&self) -> [u8; 16] {
        let mut clock = self.0.lock().unwrap();
        let mut bytes = [0; 16];
        for half in bytes.chunks_mut(8) {
            clock.1 = next(clock.1);
            half.copy_from_slice(&clock.1.to_le_bytes());
        }
        bytes
    }

    fn pause(&self, duration: Duration) {
        let mut clock = self.0.lock().unwrap();
        clock.0 = clock.0.plus(duration);
    }
}

/// splitmix64.
fn next(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// An instance and what only EC2 knows of it.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) request: LaunchRequest,
    pub(crate) id: String,
    pub(crate) tags: Tags,
    pub(crate) launched: Timestamp,
    pub(crate) ended: Option<Timestamp>,
    pub(crate) is_stopped: bool,
    /// Nobody is shown it before.
    pub(crate) hidden_until: Timestamp,
}

impl Made {
    fn state(&self, now: Timestamp) -> InstanceState {
        match self.ended {
            Some(ended) if now.since(ended) >= ENDS => InstanceState::Terminated,
            Some(_) => InstanceState::ShuttingDown,
            None if self.is_stopped => InstanceState::Stopped,
            None if now.since(self.launched) >= STARTS => InstanceState::Running,
            None => InstanceState::Pending,
        }
    }

    fn is_shown(&self, now: Timestamp) -> bool {
        now >= self.hidden_until && self.ended.is_none_or(|ended| now.since(ended) < SHOWN)
    }
}

/// When whoever asks is killed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Killed {
    /// At which call, from 1.
    pub(crate) at: u32,
    /// Whether the call still has its effect.
    pub(crate) after_it: bool,
}

/// What goes wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// So many of a hundred calls are not answered; half of them have their effect.
    pub(crate) lost: u64,
    /// So many of the next calls are turned away.
    pub(crate) throttled: u32,
    /// The answer of the next call of this name is lost.
    pub(crate) loses_answer_of: Option<&'static str>,
    /// So many of the next orders to end are answered with "no such instance".
    pub(crate) knows_not_what_to_end: u32,
    /// How long a new instance is not shown.
    pub(crate) late: Duration,
    /// How long a new security group is not known.
    pub(crate) late_groups: Duration,
    /// It launches again what has a token that it knew.
    pub(crate) forgets_tokens: bool,
    /// How launches are refused, and in which zone; everywhere if it is empty.
    pub(crate) refuses: Option<(&'static str, &'static str)>,
    /// What is launched ends as it starts.
    pub(crate) ends_at_once: bool,
    /// What is not permitted.
    pub(crate) denied: Vec<Action>,
    pub(crate) killed: Option<Killed>,
}

#[derive(Debug, Default)]
pub(crate) struct Inside {
    pub(crate) instances: Vec<Made>,
    pub(crate) groups: Vec<Group>,
    pub(crate) keys: Vec<KeyPair>,
    pub(crate) faults: Faults,
    pub(crate) has_no_vpc: bool,
    pub(crate) account: String,
    pub(crate) calls: u32,
    /// How often each was called, with or without effect.
    pub(crate) called: BTreeMap<&'static str, u32>,
    /// When a security group is known everywhere.
    known_from: BTreeMap<String, Timestamp>,
    numbers: u64,
    dice: u64,
}

/// EC2.
pub(crate) struct Ec2 {
    pub(crate) clock: Arc<Clock>,
    inside: Mutex<Inside>,
}

impl Ec2 {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let inside = Inside { dice: next(seed), account: "111122223333".to_owned(), ..Inside::default() };
        Arc::new(Self { clock: Arc::new(Clock::new(seed)), inside: Mutex::new(inside) })
    }

    pub(crate) fn get(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    /// Whoever asked is dead.
    pub(crate) fn is_killed(&self) -> bool {
        let inside = self.get();
        inside.faults.killed.is_some_and(|killed| inside.calls >= killed.at)
    }

    /// Ids of what costs money.
    pub(crate) fn living(&self) -> Vec<String> {
        self.get().instances.iter().filter(|made| made.ended.is_none()).map(|made| made.id.clone()).collect()
    }

    /// Ends an instance behind everybody's back.
    pub(crate) fn end(&self, id: &str) {
        let now = self.clock.now();
        self.get().instances.iter_mut().find(|made| made.id == id).expect("an instance").ended = Some(now);
    }

    /// One call, through all faults.
    fn call<T>(
        &self,
        action: Action,
        name: &'static str,
        effect: impl FnOnce(&mut Inside, Timestamp) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let now = self.clock.now();
        let mut inside = self.get();
        inside.calls += 1;
        *inside.called.entry(name).or_default() += 1;
        if let Some(killed) = inside.faults.killed.filter(|killed| inside.calls >= killed.at) {
            if inside.calls == killed.at && killed.after_it {
                let _ = effect(&mut inside, now);
            }
            return Err(Failure::NotSent {
                error: jecloud_ec2::Ec2Error::NoAnswer { detail: "killed".to_owned() },
                is_transient: false,
            });
        }
        if inside.faults.denied.contains(&action) {
            return Err(Failure::answer(403, "UnauthorizedOperation", "You are not authorized."));
        }
        if inside.faults.throttled > 0 {
            inside.faults.throttled -= 1;
            return Err(Failure::answer(503, "RequestLimitExceeded", "Request limit exceeded."));
        }
        inside.dice = next(inside.dice);
        let fate = inside.dice % 200;
        if fate < inside.faults.lost {
            return Err(Failure::Lost("the request was lost".to_owned()));
        }
        let done = effect(&mut inside, now);
        if inside.faults.loses_answer_of == Some(name) {
            inside.faults.loses_answer_of = None;
            return Err(Failure::Lost("the answer was lost".to_owned()));
        }
        if fate < 2 * inside.faults.lost {
            return Err(Failure::Lost("the answer was lost".to_owned()));
        }
        done
    }
}

impl Inside {
    fn number(&mut self) -> String {
        self.numbers += 1;
        format!("{:017x}", self.numbers)
    }

    fn knows_group(&self, id: &str, now: Timestamp) -> bool {
        self.groups.iter().any(|group| group.id == id) && self.known_from.get(id).is_none_or(|from| now >= *from)
    }

    fn launch(&mut self, request: &LaunchRequest, now: Timestamp) -> Result<Made, Failure> {
        let mut known = self.instances.iter().filter(|_| !self.faults.forgets_tokens);
        if let Some(made) = known.find(|made| made.request.client_token == request.client_token) {
            if made.request == *request {
                return Ok(made.clone());
            }
            return Err(Failure::answer(400, "IdempotentParameterMismatch", "another request had this token"));
        }
        if !self.knows_group(&request.security_group, now) {
            return Err(Failure::answer(400, "InvalidGroup.NotFound", "no such group"));
        }
        if !self.keys.iter().any(|key| key.name == request.key_name) {
            return Err(Failure::answer(400, "InvalidKeyPair.NotFound", "no such key pair"));
        }
        if let Some((code, zone)) = self.faults.refuses.filter(|(_, zone)| request.zone.ends_with(zone)) {
            return Err(Failure::answer(400, code, &format!("not in {zone}")));
        }
        let made = Made {
            request: request.clone(),
            id: format!("i-{}", self.number()),
            tags: request.tags.clone(),
            launched: now,
            ended: self.faults.ends_at_once.then_some(now),
            is_stopped: false,
            hidden_until: now.plus(self.faults.late),
        };
        self.instances.push(made.clone());
        Ok(made)
    }
}

fn shown(made: &Made, now: Timestamp) -> Instance {
    let address =
        |network: &str| Some(format!("{network}.{}", made.id.trim_start_matches("i-").trim_start_matches('0')));
    let state = made.state(now);
    let is_up = matches!(state, InstanceState::Running);
    Instance {
        id: made.id.clone(),
        state,
        reason: String::new(),
        instance_type: made.request.instance_type.clone(),
        public_address: address("192.0.2").filter(|_| is_up),
        private_address: address("10.0.0"),
        launched: made.launched.as_millisecond(),
        tags: made.tags.clone(),
    }
}

/// Whether something with these tags and other attributes is meant.
fn is_meant(filters: &[(&str, &str)], tags: &Tags, attributes: &[(&str, &str)]) -> bool {
    filters.iter().all(|(name, value)| match name.strip_prefix("tag:") {
        Some(tag) => tags.get(tag).is_some_and(|found| found == value),
        None => attributes.iter().any(|(attribute, found)| attribute == name && found == value),
    })
}

const VPC: &str = "vpc-1";

impl Api for Ec2 {
    fn region(&self) -> &str {
        "eu-west-1"
    }

    fn account(&self) -> Result<String, Failure> {
        self.call(Action::GetCallerIdentity, "account", |inside, _| Ok(inside.account.clone()))
    }

    fn instance_type(&self, name: &str) -> Result<Option<InstanceType>, Failure> {
        let architecture = if name.starts_with("t4g.") { "arm64" } else { "x86_64" };
        let found = InstanceType { architectures: vec![architecture.to_owned()], vcpus: 2 };
        self.call(Action::DescribeInstanceTypes, "instance_type", |_, _| Ok((name != "t9.huge").then_some(found)))
    }

    fn zones_of_type(&self, _name: &str) -> Result<Vec<String>, Failure> {
        let zones = ["eu-west-1a", "eu-west-1b", "eu-west-1z"].map(str::to_owned);
        self.call(Action::DescribeInstanceTypeOfferings, "zones_of_type", |_, _| Ok(zones.to_vec()))
    }

    fn image(&self, id: &str) -> Result<Option<ImageInfo>, Failure> {
        let found = images().into_iter().find(|image| image.id == id);
        self.call(Action::DescribeImages, "image", |_, _| Ok(found))
    }

    fn images(&self, _owner: &str, name: &str) -> Result<Vec<ImageInfo>, Failure> {
        let prefix = name.trim_end_matches('*').to_owned();
        let found = images().into_iter().filter(|image| image.name.starts_with(&prefix)).collect();
        self.call(Action::DescribeImages, "images", |_, _| Ok(found))
    }

    fn default_vpc(&self) -> Result<Option<String>, Failure> {
        self.call(Action::DescribeVpcs, "default_vpc", |inside, _| Ok((!inside.has_no_vpc).then(|| VPC.to_owned())))
    }

    fn default_subnets(&self, _vpc: &str) -> Result<Vec<Subnet>, Failure> {
        let subnet = |zone: &str| Subnet { id: format!("subnet-{zone}"), zone: format!("eu-west-1{zone}") };
        self.call(Action::DescribeSubnets, "default_subnets", |_, _| Ok(["b", "a", "c"].map(subnet).to_vec()))
    }

    fn groups(&self, filters: &[(&str, &str)]) -> Result<Vec<Group>, Failure> {
        self.call(Action::DescribeSecurityGroups, "groups", |inside, now| {
            let is_meant = |group: &&Group| {
                is_meant(filters, &group.tags, &[("vpc-id", VPC), ("group-name", group.name.as_str())])
            };
            let known = inside.groups.iter().filter(|group| inside.knows_group(&group.id, now));
            Ok(known.filter(is_meant).cloned().collect())
        })
    }

    fn create_group(&self, name: &str, _description: &str, _vpc: &str, tags: &Tags) -> Result<String, Failure> {
        self.call(Action::CreateSecurityGroup, "create_group", |inside, now| {
            if inside.groups.iter().any(|group| group.name == name) {
                return Err(Failure::answer(400, "InvalidGroup.Duplicate", "there is one of this name"));
            }
            let id = format!("sg-{}", inside.number());
            let group = Group { id: id.clone(), name: name.to_owned(), tags: tags.clone(), rules: Vec::new() };
            inside.groups.push(group);
            let from = now.plus(inside.faults.late_groups);
            inside.known_from.insert(id.clone(), from);
            Ok(id)
        })
    }

    fn authorize(&self, group: &str, rule: &Rule) -> Result<(), Failure> {
        self.call(Action::AuthorizeSecurityGroupIngress, "authorize", |inside, now| {
            if !inside.knows_group(group, now) {
                return Err(Failure::answer(400, "InvalidGroup.NotFound", "no such group"));
            }
            let found = inside.groups.iter_mut().find(|found| found.id == group);
            let found = found.ok_or_else(|| Failure::answer(400, "InvalidGroup.NotFound", "no such group"))?;
            if found.rules.iter().any(|there| there.port == rule.port && there.from == rule.from) {
                return Err(Failure::answer(400, "InvalidPermission.Duplicate", "there is such a rule"));
            }
            found.rules.push(rule.clone());
            Ok(())
        })
    }

    fn revoke(&self, group: &str, rule: &Rule) -> Result<(), Failure> {
        self.call(Action::RevokeSecurityGroupIngress, "revoke", |inside, _| {
            let found = inside.groups.iter_mut().find(|found| found.id == group).expect("a group");
            found.rules.retain(|there| there != rule);
            Ok(())
        })
    }

    fn delete_group(&self, id: &str) -> Result<(), Failure> {
        self.call(Action::DeleteSecurityGroup, "delete_group", |inside, now| {
            let is_free = |made: &Made| made.ended.is_some_and(|ended| now.since(ended) >= ENDS + INTERFACE_STAYS);
            let is_in = |made: &Made| made.request.security_group == id && !is_free(made);
            if inside.instances.iter().any(is_in) {
                return Err(Failure::answer(400, "DependencyViolation", "it is in use"));
            }
            let before = inside.groups.len();
            inside.groups.retain(|group| group.id != id);
            let is_done = inside.groups.len() < before;
            is_done.then_some(()).ok_or_else(|| Failure::answer(400, "InvalidGroup.NotFound", "no such group"))
        })
    }

    fn key_pairs(&self, filters: &[(&str, &str)]) -> Result<Vec<KeyPair>, Failure> {
        self.call(Action::DescribeKeyPairs, "key_pairs", |inside, _| {
            let is_meant = |key: &&KeyPair| is_meant(filters, &key.tags, &[("key-name", key.name.as_str())]);
            Ok(inside.keys.iter().filter(is_meant).cloned().collect())
        })
    }

    fn import_key_pair(&self, name: &str, _public_key: &str, tags: &Tags) -> Result<(), Failure> {
        self.call(Action::ImportKeyPair, "import_key_pair", |inside, _| {
            if inside.keys.iter().any(|key| key.name == name) {
                return Err(Failure::answer(400, "InvalidKeyPair.Duplicate", "there is one of this name"));
            }
            inside.keys.push(KeyPair { name: name.to_owned(), tags: tags.clone() });
            Ok(())
        })
    }

    fn delete_key_pair(&self, name: &str) -> Result<(), Failure> {
        self.call(Action::DeleteKeyPair, "delete_key_pair", |inside, _| {
            inside.keys.retain(|key| key.name != name);
            Ok(())
        })
    }

    fn instances(&self, filters: &[(&str, &str)]) -> Result<Vec<Instance>, Failure> {
        self.call(Action::DescribeInstances, "instances", |inside, now| {
            let shown = inside.instances.iter().filter(|made| made.is_shown(now)).map(|made| shown(made, now));
            Ok(shown.filter(|one| is_meant(filters, &one.tags, &[("instance-id", one.id.as_str())])).collect())
        })
    }

    fn run(&self, request: &LaunchRequest) -> Result<Instance, Failure> {
        self.call(Action::RunInstances, "run", |inside, now| inside.launch(request, now).map(|made| shown(&made, now)))
    }

    fn terminate(&self, ids: &[String]) -> Result<(), Failure> {
        self.call(Action::TerminateInstances, "terminate", |inside, now| {
            let is_meant = |made: &&mut Made| ids.contains(&made.id) && made.is_shown(now);
            let found: Vec<&mut Made> = inside.instances.iter_mut().filter(is_meant).collect();
            let is_late = inside.faults.knows_not_what_to_end > 0;
            inside.faults.knows_not_what_to_end = inside.faults.knows_not_what_to_end.saturating_sub(1);
            if found.len() < ids.len() || is_late {
                return Err(Failure::answer(400, "InvalidInstanceID.NotFound", "no such instance"));
            }
            for made in found {
                made.ended.get_or_insert(now);
            }
            Ok(())
        })
    }

    fn console_output(&self, id: &str) -> Result<Option<String>, Failure> {
        let text = format!("{id} login:");
        self.call(Action::GetConsoleOutput, "console_output", |_, _| Ok(Some(text)))
    }

    fn dry_run(&self, action: Action) -> Result<(), Failure> {
        self.call(action, "dry_run", |_, _| Ok(()))
    }
}

fn images() -> Vec<ImageInfo> {
    let image = |id: &str, name: &str, architecture: &str, created: &str| ImageInfo {
        id: id.to_owned(),
        name: name.to_owned(),
        architecture: architecture.to_owned(),
        created: created.to_owned(),
        root_device: "/dev/xvda".to_owned(),
        root_gib: 8,
    };
    vec![
        image("ami-new", "debian-12-amd64-2026", "x86_64", "2026-06-01T00:00:00.000Z"),
        image("ami-old", "debian-12-amd64-2025", "x86_64", "2025-06-01T00:00:00.000Z"),
        image("ami-arm", "debian-12-arm64-2026", "arm64", "2026-06-01T00:00:00.000Z"),
    ]
}

/// The sources that a group lets in at a port.
pub(crate) fn let_in(group: &Group, port: Option<u16>) -> Vec<String> {
    let rules = group.rules.iter().filter(|rule| rule.port == port);
    rules
        .map(|rule| match &rule.from {
            Source::Network(cidr) => cidr.clone(),
            Source::Group(id) => id.clone(),
        })
        .collect()
}
