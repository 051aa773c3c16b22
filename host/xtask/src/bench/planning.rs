//! Planning for a state of many servers.

use anyhow::{Context as _, Result};

use super::Bench;
use super::process::{command, output};
use super::table::{Row, time as in_words};

/// Servers of which a tenth is not seen, a tenth not there yet, and the others somewhere in a deployment.
const SERVERS: u32 = 1000;
/// Plans that are made.
const PLANS: u32 = 200;
/// In seconds.
const GOAL: f64 = 0.050;

/// One plan of the cloud roll-forward, against reading the same state from its JSON text, which every command does too.
///
/// # Errors
///
/// When it does not run.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let report = output(command(&bench.artifacts.plan).args([SERVERS.to_string(), PLANS.to_string()]))?;
    let seconds = |name: &str| -> Result<f64> {
        let line = report.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let number: f64 = line.with_context(|| format!("{name} is missing in {report:?}"))?.parse()?;
        Ok(number / 1e6)
    };
    let (ours, peer) = (seconds("plan")?, seconds("read")?);
    Ok(vec![Row {
        measure: format!("one plan for {SERVERS} servers"),
        ours: in_words(ours),
        peer: format!("{}, reading the state", in_words(peer)),
        ratio: format!("{:.2} × as long", ours / peer),
        goal: format!("≤ {}", in_words(GOAL)),
        met: Some(ours <= GOAL),
    }])
}
