//! What a component exports.

use std::marker::PhantomData;

use crate::bindings::backup::exports::jecloud::hook::backup;
use crate::bindings::exports::jecloud::hook::service::Guest;
use crate::bindings::jecloud::hook::types as wit;
use crate::bindings::setup::exports::jecloud::hook::setup;
use crate::bindings::topology::exports::jecloud::hook::topology;
use crate::{BackupHook, ServiceHook, SetupHook, TopologyHook, call, convert};

/// The exports of a component whose hook is `H`. Only [`crate::export!`] names it.
#[doc(hidden)]
pub struct Exports<H>(PhantomData<H>);

impl<H: ServiceHook> Guest for Exports<H> {
    fn describe() -> wit::Description {
        // A description cannot be a problem: natively a panic goes its way, in a component it is logged.
        #[cfg(target_arch = "wasm32")]
        call::log_panics();
        H::describe().into()
    }

    fn required_packages(context: wit::Context) -> Result<Vec<wit::Package>, wit::Problem> {
        let context = context.into();
        Ok(convert::list(call::guarded("required-packages", || H::required_packages(&context))?))
    }

    fn prepare_deploy(context: wit::Context) -> Result<wit::Plan, wit::Problem> {
        let context = context.into();
        Ok(call::guarded("prepare-deploy", || H::prepare_deploy(&context))?.into())
    }

    fn deployed(context: wit::Context, results: Vec<wit::CommandResult>) -> Result<wit::Next, wit::Problem> {
        let context = context.into();
        let results = convert::list(results);
        Ok(call::guarded("deployed", || H::deployed(&context, &results))?.into())
    }
}

impl<H: SetupHook> setup::Guest for Exports<H> {
    fn started(context: wit::Context, results: Vec<wit::CommandResult>) -> Result<wit::Next, wit::Problem> {
        let (context, results) = (context.into(), convert::list(results));
        Ok(call::guarded("started", || H::started(&context, &results))?.into())
    }
}

impl<H: BackupHook> backup::Guest for Exports<H> {
    fn backup(context: wit::Context, results: Vec<wit::CommandResult>) -> Result<backup::Step, wit::Problem> {
        let (context, results) = (context.into(), convert::list(results));
        Ok(call::guarded("backup", || H::backup(&context, &results))?.into())
    }

    fn restore(context: wit::Context, results: Vec<wit::CommandResult>) -> Result<wit::Next, wit::Problem> {
        let (context, results) = (context.into(), convert::list(results));
        Ok(call::guarded("restore", || H::restore(&context, &results))?.into())
    }

    fn restored(context: wit::Context, results: Vec<wit::CommandResult>) -> Result<backup::Step, wit::Problem> {
        let (context, results) = (context.into(), convert::list(results));
        Ok(call::guarded("restored", || H::restored(&context, &results))?.into())
    }
}

impl<H: TopologyHook> topology::Guest for Exports<H> {
    fn reshape(
        context: wit::Context,
        present: Vec<topology::Member>,
        wanted: Vec<topology::Member>,
        results: Vec<wit::CommandResult>,
    ) -> Result<wit::Next, wit::Problem> {
        let (context, results) = (context.into(), convert::list(results));
        let (present, wanted) = (convert::list(present), convert::list(wanted));
        Ok(call::guarded("reshape", || H::reshape(&context, &present, &wanted, &results))?.into())
    }
}

/// Exports a [`ServiceHook`] from the component that the crate is compiled to; with the names of the optional
/// interfaces that it has: `export!(Redis, backup)`, `export!(Mongo, setup, backup, topology)`.
///
/// Natively it does nothing, so that a hook is tested like any other crate. Write it once, in a crate of type
/// `cdylib`.
#[macro_export]
macro_rules! export {
    ($hook:ty $(, $interface:ident)*) => {
        #[cfg(target_arch = "wasm32")]
        #[expect(unsafe_code, reason = "the exports of a component are extern functions")]
        const _: () = {
            type Exports = $crate::export::Exports<$hook>;
            $crate::bindings::export!(Exports with_types_in $crate::bindings);
            $($crate::bindings::$interface::export!(Exports with_types_in $crate::bindings::$interface);)*
        };
    };
}
