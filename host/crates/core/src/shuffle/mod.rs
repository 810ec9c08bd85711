//! Room: shuffle. Brings rows to the shard that owns them, under credit.
//!
//! In: batches of an edge. Out: one batch per shard. A sender counts what each receiver of an edge has not yet consumed;
//! above the bound the stages that feed the edge start no bundle. Nobody ever blocks on a send.

use crate::batch::Batch;
use crate::id::{EdgeId, ShardId};
use hashbrown::HashMap;

/// Splits a batch by the owner of each row's key. Cost: one look per row; no byte is copied.
#[must_use]
pub fn by_owner(batch: Batch, partitions: u16, shards: u16) -> Vec<(ShardId, Batch)> {
    if shards <= 1 {
        return vec![(ShardId(0), batch)];
    }
    let mut rows: Vec<Vec<_>> = vec![Vec::new(); usize::from(shards)];
    for row in batch.rows() {
        let shard = row.group().partition(partitions).shard(partitions, shards);
        if let Some(list) = rows.get_mut(usize::from(shard.0)) {
            list.push(*row);
        }
    }
    rows.into_iter()
        .enumerate()
        .filter(|(_, rows)| !rows.is_empty())
        .map(|(shard, rows)| (ShardId(shard as u16), batch.with_rows(rows)))
        .collect()
}

/// What receivers have not yet consumed, per edge and shard, in bytes.
#[derive(Default, Debug)]
pub struct Credits {
    outstanding: HashMap<(EdgeId, ShardId), usize, foldhash::fast::FixedState>,
    turn: HashMap<EdgeId, u16, foldhash::fast::FixedState>,
}

impl Credits {
    /// Notes a send.
    pub fn sent(&mut self, edge: EdgeId, to: ShardId, weight: usize) {
        *self.outstanding.entry((edge, to)).or_default() += weight;
    }

    /// Notes that a receiver has consumed.
    pub fn returned(&mut self, edge: EdgeId, from: ShardId, weight: usize) {
        if let Some(have) = self.outstanding.get_mut(&(edge, from)) {
            *have = have.saturating_sub(weight);
        }
    }

    /// Whether every receiver of the edge holds less than `bound` bytes.
    #[must_use]
    pub fn has_room(&self, edge: EdgeId, shards: u16, bound: usize) -> bool {
        (0..shards).all(|s| self.outstanding.get(&(edge, ShardId(s))).is_none_or(|have| *have < bound))
    }

    /// The next shard in turn for an edge that spreads.
    pub fn next(&mut self, edge: EdgeId, start: ShardId, shards: u16) -> ShardId {
        let turn = self.turn.entry(edge).or_insert(start.0);
        let shard = ShardId(*turn % shards.max(1));
        *turn = turn.wrapping_add(1);
        shard
    }

    /// Deals a batch out to all shards, row by row: its rows are pieces of work, and may be long ones.
    pub fn deal(&mut self, edge: EdgeId, start: ShardId, shards: u16, batch: &Batch) -> Vec<(ShardId, Batch)> {
        let mut hands: std::collections::BTreeMap<ShardId, Vec<_>> = std::collections::BTreeMap::new();
        for row in batch.rows() {
            hands.entry(self.next(edge, start, shards)).or_default().push(*row);
        }
        hands.into_iter().map(|(to, rows)| (to, batch.with_rows(rows))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchBuilder;
    use crate::time::EventTime;
    use crate::window::Window;

    #[test]
    fn every_row_reaches_the_owner_of_its_key_once() {
        let mut b = BatchBuilder::new();
        for i in 0..1000u32 {
            b.push(&i.to_be_bytes(), b"v", EventTime(0), &[Window::Global]);
        }
        let parts = by_owner(b.finish(), 64, 4);
        assert_eq!(parts.iter().map(|(_, b)| b.len()).sum::<usize>(), 1000);
        for (shard, part) in &parts {
            assert!(part.rows().iter().all(|r| r.group().partition(64).shard(64, 4) == *shard));
        }
    }

    #[test]
    fn credit_comes_back() {
        let mut credits = Credits::default();
        credits.sent(EdgeId(1), ShardId(1), 100);
        assert!(!credits.has_room(EdgeId(1), 2, 100));
        credits.returned(EdgeId(1), ShardId(1), 1);
        assert!(credits.has_room(EdgeId(1), 2, 100));
    }
}
