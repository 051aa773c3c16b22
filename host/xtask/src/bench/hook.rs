//! One call of a hook from the warm cache, against a hook that is a shell script, and against starting bash alone.

#![expect(clippy::disallowed_methods, reason = "writes the context of a call into the scratch directory")]

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::Bench;
use super::process::{command, output};
use super::statistics::median_seconds;
use super::table::{Row, time as in_words};

/// Calls in one run.
const CALLS: usize = 500;
/// Runs of each, in turns; the last of each counts as the others do.
const RUNS: usize = 5;
/// Starts of each script in one run.
const SCRIPTS: usize = 40;

/// In seconds.
const TIME_GOAL: f64 = 0.001;
/// How many times as fast as the script.
const SPEED_GOAL: f64 = 20.0;

/// A hook that does the simpler half of the same: it reads what it is shown, and prints a plan.
const SCRIPT: &str = include_str!("hook.bash");
/// The least that bash takes to say anything.
const NOTHING: &str = "printf '{}'";

/// The Node.js hook's plan for `examples/hello-node`: load from the cache, instantiate, call.
///
/// # Errors
///
/// When the hook or bash cannot be run.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let directory = bench.scratch.directory("hook")?;
    let context = directory.join("context.json");
    std::fs::write(&context, context_of(bench)?.to_string())
        .with_context(|| format!("cannot write {}", context.display()))?;
    let (mut ours, mut loads, mut again) = (Vec::new(), Vec::new(), Vec::new());
    let (mut script, mut bash) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        bench.check_interrupted()?;
        let mut call = command(&bench.artifacts.call);
        call.arg(bench.root.join("hooks/dist/node.wasm")).arg(&context).arg(directory.join("cache"));
        let report = output(call.arg(CALLS.to_string()))?;
        ours.push(microseconds(&report, "all")?);
        loads.push(microseconds(&report, "load")?);
        again.push(microseconds(&report, "again")?);
        for _ in 0..SCRIPTS {
            let start = Instant::now();
            let plan = output(command("bash").args(["-c", SCRIPT, "hook"]).arg(&context))?;
            script.push(start.elapsed());
            ensure!(plan.contains("\"server.js\""), "the script planned {plan:?}");
            let start = Instant::now();
            output(command("bash").args(["-c", NOTHING]))?;
            bash.push(start.elapsed());
        }
    }
    let (seconds, again) = (median_seconds(&ours), median_seconds(&again));
    let (script, bash) = (median_seconds(&script), median_seconds(&bash));
    let cached = format!("{} (load {})", in_words(seconds), in_words(median_seconds(&loads)));
    let row = |measure: &str, ours: &str, ratio: f64, peer: String, goal: String, met| Row {
        measure: format!("hook call, {measure}"),
        ours: ours.to_owned(),
        peer,
        ratio: format!("{ratio:.1} × as fast"),
        goal,
        met,
    };
    let (in_bash, bash_alone) =
        (format!("{}, a hook in bash and jq", in_words(script)), format!("{}, bash -c printf", in_words(bash)));
    let (from_cache, loaded) = ("warm cache: load, instantiate, plan", "loaded before: instantiate, plan");
    let (time_goal, speed_goal) = (format!("≤ {}", in_words(TIME_GOAL)), format!("≥ {SPEED_GOAL} ×"));
    let is_fast = script / seconds >= SPEED_GOAL;
    Ok(vec![
        row(from_cache, &cached, bash / seconds, bash_alone.clone(), time_goal, Some(seconds <= TIME_GOAL)),
        row(from_cache, &cached, script / seconds, in_bash, speed_goal, Some(is_fast)),
        row(loaded, &in_words(again), bash / again, bash_alone, String::new(), None),
    ])
}

/// What the hook is shown when `examples/hello-node` is deployed, in the form of `jecloud_model::hook::Context`.
fn context_of(bench: &Bench) -> Result<serde_json::Value> {
    let path = bench.root.join("examples/hello-node/package.json");
    let package = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let no_version: Option<&str> = None;
    Ok(serde_json::json!({
        "app": "hello-node",
        "environment": "production",
        "service": "node",
        "version": "0".repeat(64),
        "current_version": no_version,
        "settings": "{}",
        "pins": {},
        "inputs": {"package.json": package, "server.js": []},
        "facts": {
            "os": "linux",
            "arch": "x86_64",
            "package-manager": "apt",
            "program:node": "/usr/bin/node v22.11.0",
            "program:npm": "/usr/bin/npm 10.9.0",
        },
        "remembered": {},
        "options": {},
    }))
}

/// A number from the report of `host/sandbox/examples/call.rs`.
fn microseconds(report: &str, name: &str) -> Result<Duration> {
    let value = report.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.with_context(|| format!("the report does not say {name:?}: {report}"))?;
    Ok(Duration::from_micros(value.parse().with_context(|| format!("{name} is not a number: {value}"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_name() {
        let report = "engine 900\nfirst 12\nload 50\ncall 11\nall 61\n";
        assert_eq!(microseconds(report, "all").unwrap(), Duration::from_micros(61));
        assert!(microseconds(report, "fir").is_err());
        assert!(microseconds(report, "calls").is_err());
    }
}
