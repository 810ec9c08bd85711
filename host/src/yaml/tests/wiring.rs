//! What goes where: inputs of composites, chains and flattens, error outputs, and the types of fields that meet.

use super::{chain, loaded, problem};
use thalweg_core::error::Result;

/// Transforms `A`, `B` and `C` that create a number each, and others.
fn three(rest: &str) -> Result<String> {
    let create = |name: char| format!("  - {{type: Create, name: {name}, elements: [1]}}\n");
    loaded(&format!("pipeline:\n  transforms:\n{}{rest}", ['A', 'B', 'C'].map(create).concat()))
}

#[test]
fn a_flatten_loses_no_input_whatever_its_inputs_are_called() -> Result<()> {
    let shown =
        three("  - {type: Flatten, input: {input: [A, B], input1: C}}\n  - {type: LogForTesting, input: Flatten}\n")?;
    let flatten = shown.lines().skip_while(|line| !line.contains("beam:transform:flatten"));
    let flatten = flatten.take_while(|line| !line.contains("to Flatten")).collect::<Vec<_>>().join("\n");
    assert!(["A", "B", "C"].iter().all(|name| flatten.contains(&format!("{name}.output"))), "{shown}");
    Ok(())
}

#[test]
fn error_outputs_of_the_last_of_a_chain_are_read_where_the_chain_stands() -> Result<()> {
    let last = "{type: Wasm, component: flights_parse.wasm, function: shout, error_handling: {output: bad}}";
    let inner = format!("{{type: chain, name: Inner, transforms: [{last}]}}");
    let read = |chain: &str, rest: &str| {
        let chain = format!("  - {{type: chain, name: Outer, input: Read, transforms: [{chain}]}}\n{rest}");
        loaded(&format!("pipeline:\n  transforms:\n  - {{type: ReadFromText, name: Read, path: x}}\n{chain}"))
    };
    for chain in [last, inner.as_str()] {
        let unread = problem(read(chain, "  - {type: WriteToText, input: Outer, path: y}\n"));
        assert!(unread.contains("YAML_ERRORS_UNREAD") && unread.contains("`Outer.bad`"), "{unread}");
        let shown = read(chain, "  - {type: WriteToJson, input: Outer.bad, path: y}\n")?;
        assert!(shown.contains("thalweg:sink:file:v1"), "{shown}");
    }
    let extra = format!("{last}], extra_transforms: [{{type: WriteToJson, input: Wasm.bad, path: z}}");
    read(&extra, "  - {type: WriteToText, input: Outer, path: y}\n")?;
    Ok(())
}

#[test]
fn transforms_of_a_composite_that_name_no_input_are_a_chain() -> Result<()> {
    let inside = "{type: MapToFields, fields: {x: element}}, {type: MapToFields, fields: {y: x}}";
    let composite = |kind: &str, more: &str| {
        let step = format!("  - {{type: {kind}, name: Both, input: A, transforms: [{inside}]{more}}}\n");
        three(&format!("{step}  - {{type: WriteToText, input: Both, path: y}}\n"))
    };
    assert_eq!(composite("composite", "")?, composite("chain", "")?);
    let named = inside.replace("{y: x}", "{y: x}, name: Last");
    let named = format!("  - {{type: composite, name: Both, input: A, transforms: [{named}], output: Last}}\n");
    assert!(three(&format!("{named}  - {{type: WriteToText, input: Both, path: y}}\n"))?.contains("{y: int64}"));
    // who names an input names all of them
    let explicit = "  - {type: composite, input: {in: A}, transforms: [{type: LogForTesting, input: in}, {type: LogForTesting, name: L}]}\n";
    assert!(problem(three(explicit)).contains("`LogForTesting` needs an input"));
    Ok(())
}

#[test]
fn rows_are_joined_by_a_field_that_may_be_null_but_not_by_one_of_another_type() -> Result<()> {
    let join = |key: &str| {
        let table = "tables: {t: {path: t.csv, schema: {type: object, properties: {code: {type: integer}, name: {type: string}}}, key: code}}\n";
        chain(&format!("  - {{type: TableJoin, table: t, key: {key}}}\n{table}"))
    };
    assert!(join("n")?.contains("{word: string, n: int64?, name: string?}"));
    assert!(problem(join("word")).contains("SCHEMA_MISMATCH"));
    Ok(())
}

#[test]
fn whole_numbers_beside_doubles_stay_what_they_are_or_are_refused() -> Result<()> {
    let create =
        |elements: &str| loaded(&format!("pipeline:\n  transforms:\n  - {{type: Create, elements: [{elements}]}}\n"));
    assert!(create("9007199254740992, 0.5")?.contains("element: double"));
    assert!(create("9007199254740993, 5")?.contains("element: int64"));
    for elements in ["9007199254740993, 0.5", "0.5, 9007199254740993", "9223372036854775807, 0.5"] {
        assert!(problem(create(elements)).contains("none of them is equal to 9"), "{}", problem(create(elements)));
    }
    Ok(())
}

#[test]
fn chains_and_composites_inside_a_chain_are_fed_by_it() -> Result<()> {
    let inner = "{type: chain, transforms: [{type: MapToFields, fields: {y: x}}]}, {type: composite, transforms: [{type: MapToFields, fields: {z: y}}]}";
    let outer = format!(
        "  - {{type: chain, name: Outer, input: A, transforms: [{{type: MapToFields, fields: {{x: element}}}}, {inner}]}}\n"
    );
    let shown = three(&format!("{outer}  - {{type: WriteToText, input: Outer, path: w}}\n"))?;
    assert!(shown.contains("{z: int64}"), "{shown}");
    Ok(())
}
