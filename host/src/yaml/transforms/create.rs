//! `Create`: rows written in the file itself.

use super::super::expand::Leaf;
use super::super::node::{Key, Node, Place, Value};
use super::super::outputs::Outputs;
use crate::native::payload::CreateRows;
use crate::native::urn;
use crate::pipeline::{Element, Windows, urn as standard};
use crate::row::{Field, FieldType, Schema};
use serde_json::Value as Json;
use thalweg_core::error::Result;

/// `type: Create`.
pub fn create(leaf: &mut Leaf<'_, '_>) -> Result<Outputs> {
    leaf.no_input()?;
    let elements = leaf.config.need("elements")?.list()?;
    if let Some(reshuffle) = leaf.config.get("reshuffle") {
        reshuffle.bool()?; // rows of a file are few: they stay where they are
    }
    let mut table = Table::default();
    for element in elements {
        match &element.value {
            Value::Map(entries) => table.add_row(entries)?,
            _ => {
                let name = Key { name: "element".to_owned(), place: element.place.clone() };
                table.add_row(&[(name, element.clone())])?;
            }
        }
    }
    let payload = table.finish();
    let name = leaf.name.clone();
    leaf.build.open(&name);
    let start = leaf.build.collection(&format!("{name}/Impulse.output"), Element::Bytes, Windows::Global, true);
    leaf.build.transform(&format!("{name}/Impulse"), standard::IMPULSE, Vec::new(), &[], &[("output", &start)]);
    let output = leaf.output("output", Element::Row(payload.schema.clone()), &start);
    leaf.build.native(&format!("{name}/Rows"), urn::CREATE, &payload, &[("input", &start)], &[("output", &output)]);
    leaf.build.close(&[], &[("output", &output)]);
    Ok(Outputs::one(output))
}

/// Rows under construction: columns grow as names appear, types widen as values do.
#[derive(Default)]
struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Json>>,
}

struct Column {
    name: String,
    /// `None` as long as all its values are null.
    kind: Option<FieldType>,
    /// The first whole number that no double is equal to.
    exact: Option<(i64, Place)>,
}

impl Table {
    fn add_row(&mut self, entries: &[(Key, Node)]) -> Result<()> {
        let mut row = vec![Json::Null; self.columns.len()];
        for (key, node) in entries {
            let i = self.columns.iter().position(|column| column.name == key.name).unwrap_or_else(|| {
                self.columns.push(Column { name: key.name.clone(), kind: None, exact: None });
                row.push(Json::Null);
                self.columns.len() - 1
            });
            let (kind, value) = cell(node)?;
            if let (Some(column), Some(kind)) = (self.columns.get_mut(i), kind) {
                column.add(kind, node)?;
            }
            if let Some(place) = row.get_mut(i) {
                *place = value;
            }
        }
        self.rows.push(row);
        Ok(())
    }

    fn finish(mut self) -> CreateRows {
        let columns = self.columns.len();
        self.rows.iter_mut().for_each(|row| row.resize(columns, Json::Null));
        let fields = self.columns.into_iter().enumerate().map(|(i, column)| Field {
            name: column.name,
            kind: column.kind.unwrap_or(FieldType::String),
            nullable: self.rows.iter().any(|row| row.get(i).is_none_or(Json::is_null)),
        });
        CreateRows { schema: Schema { fields: fields.collect() }, rows: self.rows }
    }
}

impl Column {
    /// Widens its type to that of another value.
    fn add(&mut self, kind: FieldType, node: &Node) -> Result<()> {
        let wider = widen(self.kind.as_ref(), kind).ok_or_else(|| {
            let error = node.place.error("SCHEMA_MISMATCH", format!("`{}` has values of different types", self.name));
            error.help("give all values of a field one type")
        })?;
        if let Value::Int(n) = node.value
            && self.exact.is_none()
            && (n as f64) as i128 != i128::from(n)
        {
            self.exact = Some((n, node.place.clone()));
        }
        if let (FieldType::Double, Some((n, place))) = (&wider, &self.exact) {
            let message = format!("`{}` has doubles, and none of them is equal to {n}", self.name);
            return Err(place.error("SCHEMA_MISMATCH", message).help("make all values whole numbers, or all texts"));
        }
        self.kind = Some(wider);
        Ok(())
    }
}

/// Type (`None` for null) and value of a cell.
fn cell(node: &Node) -> Result<(Option<FieldType>, Json)> {
    Ok(match &node.value {
        Value::Null => (None, Json::Null),
        Value::Bool(b) => (Some(FieldType::Boolean), Json::from(*b)),
        Value::Int(n) => (Some(FieldType::Int64), Json::from(*n)),
        Value::Float(x) => (Some(FieldType::Double), Json::from(*x)),
        Value::Text(text) => (Some(FieldType::String), Json::from(text.as_str())),
        Value::List(_) | Value::Map(_) => {
            let error =
                node.place.error("YAML_UNSUPPORTED", format!("{} inside a row of Create is not read", node.describe()));
            return Err(error.help("use fields of plain values: texts, numbers, true and false"));
        }
    })
}

fn widen(column: Option<&FieldType>, kind: FieldType) -> Option<FieldType> {
    match (column, kind) {
        (None, kind) => Some(kind),
        (Some(column), kind) if *column == kind => Some(kind),
        (Some(FieldType::Int64 | FieldType::Double), FieldType::Int64 | FieldType::Double) => Some(FieldType::Double),
        _ => None,
    }
}
