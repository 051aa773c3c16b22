//! What wit-bindgen makes of `wit/`. Nobody but `convert`, `log` and `export!` of this crate uses it:
//! a hook works with the types at the root of this crate.
#![allow(missing_docs, unreachable_pub, reason = "generated; documented in wit/types.wit")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "hook",
    pub_export_macro: true,
    default_bindings_module: "jecloud_sdk::bindings",
});

/// Those of the optional interface `setup`.
pub mod setup {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "with-setup",
        pub_export_macro: true,
        default_bindings_module: "jecloud_sdk::bindings::setup",
        with: { "jecloud:hook/types@0.1.0": crate::bindings::jecloud::hook::types },
    });
}

/// Those of the optional interface `backup`.
pub mod backup {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "with-backup",
        pub_export_macro: true,
        default_bindings_module: "jecloud_sdk::bindings::backup",
        with: { "jecloud:hook/types@0.1.0": crate::bindings::jecloud::hook::types },
    });
}

/// Those of the optional interface `topology`.
pub mod topology {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "with-topology",
        pub_export_macro: true,
        default_bindings_module: "jecloud_sdk::bindings::topology",
        with: { "jecloud:hook/types@0.1.0": crate::bindings::jecloud::hook::types },
    });
}
