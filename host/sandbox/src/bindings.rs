//! The contract as Rust types: generated from `wit/`, used in this crate only. The meaning of everything is documented there.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "full-hook",
});
