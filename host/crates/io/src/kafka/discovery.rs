//! Looking for partitions that topics are given while they are read.

use super::source::{KafkaSourceConfig, clock_ms};
use super::splits::KafkaSplits;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use thalweg_core::error::Result;

/// Asks for the partitions now and then, on a thread of its own: a reader never waits for the answer.
#[derive(Debug)]
pub(super) struct Discovery {
    /// Milliseconds between two questions; none are asked without it.
    every_ms: Option<i64>,
    asked_ms: i64,
    asking: Option<Receiver<Result<KafkaSplits>>>,
}

impl Discovery {
    pub(super) fn new(every_ms: Option<u64>) -> Self {
        let every_ms = every_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
        Self { every_ms, asked_ms: clock_ms(), asking: None }
    }

    /// The partitions there are, when an answer has come. A cluster that does not answer is asked again.
    pub(super) fn look(&mut self, config: &KafkaSourceConfig, known: &KafkaSplits) -> Option<KafkaSplits> {
        let every = self.every_ms?;
        if let Some(asking) = &self.asking {
            let answer = asking.try_recv();
            if matches!(answer, Err(TryRecvError::Empty)) {
                return None;
            }
            self.asking = None;
            match answer {
                Ok(Ok(found)) => return Some(found),
                Ok(Err(e)) => tracing::warn!(target: "kafka", "new partitions could not be looked for: {e}"),
                Err(_) => {}
            }
        }
        let now = clock_ms();
        if now.saturating_sub(self.asked_ms) >= every {
            self.asked_ms = now;
            let (tell, found) = sync_channel(1);
            let (config, known) = (config.clone(), known.clone());
            let look = move || drop(tell.send(known.look(&config)));
            let started = std::thread::Builder::new().name("kafka-partitions".to_owned()).spawn(look);
            self.asking = started.is_ok().then_some(found);
        }
        None
    }
}
