//! What a shard is told and what it wants done.

use super::hold::Hold;
use crate::batch::Batch;
use crate::error::Error;
use crate::graph::{EnvironmentId, TimerFamily};
use crate::id::{EdgeId, Epoch, ShardId, SinkId, SourceId, SplitId, StageId};
use crate::metric::Metrics;
use crate::port::source::Read;
use crate::port::store::CellWrite;
use crate::port::worker::{self, StateSpec};
use crate::time::{EventTime, ProcessingTime};

/// What one shard says to another. Delivered in order per pair of shards.
#[derive(Clone, Debug)]
pub enum Message {
    /// Elements of an edge.
    Data {
        /// Which edge.
        edge: EdgeId,
        /// The elements; keys all belong to the receiver where the edge is keyed.
        batch: Batch,
    },
    /// Nothing earlier will come over this edge from the sender.
    Watermark {
        /// Which edge.
        edge: EdgeId,
        /// Not before this.
        to: EventTime,
    },
    /// The sender's epoch ends here.
    Marker {
        /// Before which its readers will ask for no window of a side input.
        passed: Vec<(StageId, EventTime)>,
    },
    /// The sender of this message has consumed so much of what the receiver had sent it.
    Credit {
        /// Over which edge.
        edge: EdgeId,
        /// Bytes.
        weight: usize,
    },
}

/// A message with its sender and the sender's open epoch.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Who sends.
    pub from: ShardId,
    /// In which epoch of the sender.
    pub epoch: Epoch,
    /// What.
    pub message: Message,
}

/// What happens to a shard.
#[derive(Debug)]
pub enum Event {
    /// The first event: restores what is stored, opens sources, fires what has to be fired once.
    Start,
    /// Another shard speaks.
    Message(Envelope),
    /// A poll gave something.
    Read {
        /// Which source.
        source: SourceId,
        /// Which split.
        split: SplitId,
        /// What.
        read: Read,
    },
    /// Splits of a source that came into being, and belong to this shard: they are opened at their beginning.
    Splits {
        /// Which source.
        source: SourceId,
        /// Which splits.
        splits: Vec<SplitId>,
    },
    /// A worker speaks.
    Worker {
        /// The worker's environment.
        environment: Option<EnvironmentId>,
        /// What it says.
        event: worker::Event,
    },
    /// The job asks to end an epoch.
    Seal(Epoch),
    /// An epoch is lasting.
    Committed(Epoch),
    /// A step of a script that owns time.
    Script {
        /// The script's stage.
        stage: StageId,
        /// Index of its event.
        step: usize,
    },
    /// The function of a keyed stage is another one from now on, which keeps more and sets more timers.
    Grow {
        /// The stage.
        stage: StageId,
        /// States that it did not have.
        states: Vec<StateSpec>,
        /// Timer families that it did not have; their indices follow those there are.
        timers: Vec<TimerFamily>,
    },
    /// From now on the clock is the script's, and this late.
    Clock(ProcessingTime),
    /// Stop reading and finish.
    Drain,
    /// Leave so much undone from now on.
    Hold(Hold),
    /// Nothing but time has passed.
    Alarm,
}

/// How a shard stands, for the job.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Report {
    /// Messages with elements or watermarks sent to other shards.
    pub sent: u64,
    /// Such messages received, and orders of the job: steps of scripts, the clock, drain, hold.
    pub received: u64,
    /// Nothing can happen here without a message, a read or time.
    pub idle: bool,
    /// Every stage is at the end of time and nothing is pending.
    pub finished: bool,
    /// Everything is held and nothing runs.
    pub resting: bool,
    /// The open epoch has changed as much state as one may.
    pub full: bool,
}

/// A shard's part of an epoch.
#[derive(Debug)]
pub struct SealedPart {
    /// Whose.
    pub shard: ShardId,
    /// Which epoch.
    pub epoch: Epoch,
    /// Cells to write.
    pub writes: Vec<CellWrite>,
    /// Batches for sinks.
    pub sinks: Vec<(SinkId, Vec<Batch>)>,
    /// Nothing that a sink gets in a later epoch is earlier than this, late elements aside.
    pub reached: Vec<(SinkId, EventTime)>,
}

/// What a shard wants done.
#[derive(Debug)]
pub enum Effect {
    /// Tell the worker of a stage.
    Worker(StageId, worker::Command),
    /// Open a split where it left off, then poll it when asked.
    Open {
        /// Which source.
        source: SourceId,
        /// Which split.
        split: SplitId,
        /// From where; `None` is the beginning.
        position: Option<bytes::Bytes>,
    },
    /// Poll a split until it gives something: answered by [`Event::Read`], now or later.
    Poll {
        /// Which source.
        source: SourceId,
        /// Which split.
        split: SplitId,
        /// About how many rows.
        rows: usize,
    },
    /// Carry a message.
    Send(ShardId, Envelope),
    /// The shard's part of an epoch is complete.
    Sealed(SealedPart),
    /// Come back with [`Event::Alarm`] at this time.
    Alarm(ProcessingTime),
    /// Tell the job.
    Report(Report),
    /// Metrics of a bundle: of an attempt, or now committed.
    Metrics {
        /// Whether they are committed.
        committed: bool,
        /// The deltas.
        metrics: Metrics,
    },
    /// Metrics of what runs now on this shard, so far: they replace those told before, and are attempted only.
    Running(Metrics),
    /// The job cannot go on.
    Fail(Error),
}
