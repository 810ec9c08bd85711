//! Room: stage. What waits for a worker stage, and the life of its bundles.
//!
//! In: batches of the stage's input edges. Out: bundles, each a state machine from `Open` to `Finalized` or `Abandoned`; its inputs
//! are pending until it is applied.

mod bundle;
mod inbox;
mod sizing;
mod sort;

pub use bundle::{Bundle, BundleState, Pace};
pub use inbox::{Inbox, Lane, Origin, Pending};
pub use sizing::{Share, Sizer};
pub use sort::{SortRoom, SortedRow, SortedRows};
