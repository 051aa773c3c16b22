//! The one place where this crate looks at the clock.

use jecloud_model::time::Timestamp;

/// Now.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_system(std::time::SystemTime::now())
}
