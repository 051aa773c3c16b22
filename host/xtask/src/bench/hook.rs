//! One call of a hook from the warm cache, against a hook that is a shell script.

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
/// Starts of the script in one run.
const SCRIPTS: usize = 60;

/// In seconds.
const TIME_GOAL: f64 = 0.001;
/// How many times as fast as the script.
const SPEED_GOAL: f64 = 20.0;

/// What a hook written for bash would do at least: look at the app, and print a plan.
const SCRIPT: &str = r#"app=${1:?}; printf '{"processes":[{"name":"web","argv":["node","%s"]}]}\n' "$app/server.js""#;

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
    let (mut ours, mut loads, mut again, mut peer) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
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
            let said = output(command("bash").args(["-c", SCRIPT, "hook", "/srv/app"]))?;
            peer.push(start.elapsed());
            ensure!(said.starts_with("{\"processes\""), "bash said {said:?}");
        }
    }
    let (seconds, script) = (median_seconds(&ours), median_seconds(&peer));
    let row = |measure: &str, ours: String, seconds: f64, goal: String, met| Row {
        measure: format!("hook call, {measure}"),
        ours,
        peer: format!("{}, bash -c printf", in_words(script)),
        ratio: format!("{:.1} × as fast", script / seconds),
        goal,
        met,
    };
    let cached = format!("{} (load {})", in_words(seconds), in_words(median_seconds(&loads)));
    let from_cache = "warm cache: load, instantiate, plan";
    let again = median_seconds(&again);
    Ok(vec![
        row(from_cache, cached.clone(), seconds, format!("≤ {}", in_words(TIME_GOAL)), Some(seconds <= TIME_GOAL)),
        row(from_cache, cached, seconds, format!("≥ {SPEED_GOAL} ×"), Some(script / seconds >= SPEED_GOAL)),
        row("loaded before: instantiate, plan", in_words(again), again, String::new(), None),
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
