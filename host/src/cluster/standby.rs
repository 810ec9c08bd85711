//! Copies of partitions that other processes own, so that a partition whose owner dies goes on after a look at what came last.
//!
//! In: the changelog, as its owners write it, and who takes part. Out: a directory per partition that is what its owner's would be, handed over
//! when the partition comes here. Who keeps which copy is the same everywhere, since all processes see the same members: of every partition those
//! whose names rank first with it. One thread does it for all partitions of a job.

use super::ClusterConfig;
use super::node::Shared;
use super::store::Copy;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::key_hash;
use thalweg_io::kafka::cluster::{Changelog, GroupMembers, LogReader};

/// How often it is asked who takes part.
const MEMBERS_EVERY: Duration = Duration::from_secs(5);
/// How long the thread rests when nothing was committed.
const REST: Duration = Duration::from_millis(50);
/// A copy that could not be kept is tried again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// How long a partition waits for its copy to be let go of: one step of the thread, unless its disk is full.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(30);

/// Which copies are in use by whom in this process: by the partition itself, or by who keeps it for another.
#[derive(Debug, Default)]
pub struct Copies {
    state: Mutex<InUse>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct InUse {
    claimed: BTreeSet<u16>,
    kept: BTreeSet<u16>,
}

/// A partition has its copy to itself as long as this lives.
#[derive(Debug)]
pub struct Claim<'a> {
    copies: &'a Copies,
    partition: u16,
}

impl Copies {
    fn lock(&self) -> MutexGuard<'_, InUse> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the copy of a partition, and waits until nobody else has it open.
    pub fn claim(&self, partition: u16) -> Claim<'_> {
        let mut state = self.lock();
        state.claimed.insert(partition);
        let kept = |state: &mut InUse| state.kept.contains(&partition);
        // one that is not let go of in time is locked, which the partition is told and waits for
        drop(self.changed.wait_timeout_while(state, HANDED_OVER_WITHIN, kept));
        Claim { copies: self, partition }
    }

    fn is_claimed(&self, partition: u16) -> bool {
        self.lock().claimed.contains(&partition)
    }

    /// Whether it may be kept from now on.
    fn keep(&self, partition: u16) -> bool {
        let mut state = self.lock();
        !state.claimed.contains(&partition) && state.kept.insert(partition)
    }

    fn let_go(&self, partition: u16) {
        self.lock().kept.remove(&partition);
        self.changed.notify_all();
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.copies.lock().claimed.remove(&self.partition);
    }
}

/// Whether a process keeps a copy of a partition: it is among the first `replicas` and one, since the owner may be any of them.
fn keeps(process: &str, others: &[String], partition: u16, replicas: u16) -> bool {
    let rank = |name: &str| key_hash(format!("{name} {partition}").as_bytes());
    let mine = rank(process);
    let before = others.iter().filter(|other| *other != process && rank(other) > mine).count();
    before <= usize::from(replicas)
}

/// Keeps copies for others.
pub struct Keeper {
    replicas: u16,
    process: String,
    reader: Arc<LogReader>,
    group: GroupMembers,
    members: Vec<String>,
    ask: Instant,
    open: BTreeMap<u16, Kept>,
    /// When partitions that gave trouble are tried again.
    later: BTreeMap<u16, Instant>,
}

/// A copy that is kept.
struct Kept {
    copy: Copy,
    /// It has been at the end of the changelog.
    there: bool,
}

impl Keeper {
    /// One for a job whose group this is.
    ///
    /// # Errors
    /// `KAFKA_CONFIG`, `KAFKA_PROPERTY_REFUSED`.
    pub fn new(config: &ClusterConfig, group: &str, replicas: u16) -> Result<Self> {
        Ok(Self {
            replicas,
            process: config.process.clone(),
            // of its own: a partition that comes here reads the same changelog
            reader: LogReader::new(&config.client)?,
            group: GroupMembers::of(&config.client, group)?,
            members: Vec::new(),
            ask: Instant::now(),
            open: BTreeMap::new(),
            later: BTreeMap::new(),
        })
    }

    /// Keeps copies until the job is gone from this process. Runs on a thread of its own.
    pub fn run(mut self, shared: &Weak<Shared>) {
        while let Some(shared) = shared.upgrade() {
            let moved = self.turn(&shared);
            drop(shared);
            if !moved {
                std::thread::sleep(REST);
            }
        }
    }

    /// Looks at every partition once; whether anything was read.
    fn turn(&mut self, shared: &Shared) -> bool {
        if Instant::now() >= self.ask {
            self.ask = Instant::now() + MEMBERS_EVERY;
            match self.group.processes() {
                Ok(members) => self.members = members,
                Err(error) => tracing::debug!(%error, "who takes part is not known just now"),
            }
        }
        let mut moved = false;
        for partition in 0..shared.partitions {
            let mine = shared.owns(partition) || shared.copies.is_claimed(partition);
            let wanted =
                !mine && !self.members.is_empty() && keeps(&self.process, &self.members, partition, self.replicas);
            if !wanted {
                if self.open.remove(&partition).is_some() {
                    shared.copies.let_go(partition);
                }
                continue;
            }
            match self.step(shared, partition) {
                Ok(records) => moved |= records > 0,
                Err(error) => {
                    tracing::warn!(partition, %error, "the standby copy is not kept for now");
                    if self.open.remove(&partition).is_some() {
                        shared.copies.let_go(partition);
                    }
                    self.later.insert(partition, Instant::now() + AGAIN_AFTER);
                }
            }
        }
        moved
    }

    /// Brings one copy a step further; how many records it took.
    fn step(&mut self, shared: &Shared, partition: u16) -> Result<u64> {
        if !self.open.contains_key(&partition) {
            if self.later.get(&partition).is_some_and(|later| Instant::now() < *later) || !shared.copies.keep(partition)
            {
                return Ok(0);
            }
            match self.begin(shared, partition) {
                Ok(copy) => {
                    let (database, torn) = copy.readable();
                    shared.shown.show(partition, database, Some(torn));
                    self.open.insert(partition, Kept { copy, there: false });
                }
                Err(error) => {
                    shared.copies.let_go(partition);
                    return Err(error);
                }
            }
        }
        let Some(kept) = self.open.get_mut(&partition) else { return Ok(0) };
        let step = kept.copy.follow()?;
        if step.at_end && !std::mem::replace(&mut kept.there, true) {
            let at = kept.copy.at();
            tracing::info!(
                partition,
                epoch = at.epoch.0,
                records = at.records,
                bytes = at.bytes,
                "a standby copy is there"
            );
        }
        Ok(step.records)
    }

    fn begin(&self, shared: &Shared, partition: u16) -> Result<Copy, Error> {
        let dir: PathBuf = shared.copy_dir(partition);
        let changelog = || Changelog::new(Arc::clone(&self.reader), shared.topics.changelog(), partition);
        Copy::open(&dir, shared.partitions, &changelog)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_as_many_copies_as_are_wanted_and_one_that_may_be_the_owners() {
        let all: Vec<String> = (0..5).map(|n| format!("process {n}")).collect();
        for partition in 0..100 {
            for replicas in 0..6 {
                let copies = all.iter().filter(|one| keeps(one, &all, partition, replicas)).count();
                assert_eq!(copies, usize::from(replicas + 1).min(5));
            }
        }
        // who is gone takes no other copy along
        let four = &all[..4];
        for partition in 0..100 {
            for one in four.iter().filter(|one| keeps(one, &all, partition, 1)) {
                assert!(keeps(one, four, partition, 1));
            }
        }
        assert!(keeps("alone", &[], 3, 0));
    }

    #[test]
    fn a_copy_is_claimed_once_it_is_let_go_of_and_kept_again_after_the_claim() {
        let copies = Copies::default();
        assert!(copies.keep(1) && !copies.keep(1));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !copies.is_claimed(1) {
                    std::thread::yield_now();
                }
                copies.let_go(1);
            });
            let claim = copies.claim(1);
            assert!(!copies.keep(1));
            drop(claim);
        });
        assert!(copies.keep(1));
    }
}
