//! Native functions: transforms that run in the host itself, batch by batch, behind the worker port.
//!
//! In: bundles of a stage whose transforms have no environment. Out: the events of the port. [`NativeWorker`] runs a
//! stage's functions one after the other inside `submit`; a [`Registry`] says which URN is which [`NativeFn`], and takes functions
//! of embedders and benchmarks beside ours. Knows nothing of pipelines; what a function has to know stands in its payload.
//!
//! ```
//! use thalweg::native::{NativeFn, Outputs, Registry, Shape};
//! use thalweg_core::{batch::Batch, error::Result};
//!
//! /// Writes every value twice.
//! struct Twice;
//!
//! impl NativeFn for Twice {
//!     fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
//!         for row in batch.rows() {
//!             let value = batch.value(row);
//!             out.like(0, batch, row, |bytes| bytes.extend_from_slice(&[value, value].concat()));
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let mut registry = Registry::standard();
//! registry.register("example:twice:v1", Shape::default(), |_| Ok(Box::new(Twice)));
//! assert!(registry.shape("example:twice:v1").is_some());
//! ```

mod combine;
mod functions;
mod keyed;
mod outputs;
pub mod payload;
mod registry;
pub mod urn;
mod worker;

pub(crate) use functions::Decode;
pub use functions::Split;
pub use keyed::{Keyed, Turn};
pub use outputs::Outputs;
pub use registry::{Port, Registry, Setup, Shape};
pub use worker::{NativeStage, NativeStep, NativeWorker, Target};

use thalweg_core::batch::Batch;
use thalweg_core::error::{Error, Result};

/// A function that runs in the host. One instance serves one transform on one shard.
pub trait NativeFn {
    /// Begins a bundle. What a bundle that failed left behind must be forgotten here.
    fn begin(&mut self) {}

    /// Takes elements of a stage without state, in input order.
    ///
    /// # Errors
    /// The bundle fails with the error; it is retried, or the job fails.
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()>;

    /// Takes elements and timers by key and window, with their state. Only functions registered as keyed get such input.
    ///
    /// # Errors
    /// As for [`NativeFn::process`].
    fn process_keyed(&mut self, input: &mut Keyed<'_>, out: &mut Outputs) -> Result<()> {
        let _ = (input, out);
        Err(Error::internal("NATIVE_NOT_KEYED", "a function without state was given keyed input"))
    }

    /// Ends a bundle: the last chance for outputs.
    ///
    /// # Errors
    /// As for [`NativeFn::process`].
    fn finish(&mut self, out: &mut Outputs) -> Result<()> {
        let _ = out;
        Ok(())
    }
}
