//! From the bytes of a component to a hook.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jecloud_disk::durable;
use jecloud_model::ids::Digest;
use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};

use crate::bindings::FullHook;
use crate::cache::Cache;
use crate::call::CallState;
use crate::compile::{CompileError, Compiler};
use crate::engine::{compatibility, engine};
use crate::hook::{Exports, Hook};
use crate::inspect::{BACKUP, Imports, Inspection, SETUP, TOPOLOGY, inspect_hook};
use crate::ticker::Ticker;
use crate::{Limits, SandboxError, empty_world};

/// Loads hooks. Make one and keep it: the engine in it is shared by all hooks.
pub struct Sandbox {
    engine: Engine,
    limits: Arc<Limits>,
    ticker: Ticker,
    cache: Cache,
    compiler: Box<dyn Compiler>,
    /// Those that this process has used: a deployment calls the same few several times.
    loaded: Mutex<HashMap<Digest, Hook>>,
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
        let (ticker, limits, loaded) = (Ticker::new(engine.clone()), Arc::new(limits), Mutex::default());
        Ok(Self { engine, limits, ticker, cache, compiler, loaded })
    }

    /// Loads a component: from memory, from the cache, or by compiling it. None of its code runs.
    ///
    /// # Errors
    ///
    /// When it is no component, too large, imports what hooks are not given, does not export the service, cannot be
    /// compiled, or does not fit the contract; and when the cache cannot be used.
    pub fn load(&self, bytes: &[u8]) -> Result<Hook, SandboxError> {
        self.check_size(bytes)?;
        self.load_or_compile(&Digest::of(bytes), || Ok(Cow::Borrowed(bytes)))
    }

    /// As [`Sandbox::load`], for a component whose digest is known: `read` is called only if it has to be compiled, and
    /// what it returns must have this digest. This is the fast way, a hundred times as fast as reading a component and
    /// computing its digest again and again.
    ///
    /// # Errors
    ///
    /// What `read` returns; [`SandboxError::OtherDigest`]; and as [`Sandbox::load`].
    pub fn load_known<E: From<SandboxError>>(
        &self,
        digest: &Digest,
        read: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Hook, E> {
        self.load_or_compile(digest, || {
            let bytes = read()?;
            self.check_size(&bytes)?;
            let found = Digest::of(&bytes);
            if found != *digest {
                return Err(SandboxError::OtherDigest { expected: digest.clone(), found }.into());
            }
            Ok(Cow::Owned(bytes))
        })
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

    fn check_size(&self, bytes: &[u8]) -> Result<(), SandboxError> {
        let limit = self.limits.component_bytes;
        if bytes.len() > limit {
            return Err(SandboxError::TooLarge { bytes: bytes.len(), limit });
        }
        Ok(())
    }

    fn load_or_compile<'b, E: From<SandboxError>>(
        &self,
        digest: &Digest,
        bytes: impl FnOnce() -> Result<Cow<'b, [u8]>, E>,
    ) -> Result<Hook, E> {
        let loaded = || self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hook) = loaded().get(digest) {
            return Ok(hook.clone());
        }
        // Not under the lock: compiling takes its time, and two that do the same come to the same.
        let hook = match self.cached(digest)? {
            Some(component) => self.link(digest, &component)?,
            None => self.link(digest, &self.compile(digest, &bytes()?)?)?,
        };
        loaded().insert(digest.clone(), hook.clone());
        Ok(hook)
    }

    fn cached(&self, digest: &Digest) -> Result<Option<Component>, SandboxError> {
        let stored = self.cache.load(digest)?;
        Ok(stored.and_then(|stored| {
            #[expect(unsafe_code, reason = "wasmtime trusts what it is given here; see the safety comment")]
            // SAFETY: this file was verified with our key to be what our own compiler made, and nobody else can open
            // it. It is never written into, only replaced by another.
            unsafe { Component::deserialize_file(&self.engine, stored.path()) }.ok()
        }))
    }

    fn compile(&self, digest: &Digest, bytes: &[u8]) -> Result<Component, SandboxError> {
        inspect_hook(bytes)?;
        let failed = |source| SandboxError::Compile { digest: digest.clone(), source };
        let artifact = self.compiler.compile(bytes).map_err(failed)?;
        self.cache.store(digest, &artifact)?;
        #[expect(unsafe_code, reason = "wasmtime trusts what it is given here; see the safety comment")]
        // SAFETY: these bytes come from our own compiler just now.
        let component = unsafe { Component::deserialize(&self.engine, artifact) };
        component.map_err(|error| failed(CompileError::Failed { reason: format!("{error:#}") }))
    }

    /// Gives a component what it imports, and finds what it exports.
    fn link(&self, digest: &Digest, component: &Component) -> Result<Hook, SandboxError> {
        let outside = Inspection::of_compiled(component);
        let contract = |error: wasmtime::Error| SandboxError::Contract { reason: format!("{error:#}") };
        let mut linker = Linker::<CallState>::new(&self.engine);
        FullHook::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state).map_err(contract)?;
        if outside.kind()? == Imports::Wasi {
            empty_world::add_to_linker(&mut linker, component).map_err(contract)?;
        }
        let prepared = linker.instantiate_pre(component).map_err(contract)?;
        let [setup, backup, topology] = [SETUP, BACKUP, TOPOLOGY].map(|name| outside.exports_interface(name));
        let exports = Exports { setup, backup, topology };
        Hook::new(digest.clone(), prepared, exports, Arc::clone(&self.limits), self.ticker.clone()).map_err(contract)
    }
}
