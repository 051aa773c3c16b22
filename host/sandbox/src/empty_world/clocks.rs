//! Clocks that only go on when somebody looks, and waiting that takes no time.

use wasmtime::component::{ComponentType, LinkerInstance, Lower, Resource};

use super::{EmptyWorld, Pollable};
use crate::call::CallState;

/// What the wall clock shows first: 2020-01-01T00:00:00Z, in seconds since 1970. Late enough for programs that take
/// small numbers for an error, and no date that anybody takes for today.
const BEGINNING: u64 = 1_577_836_800;

/// Nanoseconds from one glance at a clock to the next.
const STEP: u64 = 1_000_000;

#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
struct DateTime {
    seconds: u64,
    nanoseconds: u32,
}

impl DateTime {
    fn after(beginning: u64, nanoseconds: u64) -> Self {
        let rest = u32::try_from(nanoseconds % 1_000_000_000).unwrap_or_default();
        Self { seconds: beginning + nanoseconds / 1_000_000_000, nanoseconds: rest }
    }
}

impl EmptyWorld {
    /// Nanoseconds since the call began, as its clocks show them.
    fn look_at_clock(&mut self) -> u64 {
        let now = self.glances.saturating_mul(STEP);
        self.glances += 1;
        now
    }
}

pub(super) fn add_wall(instance: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    instance
        .func_wrap("now", |mut store, ()| Ok((DateTime::after(BEGINNING, store.data_mut().world.look_at_clock()),)))?;
    instance.func_wrap("resolution", |_, ()| Ok((DateTime::after(0, STEP),)))
}

pub(super) fn add_monotonic(instance: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    instance.func_wrap("now", |mut store, ()| Ok((store.data_mut().world.look_at_clock(),)))?;
    instance.func_wrap("resolution", |_, ()| Ok((STEP,)))?;
    instance.func_wrap("subscribe-instant", |_, (_when,): (u64,)| Ok((pollable(),)))?;
    instance.func_wrap("subscribe-duration", |_, (_time,): (u64,)| Ok((pollable(),)))
}

pub(super) fn add_poll(instance: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    instance.func_wrap("[method]pollable.ready", |_, (_pollable,): (Resource<Pollable>,)| Ok((true,)))?;
    instance.func_wrap("[method]pollable.block", |_, (_pollable,): (Resource<Pollable>,)| Ok(()))?;
    instance.func_wrap("poll", |_, (pollables,): (Vec<Resource<Pollable>>,)| {
        let ready: Vec<u32> = (0..).take(pollables.len()).collect();
        Ok((ready,))
    })
}

/// All are alike, so the host keeps nothing for any of them.
pub(super) fn pollable() -> Resource<Pollable> {
    Resource::new_own(0)
}
