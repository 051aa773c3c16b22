//! What wit-bindgen makes of `wit/`. Nobody but `convert`, `log` and `export!` of this crate uses it:
//! a hook works with the types at the root of this crate.
#![allow(missing_docs, unreachable_pub, reason = "generated; documented in wit/types.wit")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "hook",
    pub_export_macro: true,
    default_bindings_module: "jecloud_sdk::bindings",
});
