//! State during a call: which cells the guest may see, its reads and writes, and the changes that are made once the call
//! has returned and its outputs are found sound.

use crate::error::Error;
use crate::frame::{self, FrameError, Op};
use crate::store::GuestStore;
use std::sync::Arc;
use thalweg_core::id::StateId;
use thalweg_core::state::{CellValue, StateView};

/// A state slot of a function, bound to where its cells are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Name of the stored state.
    pub id: StateId,
    /// Whether it holds any number of values, each change a chunk of its own.
    pub bag: bool,
    /// Whether its cells travel with the frame.
    pub eager: bool,
}

/// The state that a call may touch: some groups of a bundle's view.
#[derive(Debug)]
pub struct StateAccess {
    /// The bundle's state.
    pub view: StateView,
    /// The slots by their index.
    pub slots: Arc<[Slot]>,
    /// For each group of the frame its index in the bundle.
    pub groups: Vec<u32>,
}

impl StateAccess {
    /// The bundle's index of a group of the frame.
    fn group(&self, group: u32) -> Option<u32> {
        self.groups.get(group as usize).copied()
    }

    /// Appends the cell of a slot in a group of the frame.
    ///
    /// # Errors
    /// Those of the store; nothing is appended for a group that is not in the frame.
    pub fn cell(&mut self, slot: &Slot, group: u32, out: &mut Vec<u8>) -> thalweg_core::error::Result<()> {
        let Some(group) = self.group(group) else { return Ok(()) };
        if slot.bag {
            for (_, chunk) in self.view.list(group, slot.id)? {
                out.extend_from_slice(chunk.as_slice());
            }
        } else if let Some(value) = self.view.get(group, slot.id, &[])? {
            out.extend_from_slice(value.as_slice());
        }
        Ok(())
    }

    /// Makes the changes of a call.
    ///
    /// # Errors
    /// Those of the store.
    pub fn apply(&mut self, changes: &[Vec<u8>]) -> Result<(), Error> {
        let slots = Arc::clone(&self.slots);
        let mut apply = |slot, group, op: Op<'_>| match slots.get(slot as usize) {
            Some(bound) => self.apply_one(bound, group, op).map_err(|e| Refusal(Error::State(e))),
            None => Ok(()), // refused when it was written
        };
        changes.iter().try_for_each(|ops| frame::cell_ops(ops, &mut apply)).map_err(|refusal| refusal.0)
    }

    fn apply_one(&mut self, slot: &Slot, group: u32, op: Op<'_>) -> thalweg_core::error::Result<()> {
        let Some(group) = self.group(group) else { return Ok(()) };
        match (op, slot.bag) {
            (Op::Set(bytes), false) => self.view.put(group, slot.id, &[], Some(CellValue::copy(bytes))),
            (Op::Clear, false) => self.view.put(group, slot.id, &[], None),
            (Op::Set(bytes), true) => {
                self.view.clear(group, slot.id)?;
                self.view.append(group, slot.id, CellValue::copy(bytes))
            }
            (Op::Append(bytes), _) => self.view.append(group, slot.id, CellValue::copy(bytes)),
            (Op::Clear, true) => self.view.clear(group, slot.id),
        }
    }
}

impl GuestStore {
    fn state_limit(&self, limit: usize) -> Error {
        Error::StateLimit { function: self.function.to_string(), limit_bytes: limit as u64 }
    }

    fn denied(&self, what: impl Into<String>) -> Error {
        Error::StateDenied { function: self.function.to_string(), what: what.into() }
    }

    fn slot(&self, slot: u32) -> Result<Slot, Error> {
        let access = self.call.state.as_ref().ok_or_else(|| self.denied("it has no keyed input"))?;
        let found = access.slots.get(slot as usize).cloned();
        found.ok_or_else(|| self.denied(format!("slot {slot} is not described")))
    }

    /// The cells of a slot for some groups of the frame, as a frame.
    pub fn read_cells(&mut self, slot: u32, groups: &[u32]) -> Result<Vec<u8>, Error> {
        let bound = self.slot(slot)?;
        if groups.len() > self.call.state.as_ref().map_or(0, |access| access.groups.len()) {
            return Err(self.denied("it asked for more groups than the frame has"));
        }
        let limit = self.limits.output_bytes;
        let too_much = self.state_limit(limit);
        let foreign = |group: u32| self.denied(format!("group {group} is not in the frame"));
        if let Some(group) = groups.iter().find(|g| self.call.state.as_ref().is_none_or(|a| a.group(**g).is_none())) {
            return Err(foreign(*group));
        }
        let Some(mut access) = self.call.state.take() else { return Err(self.denied("it has no keyed input")) };
        let changes = &self.call.changes;
        let mut answer = Vec::new();
        let read = frame::cells(slot, groups.len(), &mut answer, |i, out| {
            let group = groups.get(i).copied().unwrap_or_default();
            let start = out.len();
            access.cell(&bound, group, out).map_err(Error::State)?;
            replay(changes, slot, group, start, out);
            if out.len() > limit { Err(too_much.clone()) } else { Ok(()) }
        });
        self.call.state = Some(access);
        read.map(|()| answer)
    }

    /// Checks changes of state and keeps them until the call has returned.
    pub fn write_cells(&mut self, ops: Vec<u8>) -> Result<(), Error> {
        self.call.state_bytes = self.call.state_bytes.saturating_add(ops.len());
        if self.call.state_bytes > self.limits.state_bytes {
            return Err(self.state_limit(self.limits.state_bytes));
        }
        let checked = frame::cell_ops(&ops, |slot, group, op| {
            let bound = self.slot(slot)?;
            if self.call.state.as_ref().is_none_or(|access| access.group(group).is_none()) {
                return Err(Refusal(self.denied(format!("group {group} is not in the frame"))));
            }
            if matches!(op, Op::Append(_)) && !bound.bag {
                return Err(Refusal(self.denied(format!("slot {slot} is no bag"))));
            }
            Ok(())
        });
        checked.map_err(|refusal| refusal.named(&self.function))?;
        self.call.changes.push(ops);
        Ok(())
    }
}

/// Makes the call's own changes on the bytes of a cell, which begin at `start`.
fn replay(changes: &[Vec<u8>], slot: u32, group: u32, start: usize, out: &mut Vec<u8>) {
    for ops in changes {
        let done = frame::cell_ops(ops, |s, g, op| {
            if (s, g) == (slot, group) {
                match op {
                    Op::Append(bytes) => out.extend_from_slice(bytes),
                    Op::Set(bytes) => {
                        out.truncate(start);
                        out.extend_from_slice(bytes);
                    }
                    Op::Clear => out.truncate(start),
                }
            }
            Ok::<_, FrameError>(())
        });
        debug_assert!(done.is_ok(), "checked when it was written");
    }
}

/// Carries either kind of error out of a walk over changes.
struct Refusal(Error);

impl Refusal {
    fn named(self, function: &str) -> Error {
        match self.0 {
            Error::Frame { section, what, .. } => Error::Frame { function: function.to_owned(), section, what },
            other => other,
        }
    }
}

impl From<FrameError> for Refusal {
    fn from(e: FrameError) -> Self {
        Self(Error::Frame { function: String::new(), section: e.section, what: e.what })
    }
}

impl From<Error> for Refusal {
    fn from(e: Error) -> Self {
        Self(e)
    }
}
