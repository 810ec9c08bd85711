//! What partitions have read of exchanges and committed, so that it can be deleted: nobody reads it again. And whether the topics are there.
//!
//! In: the positions among the cells of committed epochs. Out: now and then, one request for all of them; the end of a job that has lost a topic.

use super::node::Shared;
use super::order::Ended;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use thalweg_core::graph::Plan;
use thalweg_core::id::StateId;
use thalweg_core::port::store::CellWrite;
use thalweg_core::state::layout::{KeyReader, Kind};
use thalweg_io::kafka::cluster::{ExchangeSource, JobTopics, Trimmer};

/// How often what was read is deleted.
const EVERY: Duration = Duration::from_secs(30);
/// How often it is asked whether the topics are there: nobody reads the members topic, so nobody would miss it.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// How often the thread looks whether its job is still there.
const LOOK: Duration = Duration::from_millis(500);

/// How far exchanges are consumed.
#[derive(Debug)]
pub struct Consumed {
    /// Topics by the name under which positions of their reader are stored.
    topics: BTreeMap<StateId, String>,
    before: Mutex<BTreeMap<(StateId, u16), i64>>,
}

impl Consumed {
    pub fn of(plan: &Plan, topics: &JobTopics) -> Self {
        let named = plan.exchanges.iter().filter_map(|exchange| {
            let id = plan.sources.get(exchange.source.0 as usize)?;
            Some((*id, topics.exchange(exchange.state)))
        });
        Self { topics: named.collect(), before: Mutex::default() }
    }

    /// Takes the cells of an epoch of a partition that is committed.
    pub fn committed(&self, partition: u16, writes: &[CellWrite]) {
        for (key, value) in writes {
            let Some((_, kind, id, _)) = KeyReader::open(key) else { continue };
            if kind != Kind::Position as u8 || !self.topics.contains_key(&id) {
                continue;
            }
            let position = value.as_ref().and_then(|value| value.get(1..)); // behind a byte that says whether it ended
            if let Some(next) = position.and_then(ExchangeSource::consumed) {
                self.lock().insert((id, partition), next);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(StateId, u16), i64>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Deletes what was consumed, until the job is gone. Runs on a thread of its own.
pub fn run(shared: &Weak<Shared>, trimmer: &Trimmer) {
    let (mut next, mut check) = (Instant::now() + EVERY, Instant::now() + CHECK_EVERY);
    while let Some(shared) = shared.upgrade() {
        if Instant::now() >= check {
            check = Instant::now() + CHECK_EVERY;
            let edges: Vec<StateId> = shared.apart.plan.exchanges.iter().map(|e| e.state).collect();
            // brokers that are away come back
            if let Err(error) = trimmer.check(&shared.topics, shared.partitions, &edges)
                && error.code == "CLUSTER_TOPIC"
                && shared.tell(0, &Ended::Failed((&error).into())).is_ok()
            {
                return;
            }
        }
        if Instant::now() >= next {
            next = Instant::now() + EVERY;
            let consumed = &shared.consumed;
            let before = std::mem::take(&mut *consumed.lock());
            let named = before
                .iter()
                .filter_map(|((id, partition), next)| Some((consumed.topics.get(id)?.as_str(), *partition, *next)));
            if let Err(error) = trimmer.trim(named) {
                tracing::debug!(%error, "what was read of exchanges stays for now");
            }
        }
        drop(shared);
        std::thread::sleep(LOOK);
    }
}
