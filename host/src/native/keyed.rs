//! Keyed input of a native function: elements and due timers by key and window, with their state.

use thalweg_core::batch::{Batch, Row};
use thalweg_core::error::{Error, Result};
use thalweg_core::port::worker::{DueTimer, Group, Item, StateSpec, TimerSet, TimerUpdate};
use thalweg_core::state::{CellValue, StateView};

/// What a keyed function gets of a bundle. States and timer families are named by their place in the function's
/// [`Shape`](super::Shape).
#[derive(Debug)]
pub struct Keyed<'a> {
    groups: &'a [Group],
    batches: &'a [Batch],
    items: &'a [Item],
    state: &'a mut StateView,
    states: &'a [StateSpec],
    timers: &'a mut Vec<TimerUpdate>,
}

/// One thing to do, in the order of the bundle.
#[derive(Clone, Copy, Debug)]
pub enum Turn<'a> {
    /// An element.
    Element(&'a Batch, &'a Row),
    /// A timer that has come due.
    Timer(&'a DueTimer),
}

impl<'a> Keyed<'a> {
    pub(super) fn new(
        (groups, batches, items): (&'a [Group], &'a [Batch], &'a [Item]),
        (state, states): (&'a mut StateView, &'a [StateSpec]),
        timers: &'a mut Vec<TimerUpdate>,
    ) -> Self {
        Self { groups, batches, items, state, states, timers }
    }

    /// Number of elements and timers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The `i`-th element or timer, with the index of its group. Those of a group stand together, in the order to run.
    #[must_use]
    pub fn turn(&self, i: usize) -> Option<(u32, Turn<'a>)> {
        match self.items.get(i)? {
            Item::Row { group, batch, row } => {
                let batch = self.batches.get(*batch as usize)?;
                Some((*group, Turn::Element(batch, batch.rows().get(*row as usize)?)))
            }
            Item::Timer { group, timer } => Some((*group, Turn::Timer(timer))),
        }
    }

    /// Key and window of a group.
    #[must_use]
    pub fn group(&self, group: u32) -> Option<&'a Group> {
        self.groups.get(group as usize)
    }

    /// A value state of a group.
    ///
    /// # Errors
    /// Those of the store.
    pub fn get(&mut self, group: u32, state: usize) -> Result<Option<CellValue>> {
        let id = self.id(state)?;
        self.state.get(group, id, &[])
    }

    /// Sets or clears a value state of a group.
    ///
    /// # Errors
    /// `STATE_FOREIGN_KEY` for a group that is not the bundle's.
    pub fn put(&mut self, group: u32, state: usize, value: Option<CellValue>) -> Result<()> {
        let id = self.id(state)?;
        self.state.put(group, id, &[], value)
    }

    /// Sets (`Some`) or clears a timer without tag.
    pub fn timer(&mut self, group: u32, family: u32, set: Option<TimerSet>) {
        self.timers.push(TimerUpdate { group, family, tag: bytes::Bytes::new(), set });
    }

    fn id(&self, state: usize) -> Result<thalweg_core::id::StateId> {
        let spec = self.states.get(state).map(|s| s.id);
        spec.ok_or_else(|| Error::internal("NATIVE_NO_STATE", format!("the function has no state {state}")))
    }
}
