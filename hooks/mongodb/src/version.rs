//! Versions of MongoDB, and what they mean for the data.

use std::fmt;

use jecloud_sdk::Problem;

/// A series of releases that read and write the same data: `7.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Series {
    /// 6.0
    V6,
    /// 7.0
    V7,
    /// 8.0
    V8,
}

impl Series {
    /// All that this hook knows how to run and to go on from, oldest first.
    pub const ALL: [Self; 3] = [Self::V6, Self::V7, Self::V8];

    /// The newest.
    pub const NEWEST: Self = Self::V8;

    /// `7.0`
    pub fn name(self) -> &'static str {
        match self {
            Self::V6 => "6.0",
            Self::V7 => "7.0",
            Self::V8 => "8.0",
        }
    }

    /// All names, for people.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// That of `7.0.15` and `7.0`; none where it is not known.
    pub fn of(version: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|series| {
            version.strip_prefix(series.name()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    /// The one that data can be raised to, and no other.
    fn next(self) -> Option<Self> {
        Self::ALL.into_iter().find(|series| *series > self)
    }

    /// The SHA-256 of the file in which MongoDB publishes the key of this series, `server-7.0.asc`, in hex. The keys in
    /// these files have the fingerprints 39BD841E4BE5FB195A65400E6A26B1AE64C3C388, E58830201F7DD82CD808AA84160D26BB1785BA38
    /// and 4B0752C1BCA238C0B4EE14DC41DE058A4E7DCA05.
    pub(crate) fn key_sha256(self) -> &'static str {
        match self {
            Self::V6 => "cd6a9764d43fa971d32b27fb6b6ec5234aed6432effc1b6d15c96ab7f941667d",
            Self::V7 => "b254e7858367d4c1762f931762c4db3ad7a6a0af11f3a965b709e9933c52852b",
            Self::V8 => "8c467ea138207ee8d0cbbce3e005c82c73c81b3263e7909bdc36b9a1feff14f6",
        }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `7.0.15` from `7.0.15`, from `db version v7.0.15`, and from a package's `1:7.0.15-1`; none where there is none.
pub fn exact(text: &str) -> Option<&str> {
    let text = text.strip_prefix("db version v").unwrap_or(text);
    let text = text.split_once(':').map_or(text, |(_, rest)| rest);
    let version = text.split(['-', '+', '~', ' ']).next()?;
    let is_number = |part: &str| part.parse::<u32>().is_ok();
    (version.split('.').count() == 3 && version.split('.').all(is_number)).then_some(version)
}

/// Whether the data of one MongoDB may be given to another, and whether that changes it for good.
///
/// # Errors
/// When it may not: with the way that there is.
pub fn check_data(wrote: &str, now: Series, service: &str) -> Result<Step, Problem> {
    let Some(before) = Series::of(wrote) else {
        return Err(Problem::new(format!("the data was written by MongoDB {wrote}, which this hook does not know"))
            .hint("deploy with the JeCloud that wrote it, or a newer one"));
    };
    if before == now {
        return Ok(Step::Same);
    }
    if now < before {
        return Err(Problem::new(format!(
            "the data was written by MongoDB {wrote}, and MongoDB {now} cannot read it"
        ))
        .hint(format!(
            "keep `version = \"{before}\"` below [services.{service}] in jecloud.toml, or restore a backup of MongoDB \
             {now} into another environment"
        )));
    }
    match before.next() {
        Some(next) if next == now => Ok(Step::Raised),
        next => {
            let next = next.unwrap_or(now);
            Err(Problem::new(format!(
                "the data was written by MongoDB {wrote}, which goes to {next} first and not to {now} at once"
            ))
            .hint(format!(
                "write `version = \"{next}\"` below [services.{service}] in jecloud.toml, deploy, and after that \
                 `version = \"{now}\"`"
            )))
        }
    }
}

/// What a deployment does to the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It stays what it is.
    Same,
    /// It becomes that of the next series, and there is no way back but a backup.
    Raised,
}
