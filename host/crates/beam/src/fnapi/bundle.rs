//! One bundle's conversation: what has arrived of it, and when it is over.
//!
//! In: the messages about it, from the tasks of the data, control and state streams. Out: events for its shard, in order:
//! outputs, then `Done` or `Failed`, once. A bundle is done when the worker has answered *and* has closed every output
//! and timer stream; the two travel on different streams and either may come first.

use super::held::Held;
use super::link::Link;
use super::metrics::Told;
use super::pages::{self, Pages};
use super::windows::{Asking, Question};
use super::wiring::StageWire;
use super::{clock, failure, lock};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use thalweg_core::batch::Batch;
use thalweg_core::error::{Domain, Error, Result};
use thalweg_core::id::BundleId;
use thalweg_core::metric::Metrics;
use thalweg_core::port::worker::{
    BundleResult, BundleStart, Event, Input, Residual, SplitReply, TimeDomain, TimerUpdate,
};
use thalweg_core::state::{SideView, StateView};
use thalweg_core::time::{EventTime, ProcessingTime};
use thalweg_core::window::Window;
use thalweg_proto::fn_execution::elements;

/// What the worker said when it had processed everything.
#[derive(Default)]
pub(super) struct Answer {
    /// Work given back.
    pub residuals: Vec<Residual>,
    /// Whether it waits for the commit.
    pub finalize: bool,
    /// Metric deltas.
    pub metrics: Metrics,
}

/// State of a running bundle, with what serves it.
pub(super) struct Cells {
    /// The bundle's view.
    pub view: StateView,
    /// Entries appended to multimaps so far; makes their sub-keys unique.
    pub appended: u32,
    /// Ends of the bundle's custom windows, which a state key does not tell.
    custom: HashMap<Bytes, EventTime>,
    /// What the view weighed when it was looked at last.
    weight: usize,
    /// Why the worker gets no more: there is no room for what it has written. The bundle fails by it, whatever the worker says.
    refused: Option<Error>,
}

#[derive(Default)]
struct Talk {
    /// By stream: closed by the worker.
    closed: Vec<bool>,
    answer: Option<Answer>,
    /// Asked to give something back, and has not said what. Worker and bundle may answer in either order.
    splitting: bool,
    timers: Vec<TimerUpdate>,
    /// Outputs of a question, which are not the engine's.
    kept: Vec<Bytes>,
    over: bool,
}

impl Talk {
    fn complete(&self) -> bool {
        self.answer.is_some() && !self.splitting && self.closed.iter().all(|closed| *closed)
    }
}

/// A bundle that a worker has.
pub(super) struct Bundle {
    /// The engine's name.
    pub id: BundleId,
    /// The worker's name.
    pub instruction: u64,
    /// Its stage.
    pub stage: Arc<StageWire>,
    /// By side input index.
    pub sides: Vec<Arc<SideView>>,
    /// What the worker has said of its metrics.
    pub told: Told,
    /// The engine's clock when it began, which may be a script's.
    now: ProcessingTime,
    link: Arc<Link>,
    held: Held,
    talk: Mutex<Talk>,
    cells: Mutex<Option<Cells>>,
    /// Requests for state and pages that were served.
    requests: AtomicU64,
    /// Set when it is no bundle of the engine but a question.
    asking: Option<Asking>,
    /// What it puts out is what a drain leaves of its input.
    truncates: bool,
    /// Batches with values that are sent in pages.
    paged: Vec<Option<Batch>>,
}

/// Whether a bundle goes on after a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// More is to come.
    Running,
    /// The shard has its last event.
    Over,
}

impl Bundle {
    /// Begins the conversation; gives the input back, to be fed.
    pub fn begin(
        start: BundleStart,
        instruction: u64,
        stage: Arc<StageWire>,
        link: Arc<Link>,
        pages: Option<Pages>,
    ) -> (Arc<Self>, Input) {
        let BundleStart { bundle, input, state: view, sides, truncate, now, .. } = start;
        let mut custom = HashMap::new();
        if let Input::Keyed { groups, .. } = &input {
            for group in groups.iter() {
                if let Window::Custom { max, encoded } = &group.window {
                    custom.insert(encoded.clone(), *max);
                }
            }
        }
        let cells = Some(Cells { view, appended: 0, custom, weight: 0, refused: None });
        let paged = pages::kept(&input, pages);
        let new = Self::new(bundle, instruction, stage, link);
        let this = Self { sides, truncates: truncate, now, cells: Mutex::new(cells), paged, ..new };
        (Arc::new(this), input)
    }

    /// Begins a question; gives its input back, to be fed.
    pub fn ask(question: Question, instruction: u64, link: Arc<Link>) -> (Arc<Self>, Input) {
        let Question { stage, input, answer } = question;
        let this = Self { asking: Some(answer), ..Self::new(BundleId(u64::MAX), instruction, stage, link) };
        (Arc::new(this), input)
    }

    fn new(id: BundleId, instruction: u64, stage: Arc<StageWire>, link: Arc<Link>) -> Self {
        let talk = Mutex::new(Talk { closed: vec![false; stage.streams()], ..Talk::default() });
        Self {
            id,
            instruction,
            stage,
            sides: Vec::new(),
            told: Told::default(),
            now: ProcessingTime(i64::MAX),
            held: Held::new(link.held()),
            link,
            talk,
            cells: Mutex::new(None),
            requests: AtomicU64::new(0),
            asking: None,
            truncates: false,
            paged: Vec::new(),
        }
    }

    /// It has asked for state: a sign that it goes on.
    pub fn asks(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has asked for state.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Whether its outputs are not the engine's.
    fn keeps(&self) -> bool {
        self.asking.is_some() || self.truncates
    }

    /// What a truncation has left, as work given back.
    fn left(&self, messages: Vec<Bytes>) -> Result<Vec<Residual>> {
        let Some(wire) = self.stage.outputs.first() else { return Ok(Vec::new()) };
        let residual = |message: Bytes| {
            let batch = wire.coder.decode(message)?;
            Ok(Residual { entry: 0, batch, delay_ms: 0, watermark: None })
        };
        messages.into_iter().filter(|message| !message.is_empty()).map(residual).collect()
    }

    /// A page of a grouped value, and where the next one begins.
    ///
    /// # Errors
    /// `STATE_UNKNOWN` when the bundle has no such value, `STATE_BUNDLE_OVER` when it is over.
    pub fn page(&self, token: &[u8], continuation: &[u8], bytes: usize) -> Result<(Vec<u8>, Bytes)> {
        if lock(&self.talk).over {
            return Err(bundle_over());
        }
        let Some(wire) = self.stage.inputs.first() else { return Err(bundle_over()) };
        pages::read(&self.paged, &wire.coder, (token, continuation), bytes)
    }

    /// The way to its shard.
    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Takes elements of an output.
    pub async fn data(&self, data: elements::Data) -> Next {
        let Some(output) = self.stage.output(&data.transform_id) else {
            return self.fail(foreign_stream(&data.transform_id)).await;
        };
        {
            let mut talk = lock(&self.talk);
            if talk.over {
                return Next::Over;
            }
            if self.keeps() {
                talk.kept.push(data.data.clone());
            }
        }
        if self.keeps()
            && let Err(error) = self.held.change(0, data.data.len())
        {
            return self.fail(error).await;
        }
        if !data.data.is_empty() && !self.keeps() {
            let decoded = self.stage.outputs.get(output).map(|wire| wire.coder.decode(data.data));
            match decoded {
                Some(Ok(batch)) => {
                    self.link.send(Event::Output { bundle: self.id, output: output as u32, batch }).await;
                }
                Some(Err(error)) => return self.fail(error.in_transform(&data.transform_id)).await,
                None => return Next::Running,
            }
        }
        if data.is_last { self.close(output).await } else { Next::Running }
    }

    /// Takes timers of a family.
    pub async fn timers(&self, timers: elements::Timers) -> Next {
        let Some(family) = self.stage.family(&timers.transform_id, &timers.timer_family_id) else {
            return self.fail(foreign_stream(&timers.transform_id)).await;
        };
        if let Err(error) = self.note_timers(family, &timers.timers) {
            return self.fail(error.in_transform(&timers.transform_id)).await;
        }
        if timers.is_last { self.close(self.stage.outputs.len() + family).await } else { Next::Running }
    }

    fn note_timers(&self, family: usize, message: &Bytes) -> Result<()> {
        let Some(wire) = self.stage.timers.get(family) else { return Ok(()) };
        if message.is_empty() {
            return Ok(());
        }
        let decoded = wire.coder.decode(message)?;
        let mut updates = Vec::with_capacity(decoded.len());
        {
            let mut cells = lock(&self.cells);
            let Some(cells) = cells.as_mut() else { return Ok(()) };
            let mut weight = 0;
            let by_the_clock = wire.domain == TimeDomain::Processing;
            let wall = clock::wall();
            for mut timer in decoded {
                if let (true, Some(set)) = (by_the_clock, &mut timer.set) {
                    set.fire = clock::due(set.fire, self.now, wall);
                }
                for window in &timer.windows {
                    let group = cells.view.group_of(&timer.key, window).ok_or_else(foreign_timer)?;
                    // the tag outlives the message, which may be large
                    let tag = if timer.tag.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(&timer.tag) };
                    weight += size_of::<TimerUpdate>() + tag.len();
                    updates.push(TimerUpdate { group, family: family as u32, tag, set: timer.set });
                }
            }
            self.held.change(0, weight)?;
        }
        lock(&self.talk).timers.append(&mut updates);
        Ok(())
    }

    async fn close(&self, stream: usize) -> Next {
        let complete = {
            let mut talk = lock(&self.talk);
            if let Some(closed) = talk.closed.get_mut(stream) {
                *closed = true;
            }
            talk.complete()
        };
        if complete { self.finish().await } else { Next::Running }
    }

    /// Takes the worker's answer.
    pub async fn answer(&self, answer: Answer) -> Next {
        let complete = {
            let mut talk = lock(&self.talk);
            talk.answer = Some(answer);
            talk.complete()
        };
        if complete { self.finish().await } else { Next::Running }
    }

    /// It is asked to give something back: until it has answered it is not done, whatever it says, for then nobody would take
    /// what it gave.
    pub fn splitting(&self) {
        lock(&self.talk).splitting = true;
    }

    /// Takes the answer to that.
    pub async fn split(&self, reply: SplitReply) -> Next {
        self.link.send(Event::Split { bundle: self.id, reply }).await;
        let complete = {
            let mut talk = lock(&self.talk);
            talk.splitting = false;
            talk.complete()
        };
        if complete { self.finish().await } else { Next::Running }
    }

    /// Tells the shard that it is done; of two tasks that both saw it complete, one does.
    async fn finish(&self) -> Next {
        if let Some(asking) = &self.asking {
            let messages = std::mem::take(&mut lock(&self.talk).kept);
            return match asking.answer(&messages) {
                Ok(_) if self.end() => Next::Over,
                Ok(event) => {
                    self.link.send(event).await;
                    Next::Over
                }
                Err(error) => self.fail(error).await,
            };
        }
        let (answer, timers) = {
            let mut talk = lock(&self.talk);
            if std::mem::replace(&mut talk.over, true) {
                return Next::Over;
            }
            (talk.answer.take().unwrap_or_default(), std::mem::take(&mut talk.timers))
        };
        let cells = lock(&self.cells).take();
        self.held.release(); // what it leaves is the engine's
        let state = match cells {
            Some(Cells { refused: Some(error), .. }) => {
                self.link.send(Event::Failed { bundle: self.id, error }).await;
                return Next::Over;
            }
            cells => cells.map(|cells| cells.view.into_delta()).unwrap_or_default(),
        };
        let Answer { mut residuals, finalize, metrics } = answer;
        if self.truncates {
            let kept = std::mem::take(&mut lock(&self.talk).kept);
            match self.left(kept) {
                Ok(left) => residuals = left,
                Err(error) => {
                    self.link.send(Event::Failed { bundle: self.id, error }).await;
                    return Next::Over;
                }
            }
        }
        let result = Box::new(BundleResult { state, timers, residuals, finalize, metrics });
        self.link.send(Event::Done { bundle: self.id, result }).await;
        Next::Over
    }

    /// Tells the shard that it failed. A question cannot: what defines windows is wrong for good.
    pub async fn fail(&self, error: Error) -> Next {
        if self.end() {
            return Next::Over;
        }
        if self.asking.is_some() {
            self.link.tell(|news| news.failed = Some(error));
        } else {
            self.link.send(Event::Failed { bundle: self.id, error }).await;
        }
        Next::Over
    }

    /// Tells the shard that the worker's code failed, in the worker's words.
    pub async fn fail_in_worker(&self, text: &str) -> Next {
        let refused = lock(&self.cells).as_mut().and_then(|cells| cells.refused.take());
        self.fail(refused.unwrap_or_else(|| failure::udf_failed(text, self.stage.names()))).await
    }

    /// Ends it without a word: its state is void, later messages about it are dropped. Tells whether it was over already.
    pub fn end(&self) -> bool {
        let was = std::mem::replace(&mut lock(&self.talk).over, true);
        lock(&self.cells).take();
        self.held.release();
        was
    }

    /// Runs `serve` on the bundle's state, which nobody else uses meanwhile.
    ///
    /// # Errors
    /// `STATE_BUNDLE_OVER` when it is over, `BUNDLE_STATE_TOO_LARGE` when it has written more than there is room for, and whatever `serve` gives.
    pub fn with_cells<T>(&self, serve: impl FnOnce(&mut Cells) -> Result<T>) -> Result<T> {
        let mut cells = lock(&self.cells);
        let cells = cells.as_mut().ok_or_else(bundle_over)?;
        if let Some(refused) = &cells.refused {
            return Err(refused.clone());
        }
        let served = serve(cells)?;
        let weight = cells.view.weight();
        let held = self.held.change(std::mem::replace(&mut cells.weight, weight), weight);
        held.inspect_err(|error| cells.refused = Some(error.clone()))?;
        Ok(served)
    }
}

impl Cells {
    /// The group that a state key names. `key` is in outer encoding, `None` is the bundle's only one; a custom window comes without
    /// its end.
    ///
    /// # Errors
    /// `STATE_FOREIGN_KEY` when it is not one of the bundle's.
    pub fn group(&mut self, key: Option<&[u8]>, window: Window) -> Result<u32> {
        let window = match window {
            Window::Custom { encoded, max } => {
                let max = self.custom.get(&encoded).copied().unwrap_or(max);
                Window::Custom { max, encoded }
            }
            other => other,
        };
        let found = match key {
            Some(key) => self.view.group_of(key, &window),
            None => self.view.lone_group(&window),
        };
        found.ok_or_else(|| {
            Error::new(
                "STATE_FOREIGN_KEY",
                Domain::Guest,
                "the worker asked for state of a key that is not in its bundle",
            )
        })
    }
}

/// The answer to state requests of a bundle that is over or was never there.
pub(super) fn bundle_over() -> Error {
    Error::new("STATE_BUNDLE_OVER", Domain::Guest, "the bundle is over or was abandoned; its state cannot be used")
}

fn foreign_timer() -> Error {
    Error::new("STATE_FOREIGN_KEY", Domain::Guest, "the worker set a timer for a key that is not in its bundle")
}

fn foreign_stream(transform: &str) -> Error {
    let message = format!("the worker sent data of {transform}, which its stage does not have");
    Error::new("WORKER_PROTOCOL", Domain::Guest, message)
}
