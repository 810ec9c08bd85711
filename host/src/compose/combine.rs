//! A component's CombineFn in the graph: the values of a key have to meet. In: its one transform. Out: the grouping before it, and
//! before that, where the windowing allows it, the making of accumulators.
//!
//! It does not know how accumulators are made and merged; the worker does.

use std::sync::Arc;
use thalweg_beam::translate::{Role, TransformInfo, Translation, liftable};
use thalweg_beam::urn::transform as urn;
use thalweg_core::coder::Coder;
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::{CollectionId, Op, UserOp};
use thalweg_wasm::describe::Function;

fn lost(name: &str) -> Error {
    Error::internal("GRAPH_INVALID", format!("{name} lost a part of its graph"))
}

/// Puts the parts of transform `at` around it; it becomes the merging of accumulators, or of values where none are made before.
///
/// # Errors
/// Only when the graph is broken.
pub fn around(translation: &mut Translation, at: usize, function: &Function) -> Result<()> {
    let info = translation.transforms.get(at).cloned().ok_or_else(|| lost("a combine"))?;
    let broken = || lost(&info.name);
    let (_, input) = info.inputs.first().cloned().ok_or_else(broken)?;
    let collection = translation.graph.collection(input).cloned().ok_or_else(broken)?;
    let (key, value) = collection.coder.kv().ok_or_else(broken)?;
    let (key, value) = (Arc::clone(key), Arc::clone(value));
    let accumulator = function.accumulator.as_ref().and_then(|coder| coder.to_core()).map(Arc::new);
    let accumulator = accumulator.filter(|_| liftable(&collection.windowing));
    let lifted = accumulator.is_some();
    let mut collect = |part: &str, coder: Coder| {
        let name = format!("{}/{part}", info.name);
        let made = translation.graph.add_collection(&name, coder, Arc::clone(&collection.windowing));
        if let Some(made) = translation.graph.collections.get_mut(made.0 as usize) {
            made.window_environment = collection.window_environment;
        }
        made
    };
    let (meeting, from) = match accumulator {
        Some(accumulator) => {
            let made = collect("precombined", Coder::Kv(Arc::clone(&key), Arc::clone(&accumulator)));
            (accumulator, made)
        }
        None => (value, input),
    };
    let grouped = collect("grouped", Coder::Kv(key, Arc::new(Coder::Iterable(meeting))));
    if lifted {
        let environment = if let Role::Wasm(environment) = info.role { Some(environment) } else { None };
        let op = Op::User(UserOp { environment, ..UserOp::default() });
        add(translation, &info, "Precombine", (op, info.role, urn::COMBINE_PRECOMBINE), input, from);
    }
    add(translation, &info, "Group", (Op::GroupByKey, Role::Runner, urn::GROUP_BY_KEY), from, grouped);
    let transform = translation.graph.transforms.get_mut(at).ok_or_else(broken)?;
    transform.inputs = vec![grouped];
    let info = translation.transforms.get_mut(at).ok_or_else(|| lost("a combine"))?;
    info.inputs.iter_mut().for_each(|(_, collection)| *collection = grouped);
    info.urn = if lifted { urn::COMBINE_MERGE } else { urn::COMBINE_GROUPED }.to_owned();
    Ok(())
}

/// Adds a part with one input and one output.
fn add(
    translation: &mut Translation,
    whole: &TransformInfo,
    part: &str,
    (op, role, urn): (Op, Role, &str),
    input: CollectionId,
    output: CollectionId,
) {
    let name = format!("{}/{part}", whole.name);
    translation.graph.add_transform(&name, op, &[input], &[output]);
    translation.transforms.push(TransformInfo {
        id: format!("{}_{}", whole.id, part.to_lowercase()),
        name,
        urn: urn.to_owned(),
        role,
        inputs: vec![("in".to_owned(), input)],
        outputs: vec![("out".to_owned(), output)],
        ..whole.clone()
    });
}
