//! A loaded component: compiled, checked against the contract, and described. Cheap to clone; shards share it.

use crate::bindings::FullPre;
use crate::cache::{self, Cache, Digest};
use crate::clock;
use crate::describe::{Description, Function};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::instance;
use crate::limits::Limits;
use crate::store::GuestStore;
use crate::wasi;
use std::path::Path;
use std::sync::Arc;
use wasmtime::component::{Component as Compiled, HasSelf, Linker};

/// The package whose interfaces a component may import, beside those of WASI.
const PACKAGE: &str = "thalweg:udf/";
/// Its interfaces that this host offers. `types` has no functions; every importer of another one names it too.
const OFFERED: [&str; 7] = ["types", "log", "outputs", "state", "iterables", "side-inputs", "tables"];
/// What the versions that this host runs begin with: all of 1. A later one of them may import what this host lacks, and is refused by that.
const VERSIONS: &str = "1.";

/// A component that can be run.
#[derive(Clone)]
pub struct Component(Arc<Inner>);

struct Inner {
    engine: Engine,
    name: String,
    digest: Digest,
    size: usize,
    imports: Vec<String>,
    pre: FullPre<GuestStore>,
    description: Description,
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component").field("name", &self.0.name).field("digest", &self.0.digest).finish()
    }
}

impl Component {
    /// Loads a component from a file. Compiling takes from 0.1 s (Rust) to seconds (Python); with a cache it is done once
    /// per machine.
    ///
    /// # Errors
    /// [`Error::Unreadable`], or as [`Component::from_bytes`].
    pub fn load(engine: &Engine, path: &Path, cache: Option<&Cache>) -> Result<Self> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|e| Error::Unreadable { path: name.clone(), why: e.to_string() })?;
        Self::from_bytes(engine, &name, &bytes, cache)
    }

    /// Loads a component; `name` stands in messages.
    ///
    /// # Errors
    /// [`Error::NotWasm`], [`Error::CoreModule`], [`Error::ForbiddenImport`], [`Error::WrongWorld`], [`Error::Invalid`] or
    /// [`Error::Description`], each for the user to mend; the limits' errors if describing itself goes wrong.
    pub fn from_bytes(engine: &Engine, name: &str, bytes: &[u8], cache: Option<&Cache>) -> Result<Self> {
        check_kind(name, bytes)?;
        let limit = engine.limits().component_bytes;
        if bytes.len() > limit {
            return Err(Error::Invalid { name: name.to_owned(), why: format!("it is larger than {limit} bytes") });
        }
        let digest = Digest::of(bytes);
        let compiled = compile(engine, name, bytes, &digest, cache)?;
        let imports = check_world(engine, name, &compiled)?;
        let wrong = |e: wasmtime::Error| Error::WrongWorld { name: name.to_owned(), why: format!("{e:#}") };
        let mut linker = Linker::<GuestStore>::new(engine.wasmtime());
        crate::bindings::Full::add_to_linker::<_, HasSelf<_>>(&mut linker, |data| data).map_err(wrong)?;
        wasi::link(&mut linker, engine.wasmtime(), &compiled).map_err(wrong)?;
        let pre = linker.instantiate_pre(&compiled).and_then(FullPre::new).map_err(wrong)?;
        let mut this = Inner {
            engine: engine.clone(),
            name: name.to_owned(),
            digest,
            size: bytes.len(),
            imports,
            pre,
            description: Description { sdk: String::new(), functions: Vec::new() },
        };
        let json = instance::describe(&this.pre, engine, &Arc::new(Limits::describing()))?;
        this.description = Description::parse(name, &json)?;
        Ok(Self(Arc::new(this)))
    }

    /// Its name in messages: the path it came from.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// SHA-256 of the component.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.0.digest
    }

    /// Size of the component in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// What it imports, by full name.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.0.imports
    }

    /// What it says of itself.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.0.description
    }

    /// The function of a name, if this host can run it.
    ///
    /// # Errors
    /// [`Error::NoFunction`] with the names there are, or [`Error::Unsupported`].
    pub fn function(&self, name: &str) -> Result<&Function> {
        let functions = &self.0.description.functions;
        let function = functions.iter().find(|f| f.name == name).ok_or_else(|| Error::NoFunction {
            name: self.0.name.clone(),
            function: name.to_owned(),
            known: functions.iter().map(|f| f.name.clone()).collect(),
        })?;
        match function.unsupported() {
            Some(what) => Err(Error::Unsupported { function: name.to_owned(), what }),
            None => Ok(function),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn pre(&self) -> &FullPre<GuestStore> {
        &self.0.pre
    }
}

/// Tells components, core modules and other files apart by their first eight bytes.
fn check_kind(name: &str, bytes: &[u8]) -> Result<()> {
    let name = name.to_owned();
    match bytes.first_chunk::<8>() {
        Some([b'\0', b'a', b's', b'm', _, _, 1, 0]) => Ok(()),
        Some([b'\0', b'a', b's', b'm', _, _, 0, 0]) => Err(Error::CoreModule { name }),
        _ => Err(Error::NotWasm { name }),
    }
}

/// The component's code: from the cache, or compiled now.
fn compile(engine: &Engine, name: &str, bytes: &[u8], digest: &Digest, cache: Option<&Cache>) -> Result<Compiled> {
    if let Some(compiled) = cache.and_then(|cache| cache.get(engine.wasmtime(), digest)) {
        return Ok(compiled);
    }
    let start = clock::monotonic();
    tracing::info!(target: "thalweg::udf", component = name, bytes = bytes.len(), "compiling");
    let code = engine.compiler().compile(engine.wasmtime(), name, bytes)?;
    let ms = clock::monotonic().saturating_sub(start) / 1_000_000;
    tracing::info!(target: "thalweg::udf", component = name, ms, "compiled");
    let mapped = cache.and_then(|cache| {
        cache.put(engine.wasmtime(), digest, &code);
        cache.get(engine.wasmtime(), digest)
    });
    match mapped {
        Some(compiled) => Ok(compiled),
        None => cache::load(engine.wasmtime(), &code)
            .map_err(|e| Error::Invalid { name: name.to_owned(), why: format!("{e:#}") }),
    }
}

/// Refuses imports that the host does not offer, and a component without the export that makes it one of ours.
fn check_world(engine: &Engine, name: &str, compiled: &Compiled) -> Result<Vec<String>> {
    let world = compiled.component_type();
    let imports: Vec<String> = world.imports(engine.wasmtime()).map(|(name, _)| name.to_owned()).collect();
    let exports: Vec<&str> = world.exports(engine.wasmtime()).map(|(name, _)| name).collect();
    let ours = imports.iter().map(String::as_str).chain(exports.iter().copied()).filter_map(version_of);
    if let Some(other) = ours.into_iter().find(|version| !version.starts_with(VERSIONS)) {
        let why = format!("it was built for thalweg:udf {other}, and {VERSIONS}x is run here");
        return Err(Error::WrongWorld { name: name.to_owned(), why });
    }
    let forbidden: Vec<String> = imports.iter().filter(|import| !is_offered(import)).cloned().collect();
    if !forbidden.is_empty() {
        return Err(Error::ForbiddenImport { name: name.to_owned(), imports: forbidden });
    }
    if exports.iter().any(|export| export.starts_with("thalweg:udf/guest@")) {
        return Ok(imports);
    }
    let found = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
    let why = format!("it does not export thalweg:udf/guest@{VERSIONS}x; it exports {found}");
    Err(Error::WrongWorld { name: name.to_owned(), why })
}

/// The version of the contract that a name is of, if it is one of its names.
fn version_of(name: &str) -> Option<&str> {
    name.strip_prefix(PACKAGE)?.split_once('@').map(|(_, version)| version)
}

fn is_offered(import: &str) -> bool {
    let Some((interface, version)) = import.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@')) else {
        return wasi::offers(import);
    };
    OFFERED.contains(&interface) && version.starts_with(VERSIONS)
}
