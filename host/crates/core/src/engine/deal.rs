//! The state of a job whose shards share one store, dealt to partitions that run apart.
//!
//! In: the plan before it is divided, how many partitions there are and whose a source's splits are; then all cells, in order. Out: the cells of each partition.
//! What has a key goes to the owner of the key; what waits on an edge goes where the edge leads; facts of the whole job go to partition 0, and what every
//! partition knows to all. Marks and outboxes of sinks stay behind: sinks begin anew.

use super::cut::pending_key;
use super::gather::{PENDING_HEAD, is_keyed, progress_key};
use super::restore::corrupt;
use crate::error::Result;
use crate::graph::{Plan, Route, Shape};
use crate::id::{Epoch, KeyGroup, Partition, ShardId, SplitId, StateId, key_hash};
use crate::shuffle::by_owner;
use crate::state::layout::{JOB_GROUP, KeyReader, Kind};
use crate::stored;
use crate::time::EventTime;
use bytes::Bytes;
use std::collections::BTreeMap;

/// Takes the cell of a partition: its key and its value.
pub type Give<'a> = dyn FnMut(u16, Bytes, Bytes) -> Result<()> + 'a;

/// Deals the cells of a whole job.
#[derive(Debug)]
pub struct Deal<'a> {
    plan: &'a Plan,
    shape: Shape,
    old: &'a Shape,
    partitions: u16,
    /// Whose a split is.
    owners: BTreeMap<(StateId, SplitId), u16>,
    /// What the inputs of stages have reached everywhere.
    reached: BTreeMap<StateId, EventTime>,
    /// Of the next batch that waits.
    number: u64,
}

impl<'a> Deal<'a> {
    /// For a plan that takes over what one of the shape `old` keeps, in a store whose last epoch is `epoch`. A split without an owner goes to partition 0.
    #[must_use]
    pub fn new(
        plan: &'a Plan,
        old: &'a Shape,
        partitions: u16,
        owners: BTreeMap<(StateId, SplitId), u16>,
        epoch: Epoch,
    ) -> Self {
        let (shape, reached, number) = (Shape::of(plan), BTreeMap::new(), (epoch.0 << 32) + 1);
        Self { plan, shape, old, partitions: partitions.max(1), owners, reached, number }
    }

    /// Deals a cell.
    ///
    /// # Errors
    /// `STATE_CORRUPT`, `UPDATE_INCOMPATIBLE` when it is input of a transform that is gone, and what `give` says.
    pub fn cell(&mut self, key: &[u8], value: &[u8], give: &mut Give<'_>) -> Result<()> {
        let (group, kind, id, mut rest) = KeyReader::open(key).ok_or_else(|| corrupt("cell"))?;
        let (owned, whole) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        if group != JOB_GROUP {
            if !is_keyed(group) {
                return Err(corrupt("cell"));
            }
            if kind == Kind::Pending as u8 {
                return self.waiting(group, id, value, give);
            }
            return give(group.partition(self.partitions).0, owned, whole);
        }
        let is = |wanted: Kind| kind == wanted as u8;
        if is(Kind::Position) {
            let split = rest.rest().try_into().map_err(|_| corrupt("position"))?;
            let owner = self.owners.get(&(id, SplitId(u32::from_be_bytes(split))));
            return give(owner.copied().unwrap_or_default(), owned, whole);
        }
        if is(Kind::Progress) {
            rest.number().ok_or_else(|| corrupt("watermark"))?;
            let time = EventTime(i64::from_be_bytes(value.try_into().map_err(|_| corrupt("watermark"))?));
            let least = self.reached.entry(id).or_insert(time);
            *least = time.min(*least);
            return Ok(());
        }
        if is(Kind::View) {
            return (0..self.partitions).try_for_each(|to| give(to, owned.clone(), whole.clone()));
        }
        if is(Kind::Job) && id != StateId(0) {
            let all = if super::ttl::is_fact(rest.rest()) { self.partitions } else { 1 };
            return (0..all).try_for_each(|to| give(to, owned.clone(), whole.clone()));
        }
        Ok(())
    }

    /// Input that waits goes where it would have gone had it been sent now.
    fn waiting(&mut self, home: KeyGroup, id: StateId, value: &[u8], give: &mut Give<'_>) -> Result<()> {
        self.old.input_goes_on(id, &self.shape)?;
        let (head, batch) = value.split_at_checked(PENDING_HEAD).ok_or_else(|| corrupt("waiting input"))?;
        let mut part = |to: u16, batch: &[u8], give: &mut Give<'_>| {
            let key = pending_key(Partition(to).first_group(self.partitions), id, self.number);
            self.number += 1;
            give(to, key, Bytes::from([head, batch].concat()))
        };
        let route = self.plan.edges.iter().find(|edge| edge.state == id).map_or(Route::Local, |edge| edge.route);
        match route {
            Route::Keyed => {
                for (ShardId(to), rows) in by_owner(stored::decode(batch)?, self.partitions, self.partitions) {
                    part(to, &stored::encode(&rows), give)?;
                }
                Ok(())
            }
            Route::Broadcast => (0..self.partitions).try_for_each(|to| part(to, batch, give)),
            Route::Single => part(KeyGroup::of_hash(key_hash(b"")).partition(self.partitions).0, batch, give),
            Route::Local | Route::Spread => part(home.partition(self.partitions).0, batch, give),
        }
    }

    /// Deals what is known once all cells were seen.
    ///
    /// # Errors
    /// What `give` says.
    pub fn finish(self, give: &mut Give<'_>) -> Result<()> {
        for (stage, time) in self.reached {
            for to in 0..self.partitions {
                give(to, progress_key(stage, to), Bytes::copy_from_slice(&time.0.to_be_bytes()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchBuilder;
    use crate::engine::{Gather, Gathered};
    use crate::graph::{CollectionId, Edge, OutputPort, Stage, StageKind, distribute};
    use crate::id::{EdgeId, SinkId, SourceId, StageId};
    use crate::state::layout::CellKey;
    use crate::window::Window;

    /// A source, and a sink behind an edge by key.
    fn plan() -> Plan {
        let stage = |id, name: &str, kind, inputs, outputs| Stage {
            id: StageId(id),
            name: name.to_owned(),
            kind,
            inputs,
            outputs,
            state: StateId::derive(name, "stage"),
        };
        let out = OutputPort { collection: CollectionId(0), edges: vec![EdgeId(0)] };
        let edge = Edge {
            id: EdgeId(0),
            from: StageId(0),
            to: StageId(1),
            input: 2,
            route: Route::Keyed,
            state: StateId::derive("edge", "edge"),
        };
        Plan {
            stages: vec![
                stage(0, "Read", StageKind::Source(SourceId(0)), vec![], vec![out]),
                stage(1, "Write", StageKind::Sink(SinkId(0)), vec![EdgeId(0)], vec![]),
            ],
            edges: vec![edge],
            sources: vec![StateId(1)],
            sinks: vec![StateId(2)],
            ..Plan::default()
        }
    }

    fn batch(keys: std::ops::Range<u32>) -> Vec<u8> {
        let mut rows = BatchBuilder::new();
        keys.for_each(|key| rows.push(&key.to_be_bytes(), b"v", EventTime(5), &[Window::Global]));
        stored::encode(&rows.finish())
    }

    fn progress(stage: &str, partition: u16, time: i64) -> (Bytes, Option<Bytes>) {
        (progress_key(StateId::derive(stage, "stage"), partition), Some(Bytes::copy_from_slice(&time.to_be_bytes())))
    }

    #[test]
    fn how_often_the_pipeline_was_updated_is_told() -> Result<()> {
        let gather = Gather::of(&distribute(&plan())?, 3);
        let revision = CellKey::new(JOB_GROUP, Kind::Job, StateId(0)).last(b"revision").finish();
        let updated = Some(Bytes::copy_from_slice(&3_u64.to_be_bytes()));
        assert_eq!(gather.cell(1, (revision.clone(), updated))?, Gathered::Updated(3));
        assert!(gather.cell(1, (revision, Some(Bytes::from_static(b"x")))).is_err(), "no number");
        Ok(())
    }

    #[test]
    fn what_was_sent_to_all_is_in_the_whole_once() -> Result<()> {
        let mut plan = plan();
        plan.edges.iter_mut().for_each(|edge| edge.route = Route::Broadcast);
        let (gather, edge) = (Gather::of(&distribute(&plan)?, 3), StateId::derive("edge", "edge"));
        let mut whole = BTreeMap::new();
        for p in 0..3 {
            let home = Partition(p).first_group(3);
            let value = Bytes::from([&[0; PENDING_HEAD][..], &batch(0..4)].concat());
            // read and not taken yet, and not read yet
            if let Gathered::Stays((key, value)) = gather.cell(p, (pending_key(home, edge, 1), Some(value)))? {
                whole.insert(key, value.unwrap_or_default());
            }
            whole.extend(
                gather.on_its_way(p, edge, Epoch(4), 1, &batch(4..6)).and_then(|(key, value)| Some((key, value?))),
            );
        }
        let (shape, mut rows) = (Shape::of(&plan), BTreeMap::<u16, usize>::new());
        let mut deal = Deal::new(&plan, &shape, 2, BTreeMap::new(), Epoch(4));
        for (key, value) in &whole {
            deal.cell(key, value, &mut |to, _, value| {
                let (_, waiting) = value.split_at(PENDING_HEAD);
                *rows.entry(to).or_default() += stored::decode(waiting)?.len();
                Ok(())
            })?;
        }
        assert_eq!(rows, [(0, 6), (1, 6)].into());
        Ok(())
    }

    #[test]
    fn what_three_partitions_kept_is_whole_and_is_dealt_to_any_number() -> Result<()> {
        let (plan, home) = (plan(), |p: u16| Partition(p).first_group(3));
        let apart = distribute(&plan)?;
        let gather = Gather::of(&apart, 3);
        let edge = StateId::derive("edge", "edge");
        let exchange = format!("Write/exchange/{:016x}", edge.0);
        let own = |kind, id| CellKey::new(JOB_GROUP, kind, id);
        let some = Some(Bytes::from_static(b"x"));
        let mut whole: BTreeMap<Bytes, Bytes> = BTreeMap::new();
        let mut take = |partition: u16, write: (Bytes, Option<Bytes>)| -> Result<bool> {
            let Gathered::Stays((key, value)) = gather.cell(partition, write)? else { return Ok(false) };
            match value {
                Some(value) => drop(whole.insert(key, value)),
                None => drop(whole.remove(&key)),
            }
            Ok(true)
        };
        for p in 0..3 {
            assert!(take(p, (CellKey::new(home(p), Kind::User, StateId(7)).part(b"k").finish(), some.clone()))?);
            let split = own(Kind::Position, StateId(1)).last(&u32::from(p).to_be_bytes()).finish();
            assert!(take(p, (split, some.clone()))?);
            assert!(take(p, progress("Read", p, 10 + i64::from(p)))?);
            assert!(!take(p, (own(Kind::SinkMark, StateId(2)).finish(), some.clone()))?, "a sink's mark");
            let fact = |id, name: &str| (own(Kind::Job, StateId(id)).last(name.as_bytes()).finish(), some.clone());
            assert!(!take(p, fact(0, "shape"))?, "whose it is");
            assert!(take(p, fact(3, "ttl"))?, "since when state is marked");
            let read = own(Kind::Position, StateId::derive(&exchange, "source")).last(&[0; 4]).finish();
            assert_eq!(gather.cell(p, (read, some.clone()))?, Gathered::Read(edge, some.clone()));
        }
        assert!(take(1, (CellKey::new(home(2), Kind::User, StateId(7)).finish(), None)).is_err(), "another's cell");
        // waiting before the exchange, and deleted again
        let before = CellKey::new(home(2), Kind::Pending, StateId::derive(&exchange, "input"));
        let value = Bytes::from([&[0; PENDING_HEAD][..], &batch(0..40)].concat());
        assert!(take(2, (before.clone().number(8).finish(), Some(value.clone())))?);
        assert!(take(2, (before.clone().number(9).finish(), Some(value)))?);
        assert!(take(2, (before.number(9).finish(), None))?);
        let on_its_way = gather.on_its_way(0, edge, Epoch(4), 1, &batch(40..100));
        let (key, value) = on_its_way.ok_or_else(|| corrupt("test"))?;
        whole.insert(key, value.unwrap_or_default());
        for partitions in [1, 2, 5] {
            let owners = (0..3).map(|split| ((StateId(1), SplitId(split)), split as u16 % partitions)).collect();
            let shape = Shape::of(&plan);
            let mut deal = Deal::new(&plan, &shape, partitions, owners, Epoch(4));
            let (mut rows, mut kinds) = (0, BTreeMap::new());
            let mut give = |to: u16, key: Bytes, value: Bytes| -> Result<()> {
                let (group, kind, id, mut rest) = KeyReader::open(&key).ok_or_else(|| corrupt("test"))?;
                *kinds.entry(kind).or_insert(0) += 1;
                assert!(group == JOB_GROUP || group.partition(partitions) == Partition(to));
                if kind == Kind::Pending as u8 {
                    let (head, rest) = value.split_at(PENDING_HEAD);
                    assert_eq!((id, &head[..4]), (edge, &[0, 0, 0, 2][..]));
                    let batch = stored::decode(rest)?;
                    rows += batch.len();
                    assert!(batch.rows().iter().all(|row| row.group().partition(partitions) == Partition(to)));
                }
                if kind == Kind::Progress as u8 {
                    assert_eq!((rest.number(), value.as_ref()), (Some(u64::from(to)), &10_i64.to_be_bytes()[..]));
                }
                Ok(())
            };
            for (key, value) in &whole {
                deal.cell(key, value, &mut give)?;
            }
            deal.finish(&mut give)?;
            assert_eq!(rows, 100, "every element waits once");
            let of = [Kind::User, Kind::Position, Kind::Progress, Kind::Job];
            assert_eq!(of.map(|kind| kinds.get(&(kind as u8)).copied().unwrap_or(0)), [3, 3, partitions, partitions]);
        }
        Ok(())
    }
}
