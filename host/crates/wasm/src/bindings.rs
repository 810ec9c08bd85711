//! What wasmtime makes of the contract in `wit/`: typed calls of the exports, a trait per import.

wasmtime::component::bindgen!({
    path: "../../../wit",
    world: "thalweg:udf/full@1.0.0",
    imports: { default: trappable },
});

pub use exports::thalweg::udf::guest::Failure;
