//! The seeded simulation: a whole job under a scheduler that reorders, delays, fails and crashes, checked against an oracle.
//!
//! A seed decides the input, the sizes of everything, the order of events and the faults; nothing else does. The
//! [`oracle`] knows only the input and plain maps.

mod faults;
mod oracle;
mod pipeline;
mod stages;
mod workload;

pub use faults::Faults;
pub use workload::Workload;

use super::driver::{Choice, Driver};
use super::rng::SplitMix64;
use super::store::Fault;
use crate::engine::{Config, Outcome};
use crate::error::Result;
use crate::state::layout::{KeyReader, Kind};
use std::collections::BTreeMap;

/// What a run of the simulation went through.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Choices taken.
    pub steps: u64,
    /// Bundles failed.
    pub failures: u32,
    /// Workers lost.
    pub losses: u32,
    /// Crashes, commits gone wrong included.
    pub crashes: u32,
    /// Bundles asked to split.
    pub splits: u32,
    /// Bundles started.
    pub bundles: u64,
    /// Hash of all effects.
    pub trace: u64,
}

/// One seed's job.
pub struct Simulation {
    rng: SplitMix64,
    workload: Workload,
    faults: Faults,
    driver: Driver,
    tally: Tally,
    weights: [usize; 8],
    /// The job has been restarted with another number of shards.
    rescaled: bool,
}

impl Simulation {
    /// The job of a seed.
    ///
    /// # Errors
    /// Never, unless the pipeline itself is wrong.
    pub fn new(seed: u64) -> Result<Self> {
        let mut rng = SplitMix64::new(seed);
        let workload = Workload::new(&mut rng);
        let faults = Faults::new(&mut rng);
        let config = config(&mut rng);
        let mut topology = pipeline::topology(&workload, &mut rng);
        topology.epoch_ms = rng.between(5, 80);
        let mut driver = topology.driver(config)?;
        driver.observer.strict = true;
        driver.trace();
        // some kinds of events are slow in some seeds
        let weights = std::array::from_fn(|_| [1, 4, 16][rng.below(3)]);
        Ok(Self { rng, workload, faults, driver, tally: Tally::default(), weights, rescaled: false })
    }

    /// Runs the job to its end, through all faults, and compares what its sinks hold with the oracle.
    ///
    /// # Errors
    /// When the stored state cannot be read.
    ///
    /// # Panics
    /// When an invariant is broken or the output is not the oracle's.
    pub fn run(mut self) -> Result<Tally> {
        loop {
            while !self.driver.is_over() {
                self.fault()?;
                let choice = self.choose();
                self.driver.read_rows = Some(1 + self.rng.below(8));
                self.driver.take(choice);
            }
            match self.driver.outcome() {
                Some(Outcome::Done) => break,
                Some(Outcome::Failed(error)) if error.code == "STATE_IO" => self.crash()?,
                other => unreachable!("the job ended with {other:?}"),
            }
        }
        self.compare();
        // started once more, the job finds that there is nothing to do
        let shards = 1 + self.rng.below(4) as u16;
        self.driver.store.fail_next(None);
        self.driver.crash(shards)?;
        assert_eq!(self.driver.run_to_end(), Outcome::Done);
        self.compare();
        self.nothing_is_left();
        self.tally.steps = self.driver.steps();
        self.tally.trace = self.driver.traced();
        Ok(self.tally)
    }

    fn choose(&mut self) -> Choice {
        let choices = self.driver.choices();
        let weigh = |c: &Choice| match c {
            Choice::Order(_) => self.weights[0],
            Choice::Message(..) => self.weights[1],
            Choice::Tell => self.weights[2],
            Choice::Speak(..) => self.weights[3],
            Choice::Work(..) => self.weights[4],
            Choice::Write => self.weights[5],
            Choice::Alarm(_) => self.weights[6],
            Choice::Read(..) => self.weights[7],
            Choice::Time => 1,
        };
        let total: usize = choices.iter().map(weigh).sum();
        let mut at = self.rng.below(total);
        for choice in &choices {
            match at.checked_sub(weigh(choice)) {
                Some(left) => at = left,
                None => return *choice,
            }
        }
        unreachable!("there is always time")
    }

    /// Perhaps something goes wrong now.
    fn fault(&mut self) -> Result<()> {
        if self.driver.outcome().is_some() {
            return Ok(());
        }
        if self.rng.permille(self.faults.crash) && self.tally.crashes < self.faults.crashes_max {
            return self.crash();
        }
        if self.rng.permille(self.faults.commit) && self.tally.crashes < self.faults.crashes_max {
            let fault = if self.rng.permille(500) { Fault::Before } else { Fault::After };
            self.driver.store.fail_next(Some(fault));
        }
        let shard = crate::id::ShardId(self.rng.below(usize::from(self.driver.shards())) as u16);
        if self.rng.permille(self.faults.lose) && self.tally.losses < 20 {
            self.tally.losses += 1;
            let late = self.rng.permille(500);
            let env = self.rng.permille(500).then_some(crate::graph::EnvironmentId(1));
            self.driver.lose_worker(shard, env, late);
        }
        let works = self.driver.choices();
        let works: Vec<_> = works.iter().filter(|c| matches!(c, Choice::Work(..))).collect();
        let Some(Choice::Work(shard, env, bundle)) = works.get(self.rng.below(works.len())).copied().copied() else {
            return Ok(());
        };
        if self.rng.permille(self.faults.fail) {
            self.tally.failures += 1;
            self.driver.fail_bundle(shard, env, bundle);
        } else if self.rng.permille(self.faults.split) {
            self.tally.splits += 1;
            self.driver.split(shard, bundle, 0.5);
        }
        Ok(())
    }

    fn crash(&mut self) -> Result<()> {
        self.tally.crashes += 1;
        self.tally.bundles += self.driver.observer.sizes.len() as u64;
        let mut shards = self.driver.shards();
        if self.rng.permille(self.faults.rescale) {
            shards = 1 + self.rng.below(4) as u16;
            self.rescaled = true;
        }
        if self.driver.outcome().is_none() && self.rng.permille(500) {
            let (choice, effects) = (self.choose(), self.rng.below(4));
            return self.driver.crash_within(choice, effects, shards);
        }
        self.driver.crash(shards)
    }

    fn compare(&self) {
        let expected = oracle::outputs(&self.workload);
        for (sink, want) in &expected {
            let mut have = self.collected(sink);
            have.sort();
            if have != *want {
                let (mut lost, mut ghosts) = (count(want), count(&have));
                for (text, n) in count(&have) {
                    *lost.entry(text).or_default() -= n;
                }
                for (text, n) in count(want) {
                    *ghosts.entry(text).or_default() -= n;
                }
                lost.retain(|_, n| *n > 0);
                ghosts.retain(|_, n| *n > 0);
                unreachable!("sink {sink}: lost {lost:#?}, doubled or ghosts {ghosts:#?}, {:?}", self.tally);
            }
        }
    }

    fn collected(&self, sink: &str) -> Vec<String> {
        let lines = self.driver.disk(sink).lines();
        if sink == "counted" && !self.rescaled {
            lines.iter().for_each(|line| pipeline::in_input_order(&line.text()));
        }
        lines.iter().map(|line| pipeline::describe(sink, line)).collect()
    }

    /// A finished job leaves no input, timer, buffer or user state behind.
    fn nothing_is_left(&self) {
        for (key, _) in self.driver.store.cells() {
            let kind = KeyReader::open(&key).map(|(_, kind, ..)| kind);
            let passing = [Kind::User, Kind::Timer, Kind::Buffer, Kind::Pending].map(|k| Some(k as u8));
            assert!(!passing.contains(&kind), "a cell is left behind: kind {kind:?}, {key:?}");
        }
    }
}

fn count(texts: &[String]) -> BTreeMap<&str, i64> {
    let mut counts = BTreeMap::new();
    texts.iter().for_each(|t| *counts.entry(t.as_str()).or_default() += 1);
    counts
}

fn config(rng: &mut SplitMix64) -> Config {
    Config {
        shards: 1 + rng.below(4) as u16,
        partitions: [4, 7, 16, 64][rng.below(4)],
        bundle_rows_max: 1 + rng.below(20),
        bundle_ms: 1 + rng.below(40) as i64,
        bundle_bytes_max: [200, 4 << 20][rng.below(2)],
        queue_bytes_max: [100, 1000, 1 << 20][rng.below(3)],
        outputs_bytes_max: usize::MAX,
        epoch_bytes_max: [500, 5000, usize::MAX][rng.below(3)],
        read_rows: 1 + rng.below(10),
        attempts_max: u32::MAX,
        losses_max: u32::MAX,
        retry_ms: rng.between(0, 10),
        cached_groups: [0, 3, 1000][rng.below(3)],
        progress_ms: [0, 3, 40][rng.below(3)],
        split_after_ms: [0, 3, 20][rng.below(3)],
        checkpoint_ms: [0, 5, 30][rng.below(3)],
        paused: false,
        revision: 0,
        drain: false,
        apart: false,
    }
}
