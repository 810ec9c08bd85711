//! From the core module that a language's compiler makes to a component: the last step of `thalweg udf build`, so that a
//! user needs no tool beside this binary.
//!
//! A module of the Rust SDK carries the description of its world. One without (Go, C) is given the world `full`; of that a component
//! imports only what the module does. A module that asks for WASI preview1 is linked with an adapter of our own, which leaves the
//! component for the log alone, and for what of the machine the module asks for: wasmtime's stock one traps when Go's collector runs while an
//! argument is allocated.

mod adapter;
mod lacking;

use crate::error::{Error, Result};
use crate::world::World;
use adapter::{ENVIRONMENT, PREVIEW1, WITH_ENVIRONMENT, adapter};
use lacking::lacking;
use std::collections::BTreeSet;
use std::fmt::Display;
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The contract.
const CONTRACT: [&str; 4] = [
    include_str!("../../../../wit/types.wit"),
    include_str!("../../../../wit/imports.wit"),
    include_str!("../../../../wit/guest.wit"),
    include_str!("../../../../wit/world.wit"),
];

/// Makes a component of a core module.
///
/// # Errors
/// [`Error::Componentize`] if the module is none, imports something that is not in its world, or lacks one of its exports.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>> {
    componentize_in(module, World::Full)
}

/// As [`componentize`], for a world of the contract: what the module imports and `world` lacks is not imported by the
/// component, and calling it is a trap.
///
/// # Errors
/// As for [`componentize`].
pub fn componentize_in(module: &[u8], world: World) -> Result<Vec<u8>> {
    encode(module, world).map_err(|why| Error::Componentize { why })
}

fn text(error: impl Display) -> String {
    format!("{error:#}")
}

fn encode(module: &[u8], world: World) -> std::result::Result<Vec<u8>, String> {
    let asks = Asks::of(module).map_err(text)?;
    let adapter = if asks.preview1.is_empty() { None } else { Some(asks.adapter()?) };
    let mut module = module.to_vec();
    if !asks.has_world {
        let packages: &[&str] = if asks.environment { &WITH_ENVIRONMENT } else { &[] };
        embed(&mut module, packages)?;
    }
    let mut encoder = ComponentEncoder::default().validate(true).module(&module).map_err(text)?;
    if let Some(adapter) = adapter {
        encoder = encoder.adapter(PREVIEW1, &adapter).map_err(text)?;
    }
    for (import, traps) in lacking(&module, world)? {
        encoder = encoder.adapter(&import, &traps).map_err(text)?;
    }
    encoder.encode().map_err(text)
}

/// What a module says of the component that it is to be.
#[derive(Default)]
struct Asks {
    /// It carries the description of its world.
    has_world: bool,
    /// What it imports from WASI preview1.
    preview1: BTreeSet<String>,
    /// It reads variables of the environment.
    environment: bool,
}

impl Asks {
    fn of(module: &[u8]) -> wasmparser::Result<Self> {
        let mut asks = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::CustomSection(section) => asks.has_world |= section.name().starts_with("component-type"),
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        asks.environment |= import.module == ENVIRONMENT;
                        if import.module == PREVIEW1 {
                            asks.preview1.insert(import.name.to_owned());
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(asks)
    }

    /// The adapter; a module that asks for more of WASI preview1 than it has is refused.
    fn adapter(&self) -> std::result::Result<Vec<u8>, String> {
        let (adapter, packages) = adapter(&self.preview1);
        let mut adapter = wat::parse_str(adapter).map_err(text)?;
        let mut had = BTreeSet::new();
        for payload in Parser::new(0).parse_all(&adapter) {
            if let Payload::ExportSection(section) = payload.map_err(text)? {
                for export in section {
                    had.insert(export.map_err(text)?.name.to_owned());
                }
            }
        }
        match self.preview1.iter().find(|name| !had.contains(*name)) {
            Some(name) => Err(format!("it imports `{name}` of WASI preview1, which a function cannot have")),
            None => {
                embed(&mut adapter, &packages)?;
                Ok(adapter)
            }
        }
    }
}

/// Writes the description of a world into a module: of `full`, or of the only world of the last of the packages.
fn embed(module: &mut Vec<u8>, packages: &[impl AsRef<str>]) -> std::result::Result<(), String> {
    let mut resolve = Resolve::default();
    let contract = resolve.push_source("udf.wit", &contract()).map_err(text)?;
    let (mut package, mut world) = (contract, Some("full"));
    for source in packages {
        (package, world) = (resolve.push_source("more.wit", source.as_ref()).map_err(text)?, None);
    }
    let world = resolve.select_world(&[package], world).map_err(text)?;
    embed_component_metadata(module, &resolve, world, StringEncoding::UTF8).map_err(text)
}

/// The files of the contract as one: its package is named once.
fn contract() -> String {
    let without_package = |file: &&str| file.split_once('\n').map_or(String::new(), |(_, rest)| rest.to_owned());
    let [first, rest @ ..] = &CONTRACT;
    std::iter::once((*first).to_owned()).chain(rest.iter().map(without_package)).collect()
}
