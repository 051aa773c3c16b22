//! Load by wrk, and what it says about it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::http::Place;
use super::process::{command, output};

/// Threads of wrk. As many as the cores of the smallest machine this is meant for.
const THREADS: u32 = 2;
/// Connections that are kept open, each with one request at a time.
const CONNECTIONS: u32 = 64;

/// What a round of load came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Load {
    /// Complete answers.
    pub(super) requests_per_second: f64,
    /// Of a hundred answers, 99 came within this time.
    pub(super) p99: Duration,
}

/// How the load is told to people.
pub(super) fn description() -> String {
    format!("{CONNECTIONS} connections")
}

/// Loads a place for a while.
///
/// # Errors
///
/// When wrk cannot be run, and when anything but good answers came.
pub(super) fn load(place: &Place, duration: Duration) -> Result<Load> {
    let text = output(command("wrk").args([
        format!("-t{THREADS}"),
        format!("-c{CONNECTIONS}"),
        format!("-d{}s", duration.as_secs()),
        "--latency".to_owned(),
        format!("http://{}/", place.host),
    ]))?;
    parse(&text)
}

/// From wrk's report.
fn parse(report: &str) -> Result<Load> {
    let bad = report.lines().find(|line| {
        let line = line.trim_start();
        line.starts_with("Socket errors:") || line.starts_with("Non-2xx or 3xx responses:")
    });
    ensure!(bad.is_none(), "not every request was answered well: {}", bad.unwrap_or_default().trim());
    let value = |key: &str| {
        let found = report.lines().find_map(|line| line.trim_start().strip_prefix(key));
        found.map(str::trim).with_context(|| format!("wrk does not say {key:?}: {report}"))
    };
    let requests_per_second = value("Requests/sec:")?.parse().context("wrk's requests per second are no number")?;
    let p99 = value("99%")?;
    let p99 = time(p99).with_context(|| format!("wrk says {p99:?}, which is no time"))?;
    Ok(Load { requests_per_second, p99 })
}

/// `850.00us`, `5.60ms`, `1.02s`, `1.50m`.
fn time(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| c != '.' && !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Some(Duration::from_secs_f64(number.parse::<f64>().ok()? * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "Running 5s test @ http://127.0.0.1:8080/
  2 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.51ms    1.02ms  35.51ms   93.40%
    Req/Sec    12.90k     1.01k   14.30k    77.00%
  Latency Distribution
     50%    2.31ms
     75%    2.75ms
     90%    3.31ms
     99%    5.60ms
  128403 requests in 5.01s, 30.51MB read
Requests/sec:  25623.46
Transfer/sec:      6.09MB
";

    #[test]
    fn a_good_report() {
        let load = parse(REPORT).unwrap();
        assert!((load.requests_per_second - 25623.46).abs() < 1e-6);
        assert_eq!(load.p99, Duration::from_micros(5600));
    }

    // Fails without the check: a proxy that refuses everything at once is very fast.
    #[test]
    fn failed_requests_are_no_result() {
        for line in ["  Socket errors: connect 0, read 17, write 0, timeout 0", "  Non-2xx or 3xx responses: 128403"] {
            let report = REPORT.replace("Requests/sec:", &format!("{line}\nRequests/sec:"));
            let error = parse(&report).unwrap_err().to_string();
            assert_eq!(error, format!("not every request was answered well: {}", line.trim()));
        }
        assert!(parse("").is_err());
    }

    #[test]
    fn times_in_all_units() {
        assert_eq!(time("850.00us"), Some(Duration::from_micros(850)));
        assert_eq!(time("1.02s"), Some(Duration::from_millis(1020)));
        assert_eq!(time("1.50m"), Some(Duration::from_secs(90)));
        assert_eq!(time("1.50"), None);
        assert_eq!(time("ms"), None);
    }
}
