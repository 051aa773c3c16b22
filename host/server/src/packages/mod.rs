//! Packages: what the hooks require is brought onto the server.

pub mod apt;
pub mod archive;
mod sums;
mod versions;

pub use versions::{Requirement, compare};

use jecloud_launch::{DEFAULT_PATH, find_program};

/// The package managers of distributions that JeCloud can drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageManager {
    /// Debian, Ubuntu.
    Apt,
}

impl PackageManager {
    /// The one of this machine.
    pub fn of_this_machine() -> Option<Self> {
        find_program("apt-get", std::ffi::OsStr::new(DEFAULT_PATH)).map(|_| Self::Apt)
    }

    /// As in the fact `package-manager`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Apt => "apt",
        }
    }
}
