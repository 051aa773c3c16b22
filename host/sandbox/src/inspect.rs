//! What a component is, found out without running or compiling it.

use wasmparser::{Encoding, Parser, Payload};
use wasmtime::component::Component;

use crate::SandboxError;

/// The interface that every hook exports.
pub(crate) const SERVICE: &str = "jecloud:hook/service";
/// An optional interface.
pub(crate) const SETUP: &str = "jecloud:hook/setup";
/// An optional interface.
pub(crate) const BACKUP: &str = "jecloud:hook/backup";
/// An optional interface.
pub(crate) const TOPOLOGY: &str = "jecloud:hook/topology";
/// What hooks may import.
const LOG: &str = "jecloud:hook/log";
/// Only types, no functions: nothing that could be called.
const TYPES: &str = "jecloud:hook/types";

/// The names at the outside of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// What it wants from the host, in its order: `jecloud:hook/log@0.1.0`.
    pub imports: Vec<String>,
    /// What it offers.
    pub exports: Vec<String>,
}

/// Whether a component is pure or needs the empty world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imports {
    /// The log at most.
    Pure,
    /// WASI 0.2 as well, of which it gets nothing but its shape.
    Wasi,
}

impl Inspection {
    /// What kind of imports it has.
    ///
    /// # Errors
    ///
    /// [`SandboxError::UnknownImports`] with all of them that no hook gets.
    pub fn kind(&self) -> Result<Imports, SandboxError> {
        let unknown: Vec<String> = self.imports.iter().filter(|name| !is_known(name)).cloned().collect();
        if !unknown.is_empty() {
            return Err(SandboxError::UnknownImports { names: unknown });
        }
        let wasi = self.imports.iter().any(|name| name.starts_with("wasi:"));
        Ok(if wasi { Imports::Wasi } else { Imports::Pure })
    }

    /// The outside of a component that was compiled.
    pub(crate) fn of_compiled(component: &Component) -> Self {
        let (kind, engine) = (component.component_type(), component.engine());
        let imports = kind.imports(engine).map(|(name, _)| name.to_owned()).collect();
        let exports = kind.exports(engine).map(|(name, _)| name.to_owned()).collect();
        Self { imports, exports }
    }

    /// Whether it has an interface, in any version of 0.1.
    pub(crate) fn exports_interface(&self, interface: &str) -> bool {
        self.exports.iter().any(|export| is_version_of(export, interface))
    }
}

fn is_known(import: &str) -> bool {
    [LOG, TYPES].iter().any(|name| is_version_of(import, name)) || crate::empty_world::is_part(import)
}

/// `NAME@0.1.N`.
fn is_version_of(name: &str, interface: &str) -> bool {
    name.strip_prefix(interface).and_then(|rest| rest.strip_prefix("@0.1.")).is_some_and(|patch| !patch.is_empty())
}

/// Reads the outside of a component. It is not validated as a whole: compiling does that.
///
/// # Errors
///
/// [`SandboxError::NotAComponent`] with what it is instead.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, SandboxError> {
    let other = |reason: String| SandboxError::NotAComponent { reason };
    if !bytes.starts_with(b"\0asm") {
        return Err(other("it is not WebAssembly".to_owned()));
    }
    let mut inspection = Inspection { imports: Vec::new(), exports: Vec::new() };
    let mut depth = 0usize;
    for payload in Parser::new(0).parse_all(bytes) {
        let damaged = |error: wasmparser::BinaryReaderError| other(format!("it is damaged: {error}"));
        match payload.map_err(damaged)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err(other("it is a core module, which has to be made a component first".to_owned()));
            }
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    inspection.imports.push(import.map_err(damaged)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    inspection.exports.push(export.map_err(damaged)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(inspection)
}

/// As [`inspect`], and it is a hook: it imports nothing unknown and exports the service.
pub(crate) fn inspect_hook(bytes: &[u8]) -> Result<(), SandboxError> {
    let inspection = inspect(bytes)?;
    inspection.kind()?;
    if !inspection.exports_interface(SERVICE) {
        let found = if inspection.exports.is_empty() {
            "; it exports nothing".to_owned()
        } else {
            format!("; it exports {}", inspection.exports.join(", "))
        };
        return Err(SandboxError::NoService { found });
    }
    Ok(())
}
