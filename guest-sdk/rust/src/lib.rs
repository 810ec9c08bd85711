//! Write user functions for Thalweg in Rust.
//!
//! A function is a [`DoFn`]: typed elements in, typed elements out; or a [`CombineFn`], a [`WindowFn`], a [`KeySelector`].
//! `export!` makes a crate of type `cdylib`, built for
//! `wasm32-unknown-unknown`, a component of the world `thalweg:udf/full`. The same function runs in an ordinary
//! `cargo test` through [`testing`].
//!
//! What to know first:
//! - Elements and outputs cross in batches; `process` is called once per element, and neither decoding nor
//!   [`Context::emit`] allocates.
//! - Return `Err` for bad input. Only that element fails: its state changes and outputs are dropped. A panic ends the
//!   whole call, because in Wasm a panic aborts.
//! - Fields of a `DoFn` are a cache. What has to survive stands in slots: [`ValueSlot`], [`BagSlot`], [`CombiningSlot`],
//!   [`MapSlot`], [`SetSlot`], [`MultimapSlot`], [`OrderedListSlot`].
//! - Loops over single bytes are what Wasm is slowest at: [`text::split`] takes the place of `str::split` for lines of columns and words.
//! - There is no clock, no file, no network; [`Context::now_ms`] is the time of the call, and [`Context::random`] gives the same
//!   numbers when a call is made again.
//!
//! Not here: the layout of frames (`wit/LAYOUT.md`), and how a pipeline names a component (the runner's manual).

mod bundle;
mod capability;
mod collections;
mod combine;
mod context;
mod dofn;
mod element;
mod entries;
mod frame;
mod host;
pub mod instance;
mod many;
mod metric;
mod owned;
mod row;
mod rows;
mod runner;
mod select;
mod side;
mod slot;
mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod text;
mod timer;
mod walk;
mod window;
pub mod wire;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;

/// What wit-bindgen makes of the contract.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        world: "thalweg:udf/full@1.0.0",
        path: "../../wit",
        pub_export_macro: true,
        default_bindings_module: "thalweg_udf::bindings",
    });
}

pub use bundle::BundleContext;
pub use capability::Capability;
pub use collections::{Groups, MapState, MultimapState, OrderedListState, Pairs, SetState, Timed};
pub use combine::CombineFn;
pub use context::Context;
pub use dofn::{DoFn, EventTime, Failure, Output, OutputSpec};
pub use element::{Element, Kv, View};
pub use host::Level;
#[cfg(not(target_arch = "wasm32"))]
pub use host::{Host, Imports, Page};
pub use many::{Many, Rest, Values};
pub use metric::{Counter, Distribution};
pub use owned::Owned;
pub use row::{Field, FieldType, Row, RowReader, RowWriter};
pub use select::KeySelector;
pub use side::{Side, SideList, SideMultimap, SideSpec, Table, TableSpec};
pub use slot::{BagSlot, CombiningSlot, MapSlot, MultimapSlot, OrderedListSlot, SetSlot, SlotSpec, ValueSlot};
pub use state::Items;
pub use timer::{Expired, Fired, SetTimer, Timer};
pub use walk::Walk;
pub use window::{Interval, Merged, Window, WindowFn, merge_overlapping};
pub use wire::Malformed;

/// Makes the crate a component with the named functions, and gives it `FUNCTIONS` for tests. A DoFn needs no more than its
/// name, the other kinds are named in front of theirs:
/// `export!("split" => Split, combinefn "top" => Top, windowfn "sessions" => Sessions, keyselector "by_day" => ByDay);`.
/// [`DoFn`] has a whole example.
#[macro_export]
macro_rules! export {
    ($($($kind:ident)? $name:literal => $function:ty),+ $(,)?) => {
        /// The functions of this component.
        pub const FUNCTIONS: &[$crate::instance::Function] = &[$($crate::export!(@ $($kind)? $name, $function)),+];

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
    (@ $name:literal, $function:ty) => { $crate::instance::Function::of::<$function>($name) };
    (@ dofn $name:literal, $function:ty) => { $crate::instance::Function::of::<$function>($name) };
    (@ combinefn $name:literal, $function:ty) => { $crate::instance::Function::combinefn::<$function>($name) };
    (@ windowfn $name:literal, $function:ty) => { $crate::instance::Function::windowfn::<$function>($name) };
    (@ keyselector $name:literal, $function:ty) => { $crate::instance::Function::keyselector::<$function>($name) };
}
