//! Room: state. The cells of keyed stages between two commits, and the views bundles get of them.
//!
//! In: applied [`StateDelta`]s. Out: [`StateView`]s for bundles, and at a seal the writes of the epoch. Knows nothing of
//! RocksDB; committed cells are read through [`StateRead`](crate::port::store::StateRead).
//!
//! One table holds every layer between a bundle and the store: a cell carries the epoch that wrote it last, and may
//! be evicted only when that epoch is committed. So "open epoch over sealed epochs over clean cache" is one lookup.

mod cells;
mod delta;
mod expiry;
pub mod layout;
mod page;
mod recent;
mod side;
mod table;
mod ttl;
mod view;

pub use cells::{Cell, CellChange, CellValue, GroupCells};
pub use delta::{GroupDelta, Reads, StateDelta};
pub use expiry::Expiry;
pub use layout::{CellKey, Kind};
pub use page::{CELL_BYTES, CellPage};
pub use side::{SideView, SideWindow, ViewRoom, whole};
pub use table::{CellTable, Lease, Take};
pub use ttl::{Expired, Mark, Ttl};
pub use view::StateView;
