//! The components under `hooks/dist`, embedded into the binary.
//!
//! `cargo xtask hooks` makes them. A test holds this list and `hooks/dist/index.json` together.

/// A hook that comes with JeCloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Builtin {
    /// The name of its service, as its `describe` says it.
    pub name: &'static str,
    /// The component.
    pub wasm: &'static [u8],
    /// The SHA-256 of the component, in hex.
    pub sha256: &'static str,
}

/// One line for each component: its bytes, and its digest as `cargo xtask hooks` wrote it.
const BUILTIN: [Builtin; 3] = [
    Builtin {
        name: "mongodb",
        wasm: include_bytes!("../../dist/mongodb.wasm"),
        sha256: include_str!("../../dist/mongodb.sha256"),
    },
    Builtin {
        name: "node",
        wasm: include_bytes!("../../dist/node.wasm"),
        sha256: include_str!("../../dist/node.sha256"),
    },
    Builtin {
        name: "redis",
        wasm: include_bytes!("../../dist/redis.wasm"),
        sha256: include_str!("../../dist/redis.sha256"),
    },
];

/// All hooks that come with JeCloud, sorted by name.
pub fn builtin() -> &'static [Builtin] {
    &BUILTIN
}

/// The hook of this name that comes with JeCloud.
pub fn find(name: &str) -> Option<&'static Builtin> {
    builtin().iter().find(|hook| hook.name == name)
}
