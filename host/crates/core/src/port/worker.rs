//! The worker port: how a stage is executed. A bundle goes in; outputs, a state delta, timers and residuals come out.
//!
//! The port is *submit and events*, never a blocking call, because for the Fn API a bundle is a conversation. A
//! worker that computes in the caller's thread (Wasm, native) does its work inside [`Worker::submit`] and has the events
//! ready when [`Worker::poll`] is called in the same turn of the shard loop.
//!
//! A bundle changes nothing until the engine applies its [`BundleResult`]; a bundle that failed, was abandoned or
//! whose worker was lost leaves no trace. Events of a bundle the engine no longer knows are dropped by their id.

use crate::batch::{Batch, Pane};
use crate::error::{Error, Result};
use crate::id::{BundleId, CacheToken, StageId, StateId, key_hash};
use crate::metric::Metrics;
use crate::short::ShortBytes;
use crate::state::{SideView, StateDelta, StateView};
use crate::time::{EventTime, ProcessingTime};
use crate::window::{Merges, Window, WindowSet};
use bytes::Bytes;
use std::sync::Arc;

/// A key and window whose elements and timers stand together in a keyed bundle. Never in two bundles at once.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Group {
    /// The key in outer encoding.
    pub key: ShortBytes,
    /// Hash of the key.
    pub hash: u64,
    /// The window.
    pub window: Window,
}

impl Group {
    /// The group of a key, whose hash is computed.
    #[must_use]
    pub fn new(key: &[u8], window: Window) -> Self {
        Self { key: ShortBytes::copy(key), hash: key_hash(key), window }
    }
}

/// The time domain of a timer family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TimeDomain {
    /// Fires when the stage's input watermark reaches it.
    Event,
    /// Fires when the clock reaches it.
    Processing,
}

/// One item of a keyed bundle, in the order in which the worker must run them.
#[derive(Clone, Debug)]
pub enum Item {
    /// A row of `input[batch]`.
    Row {
        /// Index into [`Input::Keyed`]'s groups.
        group: u32,
        /// Index into its batches.
        batch: u32,
        /// Index into that batch's rows.
        row: u32,
    },
    /// A timer that has come due.
    Timer {
        /// Index into the groups.
        group: u32,
        /// The timer; apart, so that rows, of which there are many, stay small.
        timer: Box<DueTimer>,
    },
}

/// A timer that fires in this bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DueTimer {
    /// Index into [`WorkerStage::timers`](crate::graph::WorkerStage).
    pub family: u32,
    /// The dynamic tag; empty if there is none.
    pub tag: Bytes,
    /// When it was to fire: milliseconds of event or processing time, after the family's domain.
    pub fire: i64,
    /// Timestamp of what it outputs.
    pub hold: EventTime,
    /// Pane of the element that set it.
    pub pane: Pane,
}

/// The elements and timers of a bundle.
#[derive(Clone, Debug)]
pub enum Input {
    /// Elements in input order, for stages without state.
    Elements {
        /// Each with the index of the stage's input it belongs to.
        batches: Vec<(u32, Batch)>,
    },
    /// Elements and timers by key and window, for stages with state or timers.
    Keyed {
        /// The groups, each a key and one window; the state view has the same.
        groups: Arc<[Group]>,
        /// What rows point into.
        batches: Vec<Batch>,
        /// Groups contiguous, within a group in the order to run.
        items: Vec<Item>,
    },
}

impl Input {
    /// Number of elements and timers.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Elements { batches } => batches.iter().map(|(_, b)| b.len()).sum(),
            Self::Keyed { items, .. } => items.len(),
        }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A bundle to run.
#[derive(Debug)]
pub struct BundleStart {
    /// Its id, new with every attempt.
    pub bundle: BundleId,
    /// The stage.
    pub stage: StageId,
    /// What to process.
    pub input: Input,
    /// State of the bundle's groups, and only of them; given back inside [`BundleResult`]. Owned and `Send`: requests are
    /// served from it without the engine.
    pub state: StateView,
    /// Side inputs in the order of the stage's declaration: immutable snapshots.
    pub sides: Vec<Arc<SideView>>,
    /// Under which a worker may cache state beyond the bundle.
    pub cache_token: CacheToken,
    /// The stage's input watermark.
    pub watermark: EventTime,
    /// Processing time of the bundle; constant in it and equal in a retry.
    pub now: ProcessingTime,
    /// The job drains: the elements, restrictions of a splittable function, are not to be processed but truncated. What is
    /// left of them are the bundle's residuals.
    pub truncate: bool,
}

/// What the engine asks of a worker. None is answered synchronously.
#[derive(Debug)]
pub enum Command {
    /// Run a bundle.
    Start(Box<BundleStart>),
    /// Tell how far it is: answered by [`Event::Progress`].
    Progress(BundleId),
    /// Give back this fraction of what is left: answered by [`Event::Split`].
    Split(BundleId, f64),
    /// Forget the bundle; its state view is void.
    Abandon(BundleId),
    /// The bundle's epoch is committed and it had asked to know.
    Finalize(BundleId),
    /// Merge windows of an SDK-defined function, a list per key: answered by [`Event::WindowsMerged`].
    MergeWindows {
        /// Echoed in the answer.
        request: u64,
        /// The grouping whose windows they are.
        stage: StageId,
        /// One list per key.
        keys: Vec<Vec<Window>>,
    },
    /// Map windows of the main input to those of a side input: answered by [`Event::WindowsMapped`].
    MapWindows {
        /// Echoed in the answer.
        request: u64,
        /// The stage with the side input.
        stage: StageId,
        /// Which side input.
        side: u32,
        /// Windows of the main input.
        windows: Vec<Window>,
    },
    /// Merge accumulators of a combine, a list per cell: answered by [`Event::Compacted`].
    Compact {
        /// Echoed in the answer.
        request: u64,
        /// The combining stage.
        stage: StageId,
        /// Encoded accumulators, one list per cell.
        cells: Vec<Vec<Bytes>>,
    },
}

/// What a timer of the bundle did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimerUpdate {
    /// Index into the bundle's groups.
    pub group: u32,
    /// Index into the stage's timer families.
    pub family: u32,
    /// The dynamic tag; empty if there is none.
    pub tag: Bytes,
    /// Set to (fire, hold, pane), or cleared.
    pub set: Option<TimerSet>,
}

/// When a timer fires and what it holds back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerSet {
    /// Milliseconds in the family's domain.
    pub fire: i64,
    /// Timestamp of its output, which holds the stage's output watermark until it has fired.
    pub hold: EventTime,
    /// Pane of the element that set it.
    pub pane: Pane,
}

/// Work a splittable function gave back: it becomes pending input of the same stage.
#[derive(Clone, Debug)]
pub struct Residual {
    /// Which of the stage's entry points takes it: an index given meaning by the adapter (0 is the main input).
    pub entry: u32,
    /// The element with its restriction, as the adapter's entry point expects it.
    pub batch: Batch,
    /// Not before so many milliseconds from now.
    pub delay_ms: i64,
    /// No output of it will be earlier than this; `None` holds at the element's own time.
    pub watermark: Option<EventTime>,
}

/// What a bundle did, once it is done.
#[derive(Debug, Default)]
pub struct BundleResult {
    /// Changes of the bundle's state.
    pub state: StateDelta,
    /// Timers in the order they were set; a later one of the same name replaces an earlier one.
    pub timers: Vec<TimerUpdate>,
    /// Work given back.
    pub residuals: Vec<Residual>,
    /// Whether the worker wants [`Command::Finalize`] after the commit.
    pub finalize: bool,
    /// Metric deltas of the bundle.
    pub metrics: Metrics,
}

/// Answer to [`Command::Split`]: the bundle now covers less.
#[derive(Clone, Debug, Default)]
pub struct SplitReply {
    /// Of the bundle's unkeyed input, the first so many elements stay whole with the bundle (`None`: all).
    pub keep: Option<usize>,
    /// The part of the element after them that stays; replaces it in a retry.
    pub primary: Option<Batch>,
    /// Parts given back; pending at once.
    pub residuals: Vec<Residual>,
}

/// What a worker says. Order matters within a bundle only.
#[derive(Debug)]
pub enum Event {
    /// Elements for an output of the stage; they count when the bundle is applied.
    Output {
        /// The bundle.
        bundle: BundleId,
        /// Index into the stage's outputs.
        output: u32,
        /// The elements.
        batch: Batch,
    },
    /// The bundle is complete.
    Done {
        /// The bundle.
        bundle: BundleId,
        /// What it did.
        result: Box<BundleResult>,
    },
    /// The bundle failed; it will be retried or fail the job.
    Failed {
        /// The bundle.
        bundle: BundleId,
        /// Why.
        error: Error,
    },
    /// How far a bundle is: elements consumed, and metrics so far (attempted only).
    Progress {
        /// The bundle.
        bundle: BundleId,
        /// Elements taken from the input so far.
        consumed: u64,
        /// Totals of the running attempt.
        metrics: Metrics,
    },
    /// Metrics of the worker itself, totals since it came up (attempted only).
    Harness {
        /// The totals.
        metrics: Metrics,
    },
    /// A split was made, or cannot be made: then nothing comes back.
    Split {
        /// The bundle.
        bundle: BundleId,
        /// What stays and what comes back.
        reply: SplitReply,
    },
    /// Answer to [`Command::MergeWindows`].
    WindowsMerged {
        /// Of the command.
        request: u64,
        /// Merges per key.
        keys: Vec<Merges>,
    },
    /// Answer to [`Command::MapWindows`].
    WindowsMapped {
        /// Of the command.
        request: u64,
        /// Windows of the side input, one set per window asked for.
        windows: Vec<WindowSet>,
    },
    /// Answer to [`Command::Compact`].
    Compacted {
        /// Of the command.
        request: u64,
        /// One accumulator per cell.
        cells: Vec<Bytes>,
    },
    /// The worker can run up to so many bundles of this stage at once. Sent when it comes up and when that changes.
    Credit {
        /// The stage.
        stage: StageId,
        /// Bundles at once.
        bundles: u32,
    },
    /// The worker is gone: its bundles are to be run again, on whoever comes next.
    Lost {
        /// Why.
        error: Error,
    },
}

/// A worker of one shard. Lives on the shard's thread; may hand work to others behind its back.
pub trait Worker {
    /// Takes a command. Never blocks; work that cannot be done in the call is answered by later events.
    ///
    /// # Errors
    /// Only when the worker as a whole is unusable and will stay so; the job fails.
    fn submit(&mut self, command: Command) -> Result<()>;

    /// Moves the events that are ready into `out`, oldest first. Never blocks.
    fn poll(&mut self, out: &mut Vec<Event>);

    /// The bundle that has gone longest without a sign of whoever computes it elsewhere, behind the milliseconds since the last one. None for a worker
    /// that computes in the caller's thread. Asked about once a second.
    fn awaited(&mut self) -> Option<(u64, Awaited)> {
        None
    }
}

/// A bundle that somebody else computes, and what was heard of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Awaited {
    /// Its stage.
    pub stage: StageId,
    /// Which bundle.
    pub bundle: BundleId,
    /// Counts the signs it gave: elements taken, outputs, requests.
    pub signs: u64,
}

/// Declares a state of a stage: where its cells are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateSpec {
    /// The name the worker uses (transform and local name for the Fn API).
    pub name: String,
    /// Where it is stored.
    pub id: StateId,
    /// What its cells hold, in words that stay the same as long as that does: another pipeline takes the state over by them.
    pub kept: String,
}
