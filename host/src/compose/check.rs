//! Whether a component's function fits the collections, windows and tables around it. In: the description and the graph. Out: nothing,
//! or an error that names both sides.

use super::payload::WasmCall;
use super::payload_of;
use crate::native::payload::Part;
use crate::pipeline::Element;
use crate::row::{Field, FieldType, Schema, TypeName};
use crate::table::TableJoin;
use std::sync::Arc;
use thalweg_beam::translate::TransformInfo;
use thalweg_core::coder::{Coder, Field as CoderField};
use thalweg_core::error::{Domain, Error, Result};
use thalweg_core::graph::{CollectionId, Graph};
use thalweg_core::window::WindowFn;
use thalweg_wasm::describe::{Access, Function, Kind};

/// Whether a tag means the main output: SDKs call it `None`, `output`, `out` or `main`.
pub fn is_main(tag: &str) -> bool {
    matches!(tag, "None" | "output" | "out" | "main")
}

/// Place among a function's outputs of the output with a tag.
pub fn output_of(function: &Function, tag: &str) -> Option<usize> {
    function.outputs.iter().position(|o| o.name == tag).or_else(|| is_main(tag).then_some(0))
}

/// Refuses a function that does not fit what is around it, naming both.
///
/// # Errors
/// `WASM_MISMATCH`.
pub fn check(graph: &Graph, info: &TransformInfo, call: &WasmCall, function: &Function) -> Result<()> {
    let input = info.inputs.first().map(|(_, c)| *c);
    if let Some(kind) = call.kind.as_ref().filter(|kind| **kind != function.kind) {
        let (name, is) = (&function.name, &function.kind);
        return Err(mismatch(format!("the pipeline has a place for a {kind:?}, but `{name}` is a {is:?}")));
    }
    tables(call, function)?;
    accesses(call, function)?;
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
        Kind::WindowFn => return windows(graph, function, input, *output),
        Kind::KeySelector => (takes.clone(), pair(gives.map(Arc::new), takes)),
        _ => {
            let message = format!("`{}` is a {:?}, which runs in no transform", function.name, function.kind);
            return Err(mismatch(message));
        }
    };
    fits(graph, input, takes, &format!("`{}` takes", function.name))?;
    fits(graph, Some(*output), gives, &format!("`{}` gives", function.name))
}

/// A WindowFn: elements stay what they are, and the windows of the output are its own.
fn windows(graph: &Graph, function: &Function, input: Option<CollectionId>, output: CollectionId) -> Result<()> {
    if function.element {
        fits(graph, input, function.input.to_core(), &format!("`{}` looks at", function.name))?;
    }
    let Some(input) = input.and_then(|i| graph.collection(i)) else { return Ok(()) };
    fits(graph, Some(output), Some(input.coder.as_ref().clone()), &format!("`{}` passes on", function.name))?;
    let after = graph.collection(output).map(|c| &c.windowing.window_fn);
    match after {
        Some(WindowFn::Custom { merging }) if *merging == function.merges => Ok(()),
        Some(WindowFn::Custom { merging }) => {
            let words = |merges: bool| if merges { "windows that merge" } else { "windows that do not merge" };
            let (gives, wanted) = (words(function.merges), words(*merging));
            Err(mismatch(format!("`{}` gives {gives}, but the pipeline was made for {wanted}", function.name)))
        }
        _ => Err(mismatch(format!("`{}` assigns windows, but its output is declared in others", function.name))),
    }
}

/// Side inputs are given as they are read.
fn accesses(call: &WasmCall, function: &Function) -> Result<()> {
    let words = |access: Access| if access == Access::Iterable { "an iterable" } else { "a multimap" };
    for side in &function.side_inputs {
        if let Some(given) = call.sides.get(&side.name).filter(|given| **given != side.access) {
            return Err(mismatch(format!(
                "`{}` reads its side input `{}` as {}, but the pipeline gives {}",
                function.name,
                side.name,
                words(side.access),
                words(*given)
            )));
        }
    }
    Ok(())
}

/// The tables that a function looks up are those that the pipeline binds to their names, of the same types.
fn tables(call: &WasmCall, function: &Function) -> Result<()> {
    let name = &function.name;
    if let Some(other) = call.tables.keys().find(|bound| function.tables.iter().all(|t| t.name != **bound)) {
        let known: Vec<&str> = function.tables.iter().map(|t| t.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(mismatch(format!("the pipeline gives `{name}` a table `{other}`, but it looks up {known}")));
    }
    for table in &function.tables {
        let Some(spec) = call.tables.get(&table.name) else {
            return Err(mismatch(format!(
                "`{name}` looks up a table `{}`, which the pipeline does not give",
                table.name
            )));
        };
        let (key, value) = spec.elements()?;
        for (what, coder, found) in [("key", &table.key, key), ("value", &table.value, value)] {
            let wanted = Element::of_coder(coder);
            if wanted.as_ref() != Some(&found) {
                let wanted = wanted.map_or_else(|| "something unknown".to_owned(), |w| w.to_string());
                return Err(mismatch(format!(
                    "`{name}` looks up `{}` with a {what} of {wanted}, but {} has {found}",
                    table.name, spec.source
                )));
            }
        }
    }
    Ok(())
}

/// Refuses a collection whose elements are coded otherwise.
///
/// # Errors
/// `WASM_MISMATCH`.
pub fn fits(graph: &Graph, collection: Option<CollectionId>, coder: Option<Coder>, what: &str) -> Result<()> {
    let Some(collection) = collection.and_then(|c| graph.collection(c)) else { return Ok(()) };
    if coder.as_ref() == Some(collection.coder.as_ref()) {
        return Ok(());
    }
    let wanted = coder.as_ref().map_or_else(|| "something unknown".to_owned(), words);
    Err(mismatch(format!("{what} {wanted}, but {} is declared as {}", collection.name, words(&collection.coder))))
}

/// A join with a table: rows in and out are those of its payload, and what of a row is looked up is of the type of the
/// table's key, or rows would find entries whose keys happen to be the same bytes.
///
/// # Errors
/// `WASM_MISMATCH`, and `TABLE_SPEC`.
pub fn join(graph: &Graph, info: &TransformInfo) -> Result<()> {
    let payload: TableJoin = payload_of::json(&info.payload, &info.name)?;
    let (input, output) = (info.inputs.first().map(|(_, c)| *c), info.outputs.first().map(|(_, c)| *c));
    key(&payload)?;
    fits(graph, input, Some(row_coder(&payload.input)), "the join with a table takes")?;
    fits(graph, output, Some(row_coder(&payload.output()?)), "the join with a table gives")
}

/// The key of a join: the types of its fields are compared. Their names may differ, and null finds nothing.
fn key(join: &TableJoin) -> Result<()> {
    let kinds = |schema: &Schema, part: &Part| -> Option<(bool, Vec<FieldType>)> {
        let kind = |i: &usize| schema.fields.get(*i).map(|field| field.kind.clone());
        Some(match part {
            Part::Field(i) => (false, vec![kind(i)?]),
            Part::Fields(fields) => (true, fields.iter().map(kind).collect::<Option<_>>()?),
        })
    };
    let words = |(row, kinds): (bool, Vec<FieldType>)| {
        let kinds = kinds.iter().map(|kind| TypeName(kind).to_string()).collect::<Vec<_>>().join(", ");
        if row { format!("a row of ({kinds})") } else { kinds }
    };
    let (wanted, given) = (kinds(&join.table.schema, &join.table.pairs()?.key), kinds(&join.input, &join.key));
    if wanted == given {
        return Ok(());
    }
    let [wanted, given] =
        [wanted, given].map(|side| side.map_or_else(|| "fields that are not there".to_owned(), words));
    Err(mismatch(format!("{} has a key of {wanted}, but the rows are joined by {given}", join.table.source)).help(
        "join by fields of the types of the table's key, or declare the table's columns with the types of the fields",
    ))
}

/// The coder of rows.
fn row_coder(schema: &Schema) -> Coder {
    Coder::Row(schema.fields.iter().map(|field| field_coder(&field.kind)).collect())
}

fn field_coder(kind: &FieldType) -> CoderField {
    let element = |field: &Field| {
        let inner = Box::new(field_coder(&field.kind));
        if field.nullable { CoderField::Nullable(inner) } else { *inner }
    };
    match kind {
        FieldType::Byte | FieldType::Boolean => CoderField::One,
        FieldType::Int16 => CoderField::Two,
        FieldType::Int32 | FieldType::Int64 => CoderField::VarInt,
        FieldType::Float => CoderField::Four,
        FieldType::Double | FieldType::MillisInstant => CoderField::Eight,
        FieldType::String | FieldType::Bytes => CoderField::Bytes,
        FieldType::Array(of) => CoderField::Array(Box::new(element(of))),
        FieldType::Map(key, value) => CoderField::Map(Box::new(element(key)), Box::new(element(value))),
        FieldType::Row(schema) => CoderField::Row(schema.fields.iter().map(|f| field_coder(&f.kind)).collect()),
        FieldType::MicrosInstant => CoderField::Row([CoderField::VarInt, CoderField::VarInt].into()),
    }
}

/// The error of what does not fit.
pub fn mismatch(message: String) -> Error {
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
