//! When the next backup of a service is due, and which old ones are deleted. Pure: clock and lists are handed in.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backup::Manifest;
use crate::ids::BackupId;
use crate::time::Timestamp;

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// After a scheduled backup that failed, the next attempt comes this soon at the latest.
const AFTER_FAILURE: Duration = Duration::from_secs(3600);

/// How late a scheduled backup may be before people are told: it takes its time, and is collected by somebody.
const GRACE: Duration = Duration::from_secs(3600);

/// What of scheduled backups is kept where nobody says: the newest seven.
const KEPT: u32 = 7;

/// What a release says about backups of a service whose hook can make them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BackupPolicy {
    /// How often the server makes one by itself; none: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Which of those that the server made by itself are kept.
    #[serde(skip_serializing_if = "Keep::is_default")]
    pub keep: Keep,
    /// Whether each is restored into a scratch instance, and what is found there compared.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub verify: bool,
}

/// How often a server makes a backup by itself: `hourly`, `daily`, `weekly`, or `02:30`, every day at that time (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Schedule {
    /// An hour after the one before.
    Hourly,
    /// A day after the one before.
    Daily,
    /// A week after the one before.
    Weekly,
    /// Every day, so many minutes after midnight, UTC: below 1440.
    At(u16),
}

/// A text that is no [`Schedule`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it must be hourly, daily, weekly, or a time of day in UTC, as in 02:30")]
pub struct NoSchedule;

/// What is kept of backups that the server made by itself: what one of these keeps, is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// So many of the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<u32>,
    /// Those that are younger than so many days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
}

/// What a person says in `[backups]` or `[backups.SERVICE]`; what is not said is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BackupWish {
    /// How often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleWish>,
    /// What is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// Whether each is verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<bool>,
}

/// A [`Schedule`], or that there is none where there would be one: `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ScheduleWish {
    /// The server makes none by itself.
    Off,
    /// It does.
    On(Schedule),
}

/// What is known of the scheduled backup that was asked for last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastScheduled {
    /// When it was asked for.
    pub requested: Timestamp,
    /// Whether it failed.
    pub failed: bool,
}

impl Schedule {
    /// The words for those that are no time of day.
    pub const WORDS: [&'static str; 3] = ["hourly", "daily", "weekly"];

    /// From one to the next.
    pub fn interval(self) -> Duration {
        Duration::from_secs(match self {
            Self::Hourly => 3600,
            Self::Daily | Self::At(_) => 24 * 3600,
            Self::Weekly => 7 * 24 * 3600,
        })
    }

    /// When the next one is due, which may have been in the past: then it is due now. `since` is when the release came
    /// from which on there is a schedule; without a last one, the first of those that are no time of day is due then.
    pub fn next(self, last: Option<LastScheduled>, since: Timestamp) -> Timestamp {
        let regular = match (self, last) {
            (Self::At(minutes), last) => {
                let after = last.map_or(since, |last| last.requested).as_millisecond();
                let slot = after.div_euclid(DAY) * DAY + i64::from(minutes) * MINUTE;
                Timestamp::from_millisecond(if slot > after { slot } else { slot + DAY })
            }
            (_, Some(last)) => last.requested.plus(self.interval()),
            (_, None) => since,
        };
        match last {
            Some(last) if last.failed => regular.min(last.requested.plus(AFTER_FAILURE)),
            _ => regular,
        }
    }

    /// Whether there should be a newer backup than the newest that there is: none was made for so long that one must
    /// have failed, or nobody has collected it.
    pub fn is_overdue(self, newest: Option<Timestamp>, since: Timestamp, now: Timestamp) -> bool {
        let last = newest.map(|requested| LastScheduled { requested, failed: false });
        now > self.next(last, since).plus(GRACE)
    }
}

impl fmt::Display for Schedule {
    /// As in `jecloud.toml`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hourly => f.pad("hourly"),
            Self::Daily => f.pad("daily"),
            Self::Weekly => f.pad("weekly"),
            Self::At(minutes) => f.pad(&format!("{:02}:{:02}", minutes / 60, minutes % 60)),
        }
    }
}

impl FromStr for Schedule {
    type Err = NoSchedule;

    fn from_str(text: &str) -> Result<Self, NoSchedule> {
        let number = |text: &str, below: u16| {
            let is_two_digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|number| is_two_digits && *number < below)
        };
        match text {
            "hourly" => Ok(Self::Hourly),
            "daily" => Ok(Self::Daily),
            "weekly" => Ok(Self::Weekly),
            time => {
                let (hour, minute) = time.split_once(':').ok_or(NoSchedule)?;
                let at = number(hour, 24).zip(number(minute, 60)).ok_or(NoSchedule)?;
                Ok(Self::At(at.0 * 60 + at.1))
            }
        }
    }
}

impl TryFrom<String> for Schedule {
    type Error = NoSchedule;

    fn try_from(text: String) -> Result<Self, NoSchedule> {
        text.parse()
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> String {
        schedule.to_string()
    }
}

impl FromStr for ScheduleWish {
    type Err = NoSchedule;

    fn from_str(text: &str) -> Result<Self, NoSchedule> {
        if text == "off" { Ok(Self::Off) } else { text.parse().map(Self::On) }
    }
}

impl TryFrom<String> for ScheduleWish {
    type Error = NoSchedule;

    fn try_from(text: String) -> Result<Self, NoSchedule> {
        text.parse()
    }
}

impl From<ScheduleWish> for String {
    fn from(wish: ScheduleWish) -> String {
        match wish {
            ScheduleWish::Off => "off".to_owned(),
            ScheduleWish::On(schedule) => schedule.to_string(),
        }
    }
}

impl BackupWish {
    /// This with `over` laid over it.
    #[must_use]
    pub fn overlaid(self, over: Self) -> Self {
        Self {
            schedule: over.schedule.or(self.schedule),
            keep: over.keep.or(self.keep),
            verify: over.verify.or(self.verify),
        }
    }

    /// With what is meant where nothing is said.
    pub fn resolve(self) -> BackupPolicy {
        BackupPolicy {
            schedule: self.schedule.and_then(|wish| match wish {
                ScheduleWish::Off => None,
                ScheduleWish::On(schedule) => Some(schedule),
            }),
            keep: self.keep.unwrap_or_default(),
            verify: self.verify.unwrap_or_default(),
        }
    }
}

impl Default for Keep {
    fn default() -> Self {
        Self { newest: Some(KEPT), days: None }
    }
}

impl Keep {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Which backups of one service are to be deleted. Only such as the schedule asked for: what a person asked for stays
/// until a person deletes it. Never the newest of all, and never the newest that was verified.
pub fn to_delete(backups: &[Manifest], keep: Keep, now: Timestamp) -> Vec<BackupId> {
    let mut newest_first: Vec<&Manifest> = backups.iter().collect();
    newest_first.sort_by(|one, other| (other.created, &other.id).cmp(&(one.created, &one.id)));
    let newest = newest_first.first().map(|manifest| &manifest.id);
    let verified = newest_first.iter().find(|manifest| manifest.verified.is_some()).map(|manifest| &manifest.id);
    let scheduled = newest_first.iter().filter(|manifest| manifest.scheduled);
    let is_kept = |place: usize, manifest: &Manifest| {
        let is_new = keep.newest.is_some_and(|most| u32::try_from(place).is_ok_and(|place| place < most));
        let days = keep.days.map(|days| Duration::from_secs(u64::from(days) * 24 * 3600));
        is_new || days.is_some_and(|days| manifest.created.plus(days) > now)
    };
    scheduled
        .enumerate()
        .filter(|(place, manifest)| !is_kept(*place, manifest))
        .map(|(_, manifest)| &manifest.id)
        .filter(|id| newest != Some(id) && verified != Some(id))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::hook::Contents;
    use crate::ids::{Digest, EnvironmentName, ReleaseNumber};

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn asked(text: &str, failed: bool) -> Option<LastScheduled> {
        Some(LastScheduled { requested: time(text), failed })
    }

    /// Nothing was made before, and the release came on 20 November at noon.
    fn check(schedule: &str, last: Option<LastScheduled>, next: &str) {
        let schedule: Schedule = schedule.parse().expect("a schedule");
        assert_eq!(schedule.next(last, time("2026-11-20T12:00:00Z")), time(next), "{schedule}");
    }

    #[test]
    fn the_first_is_due_at_once_or_at_its_time() {
        check("hourly", None, "2026-11-20T12:00:00Z");
        check("weekly", None, "2026-11-20T12:00:00Z");
        check("02:30", None, "2026-11-21T02:30:00Z");
        check("12:00", None, "2026-11-21T12:00:00Z");
        check("12:01", None, "2026-11-20T12:01:00Z");
    }

    #[test]
    fn the_next_comes_after_the_last() {
        check("hourly", asked("2026-11-21T10:05:00Z", false), "2026-11-21T11:05:00Z");
        check("daily", asked("2026-11-21T10:05:00Z", false), "2026-11-22T10:05:00Z");
        check("weekly", asked("2026-11-21T10:05:00Z", false), "2026-11-28T10:05:00Z");
        // However late it was: it is no reason for the next to be late, too.
        check("02:30", asked("2026-11-21T02:30:00Z", false), "2026-11-22T02:30:00Z");
        check("02:30", asked("2026-11-21T23:59:00Z", false), "2026-11-22T02:30:00Z");
        check("00:00", asked("2026-11-21T00:00:00Z", false), "2026-11-22T00:00:00Z");
    }

    #[test]
    fn one_that_failed_is_tried_again_soon() {
        check("hourly", asked("2026-11-21T10:05:00Z", true), "2026-11-21T11:05:00Z");
        check("weekly", asked("2026-11-21T10:05:00Z", true), "2026-11-21T11:05:00Z");
        check("02:30", asked("2026-11-21T02:00:00Z", true), "2026-11-21T02:30:00Z");
        check("02:30", asked("2026-11-21T02:30:00Z", true), "2026-11-21T03:30:00Z");
    }

    #[test]
    fn texts_of_schedules() {
        for text in ["hourly", "daily", "weekly", "00:00", "02:30", "23:59"] {
            let schedule: Schedule = text.parse().expect("a schedule");
            assert_eq!(schedule.to_string(), text);
            assert_eq!(serde_json::to_string(&schedule).expect("JSON"), format!("{text:?}"));
        }
        for text in ["", "dayly", "Daily", "2:30", "24:00", "02:60", "02:30:00", "-1:30", "+2:30", "off"] {
            assert_eq!(text.parse::<Schedule>(), Err(NoSchedule), "{text}");
        }
    }

    #[test]
    fn overdue_is_what_is_an_hour_late() {
        let since = time("2026-11-20T12:00:00Z");
        let check = |newest: Option<&str>, now: &str, is_overdue: bool| {
            assert_eq!(Schedule::Daily.is_overdue(newest.map(time), since, time(now)), is_overdue, "{now}");
        };
        check(None, "2026-11-20T12:59:00Z", false);
        check(None, "2026-11-20T13:01:00Z", true);
        check(Some("2026-11-21T10:00:00Z"), "2026-11-22T10:59:00Z", false);
        check(Some("2026-11-21T10:00:00Z"), "2026-11-22T11:01:00Z", true);
    }

    fn manifest(number: usize, created: Timestamp, scheduled: bool, verified: bool) -> Manifest {
        Manifest {
            format: 1,
            id: format!("20261124T190812Z-{number:08x}").parse().expect("an id"),
            app: "shop".parse().expect("valid"),
            environment: EnvironmentName::production(),
            service: "db".parse().expect("valid"),
            created,
            release: ReleaseNumber(1),
            hook: Digest::of(b"hook"),
            contents: Contents { version: "1".to_owned(), counts: BTreeMap::new() },
            bytes: 1,
            sealed_bytes: 1,
            sha256: Digest::of(b"sealed"),
            scheduled,
            verified: verified.then_some(created),
        }
    }

    /// One a day, the newest is number 0; a letter for each: `s`cheduled, `v`erified and scheduled, by a `p`erson.
    /// What is left, as numbers.
    fn check_kept(backups: &str, keep: Keep, left: &[usize]) {
        let now = time("2026-11-24T12:00:00Z");
        let of_day = |(number, letter): (usize, char)| {
            let ago = i64::try_from(number).expect("small") * DAY + MINUTE;
            manifest(number, Timestamp::from_millisecond(now.as_millisecond() - ago), letter != 'p', letter == 'v')
        };
        let mut manifests: Vec<Manifest> = backups.chars().enumerate().map(of_day).collect();
        manifests.reverse();
        let doomed = to_delete(&manifests, keep, now);
        let is_left = |number: &usize| !doomed.contains(&manifest(*number, now, true, true).id);
        let found: Vec<usize> = (0..backups.len()).filter(is_left).collect();
        assert_eq!(found, left, "{backups} {keep:?}");
    }

    #[test]
    fn so_many_are_kept_or_for_so_long() {
        let keep = |newest, days| Keep { newest, days };
        check_kept("ssssss", keep(Some(3), None), &[0, 1, 2]);
        check_kept("ssssss", keep(None, Some(2)), &[0, 1]);
        check_kept("ssssss", keep(Some(1), Some(4)), &[0, 1, 2, 3]);
        check_kept("ssssss", keep(Some(4), Some(1)), &[0, 1, 2, 3]);
        check_kept("sssssssss", Keep::default(), &[0, 1, 2, 3, 4, 5, 6]);
        check_kept("", Keep::default(), &[]);
    }

    /// Fails without what is said of persons in [`to_delete`].
    #[test]
    fn what_a_person_asked_for_stays() {
        check_kept("psspsp", Keep { newest: Some(1), days: None }, &[0, 1, 3, 5]);
    }

    /// Fails without either of the last filters of [`to_delete`].
    #[test]
    fn the_newest_and_the_newest_verified_stay() {
        check_kept("ssvsv", Keep { newest: Some(1), days: None }, &[0, 2]);
        check_kept("sss", Keep { newest: Some(0), days: Some(0) }, &[0]);
        check_kept("ssv", Keep { newest: Some(0), days: None }, &[0, 2]);
    }

    proptest! {
        /// Laws: something is left where there was something, something verified where there was, all of persons, and
        /// deleting twice deletes no more.
        #[test]
        fn nothing_good_is_lost(
            all in prop::collection::vec((0_i64..40, any::<bool>(), any::<bool>()), 0..20),
            newest in prop::option::of(0_u32..5),
            days in prop::option::of(0_u32..20),
        ) {
            let now = time("2026-11-24T12:00:00Z");
            let keep = Keep { newest, days };
            let made: Vec<Manifest> = all
                .iter()
                .enumerate()
                .map(|(number, (ago, scheduled, verified))| {
                    let created = Timestamp::from_millisecond(now.as_millisecond() - ago * DAY);
                    manifest(number, created, *scheduled, *verified)
                })
                .collect();
            let doomed = to_delete(&made, keep, now);
            let left: Vec<Manifest> = made.iter().filter(|one| !doomed.contains(&one.id)).cloned().collect();
            let newest_of = |all: &[Manifest]| all.iter().map(|one| one.created).max();
            prop_assert_eq!(newest_of(&left), newest_of(&made));
            let is_verified = |one: &Manifest| one.verified.is_some();
            prop_assert_eq!(left.iter().any(is_verified), made.iter().any(is_verified));
            let of_persons = |all: &[Manifest]| all.iter().filter(|one| !one.scheduled).count();
            prop_assert_eq!(of_persons(&left), of_persons(&made));
            prop_assert_eq!(to_delete(&left, keep, now), vec![]);
        }
    }
}
