//! What tells a harness whether it may go on with what it has read of a side input.
//!
//! In: the snapshots that the bundles of one shard are given. Out: cache tokens, the same for as long as the snapshot is; and the id
//! of the descriptor. A Python harness keeps the arguments of a function whose side inputs are of the global window for as long as
//! it keeps the function, whatever the tokens say (Source: `apache_beam/runners/common.py`, `has_cached_window_args`): with another
//! snapshot the stage gets another name, which that harness builds anew.

use super::wiring::StageWire;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use thalweg_core::id::StageId;
use thalweg_core::state::SideView;

/// What stands between a descriptor's id and the number of its copy.
const MARK: char = '@';
/// A name is given again after this time: a harness forgets functions that nobody has asked for in a minute
/// (`DEFAULT_BUNDLE_PROCESSOR_CACHE_SHUTDOWN_THRESHOLD_S`), and looks once a minute. So names are few, however often
/// a side input changes.
const REST: Duration = Duration::from_secs(30 * 60);

/// The snapshots last given, of one shard.
pub struct Snapshots {
    /// Distinguishes shards, which number by themselves.
    owner: u64,
    tokens: HashMap<(StageId, usize), (Weak<SideView>, u64)>,
    next: u64,
    copies: HashMap<String, Copies>,
}

/// The names under which a stage has been asked for.
#[derive(Default)]
struct Copies {
    /// The snapshots of the name in use.
    tokens: Vec<u64>,
    current: u64,
    count: u64,
    resting: VecDeque<(u64, Instant)>,
}

impl Copies {
    /// The name for these snapshots.
    fn number(&mut self, tokens: Vec<u64>, now: Instant) -> u64 {
        if self.count > 0 && self.tokens == tokens {
            return self.current;
        }
        if self.count > 0 {
            self.resting.push_back((self.current, now));
        }
        self.tokens = tokens;
        let rested = |(_, since): &(u64, Instant)| now.saturating_duration_since(*since) >= REST;
        self.current = match self.resting.front().is_some_and(rested).then(|| self.resting.pop_front()).flatten() {
            Some((number, _)) => number,
            None => self.count,
        };
        self.count = self.count.max(self.current + 1);
        self.current
    }
}

impl Snapshots {
    /// Of a shard that has given none.
    pub fn new(owner: u64) -> Self {
        Self { owner, tokens: HashMap::new(), next: 0, copies: HashMap::new() }
    }

    /// The token of a snapshot.
    fn token(&mut self, stage: StageId, side: usize, view: &Arc<SideView>) -> u64 {
        let weak = Arc::downgrade(view);
        if let Some((known, token)) = self.tokens.get(&(stage, side))
            && known.ptr_eq(&weak)
        {
            return *token; // the weak reference keeps the address from being used for another snapshot
        }
        self.next += 1;
        self.tokens.insert((stage, side), (weak, self.next));
        self.next
    }

    /// For a bundle that reads `views`: the tokens of its side inputs, and the descriptor's id.
    pub fn name(
        &mut self,
        id: StageId,
        stage: &StageWire,
        views: &[Arc<SideView>],
        now: Instant,
    ) -> (Vec<u64>, String) {
        let tokens: Vec<u64> = views.iter().enumerate().map(|(i, view)| self.token(id, i, view)).collect();
        let kept: Vec<u64> =
            tokens.iter().zip(&stage.sides).filter(|(_, side)| side.kept).map(|(token, _)| *token).collect();
        let descriptor = &stage.descriptor.id;
        if kept.is_empty() {
            return (tokens, descriptor.clone());
        }
        let number = self.copies.entry(descriptor.clone()).or_default().number(kept, now);
        (tokens, format!("{descriptor}{MARK}{}.{number}", self.owner))
    }
}

/// The descriptor's own id.
pub fn without_copy(id: &str) -> &str {
    id.rsplit_once(MARK).map_or(id, |(id, _)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_lasts_as_long_as_its_snapshots_and_is_given_again_after_a_rest() {
        let mut copies = Copies::default();
        let begin = Instant::now();
        assert_eq!(copies.number(vec![1], begin), 0);
        assert_eq!(copies.number(vec![1], begin + REST), 0);
        assert_eq!(copies.number(vec![2], begin + REST), 1);
        assert_eq!(copies.number(vec![3], begin + REST + REST / 2), 2, "the first name still rests");
        assert_eq!(copies.number(vec![4], begin + 2 * REST), 0);
        assert_eq!(copies.number(vec![5], begin + 2 * REST), 3);
        assert_eq!(without_copy("stage-7@3.12"), "stage-7");
        assert_eq!(without_copy("stage-7"), "stage-7");
    }
}
