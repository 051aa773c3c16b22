//! The clock, chance and the passing of time: what tests replace.

use std::time::{Duration, SystemTime};

use jecloud_model::ids::OperationId;
use jecloud_model::time::Timestamp;

/// Where time and randomness come from.
pub trait World: Send + Sync {
    /// The current time.
    fn now(&self) -> Timestamp;

    /// Sixteen random bytes.
    fn random(&self) -> [u8; 16];

    /// Lets time pass.
    fn pause(&self, duration: Duration);

    /// An id for a new operation.
    fn operation_id(&self) -> OperationId {
        OperationId::from_random(self.random())
    }
}

/// The real one.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemWorld;

impl World for SystemWorld {
    fn now(&self) -> Timestamp {
        Timestamp::from_system(SystemTime::now())
    }

    fn random(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("a Linux that runs has random numbers");
        bytes
    }

    #[expect(clippy::disallowed_methods, reason = "a back-off is a planned pause: nothing here could be waited for")]
    fn pause(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}
