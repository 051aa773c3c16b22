//! What an idle machine with one deployed app needs for JeCloud itself.

#![expect(clippy::disallowed_methods, reason = "looks at the memory of processes, and writes a configuration file")]

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::Bench;
use super::http::{Place, free_port};
use super::machine::{HelloNode, Machine};
use super::process::{Running, output, pause, wait_for};
use super::statistics::median;
use super::table::{Row, megabytes};

/// Looks that count.
const LOOKS: usize = 5;
/// Before each of them: nothing is asked of anybody meanwhile.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes.
const GOAL: f64 = 25e6;

/// Memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Memory {
    /// What is resident of each process, added up: what they share counts once for each.
    resident: f64,
    /// The same with what is shared divided among those who share it.
    proportional: f64,
}

/// All resident processes of JeCloud, against a Caddy that has nothing to do.
///
/// # Errors
///
/// When the app cannot be deployed, or there are no processes to look at.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let machine = Machine::new(bench, "memory-home")?;
    let app = HelloNode::copy(bench, "memory-app")?;
    output(&mut machine.deploy(&app.directory))?;
    let caddy = start_caddy(bench)?;
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..LOOKS {
        bench.check_interrupted()?;
        pause(PAUSE);
        let residents = machine.residents();
        ensure!(!residents.is_empty(), "no process of JeCloud runs after a deployment");
        ours.push((residents.len(), of(&residents)?));
        peer.push(of(&[caddy.id()])?);
    }
    let resident = median(ours.iter().map(|(_, memory)| memory.resident));
    let proportional = median(ours.iter().map(|(_, memory)| memory.proportional));
    let theirs = median(peer.iter().map(|memory| memory.resident));
    let count = median(ours.iter().map(|(count, _)| *count as f64));
    Ok(vec![Row {
        measure: format!("resident memory, idle, one app, {count} processes"),
        ours: format!("{} (PSS {})", megabytes(resident), megabytes(proportional)),
        peer: format!("{}, Caddy, idle", megabytes(theirs)),
        ratio: format!("{:.2} × as much", resident / theirs),
        goal: format!("≤ {}", megabytes(GOAL)),
        met: Some(resident <= GOAL),
    }])
}

fn start_caddy(bench: &Bench) -> Result<Running> {
    let directory = bench.scratch.directory("memory-caddy")?;
    let (port, upstream) = (free_port()?, free_port()?);
    let file = directory.join("Caddyfile");
    std::fs::write(&file, super::front::caddyfile(port, upstream))
        .with_context(|| format!("cannot write {}", file.display()))?;
    let mut running = Running::start("caddy", &mut super::front::caddy(&directory, &file))?;
    let place = Place::port(port);
    wait_for("Caddy", || {
        running.check_running()?;
        Ok(place.get().map(drop))
    })?;
    Ok(running)
}

fn of(processes: &[u32]) -> Result<Memory> {
    let mut sum = Memory::default();
    for id in processes {
        let path = format!("/proc/{id}/smaps_rollup");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let memory = parse(&text).with_context(|| format!("{path} is not what was expected"))?;
        sum.resident += memory.resident;
        sum.proportional += memory.proportional;
    }
    Ok(sum)
}

/// From a process's `smaps_rollup`.
fn parse(rollup: &str) -> Option<Memory> {
    let bytes = |key: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0)
    };
    Some(Memory { resident: bytes("Rss:")?, proportional: bytes("Pss:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails where the beginning of a key is enough: Pss_Dirty would do for Pss.
    #[test]
    fn memory_is_read_in_bytes() {
        let rollup = "55d0-7ffc ---p 00000000 00:00 0  [rollup]\nRss:    1000 kB\nPss_Dirty:  7 kB\nPss:     250 kB\n";
        assert_eq!(parse(rollup), Some(Memory { resident: 1_024_000.0, proportional: 256_000.0 }));
        assert_eq!(parse(""), None);
    }
}
