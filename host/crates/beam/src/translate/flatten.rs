//! Elements that pass the engine unchanged must have one encoding on both sides: of flattens and redistributions.
//!
//! Where an input is encoded otherwise than the output, an SDK has to recode it: a flatten of that one input, which
//! every SDK knows, is put in between. Beside a function of the same SDK it is fused and costs nothing.

use super::build::Builder;
use super::{Role, TransformInfo};
use crate::coder::table::Coders;
use crate::error::{Result, refuse};
use crate::urn::{coder, transform as urn};
use std::collections::{BTreeMap, BTreeSet};
use thalweg_core::graph::{CollectionId, EnvironmentId, Op, TransformId, UserOp};
use thalweg_proto::pipeline::{FunctionSpec, PTransform};

/// For whom elements are recoded.
pub(super) struct Recoder<'t> {
    /// Id of the transform.
    pub(super) of: &'t str,
    /// Its unique name.
    pub(super) name: &'t str,
    /// The name under which the user knows it.
    pub(super) origin: &'t str,
    /// The SDK that does it.
    pub(super) environment: &'t str,
}

/// How deep coders may be nested; deeper ones are taken for different.
const DEPTH_MAX: u32 = 64;

/// How many pairs of coders are compared for two; larger ones are taken for different.
const PAIRS_MAX: usize = 1 << 16;

/// Whether two coders make the same bytes in the engine, where a length prefix around an element, key or value is gone.
pub(super) fn same(coders: &Coders, a: &str, b: &str) -> bool {
    let (a, b) = (stripped(coders, a), stripped(coders, b));
    let mut pairs = Pairs { coders, equal: BTreeSet::new() };
    match (kv(coders, a), kv(coders, b)) {
        (Some((ka, va)), Some((kb, vb))) => {
            pairs.equal(stripped(coders, ka), stripped(coders, kb), DEPTH_MAX)
                && pairs.equal(stripped(coders, va), stripped(coders, vb), DEPTH_MAX)
        }
        (None, None) => pairs.equal(a, b, DEPTH_MAX),
        _ => false,
    }
}

/// What a length prefix encloses, unless that is a pair: the engine takes a bare pair apart, but not an enclosed one.
fn stripped<'c>(coders: &'c Coders, id: &'c str) -> &'c str {
    let inner = coders.get(id).filter(|c| c.spec.as_ref().is_some_and(|s| s.urn == coder::LENGTH_PREFIX));
    match inner.and_then(|c| c.component_coder_ids.first()) {
        Some(inner) if kv(coders, inner).is_none() => inner,
        _ => id,
    }
}

fn kv<'c>(coders: &'c Coders, id: &str) -> Option<(&'c str, &'c str)> {
    let coder = coders.get(id).filter(|c| c.spec.as_ref().is_some_and(|s| s.urn == coder::KV))?;
    match coder.component_coder_ids.as_slice() {
        [key, value] => Some((key, value)),
        _ => None,
    }
}

/// A comparison of two coders.
struct Pairs<'c> {
    coders: &'c Coders,
    /// Found equal. Coders whose components are shared would else be compared once for each way to them.
    equal: BTreeSet<(&'c str, &'c str)>,
}

impl<'c> Pairs<'c> {
    fn equal(&mut self, a: &'c str, b: &'c str, depth: u32) -> bool {
        if a == b || self.equal.contains(&(a, b)) {
            return true;
        }
        let (coders, depth) = (self.coders, depth.checked_sub(1));
        let (Some(x), Some(y), Some(depth)) = (coders.get(a), coders.get(b), depth) else { return false };
        let equal = x.spec == y.spec
            && x.component_coder_ids.len() == y.component_coder_ids.len()
            && x.component_coder_ids.iter().zip(&y.component_coder_ids).all(|(a, b)| self.equal(a, b, depth))
            && self.equal.len() < PAIRS_MAX;
        if equal {
            self.equal.insert((a, b));
        }
        equal
    }
}

impl Builder {
    /// Puts a recoding in front of every flatten and redistribution whose input is encoded otherwise than its output.
    pub(super) fn fix_coders(&mut self) -> Result<()> {
        let mut producer: BTreeMap<CollectionId, usize> = BTreeMap::new();
        for (i, transform) in self.graph.transforms.iter().enumerate() {
            producer.extend(transform.outputs.iter().map(|o| (*o, i)));
        }
        let read = self.read_collections();
        for i in 0..self.graph.transforms.len() {
            let Some(transform) = self.graph.transforms.get(i) else { continue };
            let (Op::Flatten | Op::Redistribute { .. }, [output]) = (&transform.op, transform.outputs.as_slice())
            else {
                continue;
            };
            let (inputs, output) = (transform.inputs.clone(), *output);
            if !read.contains(&output) {
                continue;
            }
            for (n, input) in inputs.into_iter().enumerate() {
                if !self.same_collections(input, output) {
                    let recoded = self.recode(i, n, input, output, &producer)?;
                    if let Some(place) = self.graph.transforms.get_mut(i).and_then(|t| t.inputs.get_mut(n)) {
                        *place = recoded;
                    }
                    if let Some((_, place)) = self.transforms.get_mut(i).and_then(|t| t.inputs.get_mut(n)) {
                        *place = recoded;
                    }
                }
            }
        }
        Ok(())
    }

    /// Collections that some transform reads.
    fn read_collections(&self) -> BTreeSet<CollectionId> {
        let mut read = BTreeSet::new();
        for transform in &self.graph.transforms {
            read.extend(transform.inputs.iter().copied());
            if let Op::User(user) = &transform.op {
                read.extend(user.sides.iter().map(|(_, c, _)| *c));
            }
        }
        read
    }

    fn same_collections(&self, a: CollectionId, b: CollectionId) -> bool {
        let coder = |c: CollectionId| self.collections.get(c.0 as usize).map_or("", |i| i.coder_id.as_str());
        same(&self.components.coders, coder(a), coder(b))
    }

    /// Adds a flatten of `input` alone, run by an SDK, with the coder of `output`; returns its collection.
    fn recode(
        &mut self,
        flatten: usize,
        n: usize,
        input: CollectionId,
        output: CollectionId,
        producer: &BTreeMap<CollectionId, usize>,
    ) -> Result<CollectionId> {
        let info = |c: CollectionId| self.collections.get(c.0 as usize).map(|i| i.id.clone()).unwrap_or_default();
        let (from, to) = (info(input), info(output));
        let Some(TransformInfo { id, name, origin, .. }) = self.transforms.get(flatten).cloned() else {
            return Ok(input);
        };
        let environment = self.sdk_before(input, producer).or_else(|| self.any_sdk()).ok_or_else(|| {
            let part = self.graph.collection(input).map_or("?", |c| c.name.as_str());
            refuse(
                "PIPELINE_FLATTEN_CODERS",
                format!("{name} takes {part}, whose coder differs from that of its output"),
            )
            .help("give all inputs of the transform the same type")
            .in_transform(&name)
        })?;
        let environment_id = self.environments.get(environment.0 as usize).map(|e| e.id.clone()).unwrap_or_default();
        let (Some(like), Some(target)) =
            (self.components.pcollections.get(&from).cloned(), self.components.pcollections.get(&to).cloned())
        else {
            return Ok(input);
        };
        let made = self.derived(&like, &format!("{name}/recoded{n}"), &format!("{id}_recoded{n}"), target.coder_id);
        let recoder = Recoder { of: &id, name: &name, origin: &origin, environment: &environment_id };
        self.recoder(&recoder, &n.to_string(), &from, &made)?;
        self.collection(&made)
    }

    /// Adds a flatten from one collection to another, run by an SDK.
    pub(super) fn recoder(&mut self, recoder: &Recoder<'_>, tag: &str, from: &str, to: &str) -> Result<()> {
        let proto = PTransform {
            unique_name: format!("{}/Recode{tag}", recoder.name),
            spec: Some(FunctionSpec { urn: urn::FLATTEN.to_owned(), ..Default::default() }),
            inputs: [("in".to_owned(), from.to_owned())].into(),
            outputs: [("out".to_owned(), to.to_owned())].into(),
            environment_id: recoder.environment.to_owned(),
            ..Default::default()
        };
        let id = self.free_transform_id(&format!("{}_recode{tag}", recoder.of));
        self.components.transforms.insert(id.clone(), proto.clone());
        self.user(&id, &proto, recoder.origin, UserOp::default())
    }

    /// The SDK nearest to a collection, looking back through the engine's own transforms.
    fn sdk_before(&self, of: CollectionId, producer: &BTreeMap<CollectionId, usize>) -> Option<EnvironmentId> {
        let mut next = Some(of);
        for _ in 0..self.graph.transforms.len() {
            let at = TransformId(u32::try_from(*producer.get(&next?)?).ok()?);
            match self.transforms.get(at.0 as usize)?.role {
                Role::Sdk(environment) => return Some(environment),
                Role::Runner => next = self.graph.transform(at)?.inputs.first().copied(),
                _ => return None,
            }
        }
        None
    }

    fn any_sdk(&self) -> Option<EnvironmentId> {
        self.transforms.iter().find_map(|t| match t.role {
            Role::Sdk(environment) => Some(environment),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coder::table::proto;

    #[test]
    fn coders_whose_components_are_shared_are_compared_once() {
        let mut coders = Coders::new();
        for of in ["a", "b"] {
            for i in 0..60 {
                let next = format!("{of}{}", i + 1);
                coders.insert(format!("{of}{i}"), proto(coder::KV, &[&next, &next]));
            }
            coders.insert(format!("{of}60"), proto(coder::BYTES, &[]));
        }
        assert!(same(&coders, "a0", "b0"));
        assert!(!same(&coders, "a0", "b1"));
        coders.insert("b60".to_owned(), proto(coder::DOUBLE, &[]));
        assert!(!same(&coders, "a0", "b0"));
        coders.insert("a60".to_owned(), proto(coder::KV, &["a0", "a0"]));
        coders.insert("b60".to_owned(), proto(coder::KV, &["b0", "b0"]));
        assert!(!same(&coders, "a0", "b0"), "what contains itself is nested too deep");
    }
}
