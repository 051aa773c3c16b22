//! Several Redis, of which one takes the place of another: replication, and Sentinels that watch and decide.
//!
//! Redis runs on the first `replicas + 1` servers of the group, a Sentinel on the first three (or more): two could not tell
//! which of them is cut off. Who leads is Redis's own to know: it writes that into the files that it was started from, so
//! those are made where they are missing, and never replaced. What this hook configures stands in another file that is
//! read after them. <https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/>

use std::time::Duration;

use jecloud_sdk::template::escape;
use jecloud_sdk::{Command, CommandResult, Context, Next, Plan, Problem, Process};

use crate::settings::Settings;
use crate::{CLIENT, LOOPBACK, PASSWORD, SERVER, START, STOP};

/// Where every Redis of a group listens, so that the others know.
pub(crate) const PORT: u16 = 6379;

/// Where every Sentinel of a group listens.
pub(crate) const SENTINEL_PORT: u16 = 26379;

/// A majority of fewer than three is all of them.
const FEWEST_SENTINELS: usize = 3;

/// How long a leader may be silent until it counts as lost, in milliseconds.
const SILENCE_MS: u32 = 5_000;

/// How long a fail-over may take until another one is tried, in milliseconds.
const FAILOVER_MS: u32 = 30_000;

/// How long asking another server may take.
const ASK: Duration = Duration::from_secs(10);

/// The port of Redis, as a template: chosen by the host where it is alone.
pub(crate) fn port(replicas: Option<&Replicas<'_>>) -> String {
    replicas.map_or_else(|| "{port:redis}".to_owned(), |_| PORT.to_string())
}

/// Several servers that Redis runs on.
pub(crate) struct Replicas<'a> {
    /// The addresses of those with a Redis; the first one leads at the beginning.
    servers: Vec<&'a str>,
    /// The addresses of those with a Sentinel.
    sentinels: Vec<&'a str>,
    /// This server's.
    host: &'a str,
    /// What the leader is called.
    name: &'a str,
}

impl<'a> Replicas<'a> {
    /// Those that the settings ask for; none where there is one Redis alone.
    ///
    /// # Errors
    /// When there are not enough servers.
    pub(crate) fn of(context: &'a Context, settings: &Settings) -> Result<Option<Self>, Problem> {
        let Some(replicas) = settings.replicas.filter(|replicas| *replicas > 0) else { return Ok(None) };
        let hosts: Vec<&str> = context.fact("hosts").unwrap_or(LOOPBACK).split(' ').collect();
        let needed = (replicas + 1).max(FEWEST_SENTINELS);
        if hosts.len() < needed {
            let group = context.fact("group").unwrap_or("db");
            return Err(Problem::new(format!(
                "`replicas = {replicas}` needs {needed} servers, of which one can be lost, and there {}",
                if hosts.len() == 1 { "is 1".to_owned() } else { format!("are {}", hosts.len()) }
            ))
            .hint(format!(
                "write `on = \"{group}\"` below [services.{}] and `count = {needed}` below [servers.{group}] in jecloud.toml",
                context.service()
            )));
        }
        let sentinels = needed + 1 - needed % 2;
        Ok(Some(Self {
            servers: hosts[..=replicas].to_vec(),
            sentinels: hosts[..sentinels.min(hosts.len())].to_vec(),
            host: context.fact("host").unwrap_or(LOOPBACK),
            name: context.app(),
        }))
    }

    fn has_redis(&self) -> bool {
        self.servers.contains(&self.host)
    }

    fn has_sentinel(&self) -> bool {
        self.sentinels.contains(&self.host)
    }

    /// What Redis is configured with besides.
    pub(crate) fn configuration(&self) -> Vec<String> {
        vec![format!("masterauth {{secret:{PASSWORD}}}"), format!("replica-announce-ip {}", escape(self.host))]
    }

    /// What Redis begins with: it writes down itself who leads from then on.
    fn beginning(&self) -> String {
        match self.servers.first() {
            Some(first) if *first != self.host => format!("replicaof {} {PORT}\n", escape(first)),
            _ => "# Redis writes here who leads.\n".to_owned(),
        }
    }

    fn sentinel_configuration(&self) -> String {
        let (host, name, first) = (escape(self.host), escape(self.name), escape(self.servers[0]));
        let quorum = self.sentinels.len() / 2 + 1;
        [
            format!("bind 127.0.0.1 -{host}"),
            format!("port {SENTINEL_PORT}"),
            "dir {data}".to_owned(),
            "daemonize no".to_owned(),
            format!("requirepass {{secret:{PASSWORD}}}"),
            format!("sentinel sentinel-pass {{secret:{PASSWORD}}}"),
            format!("sentinel announce-ip {host}"),
            format!("sentinel monitor {name} {first} {PORT} {quorum}"),
            format!("sentinel auth-pass {name} {{secret:{PASSWORD}}}"),
            format!("sentinel down-after-milliseconds {name} {SILENCE_MS}"),
            format!("sentinel failover-timeout {name} {FAILOVER_MS}"),
        ]
        .join("\n")
            + "\n"
    }

    /// The plan of one of the servers. `configuration` is where what Redis is configured with lies.
    pub(crate) fn plan(&self, plan: Plan, configuration: &str) -> Plan {
        let keep = |id: &str, from: &str, to: &str| {
            // What Redis has written since is not replaced.
            Command::new(id, format!("make {to} where it is missing"))
                .argv(["cp", "--no-clobber", "--", &format!("{{data}}/{from}"), &format!("{{data}}/{to}")])
                .cwd("{data}")
        };
        let mut plan = plan;
        if self.has_redis() {
            let process = Process::new("redis")
                .argv([SERVER, "{data}/leader.conf", "--include", configuration])
                .env("REDISCLI_AUTH", format!("{{secret:{PASSWORD}}}"))
                .cwd("{data}")
                .port(PORT.to_string())
                .health_command([CLIENT, "-e", "-p", &PORT.to_string(), "ping"])
                .start_timeout(START)
                .stop_timeout(STOP)
                .not_beside();
            plan = plan
                .file("{data}/leader.beginning", self.beginning(), 0o600)
                .build(keep("leader", "leader.beginning", "leader.conf"))
                .process(process);
        }
        if self.has_sentinel() {
            let process = Process::new("sentinel")
                .argv([SERVER, "{data}/sentinel.conf", "--sentinel"])
                .env("REDISCLI_AUTH", format!("{{secret:{PASSWORD}}}"))
                .cwd("{data}")
                .port(SENTINEL_PORT.to_string())
                .health_command([CLIENT, "-e", "-p", &SENTINEL_PORT.to_string(), "ping"])
                .not_beside();
            plan = plan
                .file("{data}/sentinel.beginning", self.sentinel_configuration(), 0o600)
                .build(keep("sentinel", "sentinel.beginning", "sentinel.conf"))
                .process(process);
        }
        let sentinels: Vec<String> =
            self.sentinels.iter().map(|host| format!("{}:{SENTINEL_PORT}", escape(host))).collect();
        // For those who know no Sentinel: who is first leads at the beginning.
        let url = format!("redis://:{{secret:{PASSWORD}}}@{}:{PORT}/0", escape(self.servers[0]));
        plan.value("REDIS_URL", url)
            .value("REDIS_SENTINELS", sentinels.join(","))
            .value("REDIS_SENTINEL_NAME", escape(self.name))
    }

    /// A server that takes the place of another one begins with nothing: where the others know another leader, it follows
    /// that one, whatever it was made for.
    pub(crate) fn started(&self, results: &[CommandResult]) -> Next {
        let others: Vec<&&str> = self.sentinels.iter().filter(|host| **host != self.host).collect();
        if !self.has_redis() || others.is_empty() {
            return Next::Done;
        }
        if results.is_empty() {
            let own = ask("role", "ask this Redis who leads", LOOPBACK, PORT, &["info", "replication"]);
            let of_others = others.iter().enumerate().map(|(index, host)| {
                let words = ["sentinel", "get-master-addr-by-name", self.name];
                ask(&format!("leader-{index}"), "ask the others who leads", host, SENTINEL_PORT, &words)
            });
            return Next::Again(std::iter::once(own).chain(of_others).collect());
        }
        if results.iter().any(|result| result.id == "follow") {
            return Next::Done;
        }
        let leads = results.iter().any(|result| result.id == "role" && result.stdout.contains("role:master"));
        let known = results.iter().filter(|result| result.id.starts_with("leader-") && result.succeeded());
        let known: Vec<&str> = known.filter_map(|result| result.stdout.lines().next()).map(str::trim).collect();
        match known.iter().find(|leader| **leader != self.host) {
            Some(leader) if leads && self.servers.contains(leader) => {
                let words = ["replicaof", leader, &PORT.to_string()];
                Next::Again(vec![ask("follow", "follow the one who leads", LOOPBACK, PORT, &words)])
            }
            _ => Next::Done,
        }
    }
}

/// Something that is asked of a Redis or Sentinel. The password is no argument.
fn ask(id: &str, title: &str, host: &str, port: u16, words: &[&str]) -> Command {
    let port = port.to_string();
    let argv = [CLIENT, "-e", "-h", host, "-p", &port].into_iter().chain(words.iter().copied()).map(escape);
    Command::new(id, title).argv(argv).env("REDISCLI_AUTH", format!("{{secret:{PASSWORD}}}")).cwd("{data}").timeout(ASK)
}
