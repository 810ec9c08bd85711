//! Versions that were deployed into a job, on their way with its state: out of a savepoint into a cluster, whose journal has them, and back.

use super::super::components::{ComponentStore, pinned};
use super::super::payload::WasmCall;
use super::super::payload_of;
use super::record::{self, Record};
use super::replace;
use thalweg_beam::translate::{Role, TransformInfo, Translation};
use thalweg_core::error::Result;
use thalweg_core::port::store::{CellWrite, StateRead};

/// A version that runs in place of what a pipeline names.
#[derive(Clone, PartialEq, Debug)]
pub struct Saved {
    /// The transform whose function it is.
    pub transform: String,
    /// The function.
    pub function: String,
    /// What it is opened with.
    pub config: Option<serde_json::Value>,
    /// `sha256:` and the component's digest.
    pub digest: String,
    /// The component.
    pub bytes: Vec<u8>,
}

impl Saved {
    /// What stands for its path: it is in no file.
    #[must_use]
    pub fn path(&self) -> String {
        path_of(&self.digest)
    }
}

/// What stands for the path of a version with this digest.
#[must_use]
pub fn path_of(digest: &str) -> String {
    format!("deployed/{digest}")
}

/// What a state holds of a transform, if that is still what the pipeline names: whoever names another component means that one.
pub(super) fn stored(
    info: &TransformInfo,
    components: &ComponentStore,
    state: &dyn StateRead,
) -> Result<Option<(WasmCall, Record, Vec<u8>)>> {
    if !matches!(info.role, Role::Wasm(_)) {
        return Ok(None);
    }
    let Some((record, bytes)) = record::read(&info.name, state)? else { return Ok(None) };
    let call: WasmCall = payload_of::json(&info.payload, &info.name)?;
    let pipeline = components.load(&call).map_err(|e| e.in_transform(&info.name))?;
    if record.replaces != pinned(pipeline.digest()) {
        tracing::info!("{} has a new component in the pipeline, which is run instead of the deployed one", info.name);
        return Ok(None);
    }
    Ok(Some((call, record, bytes)))
}

/// The versions that a state holds for a pipeline.
///
/// # Errors
/// `STATE_CORRUPT` when one cannot be read, what is wrong with the pipeline's components, else the store's errors.
pub fn saved(translation: &Translation, components: &ComponentStore, state: &dyn StateRead) -> Result<Vec<Saved>> {
    let mut all = Vec::new();
    for info in &translation.transforms {
        if let Some((_, record, bytes)) = stored(info, components, state)? {
            let Record { digest, function, config, .. } = record;
            all.push(Saved { transform: info.name.clone(), function, config, digest, bytes });
        }
    }
    Ok(all)
}

/// Puts versions in place of what a pipeline names. Their components have to be among those of the job, by [`Saved::path`].
///
/// # Errors
/// What is wrong with the pipeline.
pub fn put(translation: &mut Translation, versions: &[Saved]) -> Result<()> {
    versions.iter().try_for_each(|saved| {
        replace(translation, &saved.transform, &saved.path(), &saved.function, saved.config.as_ref())
    })
}

/// The writes that have whoever begins with a state run a version, in place of what this pipeline names; none where it has no such transform.
///
/// # Errors
/// What is wrong with the pipeline's component.
pub fn writes(translation: &Translation, components: &ComponentStore, version: &Saved) -> Result<Vec<CellWrite>> {
    let is = |info: &&TransformInfo| matches!(info.role, Role::Wasm(_)) && info.name == version.transform;
    let Some(info) = translation.transforms.iter().find(is) else { return Ok(Vec::new()) };
    let call: WasmCall = payload_of::json(&info.payload, &info.name)?;
    let record = Record {
        replaces: pinned(components.load(&call).map_err(|e| e.in_transform(&info.name))?.digest()),
        digest: version.digest.clone(),
        function: version.function.clone(),
        config: version.config.clone(),
        pieces: record::pieces(&version.bytes),
    };
    Ok(record::store(&version.transform, &record, &version.bytes, 0))
}
