//! `jecloud version`: what every command costs at least.

use std::time::Duration;

use anyhow::Result;

use super::Bench;
use super::process::{command, time};
use super::statistics::{median_ratio, median_seconds};
use super::table::{Row, time as in_words};

/// Rounds that count.
const ROUNDS: usize = 100;
/// Rounds before them.
const WARM_UPS: usize = 10;
/// In seconds.
const GOAL: f64 = 0.010;

/// The shortest command, against the shortest program there is.
///
/// # Errors
///
/// When it does not run.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let (mut ours, mut peer): (Vec<Duration>, Vec<Duration>) = (Vec::new(), Vec::new());
    for _ in 0..WARM_UPS + ROUNDS {
        bench.check_interrupted()?;
        ours.push(time(command(&bench.artifacts.jecloud).arg("version"))?);
        peer.push(time(&mut command("true"))?);
    }
    let (ours, peer) = (&ours[WARM_UPS..], &peer[WARM_UPS..]);
    let seconds = median_seconds(ours);
    Ok(vec![Row {
        measure: "jecloud version".to_owned(),
        ours: in_words(seconds),
        peer: format!("{}, true", in_words(median_seconds(peer))),
        ratio: format!("{:.2} × as long", median_ratio(ours, peer, |time| time.as_secs_f64())),
        goal: format!("≤ {}", in_words(GOAL)),
        met: Some(seconds <= GOAL),
    }])
}
