//! Another version of a function while its stage runs: on trial for a share of the keys, rolled back if it fails, in place of the
//! old one in the end.
//!
//! In: a [`Step`] of the new version, through an [`Inbox`] that whoever deploys shares with the worker. The worker looks into
//! it before every bundle. Both versions have the same stage, states and outputs; a version on trial runs the part of a
//! bundle that its [`Trial`] takes. What it fails on the old version does at once, in the same attempt, and keeps the keys, so a job
//! never fails by a trial. It does not know epochs: the order is put into the inbox when one has ended.

use super::Step;
use crate::error::Error;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thalweg_core::id::StageId;
use thalweg_core::port::worker::{Input, Item};

/// Keys of a shard that a version may fail on before it is rolled back, whatever its rate.
const AVOIDED_MAX: usize = 10_000;
/// Bundles that a rate is taken of at least: one failure among few is no rate.
const BUNDLES_MIN: u64 = 100;

/// On which terms a version runs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Terms {
    /// Share of the key hashes that it gets, of bundles where there are no keys; from 0 to 1. All of them means that it takes the
    /// place of the old one when it has passed.
    pub share: f64,
    /// It is rolled back when it has failed more than this share of its bundles, of at least 100.
    pub failures_max: f64,
    /// It has passed after so many bundles, those of all shards together.
    pub bundles: u64,
}

/// What became of a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is watched.
    Running,
    /// It has passed, and took the place of the old one.
    Passed,
    /// It has failed too often; the old one runs.
    RolledBack,
}

/// What [`Watched`] has for the verdicts, in their order, and for a version that is kept.
const RUNNING: u8 = 0;
const PASSED: u8 = 1;
const ROLLED_BACK: u8 = 2;
const KEPT: u8 = 3;

/// How a version does, on all shards. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Trial(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    terms: Terms,
    bundles: AtomicU64,
    failed: AtomicU64,
    verdict: AtomicU8,
    why: Mutex<Option<Error>>,
}

impl Trial {
    /// A trial that nothing has run in.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        let (bundles, failed, verdict) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU8::new(RUNNING));
        Self(Arc::new(Watched { terms, bundles, failed, verdict, why: Mutex::default() }))
    }

    /// Whether both are the same one.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The terms.
    #[must_use]
    pub fn terms(&self) -> Terms {
        self.0.terms
    }

    /// What became of it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.0.verdict.load(Ordering::SeqCst) {
            PASSED => Verdict::Passed,
            ROLLED_BACK => Verdict::RolledBack,
            _ => Verdict::Running,
        }
    }

    /// Bundles it ran, and how many of them it failed.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.0.bundles.load(Ordering::SeqCst), self.0.failed.load(Ordering::SeqCst))
    }

    /// What it failed with last.
    #[must_use]
    pub fn why(&self) -> Option<Error> {
        self.0.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it. The first verdict stands, and one that is [kept](Self::keep) can only pass.
    pub fn end(&self, verdict: Verdict) {
        match verdict {
            Verdict::Running => {}
            Verdict::Passed => {
                self.becomes(RUNNING, PASSED);
                self.becomes(KEPT, PASSED);
            }
            Verdict::RolledBack => self.becomes(RUNNING, ROLLED_BACK),
        }
    }

    /// Has it not be rolled back any more, whatever it fails on, unless it was: then this is false. The next version is about to stand beside it,
    /// and shards begin with that one after the other, so for all of them it has to be the same one that is replaced. Until then it is watched as
    /// before: the old one does what it fails on.
    #[must_use]
    pub fn keep(&self) -> bool {
        self.becomes(RUNNING, KEPT);
        self.verdict() != Verdict::RolledBack
    }

    /// It is not kept any more: no version came to stand beside it.
    pub fn release(&self) {
        self.becomes(KEPT, RUNNING);
    }

    fn becomes(&self, from: u8, to: u8) {
        let _ = self.0.verdict.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Whether it gets a key, or a bundle, by its hash. Partitions are cut by the low bits of a hash, shares by the high ones.
    fn takes(&self, hash: u64) -> bool {
        self.verdict() == Verdict::Running && (hash as f64) < self.0.terms.share * (u64::MAX as f64) || self.is_whole()
    }

    /// Whether it has all keys, and was not rolled back.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.terms.share >= 1.0 && self.verdict() != Verdict::RolledBack
    }

    fn ran(&self) {
        let bundles = self.0.bundles.fetch_add(1, Ordering::SeqCst) + 1;
        if self.0.terms.share >= 1.0 && bundles >= self.0.terms.bundles {
            self.end(Verdict::Passed);
        }
    }

    fn failed(&self, error: &Error) {
        let failed = self.0.failed.fetch_add(1, Ordering::SeqCst) + 1;
        let bundles = self.0.bundles.fetch_add(1, Ordering::SeqCst) + 1;
        *self.0.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        if failed as f64 > self.0.terms.failures_max * bundles.max(BUNDLES_MIN) as f64 {
            self.end(Verdict::RolledBack);
        }
    }
}

/// A version on trial, beside the step that runs.
#[derive(Debug)]
pub(super) struct Next {
    pub step: Step,
    trial: Trial,
    /// Hashes of keys that it failed on.
    avoided: BTreeSet<u64>,
}

/// The parts of a bundle's input: the old version's, and the new one's.
pub(super) struct Parts {
    pub old: Option<Input>,
    pub new: Option<Input>,
}

impl Next {
    /// Whether it gets a key, or a bundle without, by its hash.
    pub fn takes(&self, hash: u64) -> bool {
        self.trial.takes(hash) && !self.avoided.contains(&hash)
    }

    /// Cuts the input of a bundle by key; without keys one of the two gets all of it.
    pub fn parts(&self, input: Input, hash: u64) -> Parts {
        let Input::Keyed { groups, batches, items } = input else {
            return if self.takes(hash) {
                Parts { old: None, new: Some(input) }
            } else {
                Parts { old: Some(input), new: None }
            };
        };
        let takes: Vec<bool> = groups.iter().map(|group| self.takes(group.hash)).collect();
        let is_new = |item: &Item| {
            let (Item::Row { group, .. } | Item::Timer { group, .. }) = item;
            takes.get(*group as usize).copied().unwrap_or_default()
        };
        let (new, old): (Vec<Item>, Vec<Item>) = items.into_iter().partition(is_new);
        let part = |items: Vec<Item>| {
            let (groups, batches) = (Arc::clone(&groups), batches.clone());
            (!items.is_empty()).then_some(Input::Keyed { groups, batches, items })
        };
        Parts { old: part(old), new: part(new) }
    }

    /// It ran a part of a bundle.
    pub fn ran(&self) {
        self.trial.ran();
    }

    /// It failed on a bundle of this input: the old version gets its keys from now on. A bundle without keys comes only once.
    pub fn failed(&mut self, input: Option<&Input>, error: &Error) {
        if let Some(Input::Keyed { groups, .. }) = input {
            let mine: Vec<u64> = groups.iter().map(|g| g.hash).filter(|hash| self.trial.takes(*hash)).collect();
            self.avoided.extend(mine);
        }
        self.trial.failed(error);
        if self.avoided.len() > AVOIDED_MAX {
            self.trial.end(Verdict::RolledBack);
        }
    }
}

impl Step {
    /// The version that speaks for the step where no bundle runs.
    pub(super) fn newest(&mut self) -> &mut Self {
        match self.next.take() {
            Some(next) if next.trial.is_whole() => &mut self.next.insert(next).step,
            next => {
                self.next = next;
                self
            }
        }
    }

    /// Ends a trial that has its verdict.
    pub(super) fn settle(&mut self) {
        let verdict = self.next.as_ref().map_or(Verdict::Running, |next| next.trial.verdict());
        match (verdict, self.next.take()) {
            (Verdict::Passed, Some(next)) => self.become_version(next.step),
            (Verdict::Running, next) => self.next = next,
            _ => {}
        }
    }

    /// Goes on as another version, whose metrics are those of the step.
    fn become_version(&mut self, step: Self) {
        let metrics = std::mem::take(&mut self.metrics);
        *self = Self { metrics, on_trial: false, ..step };
    }

    /// Starts one. A version whose trial was under way is gone, unless it had all keys: then it is the old one now.
    fn begin(&mut self, mut step: Self, trial: Trial) {
        if let Some(next) = self.next.take().filter(|next| next.trial.is_whole()) {
            self.become_version(next.step);
        }
        step.on_trial = true;
        self.next = Some(Box::new(Next { step, trial, avoided: BTreeSet::new() }));
    }
}

/// A version for a step of a stage.
#[derive(Debug)]
struct Deployed {
    stage: StageId,
    at: usize,
    step: Box<Step>,
    trial: Trial,
}

/// Where a worker finds new versions. Cheap to clone.
#[derive(Clone, Default, Debug)]
pub struct Inbox(Arc<Waiting>);

#[derive(Default, Debug)]
struct Waiting {
    /// Looked at before every bundle.
    any: AtomicBool,
    list: Mutex<Vec<Deployed>>,
}

impl Inbox {
    fn list(&self) -> MutexGuard<'_, Vec<Deployed>> {
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has step `at` of a stage run another version from the next bundle on, on the terms of its trial. The version must fit:
    /// equal kind, coders and outputs, the states and timers of the old one among its own.
    pub fn deploy(&self, stage: StageId, at: usize, step: Step, trial: Trial) {
        self.list().push(Deployed { stage, at, step: Box::new(step), trial });
        self.0.any.store(true, Ordering::SeqCst);
    }

    /// Begins what waits.
    pub(super) fn take(&self, mut step_of: impl FnMut(StageId, usize, Box<Step>, Trial)) {
        if self.0.any.swap(false, Ordering::SeqCst) {
            let waiting = std::mem::take(&mut *self.list());
            waiting.into_iter().for_each(|d| step_of(d.stage, d.at, d.step, d.trial));
        }
    }
}

/// Begins the trial of a version of one of these steps.
pub(super) fn begin(steps: &mut [Step], at: usize, step: Step, trial: Trial) {
    if let Some(old) = steps.get_mut(at) {
        old.begin(step, trial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap() -> Error {
        Error::Trap { function: "f".into(), what: "unreachable".into(), trace: String::new() }
    }

    #[test]
    fn a_share_of_the_hashes_is_taken_whatever_their_low_bits() {
        let trial = Trial::new(Terms { share: 0.25, failures_max: 0.0, bundles: 1 });
        let hashes = (0..10_000_u64).map(|n| thalweg_core::id::key_hash(&n.to_le_bytes()));
        let taken = hashes.filter(|hash| trial.takes(*hash)).count();
        assert!((2_300..2_700).contains(&taken), "{taken}");
        trial.ran();
        assert_eq!(trial.verdict(), Verdict::Running, "a canary stays one");
        trial.end(Verdict::RolledBack);
        assert!(!trial.takes(0));
    }

    #[test]
    fn a_version_that_is_kept_is_watched_but_not_rolled_back() {
        let trial = Trial::new(Terms { share: 1.0, failures_max: 0.0, bundles: 1 });
        assert!(trial.keep());
        trial.failed(&trap());
        assert_eq!((trial.verdict(), trial.takes(u64::MAX)), (Verdict::Running, true));
        trial.release();
        trial.failed(&trap());
        assert_eq!((trial.verdict(), trial.keep()), (Verdict::RolledBack, false));
        let trial = Trial::new(Terms { share: 1.0, failures_max: 0.0, bundles: 1 });
        assert!(trial.keep());
        trial.ran();
        assert_eq!((trial.verdict(), trial.keep()), (Verdict::Passed, true));
    }

    #[test]
    fn a_version_passes_or_is_rolled_back_by_its_rate_and_the_first_verdict_stands() {
        let trial = Trial::new(Terms { share: 1.0, failures_max: 0.01, bundles: 300 });
        trial.failed(&trap());
        assert_eq!(trial.verdict(), Verdict::Running, "one of at least a hundred");
        (0..200).for_each(|_| trial.ran());
        trial.failed(&trap());
        assert_eq!(trial.verdict(), Verdict::Running);
        (0..98).for_each(|_| trial.ran());
        assert_eq!((trial.verdict(), trial.counts()), (Verdict::Passed, (300, 2)));
        let trial = Trial::new(Terms { share: 1.0, failures_max: 0.01, bundles: 300 });
        (0..2).for_each(|_| trial.failed(&trap()));
        trial.end(Verdict::Passed);
        assert_eq!((trial.verdict(), trial.why()), (Verdict::RolledBack, Some(trap())));
        assert!(!trial.takes(0));
    }
}
