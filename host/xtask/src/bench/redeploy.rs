//! From `jecloud deploy` to the new version serving.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Bench;
use super::http::{Place, free_port};
use super::machine::{HelloNode, Machine};
use super::process::{Running, command, output, time, wait_for};
use super::statistics::{median_ratio, median_seconds};
use super::table::{Row, time as in_words};

/// Rounds that count, after one that does not.
const ROUNDS: usize = 9;

/// With changed code, in seconds.
const CHANGED_GOAL: f64 = 1.0;
/// With nothing changed, in seconds.
const UNCHANGED_GOAL: f64 = 0.3;

/// What one round took.
struct Round {
    serving: Duration,
    done: Duration,
    unchanged: Duration,
    bare: Duration,
}

/// Changed and unchanged redeploys of `examples/hello-node`, against the time in which a bare `node server.js` answers:
/// no deployment with Node.js can be faster than that.
///
/// # Errors
///
/// When a deployment fails, or its version never serves.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let machine = Machine::new(bench, "redeploy-home")?;
    let app = HelloNode::copy(bench, "redeploy-app")?;
    output(&mut machine.deploy(&app.directory))?;
    let place = machine.place(&app.directory)?;
    let mut rounds = Vec::new();
    for number in 0..=ROUNDS {
        bench.check_interrupted()?;
        let greeting = app.greet(number)?;
        let start = Instant::now();
        let mut deploy = Running::start("jecloud deploy", &mut machine.deploy(&app.directory))?;
        let (mut serving, mut done) = (None, None);
        wait_for("the new version", || {
            if serving.is_none() && place.get().is_some_and(|answer| answer.contains(&greeting)) {
                serving = Some(start.elapsed());
            }
            if done.is_none()
                && let Some(status) = deploy.ended()?
            {
                anyhow::ensure!(status.success(), "jecloud deploy ended with {status}");
                done = Some(start.elapsed());
            }
            Ok(serving.zip(done))
        })
        .map(|(serving, done)| -> Result<()> {
            let unchanged = time(&mut machine.deploy(&app.directory))?;
            rounds.push(Round { serving, done, unchanged, bare: bare_start(&app)? });
            Ok(())
        })??;
    }
    // The first round fills caches.
    let rounds = &rounds[1..];
    let of = |which: fn(&Round) -> Duration| rounds.iter().map(which).collect::<Vec<_>>();
    let bare = of(|round| round.bare);
    let row = |measure: &str, ours: Vec<Duration>, goal: Option<f64>| {
        let seconds = median_seconds(&ours);
        Row {
            measure: measure.to_owned(),
            ours: in_words(seconds),
            peer: format!("{} until a bare `node server.js` answers", in_words(median_seconds(&bare))),
            ratio: format!("{:.2} × as long", median_ratio(&ours, &bare, |time| time.as_secs_f64())),
            goal: goal.map_or_else(String::new, |goal| format!("≤ {goal} s")),
            met: goal.map(|goal| seconds <= goal),
        }
    };
    Ok(vec![
        row("redeploy, changed code: new version serves", of(|round| round.serving), Some(CHANGED_GOAL)),
        row("redeploy, changed code: command ends", of(|round| round.done), None),
        row("redeploy, nothing changed", of(|round| round.unchanged), Some(UNCHANGED_GOAL)),
    ])
}

/// How long the same app takes from its start to its first answer, with nothing around it.
fn bare_start(app: &HelloNode) -> Result<Duration> {
    let port = free_port()?;
    let place = Place::port(port);
    let mut node = command("node");
    node.arg("server.js").current_dir(&app.directory).env("PORT", port.to_string()).env("NODE_ENV", "production");
    let start = Instant::now();
    let mut running = Running::start("node", &mut node)?;
    wait_for("node's answer", || {
        running.check_running()?;
        Ok(place.get().map(|_| start.elapsed()))
    })
}
