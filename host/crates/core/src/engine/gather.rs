//! The state of partitions that run apart, brought together as the state of shards that share one store.
//!
//! In: the plan that the partitions run, and their cells. Out: what becomes of each cell in a store of the plan before it was divided: keyed cells and
//! positions stay what they are; what concerns a partition alone is left; what waits on its way into an exchange waits on the edge that the exchange stands
//! for. What is in the exchanges themselves is told apart: it becomes waiting input as well.

use super::cut::pending_key;
use super::identity::revision_of;
use super::restore::corrupt;
use crate::error::Result;
use crate::graph::{Plan, Route, StageKind};
use crate::id::{Epoch, KEY_GROUPS, KeyGroup, Partition, StateId};
use crate::port::store::CellWrite;
use crate::state::layout::{CellKey, JOB_GROUP, KeyReader, Kind};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// What is read of exchanges and not yet taken is numbered behind what was stored by the cut of the same epoch, and what waits before one behind that.
const BEHIND_STORED: u64 = 1 << 30;
const BEHIND_EXCHANGED: u64 = 1 << 31;
/// Bytes before the batch of a cell of waiting input: input (4), whether it holds time (1), that time (8), not before (8).
pub(super) const PENDING_HEAD: usize = 21;

/// An edge that an exchange stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Divided {
    state: StateId,
    input: u32,
    route: Route,
}

/// Says what becomes of the cells of partitions that run apart.
#[derive(Debug)]
pub struct Gather {
    partitions: u16,
    /// By the name under which the position of its reader is stored.
    read: BTreeMap<StateId, Divided>,
    /// By the name under which is stored what waits before it.
    before: BTreeMap<StateId, Divided>,
    /// Both ends of all exchanges.
    ends: BTreeSet<StateId>,
}

/// What becomes of a cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Gathered {
    /// It stands in the whole; a deletion deletes there.
    Stays(CellWrite),
    /// It means nothing there.
    Goes,
    /// It is how far the exchange of this edge is read.
    Read(StateId, Option<Bytes>),
    /// It says how often the pipeline that the partition runs was updated: what comes behind it is of that one.
    Updated(u64),
}

impl Gather {
    /// For the divided plan of a job with so many partitions.
    #[must_use]
    pub fn of(apart: &Plan, partitions: u16) -> Self {
        let mut this = Self { partitions, read: BTreeMap::new(), before: BTreeMap::new(), ends: BTreeSet::new() };
        for exchange in &apart.exchanges {
            let back = apart.edges.iter().find(|edge| edge.state == exchange.state);
            let divided =
                Divided { state: exchange.state, input: back.map_or(0, |edge| edge.input), route: exchange.route };
            if let Some(source) = apart.sources.get(exchange.source.0 as usize) {
                this.read.insert(*source, divided);
            }
            for stage in &apart.stages {
                match stage.kind {
                    StageKind::Sink(sink) if sink == exchange.sink => {
                        let into = stage.inputs.iter().map(|edge| (apart.edge(*edge).state, divided));
                        this.before.extend(into);
                    }
                    StageKind::Source(source) if source == exchange.source => {}
                    _ => continue,
                }
                this.ends.insert(stage.state);
            }
        }
        this
    }

    /// What becomes of a cell of a partition.
    ///
    /// # Errors
    /// `STATE_CORRUPT` when it is none of that partition.
    pub fn cell(&self, partition: u16, write: CellWrite) -> Result<Gathered> {
        if let Some(revision) = revision_of(&write)? {
            return Ok(Gathered::Updated(revision));
        }
        let (key, value) = write;
        let (group, kind, id, mut rest) = KeyReader::open(&key).ok_or_else(|| corrupt("cell"))?;
        if group != JOB_GROUP {
            if group.0 >= KEY_GROUPS || group.partition(self.partitions) != Partition(partition) {
                return Err(corrupt("cell of another partition"));
            }
            // what goes to all waits everywhere, and once in the whole
            let everywhere = |edge: &Divided| edge.state == id && edge.route == Route::Broadcast;
            if kind == Kind::Pending as u8 && partition != 0 && self.read.values().any(everywhere) {
                return Ok(Gathered::Goes);
            }
            let waits = self.before.get(&id).filter(|_| kind == Kind::Pending as u8);
            let Some(edge) = waits else { return Ok(Gathered::Stays((key, value))) };
            let number = rest.number().ok_or_else(|| corrupt("number of waiting input"))?;
            let value = value.map(|value| {
                let mut moved = edge.input.to_be_bytes().to_vec();
                moved.extend_from_slice(value.get(4..).unwrap_or_default());
                Bytes::from(moved)
            });
            return Ok(Gathered::Stays((pending_key(group, edge.state, number | BEHIND_EXCHANGED), value)));
        }
        let is = |wanted: Kind| kind == wanted as u8;
        if is(Kind::Position) {
            return Ok(match self.read.get(&id) {
                Some(edge) => Gathered::Read(edge.state, value),
                None => Gathered::Stays((key, value)),
            });
        }
        // side inputs are the same everywhere; marks are those of sinks of a partition, which delivers what it has in its outboxes
        let stays = match () {
            () if is(Kind::Progress) => !self.ends.contains(&id),
            () if is(Kind::View) || is(Kind::Deployed) => partition == 0,
            () if is(Kind::Job) => id != StateId(0),
            () => false,
        };
        Ok(if stays { Gathered::Stays((key, value)) } else { Gathered::Goes })
    }

    /// The edges through exchanges, by name.
    pub fn exchanges(&self) -> impl Iterator<Item = StateId> + '_ {
        self.read.values().map(|edge| edge.state)
    }

    /// A batch that a partition has not read yet of an exchange, as waiting input: the `number`th, in the whole that ends with `epoch`. None where
    /// another partition has it too.
    #[must_use]
    pub fn on_its_way(
        &self,
        partition: u16,
        edge: StateId,
        epoch: Epoch,
        number: u64,
        batch: &[u8],
    ) -> Option<CellWrite> {
        let edge = self.read.values().find(|known| known.state == edge)?;
        if edge.route == Route::Broadcast && partition != 0 {
            return None;
        }
        let mut value = edge.input.to_be_bytes().to_vec();
        value.resize(PENDING_HEAD, 0); // it holds no time, and may go at once
        value.extend_from_slice(batch);
        let home = Partition(partition).first_group(self.partitions);
        let key = pending_key(home, edge.state, (epoch.0 << 32) + BEHIND_STORED + number);
        Some((key, Some(Bytes::from(value))))
    }
}

/// The key of what a stage's input has reached on a partition.
pub(super) fn progress_key(stage: StateId, partition: u16) -> Bytes {
    CellKey::new(JOB_GROUP, Kind::Progress, stage).number(u64::from(partition)).finish()
}

/// Whether a group is one of keys.
pub(super) fn is_keyed(group: KeyGroup) -> bool {
    group.0 < KEY_GROUPS
}
