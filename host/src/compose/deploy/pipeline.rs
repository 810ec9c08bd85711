//! Functions in a pipeline before it is composed: which version runs where, whether another can take its place, and what a job's
//! state says of versions that were deployed.

use super::compatible::compatible;
use super::saved;
use crate::compose::components::{Adopted, ComponentStore, pinned};
use crate::compose::payload::WasmCall;
use crate::compose::payload_of;
use crate::compose::ttl::is_in;
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_beam::translate::{Role, Translation};
use thalweg_core::error::{Error, Result};
use thalweg_core::port::store::StateRead;
use thalweg_wasm::{Component, Pool};

/// The calls of a pipeline's components, by their transforms.
fn calls(translation: &Translation) -> Result<BTreeMap<String, WasmCall>> {
    let wasm = translation.transforms.iter().filter(|info| matches!(info.role, Role::Wasm(_)));
    wasm.map(|info| Ok((info.name.clone(), payload_of::json(&info.payload, &info.name)?))).collect()
}

/// The digests of what a pipeline's transforms run.
///
/// # Errors
/// What is wrong with a component.
pub fn running(translation: &Translation, components: &ComponentStore) -> Result<Vec<(String, String)>> {
    let digest = |(name, call): (String, WasmCall)| Ok((name, pinned(components.load(&call)?.digest())));
    calls(translation)?.into_iter().map(digest).collect()
}

/// What takes the place of a transform's function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The transform's whole name.
    pub transform: String,
    /// The function.
    pub function: String,
    /// JSON text that it is opened with now; empty for nothing.
    pub config: String,
}

/// Checks that a component can take the place of a transform's; its function is the one that runs now without another.
///
/// # Errors
/// `DEPLOY_UNKNOWN` for the transform, `DEPLOY_INCOMPATIBLE`.
pub fn check(
    translation: &Translation,
    components: &ComponentStore,
    transform: &str,
    component: &Component,
    function: &str,
) -> Result<Place> {
    let calls = calls(translation)?;
    let (transform, call) = named(transform, calls.iter())?;
    let function = if function.is_empty() { &call.function } else { function };
    compatible(components.load(call)?.function(&call.function)?, component.function(function)?)?;
    let config = call.config.as_ref().map(ToString::to_string).unwrap_or_default();
    Ok(Place { transform: transform.clone(), function: function.to_owned(), config })
}

/// Opens the function as it would run in the place, with what that has and is granted: so a configuration that it does not take is refused before
/// anybody runs it.
///
/// # Errors
/// What the function says to its configuration, or a limit it reached.
pub fn opens(
    translation: &Translation,
    components: &ComponentStore,
    place: &Place,
    component: &Component,
    config: Option<&serde_json::Value>,
) -> Result<()> {
    let Some(call) = calls(translation)?.remove(&place.transform) else { return Ok(()) };
    let (name, config) = (&place.transform, config.map(ToString::to_string).unwrap_or_default());
    let limits = call.limits.of(components.limits())?;
    let pool = Pool::granted(component, &place.function, name, &config, limits, &call.grant);
    pool.and_then(|mut pool| pool.warm()).map_err(|e| Error::from(e).in_transform(name))
}

/// The whole name of a transform of a component, by that or by the name of a step that has one such transform below it.
///
/// # Errors
/// `DEPLOY_UNKNOWN`.
pub fn whole_name(translation: &Translation, transform: &str) -> Result<String> {
    let calls = calls(translation)?;
    named(transform, calls.iter()).map(|(whole, _)| whole.clone())
}

/// Puts another version in place of a transform's function.
///
/// # Errors
/// What is wrong with the pipeline. A transform that is not there is passed over.
pub fn replace(
    translation: &mut Translation,
    transform: &str,
    component: &str,
    function: &str,
    config: Option<&serde_json::Value>,
) -> Result<()> {
    let wasm = translation.transforms.iter_mut().filter(|info| matches!(info.role, Role::Wasm(_)));
    for info in wasm.filter(|info| info.name == transform) {
        let mut call: WasmCall = payload_of::json(&info.payload, &info.name)?;
        (call.component, call.digest, call.config) = (component.to_owned(), None, config.cloned());
        function.clone_into(&mut call.function);
        info.payload = serde_json::to_vec(&call).unwrap_or_default().into();
    }
    Ok(())
}

/// The one of this name, or the only one below it: a step of a pipeline file may be several transforms.
pub(super) fn named<'a, T>(name: &str, known: impl Iterator<Item = (&'a String, T)>) -> Result<(&'a String, T)> {
    let (mut below, mut others) = (Vec::new(), Vec::new());
    for (transform, found) in known {
        if transform == name {
            return Ok((transform, found));
        }
        others.push(transform.as_str());
        if is_in(transform, name) {
            below.push((transform, found));
        }
    }
    below.pop().filter(|_| below.is_empty()).ok_or_else(|| {
        Error::user("DEPLOY_UNKNOWN", format!("{name:?} is no transform of a component in this job"))
            .help(format!("name one of them: {}", others.join(", ")))
    })
}

/// Puts the versions that a job's state holds in place of those in its pipeline.
///
/// # Errors
/// `STATE_CORRUPT` or `WASM_*` when one cannot be read, else the store's errors.
pub(in crate::compose) fn restore(
    translation: &mut Translation,
    components: &ComponentStore,
    state: &dyn StateRead,
) -> Result<()> {
    for info in &mut translation.transforms {
        let Some((mut call, record, bytes)) = saved::stored(info, components, state)? else { continue };
        let component = components.from_bytes(&info.name, &bytes)?;
        let from = Adopted { replaces: record.replaces, pieces: record.pieces, bytes: Arc::new(bytes) };
        call.component = components.adopt(component, from).display().to_string();
        call.digest = None;
        (call.function, call.config) = (record.function, record.config);
        info.payload = serde_json::to_vec(&call).unwrap_or_default().into();
    }
    Ok(())
}
