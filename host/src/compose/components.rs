//! Components of this process: loaded once per file and digest, compiled once per machine, under the process's limits.

use super::payload::WasmCall;
use crate::files;
use crate::yaml::Components;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use thalweg_core::error::{Error, Result};
use thalweg_wasm::describe::Description;
use thalweg_wasm::{Allowed, Cache, Compiler, Component, Digest, Engine, EngineLimits, Limits};

/// Loads components. The engine behind it is set up by the first one, so that a process without components pays nothing.
pub struct ComponentStore {
    cache_dir: Option<PathBuf>,
    limits: Limits,
    allowed: Allowed,
    compiler: Compiler,
    engine: Arc<OnceLock<Engine>>,
    /// Components that came with a job, by the path that its pipeline has for them: no file is looked at.
    brought: BTreeMap<PathBuf, Component>,
    loaded: Mutex<BTreeMap<PathBuf, Component>>,
    /// Components that are in no file, by what stands for their path.
    adopted: Mutex<BTreeMap<PathBuf, (Component, Adopted)>>,
}

/// Where a component comes from that is in no file: the state of a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Adopted {
    /// Digest of the component in the pipeline, in whose place it was deployed.
    pub replaces: String,
    /// Pieces that it is stored in.
    pub pieces: u64,
    /// The component itself, to be stored again.
    pub bytes: Arc<Vec<u8>>,
}

impl std::fmt::Debug for ComponentStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ComponentStore").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl ComponentStore {
    /// A store that keeps compiled code in `cache_dir`; without it every process compiles anew.
    #[must_use]
    pub fn new(cache_dir: Option<&Path>, limits: Limits) -> Self {
        let cache_dir = cache_dir.map(Path::to_owned);
        let (allowed, compiler, engine, brought) =
            (Allowed::Everything, Compiler::Here, Arc::default(), BTreeMap::new());
        let (loaded, adopted) = (Mutex::default(), Mutex::default());
        Self { cache_dir, limits, allowed, compiler, engine, brought, loaded, adopted }
    }

    /// A store for one job, under the same limits, with the components that came with it.
    ///
    /// # Errors
    /// As for [`ComponentStore::open`].
    pub fn with_brought(&self, brought: Vec<(PathBuf, Vec<u8>)>) -> Result<Self> {
        let load = |(path, bytes): (PathBuf, Vec<u8>)| {
            let component = self.from_bytes(&path.display().to_string(), &bytes)?;
            Ok((path, component))
        };
        Ok(Self {
            cache_dir: self.cache_dir.clone(),
            limits: self.limits.clone(),
            allowed: self.allowed.clone(),
            compiler: self.compiler.clone(),
            engine: Arc::clone(&self.engine),
            brought: brought.into_iter().map(load).collect::<Result<_>>()?,
            loaded: Mutex::default(),
            adopted: Mutex::default(),
        })
    }

    /// The files that were loaded, with their digests.
    #[must_use]
    pub fn opened(&self) -> Vec<(PathBuf, Digest)> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.iter().map(|(path, component)| (path.clone(), *component.digest())).collect()
    }

    /// Bounds what pipelines may grant to functions.
    #[must_use]
    pub fn allowing(mut self, allowed: Allowed) -> Self {
        self.allowed = allowed;
        self
    }

    /// Compiles components elsewhere than in this process.
    #[must_use]
    pub fn compiled_by(mut self, compiler: Compiler) -> Self {
        self.compiler = compiler;
        self
    }

    /// The directory for compiled code that users expect: `$XDG_CACHE_HOME/thalweg/components`, else below `~/.cache`.
    #[must_use]
    pub fn default_cache_dir() -> Option<PathBuf> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
        Some(base.join("thalweg").join("components"))
    }

    /// Limits of every component.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn engine(&self) -> Result<Engine> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine.clone());
        }
        let made = Engine::compiling(EngineLimits::default(), self.compiler.clone())?;
        Ok(self.engine.get_or_init(|| made).clone())
    }

    /// The component of a call, checked against the digest it pins and what its function is granted.
    ///
    /// # Errors
    /// What is wrong with the file; `WASM_DIGEST` when it is another than the pipeline was made with; `WASM_NOT_GRANTED` when the
    /// function describes more than it is granted; `WASM_NOT_ALLOWED` when a grant is not on this process's list;
    /// `WASM_LIMIT` when it asks for too much.
    pub fn load(&self, call: &WasmCall) -> Result<Component> {
        let component = self.open(Path::new(&call.component))?;
        if let Some(refused) = self.allowed.refuses(&call.grant) {
            let message =
                format!("the pipeline grants {refused} to {}, which this server does not allow", call.function);
            let help = "leave the grant out, or start the server with --allow-capability";
            return Err(Error::user("WASM_NOT_ALLOWED", message).help(help));
        }
        call.grant.of(component.function(&call.function)?)?;
        call.limits.of(&self.limits)?;
        let found = pinned(component.digest());
        match &call.digest {
            Some(wanted) if *wanted != found => {
                let message = format!("{} is {found}, but the pipeline was made with {wanted}", call.component);
                Err(Error::user("WASM_DIGEST", message)
                    .help("submit the pipeline again, or put the component back that it was made with"))
            }
            _ => Ok(component),
        }
    }

    /// The component of a file. A file that was changed since is loaded anew.
    ///
    /// # Errors
    /// `WASM_*`: the file is not there, is no regular file or no component of ours, or does not compile.
    pub fn open(&self, path: &Path) -> Result<Component> {
        let adopted = self.adopted.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        if let Some(component) = adopted.map(|(component, _)| component).or_else(|| self.brought.get(path).cloned()) {
            return Ok(component);
        }
        let name = path.display().to_string();
        let unreadable = |e: std::io::Error| thalweg_wasm::Error::Unreadable { path: name.clone(), why: e.to_string() };
        // a byte more than is taken: enough for the refusal
        let most = EngineLimits::default().component_bytes.saturating_add(1);
        let bytes = files::beginning(path, most).map_err(unreadable)?;
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = loaded.get(path).filter(|c| *c.digest() == Digest::of(&bytes)) {
            return Ok(known.clone());
        }
        let component = self.from_bytes(&name, &bytes)?;
        loaded.insert(path.to_owned(), component.clone());
        Ok(component)
    }

    /// Keeps a component that is in no file; gives what stands for its path.
    pub(super) fn adopt(&self, component: Component, from: Adopted) -> PathBuf {
        let path = PathBuf::from(format!("deployed/sha256:{} in place of {}", component.digest(), from.replaces));
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), (component, from));
        path
    }

    /// Where the component comes from that stands under a path, if it is in no file.
    pub(super) fn adopted(&self, path: &str) -> Option<Adopted> {
        let adopted = self.adopted.lock().unwrap_or_else(PoisonError::into_inner);
        adopted.get(Path::new(path)).map(|(_, from)| from.clone())
    }

    /// A component that is in memory already; `name` stands in messages.
    ///
    /// # Errors
    /// As for [`ComponentStore::open`].
    pub fn from_bytes(&self, name: &str, bytes: &[u8]) -> Result<Component> {
        // a cache that cannot be used costs time, not the job
        let warn = |e: &thalweg_wasm::Error| tracing::warn!("compiled components are not kept: {e}");
        let cache = self.cache_dir.as_deref().and_then(|dir| Cache::open(dir).inspect_err(warn).ok());
        Ok(Component::from_bytes(&self.engine()?, name, bytes, cache.as_ref())?)
    }
}

/// A digest as pipelines pin it and messages have it.
#[must_use]
pub fn pinned(digest: &Digest) -> String {
    format!("sha256:{digest}")
}

impl Components for ComponentStore {
    fn describe(&self, component: &Path) -> Result<Arc<Description>> {
        Ok(Arc::new(self.open(component)?.description().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_no_component_and_is_not_waited_for() {
        let store = ComponentStore::new(None, Limits::default());
        for path in ["/dev/zero", "/dev", "/no/such/file"] {
            let refused = store.open(Path::new(path)).err();
            assert!(refused.is_some_and(|e| e.code == "WASM_UNREADABLE" && e.message.contains(path)), "{path}");
        }
    }
}
