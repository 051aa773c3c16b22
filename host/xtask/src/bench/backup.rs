//! A backup of a large Redis and its way back, against Redis's own tool writing into a file.

#![expect(clippy::disallowed_methods, reason = "fills a Redis, and looks at files and processes of its own")]

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Bench;
use super::machine::Machine;
use super::process::{Running, command, high_water, output, pause, time};
use super::table::{Row, megabytes, time as in_words};

/// Keys, and bytes of each: 1 GB.
const KEYS: usize = 250_000;
/// See [`KEYS`].
const BYTES: usize = 4_000;
/// Bytes at the peak, of any process of JeCloud.
const MEMORY_GOAL: f64 = 64e6;
/// Between two looks at memory.
const PAUSE: Duration = Duration::from_millis(20);
/// The name of the app.
const APP: &str = "kept";

/// 1 GB that cannot be compressed.
///
/// # Errors
///
/// When it cannot be deployed, filled, backed up or brought back.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let machine = Machine::new(bench, "backup-home")?;
    let app = bench.scratch.directory("backup-app")?;
    std::fs::write(app.join("jecloud.toml"), format!("app = \"{APP}\"\n[services.redis]\n")).context("cannot write")?;
    output(&mut machine.deploy(&app))?;
    let redis = Redis::of(&machine.home().join("server").join(APP).join("production"))?;
    redis.fill()?;
    bench.check_interrupted()?;
    let dump = bench.scratch.path().join("dump.rdb");
    // The first one fills caches.
    let mut own = Duration::ZERO;
    for _ in 0..2 {
        own = time(redis.client(&["--rdb"]).arg(&dump))?;
    }
    let size = std::fs::metadata(&dump).context("redis-cli wrote nothing")?.len() as f64;
    std::fs::remove_file(&dump).context("cannot remove the copy")?;
    let (saved, save_peak) = machine_runs(&machine, &app, &["backup", "redis"])?;
    bench.check_interrupted()?;
    let (restored, restore_peak) = machine_runs(&machine, &app, &["restore", "redis", "-y"])?;
    let row = |what: &str, took: Duration| Row {
        measure: format!("{what} {} of Redis", megabytes(size)),
        ours: in_words(took.as_secs_f64()),
        peer: format!("{}, redis-cli --rdb into a file", in_words(own.as_secs_f64())),
        ratio: format!("{:.2} × as fast", own.as_secs_f64() / took.as_secs_f64()),
        goal: String::new(),
        met: None,
    };
    let peak = save_peak.max(restore_peak);
    Ok(vec![
        row("back up, checked, sealed, in the store:", saved),
        row("bring back, loaded and counted:", restored),
        Row {
            measure: format!("back up and bring back {}: memory at the peak", megabytes(size)),
            ours: megabytes(peak),
            peer: String::new(),
            ratio: String::new(),
            goal: format!("≤ {}", megabytes(MEMORY_GOAL)),
            met: Some(peak <= MEMORY_GOAL),
        },
    ])
}

/// Runs a command to its end; how long it took, and the most memory that it or a process of JeCloud on the server had.
fn machine_runs(machine: &Machine<'_>, app: &Path, arguments: &[&str]) -> Result<(Duration, f64)> {
    let start = Instant::now();
    let what = format!("jecloud {}", arguments.join(" "));
    let mut running = Running::start(&what, machine.jecloud(arguments).arg("-C").arg(app))?;
    let mut peak = 0.0_f64;
    loop {
        for id in machine.residents().into_iter().chain([running.id()]) {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            peak = peak.max(high_water(&status).unwrap_or(0.0));
        }
        if let Some(status) = running.ended()? {
            ensure!(status.success(), "{what} ended with {status}: {}", running.last_words());
            return Ok((start.elapsed(), peak));
        }
        pause(PAUSE);
    }
}

/// The Redis of the app.
struct Redis {
    port: String,
    password: String,
}

impl Redis {
    fn of(place: &Path) -> Result<Self> {
        let read = |name: &str| -> Result<Value> {
            let text = std::fs::read(place.join(name)).with_context(|| format!("cannot read {name}"))?;
            serde_json::from_slice(&text).with_context(|| format!("{name} is not JSON"))
        };
        let port = read("processes.json")?["processes"][0]["ports"]["redis"].as_u64().context("it has no port")?;
        let password = read("secrets.json")?["redis-password"].as_str().context("it has no password")?.to_owned();
        Ok(Self { port: port.to_string(), password })
    }

    fn client(&self, arguments: &[&str]) -> std::process::Command {
        let mut client = command("redis-cli");
        client.args(["-e", "-p", &self.port]).args(arguments).env("REDISCLI_AUTH", &self.password);
        client
    }

    fn fill(&self) -> Result<()> {
        let mut client =
            self.client(&["--pipe"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().context("redis-cli")?;
        let mut into = std::io::BufWriter::new(client.stdin.take().context("redis-cli reads nothing")?);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut value = Vec::with_capacity(BYTES);
        for key in 0..KEYS {
            value.clear();
            while value.len() < BYTES {
                // https://en.wikipedia.org/wiki/Xorshift
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                value.extend(state.to_le_bytes());
            }
            let name = format!("key:{key}");
            write!(into, "*3\r\n$3\r\nSET\r\n${}\r\n{name}\r\n${}\r\n", name.len(), value.len())
                .context("redis-cli")?;
            into.write_all(&value).and_then(|()| into.write_all(b"\r\n")).context("redis-cli")?;
        }
        drop(into.into_inner().context("redis-cli")?);
        ensure!(client.wait().context("redis-cli")?.success(), "Redis was not filled");
        Ok(())
    }
}
