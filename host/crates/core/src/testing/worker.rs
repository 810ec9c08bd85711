//! The scripted worker: the whole worker port, by functions per stage, with events that can be held back.
//!
//! A bundle that was started stays *open* until someone runs it: [`Worker::poll`] runs all that are open, as a worker in
//! the shard's thread does; the [`Driver`](super::Driver) runs them one by one, when its schedule says so, and may fail
//! one or split it first.

use super::work::{Cache, StageScript, Work};
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::id::{BundleId, StageId};
use crate::metric::Metrics;
use crate::port::worker::{BundleStart, Command, Event, Input, SplitReply, Worker};
use crate::window::{Merges, Window, WindowSet};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Merges the windows of one key, as an SDK's window function does.
pub type MergeFn = Arc<dyn Fn(&[Window]) -> Merges + Send + Sync>;
/// Maps a window of the main input to those of a side input.
pub type MapFn = Arc<dyn Fn(&Window) -> WindowSet + Send + Sync>;
/// Splits an open bundle: rewrites its input to the primary and says what it did.
pub type SplitFn = Arc<dyn Fn(&mut BundleStart, f64) -> SplitReply + Send + Sync>;

/// What the worker of an environment does.
#[derive(Clone, Default)]
pub struct WorkerScript {
    /// Its stages.
    pub stages: BTreeMap<StageId, Arc<StageScript>>,
    /// Answers [`Command::MergeWindows`].
    pub merge: Option<MergeFn>,
    /// Answers [`Command::MapWindows`].
    pub map: Option<MapFn>,
    /// Answers [`Command::Split`]; without it whole elements are given back.
    pub split: Option<SplitFn>,
}

/// A worker that does what it is told, when it is told.
pub struct ScriptedWorker {
    script: WorkerScript,
    cache: Cache,
    open: BTreeMap<BundleId, BundleStart>,
    ready: Vec<Event>,
    /// Answers that wait for [`ScriptedWorker::answer`] while `hold_answers` is set.
    answers: Vec<Event>,
    /// Whether answers about windows are held back.
    pub hold_answers: bool,
    /// Bundles it was told are lasting.
    pub finalized: Vec<BundleId>,
    /// Bundles it was told to forget.
    pub abandoned: BTreeSet<BundleId>,
    /// What it says of every open bundle's metrics.
    pub so_far: Metrics,
}

impl ScriptedWorker {
    /// A worker that has just come up: it announces its credit.
    #[must_use]
    pub fn new(script: WorkerScript) -> Self {
        let credit = |s: &Arc<StageScript>| Event::Credit { stage: s.stage, bundles: s.bundles };
        let ready = script.stages.values().map(credit).collect();
        Self {
            script,
            cache: Cache::default(),
            open: BTreeMap::new(),
            ready,
            answers: Vec::new(),
            hold_answers: false,
            finalized: Vec::new(),
            abandoned: BTreeSet::new(),
            so_far: Metrics::default(),
        }
    }

    /// Bundles that were started and not run yet.
    pub fn open(&self) -> impl Iterator<Item = (BundleId, StageId)> {
        self.open.iter().map(|(id, start)| (*id, start.stage))
    }

    /// An open bundle.
    #[must_use]
    pub fn bundle(&self, bundle: BundleId) -> Option<&BundleStart> {
        self.open.get(&bundle)
    }

    /// An open bundle puts something out before it is done.
    pub fn put_out(&mut self, bundle: BundleId, output: u32, batch: Batch) {
        if self.open.contains_key(&bundle) {
            self.ready.push(Event::Output { bundle, output, batch });
        }
    }

    /// Runs an open bundle to its end.
    pub fn run(&mut self, bundle: BundleId) {
        let Some(start) = self.open.remove(&bundle) else { return };
        let Some(script) = self.script.stages.get(&start.stage) else { return };
        let work = Work::new(start, Arc::clone(script), self.cache.clone());
        self.ready.extend(work.run());
    }

    /// Runs an open bundle and fails it at its very end: what it put out stays visible to the engine as outputs of a bundle
    /// that failed.
    pub fn fail(&mut self, bundle: BundleId) {
        self.run(bundle);
        for event in &mut self.ready {
            if matches!(event, Event::Done { bundle: b, .. } if *b == bundle) {
                let error = Error::new("BUNDLE_FAILED", crate::error::Domain::Guest, "told to fail");
                *event = Event::Failed { bundle, error };
            }
        }
    }

    /// Lets held answers about windows go.
    pub fn answer(&mut self) {
        self.ready.append(&mut self.answers);
    }

    /// Changes how many bundles of a stage it takes at once.
    pub fn credit(&mut self, stage: StageId, bundles: u32) {
        self.ready.push(Event::Credit { stage, bundles });
    }

    /// Moves out what is ready, without running anything.
    pub fn take_ready(&mut self, out: &mut Vec<Event>) {
        out.append(&mut self.ready);
    }

    fn split(&mut self, bundle: BundleId, fraction: f64) {
        let Some(start) = self.open.get_mut(&bundle) else { return };
        let reply = match &self.script.split {
            Some(split) => split(start, fraction),
            None => give_back_whole(start, fraction),
        };
        self.ready.push(Event::Split { bundle, reply });
    }

    fn say(&mut self, answer: Event) {
        if self.hold_answers {
            self.answers.push(answer);
        } else {
            self.ready.push(answer);
        }
    }
}

impl Worker for ScriptedWorker {
    fn submit(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Start(start) => {
                self.open.insert(start.bundle, *start);
            }
            Command::Progress(bundle) => {
                if self.open.contains_key(&bundle) {
                    self.ready.push(Event::Progress { bundle, consumed: 1, metrics: self.so_far.clone() });
                }
            }
            Command::Split(bundle, fraction) => self.split(bundle, fraction),
            Command::Abandon(bundle) => {
                self.open.remove(&bundle);
                self.abandoned.insert(bundle);
            }
            Command::Finalize(bundle) => self.finalized.push(bundle),
            Command::MergeWindows { request, keys, .. } => {
                let merge = self.script.merge.clone();
                let keys = keys.iter().map(|windows| merge.as_ref().map_or_else(Merges::new, |m| m(windows)));
                let keys = keys.collect();
                self.say(Event::WindowsMerged { request, keys });
            }
            Command::MapWindows { request, windows, .. } => {
                let map = self.script.map.clone();
                let windows = windows.iter().map(|w| map.as_ref().map_or_else(WindowSet::new, |m| m(w))).collect();
                self.say(Event::WindowsMapped { request, windows });
            }
            Command::Compact { request, cells, .. } => {
                let cells = cells.iter().map(|parts| Bytes::from(parts.concat())).collect();
                self.say(Event::Compacted { request, cells });
            }
        }
        Ok(())
    }

    fn poll(&mut self, out: &mut Vec<Event>) {
        let open: Vec<BundleId> = self.open.keys().copied().collect();
        open.into_iter().for_each(|bundle| self.run(bundle));
        self.take_ready(out);
    }
}

/// Keeps the first part of the elements of an open bundle, at least one, and gives the others back whole.
pub fn give_back_whole(start: &mut BundleStart, fraction: f64) -> SplitReply {
    let Input::Elements { batches } = &mut start.input else { return SplitReply::default() };
    let rows: usize = batches.iter().map(|(_, b)| b.len()).sum();
    let keep = (rows as f64 * (1.0 - fraction)) as usize;
    let keep = keep.clamp(1, rows.max(1));
    let mut left = keep;
    for (_, batch) in batches.iter_mut() {
        let n = left.min(batch.len());
        left -= n;
        *batch = batch.split_at(n).0;
    }
    SplitReply { keep: Some(keep), primary: None, residuals: Vec::new() }
}
