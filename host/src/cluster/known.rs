//! A job as a process of the cluster knows it: what was ordered, what became of it, and this process's part.

use super::node::Node;
use super::order::{Dealings, Ended, Run};
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_beam::job::{JobOptions, JobReporter, JobState, PreparedJob};

/// A job that is known here.
pub struct Known {
    pub run: Arc<Run>,
    /// Whose the splits of its sources are, once the journal has said it.
    pub dealt: Option<Dealings>,
    /// None while the journal is still told: a job that has ended long ago needs none.
    pub reporter: Option<JobReporter>,
    pub results: BTreeMap<u16, Ended>,
    pub node: Option<Arc<Node>>,
    pub draining: bool,
    pub paused: bool,
    /// Until when its sources are held for a savepoint, in milliseconds since 1970 UTC.
    pub held_ms: i64,
    pub cancelled: bool,
    /// This process has no part in it any more.
    pub over: bool,
    /// It is over in all processes.
    pub ended: bool,
}

/// What is left of a job whose place another takes.
pub struct Replaced {
    pub node: Option<Arc<Node>>,
    pub reporter: Option<JobReporter>,
    pub paused: bool,
}

impl Known {
    /// A job that was just ordered.
    pub fn new(run: Arc<Run>, reporter: Option<JobReporter>) -> Self {
        let (results, node) = (BTreeMap::new(), None);
        let (draining, paused, held_ms, cancelled, over, ended) = (false, false, 0, false, false, false);
        let dealt = run.dealt.clone();
        Self { run, dealt, reporter, results, node, draining, paused, held_ms, cancelled, over, ended }
    }

    /// Another job takes its place: it is over.
    pub fn replaced(&mut self) -> Replaced {
        (self.over, self.ended) = (true, true);
        Replaced { node: self.node.take(), reporter: self.reporter.clone(), paused: self.paused }
    }

    /// What its users are told while it runs.
    pub fn state(&self) -> JobState {
        if self.paused && !self.draining { JobState::Stopped } else { JobState::Running }
    }
}

/// A job as it was submitted, wherever that was.
pub fn prepared(id: &str, run: &Run) -> PreparedJob {
    PreparedJob {
        id: id.to_owned(),
        name: run.name.clone(),
        pipeline: Arc::new(run.pipeline.clone().unwrap_or_default()),
        options: Arc::new(JobOptions::new(run.options.clone().unwrap_or_default())),
    }
}
