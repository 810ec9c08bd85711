//! Side inputs of components: which inputs of a transform they are, and how they are read. In: the description. Out: the graph, with the
//! main input alone as input, and the others in the order of the description.

use super::check::{fits, mismatch};
use thalweg_beam::translate::Translation;
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::{CollectionId, Op, SideAccess, WorkerStage};
use thalweg_core::window::WindowFn;
use thalweg_wasm::Side;
use thalweg_wasm::describe::{Access, Function};

/// Tells side inputs of transform `at` from its main input.
///
/// # Errors
/// `WASM_MISMATCH` if there is not one main input, or a side input is missing, of another type or in windows that only their
/// function knows.
pub fn bind(translation: &mut Translation, at: usize, function: &Function) -> Result<()> {
    let Some(info) = translation.transforms.get_mut(at) else { return Ok(()) };
    let described = |tag: &str| function.side_inputs.iter().any(|side| side.name == tag);
    let (sides, mains): (Vec<_>, Vec<_>) = info.inputs.iter().cloned().partition(|(tag, _)| described(tag));
    let [(_, main)] = mains.as_slice() else {
        let tags: Vec<&str> = info.inputs.iter().map(|(tag, _)| tag.as_str()).collect();
        let names: Vec<&str> = function.side_inputs.iter().map(|s| s.name.as_str()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(mismatch(format!(
            "`{}` takes one input and the side inputs {names}, but the transform has the inputs {}",
            function.name,
            tags.join(", ")
        )));
    };
    let main = *main;
    info.inputs.clone_from(&mains);
    let mut bound = Vec::new();
    for side in &function.side_inputs {
        let Some((_, collection)) = sides.iter().find(|(tag, _)| *tag == side.name) else {
            let message =
                format!("`{}` reads a side input `{}`, which the pipeline does not give", function.name, side.name);
            return Err(mismatch(message));
        };
        let what = format!("`{}` reads as side input `{}`", function.name, side.name);
        fits(&translation.graph, Some(*collection), side.coder.to_core(), &what)?;
        check_windows(translation, *collection, &what)?;
        let access = match side.access {
            Access::Iterable => SideAccess::Iterable,
            Access::Multimap => SideAccess::Multimap,
        };
        bound.push((side.name.clone(), *collection, access));
    }
    let transform = translation.graph.transforms.get_mut(at);
    let transform = transform.ok_or_else(|| Error::internal("GRAPH_INVALID", "a component is not in the graph"))?;
    transform.inputs = vec![main];
    if let Op::User(user) = &mut transform.op {
        user.sides = bound;
    }
    Ok(())
}

fn check_windows(translation: &Translation, collection: CollectionId, what: &str) -> Result<()> {
    let Some(collection) = translation.graph.collection(collection) else { return Ok(()) };
    match collection.windowing.window_fn {
        WindowFn::Custom { .. } => Err(mismatch(format!(
            "{what} the collection {}, whose windows are of a function that maps no others to them",
            collection.name
        ))),
        _ => Ok(()),
    }
}

/// The side inputs of a stage as its worker reads them.
///
/// # Errors
/// Only when stage and description differ.
pub fn sides(worker: &WorkerStage, function: &Function) -> Result<Vec<Side>> {
    let lost = || Error::internal("GRAPH_INVALID", format!("`{}` lost a side input", function.name));
    let bind = |described: &thalweg_wasm::describe::SideInput| {
        let found = worker.sides.iter().find(|side| side.name == described.name).ok_or_else(lost)?;
        let window_fn = found.windowing.window_fn.clone();
        Ok(Side { access: described.access, coder: described.coder.to_core().ok_or_else(lost)?, window_fn })
    };
    function.side_inputs.iter().map(bind).collect()
}
