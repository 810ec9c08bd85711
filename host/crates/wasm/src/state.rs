//! State during a call: which cells the guest may see, its reads and writes, and the changes that are made once the call
//! has returned and its outputs are found sound.

use crate::bags::Bag;
use crate::describe::SlotKind;
use crate::error::Error;
use crate::frame::{self, Change, FrameError, Op, SubOp, TimerOp, section};
use crate::replay::{replay_cell, replay_entries, replay_entry};
use crate::store::{GuestStore, KEPT_BYTES};
use crate::watch::cost;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use thalweg_core::coder::Coder;
use thalweg_core::error::Result as CoreResult;
use thalweg_core::id::StateId;
use thalweg_core::state::{CellValue, StateView};

/// A state slot of a function, bound to where its cells are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Name of the stored state.
    pub id: StateId,
    /// How it is used.
    pub kind: SlotKind,
    /// Whether its cells travel with the frame.
    pub eager: bool,
    /// Coder of its elements, if the host knows it: where a page of a bag may end.
    pub coder: Option<Arc<Coder>>,
}

/// The state that a call may touch: some groups of a bundle's view.
#[derive(Debug)]
pub struct StateAccess {
    /// The bundle's state.
    pub view: StateView,
    /// The slots by their index.
    pub slots: Arc<[Slot]>,
    /// Number of timer families.
    pub timers: u32,
    /// For each group of the frame its index in the bundle.
    pub groups: Vec<u32>,
}

impl StateAccess {
    /// The bundle's index of a group of the frame.
    #[must_use]
    pub fn group(&self, group: u32) -> Option<u32> {
        self.groups.get(group as usize).copied()
    }

    /// Appends the cell of a slot in a group of the frame; of a bag no more than it takes to see that there are more than `most` bytes.
    ///
    /// # Errors
    /// Those of the store; nothing is appended for a group that is not in the frame.
    pub fn cell(&mut self, slot: &Slot, group: u32, out: &mut Vec<u8>, most: usize) -> CoreResult<()> {
        let Some(group) = self.group(group) else { return Ok(()) };
        if slot.kind == SlotKind::Bag {
            let mut from = Bytes::new();
            loop {
                let room = most.saturating_sub(out.len()).max(BAG_READ_BYTES);
                let page = self.view.page(group, slot.id, &from, None, room)?;
                page.cells.iter().for_each(|(_, chunk)| out.extend_from_slice(chunk.as_slice()));
                match page.next {
                    Some(next) if out.len() <= most => from = next,
                    _ => break,
                }
            }
        } else if let Some(value) = self.view.get(group, slot.id, &[])? {
            out.extend_from_slice(value.as_slice());
        }
        Ok(())
    }

    /// How many bytes the cell of an eager slot has.
    ///
    /// # Errors
    /// Those of the store.
    pub fn cell_bytes(&mut self, slot: &Slot, group: u32) -> CoreResult<usize> {
        let Some(group) = self.group(group) else { return Ok(0) };
        Ok(self.view.get(group, slot.id, &[])?.map_or(0, |value| value.as_slice().len()))
    }

    /// Makes the changes of a frame; timers are handed out.
    ///
    /// # Errors
    /// Those of the store.
    pub fn apply(&mut self, changes: &[u8], mut timer: impl FnMut(u32, &TimerOp<'_>)) -> Result<(), Error> {
        let slots = Arc::clone(&self.slots);
        let slot = |index: u32| slots.get(index as usize);
        let done = frame::changes(changes, |change| {
            let applied = match change {
                // what is not there was refused when it was written
                Change::Cell(at, group, op) => match (slot(at), self.group(group)) {
                    (Some(slot), Some(group)) => self.set_cell(slot, group, op),
                    _ => Ok(()),
                },
                Change::Entry(at, group, op) => match (slot(at), self.group(group)) {
                    (Some(slot), Some(group)) => self.set_entry(slot, group, op),
                    _ => Ok(()),
                },
                Change::Timer(op) => {
                    self.group(op.group).into_iter().for_each(|group| timer(group, &op));
                    Ok(())
                }
            };
            applied.map_err(|e| Refusal(Error::State(e)))
        });
        done.map_err(|refusal| refusal.0)
    }

    fn set_cell(&mut self, slot: &Slot, group: u32, op: Op<'_>) -> CoreResult<()> {
        match (op, slot.kind == SlotKind::Bag) {
            (Op::Set(bytes), false) => self.view.put(group, slot.id, &[], Some(CellValue::copy(bytes))),
            (Op::Clear, false) => self.view.put(group, slot.id, &[], None),
            (Op::Set(bytes), true) => {
                self.view.clear(group, slot.id)?;
                self.set_cell(slot, group, Op::Append(bytes))
            }
            // a chunk without elements would be a page without any
            (Op::Append([]), _) => Ok(()),
            (Op::Append(bytes), _) => self.view.append(group, slot.id, CellValue::copy(bytes)),
            (Op::Clear, true) => self.view.clear(group, slot.id),
        }
    }

    fn set_entry(&mut self, slot: &Slot, group: u32, op: SubOp<'_>) -> CoreResult<()> {
        match op {
            SubOp::Put(subkey, value) => self.view.put(group, slot.id, subkey, Some(CellValue::copy(value))),
            SubOp::Append(subkey, values) => {
                let mut all = self.view.get(group, slot.id, subkey)?.map_or_else(Vec::new, |v| v.as_slice().to_vec());
                all.extend_from_slice(values);
                self.view.put(group, slot.id, subkey, Some(CellValue::from(Bytes::from(all))))
            }
            SubOp::Remove(subkey) => self.view.put(group, slot.id, subkey, None),
            SubOp::Clear => self.view.clear(group, slot.id),
            SubOp::RemoveRange(start, end) => {
                let range = self.view.range(group, slot.id, start, Some(end))?;
                range.iter().try_for_each(|(subkey, _)| self.view.put(group, slot.id, subkey, None))
            }
        }
    }
}

/// Bytes of a bag that are read from the store at a time, at least.
const BAG_READ_BYTES: usize = 64 << 10;

/// The entries of a group as a call walks over them: read once, and changed by what the call writes on its way, so that a walk costs
/// what its entries cost, however many pages it takes.
#[derive(Debug)]
pub struct Walk {
    slot: u32,
    group: u32,
    /// How many of the call's frames of changes are made already.
    replayed: usize,
    entries: BTreeMap<Bytes, Vec<u8>>,
}

impl Walk {
    /// Entries from `start` to before `end`, about `limit` bytes of them, and where to go on.
    fn page(&self, start: &[u8], end: Option<&[u8]>, limit: usize) -> (Vec<u8>, Option<Vec<u8>>) {
        let (mut rows, mut next, mut bytes) = (Vec::new(), None, 0);
        let from = (Bound::Included(start), Bound::Unbounded);
        for (subkey, value) in self.entries.range::<[u8], _>(from) {
            if end.is_some_and(|end| subkey.as_ref() >= end) {
                break;
            }
            bytes += subkey.len() + value.len() + 16;
            if bytes > limit && !rows.is_empty() {
                next = Some(subkey.to_vec());
                break;
            }
            rows.push((subkey.as_ref(), value.as_slice()));
        }
        (frame::page(&rows).into_vec(), next)
    }
}

impl GuestStore {
    fn state_limit(&self, limit: usize) -> Error {
        Error::StateLimit { function: self.function.to_string(), limit_bytes: limit as u64 }
    }

    fn denied(&self, what: impl Into<String>) -> Error {
        Error::StateDenied { function: self.function.to_string(), what: what.into() }
    }

    fn slot(&self, slot: u32) -> Result<&Slot, Error> {
        let access = self.call.loan.state.as_ref().ok_or_else(|| self.denied("it has no keyed input"))?;
        let found = access.slots.get(slot as usize);
        found.ok_or_else(|| self.denied(format!("slot {slot} is not described")))
    }

    fn check_group(&self, group: u32) -> Result<(), Error> {
        let known = self.call.loan.state.as_ref().is_some_and(|access| access.group(group).is_some());
        if known { Ok(()) } else { Err(self.denied(format!("group {group} is not in the frame"))) }
    }

    /// Lends the state out for a read, next to the call's own changes.
    fn with_state<T>(
        &mut self,
        read: impl FnOnce(&mut StateAccess, &[Vec<u8>]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Some(mut access) = self.call.loan.state.take() else { return Err(self.denied("it has no keyed input")) };
        let answer = read(&mut access, &self.call.changes);
        self.call.loan.state = Some(access);
        answer
    }

    /// The cells of a slot for some groups of the frame, as a frame.
    pub fn read_cells(&mut self, slot: u32, groups: &[u32]) -> Result<Vec<u8>, Error> {
        let bound = self.slot(slot)?.clone();
        if !bound.kind.is_plain() {
            return Err(self.denied(format!("slot {slot} has entries, not cells")));
        }
        if groups.len() > self.call.loan.state.as_ref().map_or(0, |access| access.groups.len()) {
            return Err(self.denied("it asked for more groups than the frame has"));
        }
        groups.iter().try_for_each(|group| self.check_group(*group))?;
        let limit = self.limits.output_bytes;
        let (too_much, mut watch) = (self.state_limit(limit), self.watch());
        self.with_state(|access, changes| {
            let mut answer = Vec::new();
            frame::cells(slot, groups.len(), &mut answer, |i, out| {
                watch.look(cost(&[], changes))?;
                let group = groups.get(i).copied().unwrap_or_default();
                let start = out.len();
                access.cell(&bound, group, out, limit).map_err(Error::State)?;
                replay_cell(changes, slot, group, start, out);
                if out.len() > limit { Err(too_much.clone()) } else { Ok(()) }
            })?;
            Ok(answer)
        })
    }

    /// Entries of a slot by group and subkey, as a frame.
    pub fn look_up(&mut self, slot: u32, questions: &[u8]) -> Result<Vec<u8>, Error> {
        let bound = self.entry_slot(slot)?;
        let questions = frame::subkeys(questions).map_err(|e| Refusal::from(e).named(&self.function))?;
        questions.iter().try_for_each(|(group, _)| self.check_group(*group))?;
        let limit = self.limits.output_bytes;
        let (too_much, mut watch) = (self.state_limit(limit), self.watch());
        self.with_state(|access, changes| {
            let mut answer = Vec::new();
            frame::sub_cells(section::SUBCELLS, None, questions.len(), &mut answer, |i, out| {
                let (group, subkey) = questions.get(i).copied().unwrap_or_default();
                watch.look(cost(subkey, changes))?;
                let at = access.group(group).unwrap_or_default();
                let stored = access.view.get(at, bound.id, subkey).map_err(Error::State)?;
                let mut entry = stored.map(|value| value.as_slice().to_vec());
                replay_entry(changes, slot, group, subkey, &mut entry);
                entry.iter().for_each(|bytes| out.extend_from_slice(bytes));
                if out.len() > limit { Err(too_much.clone()) } else { Ok(entry.is_some()) }
            })?;
            Ok(answer)
        })
    }

    /// Entries of a group from `start` to before `end`, about `max_bytes` of them, and where to go on; of a bag its elements.
    pub fn scan(
        &mut self,
        slot: u32,
        group: u32,
        start: &[u8],
        end: Option<&[u8]>,
        max_bytes: u32,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), Error> {
        let limit = self.limits.output_bytes.min(max_bytes as usize);
        if self.slot(slot)?.kind == SlotKind::Bag {
            return self.scan_bag(slot, group, start, end, limit);
        }
        let bound = self.entry_slot(slot)?;
        self.check_group(group)?;
        let walked = self.call.walk.take().filter(|walk| (walk.slot, walk.group) == (slot, group));
        let (page, walk) = self.with_state(|access, changes| {
            let at = access.group(group).unwrap_or_default();
            if changes.is_empty() {
                let page = access.view.page(at, bound.id, start, end, limit).map_err(Error::State)?;
                let rows: Vec<_> =
                    page.cells.iter().map(|(subkey, value)| (subkey.as_ref(), value.as_slice())).collect();
                return Ok(((frame::page(&rows).into_vec(), page.next.map(Vec::from)), None));
            }
            // what the call has written is laid over all that there is: the price of writing on the way
            let mut walk = match walked {
                Some(walk) => walk,
                None => {
                    let stored = access.view.list(at, bound.id).map_err(Error::State)?;
                    let entries = stored.into_iter().map(|(subkey, value)| (subkey, value.as_slice().to_vec()));
                    Walk { slot, group, replayed: 0, entries: entries.collect() }
                }
            };
            replay_entries(changes.get(walk.replayed..).unwrap_or_default(), slot, group, &mut walk.entries);
            walk.replayed = changes.len();
            Ok((walk.page(start, end, limit), Some(walk)))
        })?;
        self.call.walk = walk;
        Ok(page)
    }

    /// Elements of a bag from a token on, about `limit` bytes of them, and the token of those behind them.
    fn scan_bag(
        &mut self,
        slot: u32,
        group: u32,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), Error> {
        let Slot { id, coder, .. } = self.slot(slot)?.clone();
        self.check_group(group)?;
        if end.is_some() {
            return Err(self.denied(format!("slot {slot} is a bag, which is read to its end")));
        }
        let coder =
            coder.ok_or_else(|| self.denied(format!("slot {slot} has elements that the host does not know")))?;
        let bag = Bag { slot, group, id, coder: &coder };
        let mut bags = std::mem::take(&mut self.call.bags);
        let page =
            self.with_state(|access, changes| bags.page(bag, start, limit, access, changes).map_err(Error::State));
        self.call.bags = bags;
        page?.ok_or_else(|| self.denied(format!("it forged where a page of slot {slot} begins")))
    }

    fn entry_slot(&self, slot: u32) -> Result<Slot, Error> {
        let bound = self.slot(slot)?.clone();
        if bound.kind.is_plain() { Err(self.denied(format!("slot {slot} has cells, not entries"))) } else { Ok(bound) }
    }

    /// Checks changes of state and keeps them until the call has returned.
    pub fn write_changes(&mut self, ops: Vec<u8>) -> Result<(), Error> {
        self.check_changes(&ops)?;
        self.call.changes.push(ops);
        Ok(())
    }

    /// Checks the changes in a frame against slots, groups and families, and counts their bytes.
    pub fn check_changes(&mut self, ops: &[u8]) -> Result<(), Error> {
        let (room, limit) = (self.limits.state_bytes.saturating_sub(self.call.state_bytes), self.limits.state_bytes);
        if ops.len().saturating_add(KEPT_BYTES) > room {
            return Err(self.state_limit(limit));
        }
        let mut stored = 0usize;
        let checked = frame::changes(ops, |change| {
            // ops may share their bytes; what is stored of them does not
            stored = stored.saturating_add(change.bytes());
            if stored > room {
                return Err(Refusal(self.state_limit(limit)));
            }
            let denied = match change {
                Change::Cell(slot, group, op) => {
                    let kind = &self.slot(slot)?.kind;
                    self.check_group(group)?;
                    let fits = kind.is_plain() && (kind.appends() || !matches!(op, Op::Append(_)));
                    (!fits).then(|| format!("slot {slot} has no such operation on cells"))
                }
                Change::Entry(slot, group, op) => {
                    let kind = &self.slot(slot)?.kind;
                    self.check_group(group)?;
                    let fits = !kind.is_plain() && (kind.appends() || !matches!(op, SubOp::Append(..)));
                    (!fits).then(|| format!("slot {slot} has no such operation on entries"))
                }
                Change::Timer(op) => {
                    self.check_group(op.group)?;
                    let families = self.call.loan.state.as_ref().map_or(0, |access| access.timers);
                    (op.family >= families).then(|| format!("timer family {} is not described", op.family))
                }
            };
            denied.map_or(Ok(()), |what| Err(Refusal(self.denied(what))))
        });
        checked.map_err(|refusal| refusal.named(&self.function))?;
        self.call.state_bytes = self.call.state_bytes.saturating_add(stored.max(ops.len()).saturating_add(KEPT_BYTES));
        Ok(())
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
