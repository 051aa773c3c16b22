//! The one configuration of wasmtime. The process that compiles and the process that runs must agree on it.

use std::hash::{Hash as _, Hasher};

use sha2::{Digest as _, Sha256};
use wasmtime::{Config, Engine, OptLevel, WasmFeatures};

use crate::Limits;

/// Counts the layouts of the cache and the meanings of the configuration that the engine's own hash does not cover.
const CACHE_FORMAT: u32 = 2;

/// Makes the engine.
///
/// # Errors
///
/// Only where wasmtime does not support this machine.
pub(crate) fn engine() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .max_wasm_stack(Limits::STACK_BYTES)
        // The same call gives the same answer, on every machine: a hook is a pure function.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .cranelift_opt_level(OptLevel::Speed)
        // Nothing that hooks do not need.
        .wasm_features(WasmFeatures::MEMORY64, false)
        // Only debuggers and profilers use these, and they make loading slower.
        .native_unwind_info(false)
        .generate_address_map(false);
    Engine::new(&config)
}

/// What a compiled component must have been made by to be loaded by this engine: 64 hex digits.
pub(crate) fn compatibility(engine: &Engine) -> String {
    struct Sha(Sha256);

    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        /// Not asked for: 64 bits would be few for a key.
        fn finish(&self) -> u64 {
            0
        }
    }

    let mut sha = Sha(Sha256::new());
    CACHE_FORMAT.hash(&mut sha);
    engine.precompile_compatibility_hash().hash(&mut sha);
    jecloud_model::ids::Digest::from_sha256(sha.0.finalize().into()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cache is useless if the process that compiles and the next one do not agree, or two runs of one.
    #[test]
    fn two_engines_of_one_program_are_compatible() {
        assert_eq!(compatibility(&engine().unwrap()), compatibility(&engine().unwrap()));
    }
}
