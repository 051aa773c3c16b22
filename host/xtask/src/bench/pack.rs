//! Packing a source tree, against `tar cjf`.

#![expect(clippy::disallowed_methods, reason = "measures files")]

use std::path::Path;

use anyhow::{Context as _, Result};

use super::Bench;
use super::process::{command, time, watched};
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
        let (took, peak) = watched("pack", command(&bench.artifacts.pack).arg(&tree).arg(&archive))?;
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
