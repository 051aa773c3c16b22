//! From the bytes of a component to a hook.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jecloud_disk::durable;
use jecloud_model::ids::Digest;
use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};

use crate::bindings::FullHook;
use crate::cache::Cache;
use crate::call::CallState;
use crate::compile::Compiler;
use crate::engine::{compatibility, engine};
use crate::hook::{Exports, Hook};
use crate::inspect::{BACKUP, Imports, TOPOLOGY, inspect_hook};
use crate::ticker::Ticker;
use crate::{Limits, SandboxError, empty_world};

/// Loads hooks. Make one and keep it: the engine in it is shared by all hooks.
pub struct Sandbox {
    engine: Engine,
    limits: Arc<Limits>,
    ticker: Ticker,
    cache: Cache,
    compiler: Box<dyn Compiler>,
}

impl Sandbox {
    /// With the default limits. Compiled hooks are kept in `cache_dir`, which is made when it is first needed and is
    /// readable for its owner only.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Engine`] where wasmtime does not support this machine.
    pub fn new(cache_dir: PathBuf, compiler: Box<dyn Compiler>) -> Result<Self, SandboxError> {
        Self::with_limits(cache_dir, compiler, Limits::default())
    }

    /// With other limits.
    ///
    /// # Errors
    ///
    /// As [`Sandbox::new`].
    pub fn with_limits(cache_dir: PathBuf, compiler: Box<dyn Compiler>, limits: Limits) -> Result<Self, SandboxError> {
        let engine = engine().map_err(|error| SandboxError::Engine { reason: format!("{error:#}") })?;
        let cache = Cache::new(cache_dir, compatibility(&engine), limits.artifact_bytes);
        Ok(Self { ticker: Ticker::new(engine.clone()), engine, limits: Arc::new(limits), cache, compiler })
    }

    /// Loads a component: from the cache, or by compiling it. None of its code runs.
    ///
    /// # Errors
    ///
    /// When it is no component, too large, imports what hooks are not given, does not export the service, cannot be
    /// compiled, or does not fit the contract; and when the cache cannot be used.
    pub fn load(&self, bytes: &[u8]) -> Result<Hook, SandboxError> {
        let limit = self.limits.component_bytes;
        if bytes.len() > limit {
            return Err(SandboxError::TooLarge { bytes: bytes.len(), limit });
        }
        let (inspection, imports) = inspect_hook(bytes)?;
        let digest = Digest::of(bytes);
        let component = self.component(&digest, bytes)?;
        let contract = |error: wasmtime::Error| SandboxError::Contract { reason: format!("{error:#}") };
        let mut linker = Linker::<CallState>::new(&self.engine);
        FullHook::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state).map_err(contract)?;
        if imports == Imports::Wasi {
            empty_world::add_to_linker(&mut linker, &component).map_err(contract)?;
        }
        let prepared = linker.instantiate_pre(&component).map_err(contract)?;
        let exports =
            Exports { backup: inspection.exports_interface(BACKUP), topology: inspection.exports_interface(TOPOLOGY) };
        Hook::new(digest, prepared, exports, Arc::clone(&self.limits), self.ticker.clone()).map_err(contract)
    }

    /// As [`Sandbox::load`], from a file.
    ///
    /// # Errors
    ///
    /// As [`Sandbox::load`], and [`SandboxError::Disk`].
    pub fn load_file(&self, path: &Path) -> Result<Hook, SandboxError> {
        let limit = u64::try_from(self.limits.component_bytes).unwrap_or(u64::MAX);
        match durable::read_at_most(path, limit)? {
            Some(bytes) => self.load(&bytes),
            None => Err(SandboxError::NotAComponent { reason: format!("there is no file {}", path.display()) }),
        }
    }

    fn component(&self, digest: &Digest, bytes: &[u8]) -> Result<Component, SandboxError> {
        if let Some(artifact) = self.cache.load(digest)?
            && let Ok(component) = self.deserialize(&artifact)
        {
            return Ok(component);
        }
        let artifact =
            self.compiler.compile(bytes).map_err(|source| SandboxError::Compile { digest: digest.clone(), source })?;
        self.cache.store(digest, &artifact)?;
        self.deserialize(&artifact).map_err(|error| SandboxError::Compile {
            digest: digest.clone(),
            source: crate::CompileError::Failed { reason: format!("{error:#}") },
        })
    }

    fn deserialize(&self, artifact: &[u8]) -> wasmtime::Result<Component> {
        #[expect(unsafe_code, reason = "wasmtime trusts what it is given here; see the safety comment")]
        // SAFETY: these bytes come from our own compiler just now, or were verified with our key to be what it made.
        unsafe {
            Component::deserialize(&self.engine, artifact)
        }
    }
}
