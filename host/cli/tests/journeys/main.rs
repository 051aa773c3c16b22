//! Whole journeys, as a person types them.

mod first_deploy;

use jecloud_testkit::World;

/// A new place for the binary under test.
#[track_caller]
fn world() -> World {
    World::new(env!("CARGO_BIN_EXE_jecloud"))
}
