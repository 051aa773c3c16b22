//! From what a toolchain makes to a component.

use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};
use wit_component::ComponentEncoder;

use crate::SandboxError;
use crate::inspect::inspect_hook;

/// The prefix of the custom sections in which toolchains describe the component that a core module is meant to be.
const METADATA: &str = "component-type";

/// Takes a component as it is, and makes one of a core module with embedded component metadata (what Rust's
/// `wasm32-unknown-unknown` and others produce). No adapter is added: what a module imports beyond the contract stays
/// missing.
///
/// What is returned is a valid hook as far as can be seen without running it.
///
/// # Errors
///
/// [`SandboxError::NotAComponent`] for other files, for core modules without metadata, and for damaged ones;
/// [`SandboxError::UnknownImports`] and [`SandboxError::NoService`] as [`crate::Sandbox::load`].
pub fn componentize(bytes: &[u8]) -> Result<Vec<u8>, SandboxError> {
    let other = |reason: String| SandboxError::NotAComponent { reason };
    let limit = crate::Limits::default().component_bytes;
    if bytes.len() > limit {
        return Err(SandboxError::TooLarge { bytes: bytes.len(), limit });
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(other("it is not WebAssembly".to_owned()));
    }
    let component = match read_encoding(bytes).map_err(|error| other(format!("it is damaged: {error}")))? {
        Outside::Component => bytes.to_vec(),
        Outside::Module { has_metadata: true } => encode(bytes)?,
        Outside::Module { has_metadata: false } => {
            return Err(other(
                "it is a core module without component metadata; build it with wit-bindgen or an SDK of JeCloud"
                    .to_owned(),
            ));
        }
    };
    Validator::new_with_features(WasmFeatures::default())
        .validate_all(&component)
        .map_err(|error| other(format!("it is not valid: {error}")))?;
    inspect_hook(&component)?;
    Ok(component)
}

enum Outside {
    Component,
    Module { has_metadata: bool },
}

fn read_encoding(bytes: &[u8]) -> wasmparser::Result<Outside> {
    let mut has_metadata = false;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { encoding: Encoding::Component, .. } => return Ok(Outside::Component),
            Payload::CustomSection(section) if section.name().starts_with(METADATA) => has_metadata = true,
            _ => {}
        }
    }
    Ok(Outside::Module { has_metadata })
}

fn encode(module: &[u8]) -> Result<Vec<u8>, SandboxError> {
    let mut encoder = ComponentEncoder::default().module(module).map_err(|error| SandboxError::NotAComponent {
        reason: format!("its component metadata is damaged: {error:#}"),
    })?;
    encoder.encode().map_err(|error| match foreign_imports(module) {
        // The encoder's own words are about WIT; what a person can act on is the name of the import.
        names if !names.is_empty() => SandboxError::UnknownImports { names },
        _ => SandboxError::NotAComponent { reason: format!("it cannot be made a component: {error:#}") },
    })
}

/// Imports of a core module that are not of the contract, by module name.
fn foreign_imports(module: &[u8]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        let Ok(Payload::ImportSection(section)) = payload else { continue };
        for import in section.into_imports() {
            let Ok(import) = import else { continue };
            let name = format!("{}/{}", import.module, import.name);
            if !import.module.starts_with("jecloud:hook/") && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}
