//! `Combine`: groups rows by fields and combines each group, in three steps: combine before the grouping, group, merge.

use super::super::expand::Leaf;
use super::super::node::{Fields, Node, Value};
use super::super::outputs::Outputs;
use super::super::suggest::did_you_mean;
use super::windowing::never_closes;
use super::{check_new, field, rows};
use crate::native::payload::{Aggregate, CombineRows, Function};
use crate::native::urn;
use crate::pipeline::{Element, urn as standard};
use crate::row::{Field, FieldType, Schema, TypeName, is_integer, is_number, required};
use thalweg_core::error::Result;

const FUNCTIONS: [(&str, Function); 5] = [
    ("count", Function::Count),
    ("sum", Function::Sum),
    ("mean", Function::Mean),
    ("min", Function::Min),
    ("max", Function::Max),
];

/// Functions of Beam YAML that do not run here.
const OTHERS: [&str; 4] = ["all", "any", "group", "concat"];

/// `type: Combine`.
pub fn combine(leaf: &mut Leaf<'_, '_>) -> Result<Outputs> {
    let input = leaf.input()?;
    let schema = rows(leaf, &input)?.clone();
    if never_closes(input.windows, input.bounded) {
        let error = leaf.place.error("YAML_WINDOWING", "combining an endless input needs windows");
        return Err(error.help("put a WindowInto before it, for example `windowing: {type: fixed, size: 1m}`"));
    }
    let mut group_by = Vec::new();
    let mut after = Schema::default();
    for (name, place) in leaf.config.need("group_by")?.texts()? {
        let i = field(&schema, name, place)?;
        check_new(&after, name, place)?;
        group_by.push(i);
        after.fields.extend(schema.fields.get(i).cloned());
    }
    let key = after.clone();
    let mut aggregates = Vec::new();
    for (name, node) in leaf.config.need("combine")?.map()? {
        check_new(&after, &name.name, &name.place)?;
        let aggregate = aggregate(&schema, &name.name, node)?;
        after.fields.push(aggregate.output(&name.name, &schema));
        aggregates.push(aggregate);
    }
    if let Some(language) = leaf.config.get("language") {
        language.text()?; // nothing here is written in one
    }
    let payload = CombineRows { input: schema, group_by, aggregates };
    let accumulator = Element::Row(payload.accumulator());
    let key = Element::Row(key);
    let name = leaf.name.clone();
    let part = |part: &str| format!("{name}/{part}");

    leaf.build.open(&leaf.name);
    let pre = Element::kv(key.clone(), accumulator.clone());
    let pre = leaf.build.collection(&part("Precombine.output"), pre, input.windows, input.bounded);
    leaf.build.native(&part("Precombine"), urn::PRECOMBINE, &payload, &[("input", &input)], &[("output", &pre)]);
    let grouped = Element::kv(key, Element::iterable(accumulator));
    let grouped = leaf.build.collection(&part("GroupByKey.output"), grouped, input.windows, input.bounded);
    leaf.build.transform(
        &part("GroupByKey"),
        standard::GROUP_BY_KEY,
        Vec::new(),
        &[("input", &pre)],
        &[("output", &grouped)],
    );
    let output = leaf.output("output", Element::Row(after), &input);
    leaf.build.native(&part("Merge"), urn::MERGE, &payload, &[("input", &grouped)], &[("output", &output)]);
    leaf.build.close(&[("input", &input)], &[("output", &output)]);
    Ok(Outputs::one(output))
}

/// One combined field: `name: fn`, or `name: {value: field, fn: fn}`.
fn aggregate(schema: &Schema, name: &str, node: &Node) -> Result<Aggregate> {
    let (function, value) = match &node.value {
        Value::Map(_) => {
            let mut fields = Fields::of(node)?;
            let function = fields.need("fn")?;
            let value = fields.get("value");
            fields.finish()?;
            (function, value)
        }
        _ => (node, None),
    };
    let named = match &function.value {
        Value::Map(_) => {
            let mut fields = Fields::of(function)?;
            let kind = fields.need("type")?;
            if let Some(config) = fields.get("config").filter(|c| !matches!(&c.value, Value::Map(m) if m.is_empty())) {
                let error = config.place.error("YAML_UNSUPPORTED", "combining functions take no configuration");
                return Err(error.help("leave `config` out"));
            }
            fields.finish()?;
            kind
        }
        _ => function,
    };
    let text = named.text()?;
    let Some((_, function)) = FUNCTIONS.iter().find(|(n, _)| *n == text) else {
        let known: Vec<&str> = FUNCTIONS.iter().map(|(n, _)| *n).collect();
        let beams = OTHERS.contains(&text);
        let what = if beams { "does not run natively" } else { "is not a combining function" };
        let help = if beams { super::RUN_WITH_BEAM.to_owned() } else { did_you_mean(text, &known) };
        return Err(named.place.error("YAML_COMBINE_FN", format!("`{text}` {what}")).help(help));
    };
    let (value_name, place) = match value {
        Some(node) => (node.text()?, &node.place),
        None => (name, &node.place),
    };
    let i = field(schema, value_name, place)?;
    let kind = schema.fields.get(i).map_or(&FieldType::Bytes, |f| &f.kind);
    if *function != Function::Count && !is_number(kind) {
        let error = place.error(
            "SCHEMA_MISMATCH",
            format!("`{text}` needs numbers, but `{value_name}` is of type {}", TypeName(kind)),
        );
        return Err(error.help("use `count`, or another field"));
    }
    Ok(Aggregate { function: *function, field: i })
}

impl Aggregate {
    /// The field that holds its result.
    fn output(&self, name: &str, schema: &Schema) -> Field {
        let Some(of) = schema.fields.get(self.field) else { return required(name, FieldType::Int64) };
        let kind = match self.function {
            Function::Count => return required(name, FieldType::Int64),
            Function::Mean => FieldType::Double,
            _ if is_integer(&of.kind) => FieldType::Int64,
            _ => FieldType::Double,
        };
        Field { name: name.to_owned(), kind, nullable: of.nullable }
    }
}
