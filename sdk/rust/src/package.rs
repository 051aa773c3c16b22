//! Packages that must be there before the build.

use crate::{OptionValue, Options};

/// A package that must be there before the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name: as the package manager knows it, or any name for what is present or an archive.
    pub name: String,
    /// An exact version; or what the host resolves and pins: empty (any), `22`, `22.1` (the highest that begins so).
    pub version: String,
    /// Where it comes from.
    pub source: Source,
    /// Whether the exact version is recorded in `jecloud.lock`, and found in [`crate::Context::pin`] from then on.
    pub pin: bool,
    /// `hint`, and those of a repository: [`Package::hint`], [`Package::repository`].
    pub options: Options,
}

/// Where a package comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It is on the server already, as the facts say. Nothing is installed.
    Present,
    /// The distribution's package manager.
    Distribution,
    /// An archive that is unpacked; its directory is `{package:NAME}` in templates.
    Archive(Archive),
}

/// An archive to be fetched and unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archive {
    /// Where it is found; `{version}` stands for the exact version.
    pub url: String,
    /// Where a list of SHA-256 sums is found, in the format of `sha256sum`.
    pub sums_url: Option<String>,
    /// Its SHA-256 in hex, where the hook knows it.
    pub sha256: Option<String>,
    /// How many leading path segments are dropped from its entries.
    pub strip: u32,
}

/// A repository of packages beside those of the distribution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repository {
    /// Where it is. The hook needs a power for it.
    pub url: String,
    /// Where its key is found. The hook needs a power for it.
    pub key: String,
    /// The SHA-256 of the key's file, in hex.
    pub key_sha256: String,
    /// For apt: the suite, `bookworm`; `./` for a flat repository, and for dnf.
    pub suite: String,
    /// For apt: the components, `main`; none for a flat repository.
    pub components: Vec<String>,
}

impl Archive {
    /// An archive at a URL, in which `{version}` stands for the exact version.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Sets where its SHA-256 is found.
    #[must_use]
    pub fn sums_url(mut self, url: impl Into<String>) -> Self {
        self.sums_url = Some(url.into());
        self
    }

    /// Sets its SHA-256, in hex.
    #[must_use]
    pub fn sha256(mut self, hex: impl Into<String>) -> Self {
        self.sha256 = Some(hex.into());
        self
    }

    /// Drops so many leading path segments from its entries.
    #[must_use]
    pub fn strip(mut self, segments: u32) -> Self {
        self.strip = segments;
        self
    }
}

impl Package {
    /// Something that is on the server already, in this exact version.
    pub fn present(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self::of(name, version, Source::Present)
    }

    /// A package of the distribution. An empty version: the one that the package manager would install.
    pub fn distribution(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self::of(name, version, Source::Distribution)
    }

    /// An archive.
    pub fn archive(name: impl Into<String>, version: impl Into<String>, archive: Archive) -> Self {
        Self::of(name, version, Source::Archive(archive))
    }

    fn of(name: impl Into<String>, version: impl Into<String>, source: Source) -> Self {
        Self { name: name.into(), version: version.into(), source, pin: false, options: Options::new() }
    }

    /// Has the exact version recorded in `jecloud.lock`.
    #[must_use]
    pub fn pinned(mut self) -> Self {
        self.pin = true;
        self
    }

    /// What a person can do instead: a sentence that is shown where the package cannot be fetched.
    #[must_use]
    pub fn hint(self, sentence: impl Into<String>) -> Self {
        self.option("hint", sentence.into())
    }

    /// Has a package of the distribution's package manager come from a repository, whose packages are signed with this
    /// key. `suite` is apt's; where the repository has no components, it is flat, and the suite ends with `/`.
    #[must_use]
    pub fn repository(self, repository: Repository) -> Self {
        let Repository { url, key, key_sha256, suite, components } = repository;
        let named = self
            .option("repository", url)
            .option("repository-key", key)
            .option("repository-key-sha256", key_sha256)
            .option("suite", suite);
        if components.is_empty() { named } else { named.option("components", OptionValue::Texts(components)) }
    }

    /// Sets an option.
    #[must_use]
    pub fn option(mut self, key: impl Into<String>, value: impl Into<OptionValue>) -> Self {
        self.options.insert(key.into(), value.into());
        self
    }
}
