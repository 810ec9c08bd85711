//! The worker port of one shard over a harness that all shards share.
//!
//! In: commands. Out: events. Lives on the shard's thread and never blocks it: what a command takes is queued, what the
//! harness says is drained. Conversations themselves are held in the server's tasks.

use super::failure::Preview;
use super::harness::Harness;
use super::link::{Inbox, News, Waker, link};
use super::session::Session;
use super::sides::Snapshots;
use super::windows::Question;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::{BundleId, CacheToken, StageId};
use thalweg_core::port::worker::{Awaited, BundleStart, Command, Event, Input, Worker};
use thalweg_proto::fn_execution::ProcessBundleRequest;
use thalweg_proto::fn_execution::process_bundle_request::{CacheToken as Token, cache_token};

use super::bundle::Bundle;
use super::wiring::StageWire;

/// Bundles with state that a worker of one core has at once. A Python worker spends 1.3 ms of its one core on each key's state: a
/// second bundle fills the pauses of the first, a third and fourth make both slower.
const STATEFUL_IN_FLIGHT: u32 = 2;

/// A bundle the harness has, or has done and waits to hear committed.
struct Given {
    stage: StageId,
    session: Arc<Session>,
    bundle: Arc<Bundle>,
    elements: usize,
    /// The beginning of its input, for the message about its failure.
    preview: Option<Preview>,
    /// Elements it has taken, as far as is known, and since when it has taken no other.
    consumed: (u64, Instant),
    /// Outputs that came of it.
    outputs: u64,
    /// Signs it has given, and when the last one was seen.
    signs: (u64, Instant),
    /// It is done, and waits to hear that it is committed.
    done: bool,
    /// It has been reported as stuck.
    reported: bool,
}

impl Given {
    /// Reports a bundle that has taken no element for too long, once, with what its worker says of itself.
    fn watch(&mut self, limit: Duration) {
        let silent = self.consumed.1.elapsed();
        if self.reported || silent < limit {
            return;
        }
        self.reported = true;
        let names: Vec<&str> = self.bundle.stage.names().collect();
        let (taken, seconds) = (self.consumed.0, silent.as_secs());
        let why = format!("a bundle of {} has taken no element for {seconds} s, after {taken}", names.join(", "));
        self.session.ask_status(names.first().copied().unwrap_or_default(), why);
    }

    /// Counts the signs it has given: elements taken, outputs, requests for state.
    fn see(&mut self) {
        let signs = self.consumed.0 + self.outputs + self.bundle.requests();
        if signs != self.signs.0 {
            self.signs = (signs, Instant::now());
        }
    }
}

/// [`Worker`] of one shard.
///
/// Credit for every stage of the environment is given when the harness is up: [`bundles_in_flight`] per stage. A harness
/// that is lost gives [`Event::Lost`], is started again, and gives credit again. When it is lost for good,
/// [`Event::Lost`] is followed by credit once more, so that the next [`Worker::submit`] tells the engine why.
///
/// [`bundles_in_flight`]: super::FnApiConfig::bundles_in_flight
pub struct FnApiWorker {
    harness: Harness,
    inbox: Inbox,
    /// Distinguishes the cache tokens of shards, which the engine numbers by itself on each.
    number: u64,
    given: HashMap<BundleId, Given>,
    /// Which snapshots of side inputs were given last.
    snapshots: Snapshots,
    /// Started while no session was up; given to the next one.
    waiting: VecDeque<Box<BundleStart>>,
    /// Events made in [`Worker::submit`].
    made: Vec<Event>,
    failed: Option<Error>,
}

impl FnApiWorker {
    /// A worker for one shard; `waker` is called from other threads when [`Worker::poll`] has something to give.
    #[must_use]
    pub fn new(harness: &Harness, waker: Waker) -> Self {
        let config = harness.shared().server().config();
        let (link, inbox) = link(config, waker);
        let number = harness.shared().worker_number();
        harness.shared().attach(&link);
        Self {
            harness: harness.clone(),
            inbox,
            number,
            given: HashMap::new(),
            snapshots: Snapshots::new(number),
            waiting: VecDeque::new(),
            made: Vec::new(),
            failed: None,
        }
    }

    fn stage(&self, stage: StageId) -> Result<Arc<StageWire>> {
        let found = self.harness.shared().stages().get(&stage).cloned();
        found.ok_or_else(|| Error::internal("WORKER_STAGE", format!("stage {} is not of this environment", stage.0)))
    }

    fn start(&mut self, start: Box<BundleStart>) -> Result<()> {
        let mut stage = self.stage(start.stage)?;
        if start.truncate {
            let twin = stage.truncate.clone();
            stage = twin.ok_or_else(|| {
                Error::internal("WORKER_STAGE", format!("stage {} has nothing to truncate", start.stage.0))
            })?;
        }
        if let Input::Elements { batches } = &start.input
            && let Some((input, _)) = batches.iter().find(|(input, _)| *input as usize >= stage.inputs.len())
        {
            return Err(Error::internal("WORKER_STAGE", format!("stage {} has no input {input}", start.stage.0)));
        }
        let Some(session) = self.harness.shared().session() else {
            self.waiting.push_back(start); // as many as there are credits
            return Ok(());
        };
        let (id, stage_id, elements) = (start.bundle, start.stage, start.input.len());
        let show = self.harness.shared().server().config().show_elements;
        let preview = show.then(|| Preview::of(&start.input)).flatten();
        let request = self.request(&stage, &start);
        match session.start(&stage, *start, request, self.inbox.link()) {
            Ok(bundle) => {
                let begun = (0, Instant::now());
                let (consumed, signs, outputs, done, reported) = (begun, begun, 0, false, false);
                let stage = stage_id;
                let given =
                    Given { stage, session, bundle, elements, preview, consumed, outputs, signs, done, reported };
                self.given.insert(id, given);
            }
            Err(start) => self.waiting.push_back(start),
        }
        Ok(())
    }

    /// Asks now or, when nobody is there to answer, not at all: the engine asks again after the loss it is told.
    fn ask(&self, question: Question) {
        if let Some(session) = self.harness.shared().session() {
            session.ask(question, self.inbox.link());
        }
    }

    fn request(&mut self, stage: &StageWire, start: &BundleStart) -> ProcessBundleRequest {
        let mut cache_tokens = Vec::new();
        // a worker that does not name the key cannot keep one key's state apart from another's over bundles
        if !stage.states.is_empty() && !stage.lone_keys {
            let CacheToken(token) = start.cache_token;
            let state = cache_token::Type::UserState(cache_token::UserState {});
            cache_tokens.push(Token { r#type: Some(state), token: token_bytes(self.number, token) });
        }
        let (tokens, id) = self.snapshots.name(start.stage, stage, &start.sides, Instant::now());
        let told = stage.sides.iter().zip(tokens).filter(|_| stage.keeps_snapshots_apart());
        for (wire, token) in told {
            let side =
                cache_token::SideInput { transform_id: wire.transform.clone(), side_input_id: wire.name.clone() };
            let token = token_bytes(self.number, token);
            cache_tokens.push(Token { r#type: Some(cache_token::Type::SideInput(side)), token });
        }
        ProcessBundleRequest { process_bundle_descriptor_id: id, cache_tokens, ..ProcessBundleRequest::default() }
    }

    /// Passes on what happened to the harness.
    fn hear(&mut self, news: News, out: &mut Vec<Event>) {
        let lost = news.failed.as_ref().or(news.lost.as_ref());
        if let Some(error) = lost {
            // a worker that came in the place of the lost one may have been given some, whose results nobody takes
            for (_, given) in self.given.drain() {
                given.session.abandon(&given.bundle);
            }
            self.waiting.clear();
            out.push(Event::Lost { error: error.clone() });
        }
        if news.up || news.failed.is_some() {
            let config = self.harness.shared().server().config();
            let credit = |wire: &StageWire| if wire.queues_for_state() { STATEFUL_IN_FLIGHT } else { u32::MAX };
            let stages = self.harness.shared().stages().iter();
            out.extend(stages.map(|(stage, wire)| {
                let bundles = config.bundles_in_flight.min(credit(wire)).max(1);
                Event::Credit { stage: *stage, bundles }
            }));
        }
        if news.failed.is_some() {
            self.failed = news.failed;
        }
        if news.up {
            for start in std::mem::take(&mut self.waiting) {
                let bundle = start.bundle;
                if let Err(error) = self.start(start) {
                    out.push(Event::Failed { bundle, error });
                }
            }
        }
    }
}

/// A cache token: whose count it is, and the count.
fn token_bytes(owner: u64, count: u64) -> bytes::Bytes {
    let mut token = [0; 16];
    let (a, b) = token.split_at_mut(8);
    a.copy_from_slice(&owner.to_be_bytes());
    b.copy_from_slice(&count.to_be_bytes());
    bytes::Bytes::copy_from_slice(&token)
}

impl Worker for FnApiWorker {
    fn submit(&mut self, command: Command) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match command {
            Command::Start(start) => self.start(start)?,
            Command::Progress(id) => {
                if let Some(given) = self.given.get_mut(&id) {
                    given.session.progress(&given.bundle);
                    given.watch(self.harness.shared().server().config().stuck_after);
                }
            }
            Command::Split(id, fraction) => match self.given.get(&id) {
                Some(given) => given.session.split(&given.bundle, fraction, given.elements),
                None => self.made.push(Event::Split { bundle: id, reply: Default::default() }),
            },
            Command::Abandon(id) => {
                self.waiting.retain(|start| start.bundle != id);
                if let Some(given) = self.given.remove(&id) {
                    given.session.abandon(&given.bundle);
                }
            }
            Command::Finalize(id) => {
                if let Some(given) = self.given.remove(&id) {
                    given.session.finalize(&given.bundle);
                }
            }
            Command::MergeWindows { request, stage, keys } => {
                self.ask(self.harness.shared().windows().merge(stage, request, &keys)?);
            }
            Command::MapWindows { request, stage, side, windows } => {
                self.ask(self.harness.shared().windows().map(stage, side, request, &windows)?);
            }
            Command::Compact { .. } => {
                return Err(Error::internal("COMPACT_UNSUPPORTED", "Fn API workers do not compact accumulators yet"));
            }
        }
        Ok(())
    }

    fn poll(&mut self, out: &mut Vec<Event>) {
        self.inbox.begin();
        out.append(&mut self.made);
        while let Some(mut event) = self.inbox.next() {
            match &mut event {
                Event::Done { bundle, result } if !result.finalize => {
                    self.given.remove(bundle);
                }
                Event::Done { bundle, .. } => {
                    if let Some(given) = self.given.get_mut(bundle) {
                        given.done = true;
                    }
                }
                Event::Output { bundle, .. } => {
                    if let Some(given) = self.given.get_mut(bundle) {
                        given.outputs += 1;
                    }
                }
                Event::Failed { bundle, error } => {
                    if let Some(preview) = self.given.remove(bundle).and_then(|given| given.preview) {
                        preview.add_to(error);
                    }
                }
                Event::Progress { bundle, consumed, .. } => {
                    if let Some(given) = self.given.get_mut(bundle).filter(|g| g.consumed.0 < *consumed) {
                        given.consumed = (*consumed, Instant::now());
                    }
                }
                _ => {}
            }
            out.push(event);
        }
        if let Some(news) = self.inbox.news() {
            self.hear(news, out);
        }
    }

    fn awaited(&mut self) -> Option<(u64, Awaited)> {
        let running = self.given.iter_mut().filter(|(_, given)| !given.done);
        let seen = running.map(|(bundle, given)| {
            given.see();
            let (signs, at) = given.signs;
            (at.elapsed().as_millis() as u64, Awaited { stage: given.stage, bundle: *bundle, signs })
        });
        seen.max_by_key(|(silent, _)| *silent)
    }
}

impl Drop for FnApiWorker {
    fn drop(&mut self) {
        for given in self.given.values() {
            given.session.abandon(&given.bundle);
        }
    }
}
