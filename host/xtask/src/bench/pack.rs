//! Packing a source tree, against `tar cjf`.

#![expect(clippy::disallowed_methods, reason = "watches the memory of a process and measures files")]

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::Bench;
use super::process::{Running, command, pause, time};
use super::scratch;
use super::source_tree;
use super::statistics::{median, median_ratio, median_seconds};
use super::table::{Row, megabytes, time as in_words};

/// Rounds that count, after one that does not.
const ROUNDS: usize = 3;
/// How many times as fast.
const SPEED_GOAL: f64 = 1.8;
/// Bytes at the peak.
const MEMORY_GOAL: f64 = 100e6;
/// Between two looks at the memory. The kernel keeps the peak, so only what is added after the last look is missed.
const PAUSE: Duration = Duration::from_millis(5);

/// A tree of 100 MB and 10 000 files.
///
/// # Errors
///
/// When the tree cannot be written, and when packing it fails or gives what bzip2 cannot read.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let tree = bench.scratch.directory("tree")?;
    let bytes = source_tree::write(&tree)?;
    let archive = bench.scratch.path().join("ours.tar.bz2");
    let theirs = bench.scratch.path().join("theirs.tar.bz2");
    let (mut ours, mut peer, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..=ROUNDS {
        bench.check_interrupted()?;
        let (took, peak) = pack(&bench.artifacts.pack, &tree, &archive)?;
        ours.push(took);
        peaks.push(peak);
        peer.push(time(command("tar").arg("cjf").arg(&theirs).arg("-C").arg(&tree).arg("."))?);
    }
    time(command("bzip2").arg("-t").arg(&archive)).context("bzip2 cannot read what was packed")?;
    let size = |path: &Path| -> Result<f64> {
        Ok(std::fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?.len() as f64)
    };
    let (size_ours, size_theirs) = (size(&archive)?, size(&theirs)?);
    scratch::remove(&tree)?;

    // The first round fills caches.
    let (ours, peer, peaks) = (&ours[1..], &peer[1..], &peaks[1..]);
    let speed = median_ratio(peer, ours, |time| time.as_secs_f64());
    let peak = median(peaks.iter().copied());
    let tree = format!("{}, {} files", megabytes(bytes as f64), source_tree::FILES);
    Ok(vec![
        Row {
            measure: format!("pack {tree}"),
            ours: format!("{} ({})", in_words(median_seconds(ours)), megabytes(size_ours)),
            peer: format!("{} ({}), tar cjf", in_words(median_seconds(peer)), megabytes(size_theirs)),
            ratio: format!("{speed:.2} × as fast"),
            goal: format!("≥ {SPEED_GOAL} ×"),
            met: Some(speed >= SPEED_GOAL),
        },
        Row {
            measure: format!("pack {tree}: memory at the peak"),
            ours: megabytes(peak),
            peer: String::new(),
            ratio: String::new(),
            goal: format!("< {}", megabytes(MEMORY_GOAL)),
            met: Some(peak < MEMORY_GOAL),
        },
    ])
}

/// How long packing takes, and how many bytes of memory it has at its peak.
fn pack(program: &Path, tree: &Path, archive: &Path) -> Result<(Duration, f64)> {
    let start = Instant::now();
    let mut running = Running::start("pack", command(program).arg(tree).arg(archive))?;
    let mut peak = 0.0_f64;
    loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap_or_default();
        peak = peak.max(high_water(&status).unwrap_or(0.0));
        if let Some(status) = running.ended()? {
            ensure!(status.success(), "packing {} ended with {status}", tree.display());
            ensure!(peak > 0.0, "the memory of packing could not be seen");
            return Ok((start.elapsed(), peak));
        }
        pause(PAUSE);
    }
}

/// The most memory that a process ever had resident, in bytes, from its `/proc/ID/status`.
fn high_water(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_in_bytes() {
        let status = "Name:\tpack\nVmPeak:\t  123 kB\nVmHWM:\t   31416 kB\nVmRSS:\t   100 kB\n";
        assert!(high_water(status).is_some_and(|bytes| (bytes - 31416.0 * 1024.0).abs() < 0.5));
        // A process that has ended and was not waited for has no memory any more.
        assert_eq!(high_water("Name:\tpack\nState:\tZ (zombie)\n"), None);
    }
}
