//! `[backups]`: how often servers back services up by themselves, and what is kept of that.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use super::error::Quoted;
use super::section::{Found, Section};
use super::{BackupWish, BackupsConfig};
use crate::backup_policy::{Keep, Schedule, ScheduleWish};
use crate::ids::ServiceName;
use crate::suggest::did_you_mean;

const KEYS: [&str; 3] = ["schedule", "keep", "verify"];

/// More on purpose is rare, and a slip costs storage.
const MOST_KEPT: u32 = 10_000;

/// `[backups]` with its `[backups.SERVICE]`.
pub(super) fn backups(section: &Section<'_>) -> BackupsConfig {
    let tables: Vec<&str> =
        section.entries().filter(|(_, value)| value.get_ref().is_table()).map(|(key, _)| key.value).collect();
    let mut services = BTreeMap::new();
    for (key, _) in section.entries().filter(|(key, _)| tables.contains(&key.value)) {
        match key.value.parse::<ServiceName>() {
            Ok(service) => {
                if let Some(section) = section.section(key.value) {
                    section.refuse_others(&KEYS);
                    services.insert(service, wish(&section));
                }
            }
            Err(error) => {
                section.note(
                    key.span,
                    key.value,
                    format!("{} is not a valid {}: {}", Quoted(key.value), error.kind, error.rule),
                );
            }
        }
    }
    section.refuse_others_but(&KEYS, &tables);
    let is_value = |name: &str| !tables.contains(&name);
    let all = if KEYS.iter().all(|key| is_value(key)) { wish(section) } else { BackupWish::default() };
    BackupsConfig { all, services }
}

fn wish(section: &Section<'_>) -> BackupWish {
    BackupWish {
        schedule: schedule(section),
        keep: keep(section),
        verify: section.value("verify", "true or false", DeValue::as_bool).map(|found| found.value),
    }
}

fn schedule(section: &Section<'_>) -> Option<ScheduleWish> {
    let found = section.text("schedule")?;
    let wish = found.value.parse().ok();
    if wish.is_none() {
        let nearest = did_you_mean(found.value, Schedule::WORDS.into_iter().chain(["off"]));
        let rule = "it must be hourly, daily, weekly, off, or a time of day in UTC, as in 02:30";
        section.refuse(&found, &format!("is {}; {rule}{nearest}", Quoted(found.value)));
    }
    wish
}

/// `7`, `"30d"`, or a list of both.
fn keep(section: &Section<'_>) -> Option<Keep> {
    let (span, value) = section.entry("keep")?;
    let found = Found { value: (), span, key: section.key("keep") };
    let items: Vec<&Spanned<DeValue<'_>>> = match value.get_ref() {
        DeValue::Array(items) => items.iter().collect(),
        _ => vec![value],
    };
    let mut keep = Keep { newest: None, days: None };
    for item in &items {
        let slot = match item.get_ref() {
            DeValue::Integer(_) => &mut keep.newest,
            _ => &mut keep.days,
        };
        let number = match item.get_ref() {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
            DeValue::String(text) => text.strip_suffix('d').and_then(|days| days.parse().ok()),
            _ => None,
        };
        let number = number.filter(|number| (1..=MOST_KEPT).contains(number) && slot.is_none());
        if number.is_none() {
            let rule = "must be how many are kept, as in 7, or for how many days, as in \"30d\", or a list of both";
            section.refuse(&Found { span: item.span(), ..found }, rule);
            return None;
        }
        *slot = number;
    }
    if items.is_empty() {
        section.refuse(&found, "is empty: then nothing would be kept");
        return None;
    }
    Some(keep)
}
