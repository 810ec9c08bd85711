//! Write user functions for Thalweg in Rust.
//!
//! A function is a [`DoFn`]: typed elements in, typed elements out. `export!` makes a crate of type `cdylib`, built for
//! `wasm32-unknown-unknown`, a component of the world `thalweg:udf/full`. The same function runs in an ordinary
//! `cargo test` through [`testing`].
//!
//! What to know first:
//! - Elements and outputs cross in batches; `process` is called once per element, and neither decoding nor
//!   [`Context::emit`] allocates.
//! - Return `Err` for bad input. Only that element fails: its state changes and outputs are dropped. A panic ends the
//!   whole call, because in Wasm a panic aborts.
//! - Fields of a `DoFn` are a cache. What has to survive stands in slots: [`ValueSlot`], [`BagSlot`].
//! - There is no clock, no randomness, no file, no network; [`Context::now_ms`] is the time of the call.
//!
//! Not here: the layout of frames (`wit/LAYOUT.md`), and how a pipeline names a component (the runner's manual).

mod context;
mod dofn;
mod element;
mod frame;
mod host;
pub mod instance;
mod metric;
mod row;
mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod wire;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;

/// What wit-bindgen makes of the contract.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        world: "thalweg:udf/full@0.9.0",
        path: "../../wit",
        pub_export_macro: true,
        default_bindings_module: "thalweg_udf::bindings",
    });
}

pub use context::Context;
pub use dofn::{DoFn, EventTime, Failure, Output, OutputSpec};
pub use element::{Element, Kv, View};
pub use host::Level;
#[cfg(not(target_arch = "wasm32"))]
pub use host::{Host, Imports};
pub use metric::{Counter, Distribution};
pub use row::{Field, FieldType, Row, RowReader, RowWriter};
pub use state::{BagSlot, Items, SlotSpec, ValueSlot};
pub use wire::Malformed;

/// Makes the crate a component with the named functions, `export!("split" => Split, "count" => Count);`, and gives it
/// `FUNCTIONS` for tests. [`DoFn`] has a whole example.
#[macro_export]
macro_rules! export {
    ($($name:literal => $dofn:ty),+ $(,)?) => {
        /// The functions of this component.
        pub const FUNCTIONS: &[$crate::instance::Function] = &[$($crate::instance::Function::of::<$dofn>($name)),+];

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Exported;
            impl $crate::guest::Functions for Exported {
                const FUNCTIONS: &'static [$crate::instance::Function] = FUNCTIONS;
            }
            type Component = $crate::guest::Exports<Exported>;
            $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
