//! Imports of a module that its world lacks: an SDK's runtime names all of the contract, a component only what it uses. In: a module
//! and a world. Out: modules that stand in for the rest, and whose functions do nothing but trap.

use crate::world::World;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use wasmparser::{CompositeInnerType, FuncType, Parser, Payload, TypeRef, ValType};

/// Functions with their types, by the module they are imported from.
type Imports = BTreeMap<String, Vec<(String, FuncType)>>;

/// What stands in for the imports of a module that a world lacks: a module each, by the name it is imported under.
///
/// # Errors
/// A sentence on what is wrong with the module.
pub fn lacking(module: &[u8], world: World) -> Result<Vec<(String, Vec<u8>)>, String> {
    let imports = imports(module, world).map_err(|e| e.to_string())?;
    let stub = |(name, functions): (String, Vec<_>)| Ok((name, wat::parse_str(traps(&functions)).map_err(text)?));
    imports.into_iter().map(stub).collect()
}

fn text(error: impl std::fmt::Display) -> String {
    format!("{error:#}")
}

fn imports(module: &[u8], world: World) -> wasmparser::Result<Imports> {
    let (mut types, mut found) = (Vec::new(), Imports::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::TypeSection(section) => {
                for group in section {
                    types.extend(group?.into_types().map(|of| of.composite_type.inner));
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let TypeRef::Func(index) = import.ty else { continue };
                    if let Some(CompositeInnerType::Func(of)) = types.get(index as usize)
                        && world.lacks(import.module)
                    {
                        let functions = found.entry(import.module.to_owned()).or_default();
                        functions.push((import.name.to_owned(), of.clone()));
                    }
                }
                break;
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The text of a module whose functions trap.
fn traps(functions: &[(String, FuncType)]) -> String {
    let mut module = String::from("(module");
    for (name, of) in functions {
        let types = |list: &[ValType]| list.iter().map(|of| format!(" {of}")).collect::<String>();
        let (params, results) = (types(of.params()), types(of.results()));
        // names of imports of the contract have no quotes in them
        let done = write!(module, " (func (export \"{name}\") (param{params}) (result{results}) unreachable)");
        done.unwrap_or_default();
    }
    module.push(')');
    module
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_world_lacks_is_stood_in_for_and_nothing_else() {
        let module = r#"(module
            (import "thalweg:udf/state@1.0.0" "read" (func (param i32 i64) (result f64)))
            (import "thalweg:udf/state@1.0.0" "write" (func (param i32)))
            (import "thalweg:udf/log@1.0.0" "write" (func)))"#;
        let module = wat::parse_str(module).unwrap();
        let stubs = lacking(&module, World::Stateless).unwrap();
        let [(name, stub)] = stubs.as_slice() else { panic!("{stubs:?}") };
        assert_eq!(name, "thalweg:udf/state@1.0.0");
        assert!(stub.windows(5).any(|w| w == b"write") && stub.windows(4).any(|w| w == b"read"));
        assert!(lacking(&module, World::Stateful).unwrap().is_empty());
    }
}
