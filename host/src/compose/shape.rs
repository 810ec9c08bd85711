//! What native functions and components need of the engine, told to the graph before it is fused; and the checks of components
//! against the collections around them.

use super::payload::WasmCall;
use super::{Composer, combine, payload_of};
use std::sync::Arc;
use thalweg_beam::translate::{Role, TransformInfo, Translation};
use thalweg_core::coder::Coder;
use thalweg_core::error::{Domain, Error, Result};
use thalweg_core::graph::{CollectionId, Graph, Op};
use thalweg_core::id::StateId;
use thalweg_core::port::worker::{StateSpec, TimeDomain};
use thalweg_wasm::describe::{Domain as Clock, Function, Kind, Timer};

/// Puts keys, states and timers into the graph.
pub fn shape(composer: &Composer, translation: &mut Translation) -> Result<()> {
    for i in 0..translation.transforms.len() {
        let Some(info) = translation.transforms.get(i) else { continue };
        let mut expiry = None;
        let (keyed, states, timers) = match info.role {
            Role::Native => {
                let shape = composer.registry.shape(&info.urn).ok_or_else(|| {
                    let message = format!("{} is a {:?}, which no function is registered for", info.name, info.urn);
                    Error::user("NATIVE_UNKNOWN", message)
                        .help("check the name, or register the function before the pipeline is run")
                        .in_transform(&info.name)
                })?;
                (shape.keyed, shape.states.clone(), shape.timers.clone())
            }
            Role::Wasm(_) => {
                let call: WasmCall = payload_of::json(&info.payload, &info.name)?;
                let component = composer.components.load(&call).map_err(|e| e.in_transform(&info.name))?;
                let function =
                    component.function(&call.function).map_err(|e| Error::from(e).in_transform(&info.name))?;
                check(&translation.graph, info, &call, function).map_err(|e| e.in_transform(&info.name))?;
                if function.kind == Kind::CombineFn {
                    combine::around(translation, i, function)?;
                    continue;
                }
                let mut timers: Vec<(String, TimeDomain)> = function.timers.iter().map(family).collect();
                if function.on_window_expiration {
                    expiry = Some(EXPIRY.to_owned());
                    timers.push((EXPIRY.to_owned(), TimeDomain::Event));
                }
                (false, function.slots.iter().map(|s| s.name.clone()).collect(), timers)
            }
            Role::Runner | Role::Source(_) | Role::Sink(_) | Role::Sdk(_) => continue,
        };
        let name = info.name.clone();
        let Some(transform) = translation.graph.transforms.get_mut(i) else { continue };
        let input = transform.inputs.first().copied();
        let Op::User(user) = &mut transform.op else { continue };
        user.keyed = keyed || !states.is_empty() || !timers.is_empty();
        let state = |part: String| StateSpec { id: StateId::derive(&name, &format!("state\0{part}")), name: part };
        user.states = states.into_iter().map(state).collect();
        user.timers = timers;
        user.expiry = expiry;
        if user.keyed && input.and_then(|i| translation.graph.collection(i)).is_none_or(|c| c.coder.kv().is_none()) {
            return Err(Error::user(
                "NATIVE_NOT_KEYED",
                format!("{name} keeps state per key, but its input has no keys"),
            )
            .help("give it pairs of key and value")
            .in_transform(&name));
        }
    }
    Ok(())
}

/// The family that fires when a window of a key is over; a name that no function gives to a family of its own.
const EXPIRY: &str = "\0window";

fn family(timer: &Timer) -> (String, TimeDomain) {
    let domain = match timer.domain {
        Clock::Event => TimeDomain::Event,
        Clock::Processing => TimeDomain::Processing,
    };
    (timer.name.clone(), domain)
}

/// Whether a tag means the main output: SDKs call it `None`, `output`, `out` or `main`.
pub fn is_main(tag: &str) -> bool {
    matches!(tag, "None" | "output" | "out" | "main")
}

/// Place among a function's outputs of the output with a tag.
pub fn output_of(function: &Function, tag: &str) -> Option<usize> {
    function.outputs.iter().position(|o| o.name == tag).or_else(|| is_main(tag).then_some(0))
}

fn check(graph: &Graph, info: &TransformInfo, call: &WasmCall, function: &Function) -> Result<()> {
    let input = info.inputs.first().map(|(_, c)| *c);
    if function.kind != Kind::DoFn {
        return check_other(graph, info, function, input);
    }
    fits(graph, input, function.input.to_core(), &format!("`{}` takes", function.name))?;
    for (tag, collection) in &info.outputs {
        if call.errors.as_ref() == Some(tag) {
            continue;
        }
        let Some(output) = output_of(function, tag).and_then(|i| function.outputs.get(i)) else {
            let names: Vec<&str> = function.outputs.iter().map(|o| o.name.as_str()).collect();
            let message = format!("`{}` has no output `{tag}`; it has {}", function.name, names.join(", "));
            return Err(mismatch(message));
        };
        fits(
            graph,
            Some(*collection),
            output.coder.to_core(),
            &format!("`{}` gives as `{}`", function.name, output.name),
        )?;
    }
    Ok(())
}

/// CombineFns and key selectors: their coders are parts of those around them.
fn check_other(graph: &Graph, info: &TransformInfo, function: &Function, input: Option<CollectionId>) -> Result<()> {
    let (takes, gives) = (function.input.to_core(), function.outputs.first().and_then(|o| o.coder.to_core()));
    let pair = |key: Option<Arc<Coder>>, value: Option<Coder>| Some(Coder::Kv(key?, Arc::new(value?)));
    let [(_, output)] = info.outputs.as_slice() else {
        return Err(mismatch(format!("`{}` has one output, the transform {}", function.name, info.outputs.len())));
    };
    let (takes, gives) = match function.kind {
        Kind::CombineFn => {
            let coder = input.and_then(|i| graph.collection(i)).map(|c| Arc::clone(&c.coder));
            let Some((key, _)) = coder.as_ref().and_then(|coder| coder.kv()) else {
                return Err(mismatch(format!(
                    "`{}` combines the values of keys, but its input has no keys",
                    function.name
                )));
            };
            (pair(Some(Arc::clone(key)), takes), pair(Some(Arc::clone(key)), gives))
        }
        Kind::KeySelector => (takes.clone(), pair(gives.map(Arc::new), takes)),
        _ => {
            let message = format!("`{}` is a {:?}, which runs in no transform", function.name, function.kind);
            return Err(mismatch(message));
        }
    };
    fits(graph, input, takes, &format!("`{}` takes", function.name))?;
    fits(graph, Some(*output), gives, &format!("`{}` gives", function.name))
}

fn fits(graph: &Graph, collection: Option<CollectionId>, coder: Option<Coder>, what: &str) -> Result<()> {
    let Some(collection) = collection.and_then(|c| graph.collection(c)) else { return Ok(()) };
    if coder.as_ref() == Some(collection.coder.as_ref()) {
        return Ok(());
    }
    let wanted = coder.as_ref().map_or_else(|| "something unknown".to_owned(), words);
    Err(mismatch(format!("{what} {wanted}, but {} is declared as {}", collection.name, words(&collection.coder))))
}

fn mismatch(message: String) -> Error {
    Error::new("WASM_MISMATCH", Domain::User, message).help(
        "let the types in the pipeline be those that the function was built with; `thalweg udf inspect` shows them",
    )
}

/// A coder in words.
fn words(coder: &Coder) -> String {
    match coder {
        Coder::Bytes => "bytes".to_owned(),
        Coder::StringUtf8 => "strings".to_owned(),
        Coder::VarInt => "integers".to_owned(),
        Coder::Double => "doubles".to_owned(),
        Coder::Bool => "booleans".to_owned(),
        Coder::Kv(key, value) => format!("pairs of {} and {}", words(key), words(value)),
        Coder::Iterable(of) => format!("lists of {}", words(of)),
        Coder::LengthPrefix => "values that only their SDK can read".to_owned(),
        Coder::Row(fields) => format!("rows of {fields:?}"),
        other => format!("{other:?}"),
    }
}
