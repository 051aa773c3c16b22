//! What processes write: a namespace of the journal, with a size of its own.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use jecloud_launch::{Ended, Launch, RunLimits, Stream};
use jecloud_model::ids::{AppName, EnvironmentName, InstanceId, ProcessName};
use jecloud_model::time::Timestamp;
use serde::Deserialize;

use crate::control;
use crate::error::SystemdError;
use crate::name::UnitName;

/// What the namespace is called.
pub(crate) const NAMESPACE: &str = "jecloud";

/// How large it may become, and how fast. The lines of an app are not the system's business, and the system's are not
/// pushed out by them.
///
/// A line is cut into pieces of 8 KiB: as JSON, each byte of one that is no text takes four.
pub(crate) const CONFIGURATION: &str = "\
# Written by JeCloud: what apps write. See man 5 journald.conf.
[Journal]
Storage=persistent
SystemMaxUse=1G
SystemKeepFree=1G
SystemMaxFileSize=64M
RateLimitIntervalSec=30s
RateLimitBurst=100000
LineMax=8K
";

/// The fields by which lines are found again.
const APP: &str = "JECLOUD_APP";
const ENVIRONMENT: &str = "JECLOUD_ENVIRONMENT";
const PROCESS: &str = "JECLOUD_PROCESS";
const SHORT: &str = "JECLOUD_SHORT";
const INSTANCE: &str = "JECLOUD_INSTANCE";

/// How long the journal may take to be looked through, where it is not followed.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The lines of a unit about its output.
pub(crate) fn lines(name: &UnitName) -> String {
    let UnitName { app, environment, id } = name;
    let mut text = format!("LogNamespace={NAMESPACE}\nSyslogIdentifier={id}\n");
    let fields: [(&str, &dyn std::fmt::Display); 5] =
        [(APP, app), (ENVIRONMENT, environment), (PROCESS, &id.process), (SHORT, &id.short()), (INSTANCE, id)];
    for (field, value) in fields {
        let _ = writeln!(text, "LogExtraFields={field}={value}");
    }
    text
}

/// Which lines are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter {
    /// Whose.
    pub app: AppName,
    /// In which environment.
    pub environment: EnvironmentName,
    /// Only those of this process, or of this instance of it in all releases.
    pub process: Option<(ProcessName, Option<u32>)>,
    /// Only those of this one.
    pub instance: Option<InstanceId>,
    /// The last so many.
    pub lines: usize,
    /// Not those before.
    pub since: Option<Timestamp>,
    /// Those too that come from now on.
    pub follow: bool,
}

/// A line that a process wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// When.
    pub at: Timestamp,
    /// Which.
    pub id: InstanceId,
    /// What.
    pub text: String,
}

/// Hands over lines in the order in which they were written, until the receiver has enough.
///
/// # Errors
///
/// When `journalctl` cannot be asked.
pub fn logs(filter: &LogFilter, on_line: &mut dyn FnMut(Logged) -> ControlFlow<()>) -> Result<(), SystemdError> {
    // Everything that was written by now is there.
    let _ = control::call("journalctl", &["--namespace", NAMESPACE, "--sync"]);
    let timeout = if filter.follow { Duration::MAX } else { TIMEOUT };
    let limits = RunLimits { timeout, keep_bytes: 4096 };
    let arguments = arguments(filter);
    let launch = Launch::new("journalctl").args(&arguments).variable("LC_ALL", "C").cwd("/");
    let has_enough = std::cell::Cell::new(false);
    let mut on_output = |stream, line: &str| {
        if stream == Stream::Err || has_enough.get() {
            return;
        }
        let Some(logged) = parse(line) else { return };
        // It takes whole seconds only.
        if filter.since.is_none_or(|since| logged.at >= since) && on_line(logged).is_break() {
            has_enough.set(true);
        }
    };
    let finished = jecloud_launch::run(launch, limits, &|| has_enough.get(), &mut on_output)?;
    // That there is nothing is no success for it, and nothing that it talks about.
    let is_empty = finished.status == Ended::Exit(1) && finished.stderr.is_empty();
    if finished.status.success() || is_empty || has_enough.get() {
        return Ok(());
    }
    Err(SystemdError::Refused {
        command: format!("journalctl {}", arguments.join(" ")),
        how: finished.status.to_string(),
        said: String::from_utf8_lossy(&finished.stderr).trim().replace('\n', "; "),
    })
}

fn arguments(filter: &LogFilter) -> Vec<String> {
    let mut arguments: Vec<String> =
        ["--namespace", NAMESPACE, "--quiet", "--no-pager", "--all", "--output=json"].map(str::to_owned).to_vec();
    arguments.push(format!("--output-fields=MESSAGE,{INSTANCE}"));
    arguments.push(format!("--lines={}", filter.lines));
    arguments.extend(filter.since.map(|since| format!("--since=@{}", since.as_millisecond().div_euclid(1000))));
    arguments.extend(filter.follow.then(|| "--follow".to_owned()));
    // Not what systemd says about the unit.
    arguments.push("_TRANSPORT=stdout".to_owned());
    arguments.push(format!("{APP}={}", filter.app));
    arguments.push(format!("{ENVIRONMENT}={}", filter.environment));
    arguments.extend(filter.process.as_ref().map(|(process, index)| match index {
        Some(index) => format!("{SHORT}={process}.{index}"),
        None => format!("{PROCESS}={process}"),
    }));
    arguments.extend(filter.instance.as_ref().map(|id| format!("{INSTANCE}={id}")));
    arguments
}

/// An entry of the journal, as far as it is asked for.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    at: String,
    #[serde(rename = "JECLOUD_INSTANCE")]
    instance: String,
    #[serde(rename = "MESSAGE")]
    message: Message,
}

/// What is no text, which is also what has colours, is written as its bytes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    Text(String),
    Bytes(Vec<u8>),
}

fn parse(line: &str) -> Option<Logged> {
    let entry: Entry = serde_json::from_str(line).ok()?;
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(entry.at.parse().ok()?))?;
    let text = match entry.message {
        Message::Text(text) => text,
        Message::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
    };
    Some(Logged { at: Timestamp::from_system(at), id: entry.instance.parse().ok()?, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter() -> LogFilter {
        LogFilter {
            app: "shop".parse().expect("valid"),
            environment: "production".parse().expect("valid"),
            process: None,
            instance: None,
            lines: 10,
            since: None,
            follow: false,
        }
    }

    #[test]
    fn entries() {
        let line = r#"{"__CURSOR":"x","__REALTIME_TIMESTAMP":"1795534177308114","JECLOUD_INSTANCE":"web.1@7","MESSAGE":"hello"}"#;
        let logged = parse(line).expect("a line");
        assert_eq!((logged.at.to_string().as_str(), logged.text.as_str()), ("2026-11-24T15:29:37.308Z", "hello"));
        assert_eq!(logged.id.to_string(), "web.1@7");
        // What is no text for the journal.
        let line = r#"{"__REALTIME_TIMESTAMP":"1795534177308114","JECLOUD_INSTANCE":"web.1@7","MESSAGE":[27,91,51,49,109,104,105]}"#;
        assert_eq!(parse(line).expect("a line").text, "\u{1b}[31mhi");
        assert_eq!(parse("-- Boot --"), None);
    }

    #[test]
    fn what_is_asked() {
        let of = |filter: LogFilter| arguments(&filter).split_off(6).join(" ");
        assert_eq!(
            of(filter()),
            "--output-fields=MESSAGE,JECLOUD_INSTANCE --lines=10 _TRANSPORT=stdout JECLOUD_APP=shop \
             JECLOUD_ENVIRONMENT=production"
        );
        let process = Some(("web".parse().expect("valid"), Some(2)));
        let since = Some("2026-11-24T15:29:37.308Z".parse().expect("a time"));
        let all = of(LogFilter { process, since, follow: true, ..filter() });
        assert!(all.contains("--since=@1795534177 --follow "), "{all}");
        assert!(all.ends_with(" JECLOUD_SHORT=web.2"), "{all}");
    }
}
