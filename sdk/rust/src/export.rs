//! What a component exports.

use std::marker::PhantomData;

use crate::bindings::exports::jecloud::hook::service::Guest;
use crate::bindings::jecloud::hook::types as wit;
use crate::{ServiceHook, call, convert};

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

/// Exports a [`ServiceHook`] from the component that the crate is compiled to.
///
/// Natively it does nothing, so that a hook is tested like any other crate. Write it once, in a crate of type
/// `cdylib`.
#[macro_export]
macro_rules! export {
    ($hook:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[expect(unsafe_code, reason = "the exports of a component are extern functions")]
        const _: () = {
            type Exports = $crate::export::Exports<$hook>;
    $crate::bindings::export!(Exports with_types_in $crate::bindings);
        };
    };
}
