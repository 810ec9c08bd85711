//! The dependency lists of a pipeline's environments: finding them, and putting staged ones in their place.

use super::{ArtifactStore, Digest, urn};
use prost::Message;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use thalweg_core::error::{Error, Result};
use thalweg_proto::pipeline::{
    AnyOfEnvironmentPayload, ArtifactFilePayload, ArtifactInformation, EmbeddedFilePayload, Environment, Pipeline,
};

const ANY_OF: &str = "beam:env:anyof:v1";
/// Any-of environments inside any-of environments are not looked into deeper than this.
const DEPTH_MAX: usize = 4;

/// What each dependency list became. A list is staged as a whole, because a client may resolve one artifact to several.
/// Cheap to clone.
#[derive(Clone, Default, Debug)]
pub(crate) struct StagedLists(Arc<BTreeMap<Vec<u8>, Vec<ArtifactInformation>>>);

impl StagedLists {
    pub(super) fn new(lists: Vec<(Vec<ArtifactInformation>, Vec<ArtifactInformation>)>) -> Self {
        Self(Arc::new(lists.into_iter().map(|(from, to)| (name(&from), to)).collect()))
    }

    /// The pipeline with staged lists in place of submitted ones; the very same pipeline if there is nothing to replace.
    pub(crate) fn applied_to(&self, pipeline: &Arc<Pipeline>) -> Arc<Pipeline> {
        if self.0.is_empty() {
            return pipeline.clone();
        }
        let mut pipeline = Pipeline::clone(pipeline);
        if let Some(components) = &mut pipeline.components {
            for environment in components.environments.values_mut() {
                self.replace_in(environment, DEPTH_MAX);
            }
        }
        Arc::new(pipeline)
    }

    fn replace_in(&self, environment: &mut Environment, depth: usize) {
        if let Some(staged) = self.0.get(&name(&environment.dependencies)) {
            environment.dependencies.clone_from(staged);
        }
        if let Some(mut any_of) = any_of(environment, depth) {
            any_of.environments.iter_mut().for_each(|inner| self.replace_in(inner, depth - 1));
            environment.payload = any_of.encode_to_vec().into();
        }
    }
}

/// A pipeline that carries what was staged for it in itself, so that a server which never saw its client can serve its workers.
///
/// # Errors
/// `ARTIFACT_NOT_STAGED` for a file that is not in the store, `ARTIFACT_STORE_FAILED` when it cannot be read.
pub fn embedded(pipeline: &Pipeline, store: &ArtifactStore) -> Result<Pipeline> {
    let mut pipeline = pipeline.clone();
    for environment in pipeline.components.iter_mut().flat_map(|c| c.environments.values_mut()) {
        embed(environment, store, DEPTH_MAX)?;
    }
    Ok(pipeline)
}

fn embed(environment: &mut Environment, store: &ArtifactStore, depth: usize) -> Result<()> {
    for artifact in environment.dependencies.iter_mut().filter(|artifact| artifact.type_urn == urn::FILE) {
        let file = ArtifactFilePayload::decode(artifact.type_payload.clone()).unwrap_or_default();
        let digest = store.digest_of(Path::new(&file.path)).or_else(|| Digest::parse(&file.sha256));
        let data = digest.map(|digest| store.bytes(&digest)).transpose()?.ok_or_else(|| {
            Error::user("ARTIFACT_NOT_STAGED", format!("`{}` is not among the staged artifacts", file.path))
                .help("submit the pipeline again, so that its client stages what its workers need")
        })?;
        urn::EMBEDDED.clone_into(&mut artifact.type_urn);
        artifact.type_payload = EmbeddedFilePayload { data }.encode_to_vec().into();
    }
    if let Some(mut any_of) = any_of(environment, depth) {
        any_of.environments.iter_mut().try_for_each(|inner| embed(inner, store, depth - 1))?;
        environment.payload = any_of.encode_to_vec().into();
    }
    Ok(())
}

/// The different dependency lists of a pipeline that are not empty.
pub(super) fn lists(pipeline: &Pipeline) -> Vec<Vec<ArtifactInformation>> {
    let mut found = BTreeMap::new();
    if let Some(components) = &pipeline.components {
        components.environments.values().for_each(|environment| collect(environment, DEPTH_MAX, &mut found));
    }
    found.into_values().collect()
}

fn collect(environment: &Environment, depth: usize, found: &mut BTreeMap<Vec<u8>, Vec<ArtifactInformation>>) {
    if !environment.dependencies.is_empty() {
        found.entry(name(&environment.dependencies)).or_insert_with(|| environment.dependencies.clone());
    }
    if let Some(any_of) = any_of(environment, depth) {
        any_of.environments.iter().for_each(|inner| collect(inner, depth - 1, found));
    }
}

/// The alternatives of an any-of environment. One that cannot be read is left as it is: translation refuses it.
fn any_of(environment: &Environment, depth: usize) -> Option<AnyOfEnvironmentPayload> {
    let payload = (environment.urn == ANY_OF && depth > 0).then(|| environment.payload.clone())?;
    AnyOfEnvironmentPayload::decode(payload).ok()
}

/// A list by its encoding.
fn name(list: &[ArtifactInformation]) -> Vec<u8> {
    list.iter().flat_map(Message::encode_length_delimited_to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_proto::pipeline::Components;

    fn artifact(name: &str) -> ArtifactInformation {
        ArtifactInformation { type_urn: name.to_owned(), ..Default::default() }
    }

    fn environment(dependencies: Vec<ArtifactInformation>) -> Environment {
        Environment { dependencies, ..Default::default() }
    }

    fn pipeline(environments: Vec<Environment>) -> Arc<Pipeline> {
        let named = environments.into_iter().enumerate().map(|(i, e)| (i.to_string(), e)).collect();
        let components = Components { environments: named, ..Default::default() };
        Arc::new(Pipeline { components: Some(components), ..Default::default() })
    }

    #[test]
    fn lists_inside_any_of_environments_are_found_and_replaced() {
        let inner = AnyOfEnvironmentPayload { environments: vec![environment(vec![artifact("b")])] };
        let any_of =
            Environment { urn: ANY_OF.to_owned(), payload: inner.encode_to_vec().into(), ..Default::default() };
        let submitted = pipeline(vec![
            environment(vec![artifact("a")]),
            environment(vec![artifact("a")]),
            environment(vec![]),
            any_of,
        ]);
        let found = lists(&submitted);
        assert_eq!(found, [vec![artifact("a")], vec![artifact("b")]]);

        let staged =
            StagedLists::new(found.into_iter().map(|list| (list, vec![artifact("s1"), artifact("s2")])).collect());
        let replaced = staged.applied_to(&submitted);
        assert_eq!(lists(&replaced), [vec![artifact("s1"), artifact("s2")]]);
    }
}
