//! Watches what passes and panics when an invariant of the engine is broken.

use crate::engine::{Envelope, Message};
use crate::graph::EnvironmentId;
use crate::id::{BundleId, EdgeId, Epoch, ShardId, StageId};
use crate::port::worker::{Command, Event, Input};
use crate::short::ShortBytes;
use crate::time::EventTime;
use crate::window::Window;
use std::collections::{BTreeMap, BTreeSet};

type GroupName = (StageId, ShortBytes, Window);
type BundleName = (ShardId, BundleId);

/// A bundle the engine has started and not yet heard the end of.
struct Running {
    stage: StageId,
    environment: Option<EnvironmentId>,
    groups: Vec<GroupName>,
}

/// The invariants, and what they have to remember.
///
/// - Watermarks over an edge, and those bundles are started with, never fall.
/// - With [`Observer::strict`]: no element comes over an edge behind the watermark that was sent before it.
/// - No key and window of a stage is in two bundles at once, on whatever shard.
/// - A bundle is finalized once, if it asked for it, and after the commit of the epoch in which it was applied.
/// - No bundle id is used twice.
/// - A worker gets bundles within its credit, and nothing at all between its loss and the next one's first word.
#[derive(Default)]
pub struct Observer {
    /// No element of this topology is late by its source's own account.
    pub strict: bool,
    promises: BTreeMap<(EdgeId, ShardId, ShardId), EventTime>,
    inputs: BTreeMap<(ShardId, StageId), EventTime>,
    running: BTreeMap<BundleName, Running>,
    busy: BTreeMap<GroupName, BundleName>,
    seen: BTreeSet<BundleName>,
    /// Bundles a worker takes at once, as the engine has heard it last.
    credit: BTreeMap<(ShardId, StageId), (Option<EnvironmentId>, u32)>,
    /// Bundles that want to be finalized, with the open epoch when they were done: they are applied in this one or later.
    finalize: BTreeMap<BundleName, Epoch>,
    /// Elements and timers per bundle started.
    pub sizes: Vec<usize>,
    /// Finalizations that were carried out.
    pub finalized: usize,
}

impl Observer {
    /// A crash: what was running is gone.
    pub(super) fn forget(&mut self) {
        *self = Self { strict: self.strict, ..Self::default() };
    }

    pub(super) fn sent(&mut self, to: ShardId, envelope: &Envelope) {
        match &envelope.message {
            Message::Watermark { edge, to: mark } => {
                let have = self.promises.entry((*edge, envelope.from, to)).or_insert(EventTime::MIN);
                assert!(mark > have, "the watermark of {edge:?} goes from {have:?} to {mark:?}");
                *have = *mark;
            }
            Message::Data { edge, batch } => {
                let have = self.promises.get(&(*edge, envelope.from, to)).copied().unwrap_or(EventTime::MIN);
                let first = batch.min_time();
                assert!(!self.strict || first >= have, "{edge:?} carries {first:?} behind its watermark {have:?}");
            }
            Message::Marker { .. } | Message::Credit { .. } => {}
        }
    }

    pub(super) fn commanded(
        &mut self,
        shard: ShardId,
        environment: Option<EnvironmentId>,
        stage: StageId,
        command: &Command,
        committed: Epoch,
    ) {
        match command {
            Command::Start(start) => {
                let name = (shard, start.bundle);
                assert!(self.seen.insert(name), "{name:?} is started twice");
                let input = self.inputs.entry((shard, stage)).or_insert(EventTime::MIN);
                assert!(start.watermark >= *input, "{stage:?} falls from {input:?} to {:?}", start.watermark);
                *input = start.watermark;
                self.sizes.push(start.input.len());
                assert!(!start.input.is_empty(), "{name:?} has nothing to do");
                let groups: Vec<GroupName> = match &start.input {
                    Input::Keyed { groups, .. } => {
                        groups.iter().map(|g| (stage, g.key.clone(), g.window.clone())).collect()
                    }
                    Input::Elements { .. } => Vec::new(),
                };
                for group in &groups {
                    if let Some(other) = self.busy.insert(group.clone(), name) {
                        unreachable!("{group:?} is in {other:?} and in {name:?}");
                    }
                }
                let credit = self.credit.get(&(shard, stage)).map_or(0, |(_, n)| *n as usize);
                let mine = self.running.iter().filter(|((s, _), r)| *s == shard && r.stage == stage).count();
                assert!(mine < credit, "{name:?} is started beside {mine} with a credit of {credit}");
                self.running.insert(name, Running { stage, environment, groups });
            }
            Command::Abandon(bundle) => self.end((shard, *bundle)),
            Command::Finalize(bundle) => {
                let asked = self.finalize.remove(&(shard, *bundle));
                let epoch = asked.unwrap_or_else(|| unreachable!("{bundle:?} did not ask to be finalized, or twice"));
                assert!(epoch <= committed, "{bundle:?} of {epoch:?} is finalized when {committed:?} is committed");
                self.finalized += 1;
            }
            Command::MergeWindows { .. } | Command::MapWindows { .. } | Command::Compact { .. } => {
                let up = self.credit.values().any(|(env, n)| *env == environment && *n > 0);
                assert!(up, "{command:?} for a worker that is not there");
            }
            Command::Progress(_) | Command::Split(..) => {}
        }
    }

    fn end(&mut self, bundle: BundleName) {
        for group in self.running.remove(&bundle).into_iter().flat_map(|r| r.groups) {
            self.busy.remove(&group);
        }
    }

    /// The engine is about to hear an event of a worker, its open epoch being `epoch`.
    pub(super) fn heard(&mut self, shard: ShardId, environment: Option<EnvironmentId>, event: &Event, epoch: Epoch) {
        match event {
            Event::Done { bundle, result } => {
                if result.finalize && self.running.contains_key(&(shard, *bundle)) {
                    self.finalize.insert((shard, *bundle), epoch);
                }
                self.end((shard, *bundle));
            }
            Event::Failed { bundle, .. } => self.end((shard, *bundle)),
            Event::Credit { stage, bundles } => {
                self.credit.insert((shard, *stage), (environment, *bundles));
            }
            Event::Lost { .. } => {
                self.credit.retain(|(s, _), (env, _)| *s != shard || *env != environment);
                let lost = self.running.iter().filter(|((s, _), r)| *s == shard && r.environment == environment);
                let lost: Vec<BundleName> = lost.map(|(name, _)| *name).collect();
                lost.into_iter().for_each(|name| self.end(name));
            }
            _ => {}
        }
    }

    /// Bundles the engine has started and not heard the end of.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.running.len()
    }
}
