//! The two clocks: one for people, one that nobody sets.

use std::time::{Duration, SystemTime};

use jecloud_model::supervise::Moment;
use jecloud_model::time::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// For people.
pub(crate) fn timestamp() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// For waiting. It goes on while the machine sleeps, and begins anew when it is started.
pub(crate) fn moment() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    Moment(0).plus(Duration::try_from(time).unwrap_or_default())
}
