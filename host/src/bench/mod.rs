//! The workloads of the benchmark as pipelines, with the user's function as a component or in the host.
//!
//! In: the generated input (`text.txt`, `events.tsv`, `events.jsonl`, `table.csv`). Out: number and checksum of the results, events, CPU time. The same
//! engine, shuffle and limits as in any job; only the sink is special: it adds up what it gets.
//!
//! | workload | pipeline |
//! |---|---|
//! | W1 | lines -> *split* -> count per word |
//! | W2 | lines -> *parse and timestamp* -> windows of one minute -> count per key and window |
//! | W3 | lines -> *change JSON documents* |
//! | W4 | lines -> keys -> *count so far, per key* |
//! | W5 | lines -> keys -> *join with a table* |
//!
//! [`kafka_pipeline`] has those that run from one Kafka topic to another.

mod count;
mod kafka;
mod pipelines;
mod tally;
#[cfg(test)]
mod tests;
mod udfs;

pub use kafka::{Flow, Topics, pipeline as kafka_pipeline};
pub use pipelines::{Function, Workload, pipeline};
pub use tally::Tally;

use crate::compose::{Composer, Connectors, Settings};
use crate::native::Registry;
use crate::runtime;
use std::path::Path;
use std::time::Duration;
use thalweg_beam::translate::translate;
use thalweg_core::engine::Outcome;
use thalweg_core::error::{Error, Result};
use thalweg_proto::pipeline::Pipeline;

/// What a run gave.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Outcomes {
    /// Rows of the result.
    pub rows: u64,
    /// Their checksum: the sum of the counts.
    pub check: u64,
    /// Words for W1, lines for the others.
    pub events: u64,
    /// CPU time of the process for the job.
    pub cpu: Duration,
}

/// Runs a workload over the input in `data`; where its state is, and how many threads it has, say the settings.
///
/// # Errors
/// When the input or the component is not there, or the job fails.
pub fn run(workload: Workload, function: &Function, data: &Path, settings: Settings) -> Result<Outcomes> {
    let tally = Tally::default();
    let mut registry = Registry::standard();
    udfs::register(&mut registry, pipelines::factors(data));
    count::register(&mut registry);
    let mut connectors = Connectors::default();
    tally.register(&mut connectors);
    let composer = Composer::new(settings, registry)?.with_connectors(connectors);
    let (read, cpu) = timed(&composer, pipeline(workload, function, data))?;
    let (rows, check) = tally.total();
    // each word is counted once, so the counts of W1 sum up to the words
    let events = if workload == Workload::W1 { check } else { read };
    Ok(Outcomes { rows, check, events, cpu })
}

/// Runs a workload from topic to topic in this process, to the end of the topic; gives the records read and the CPU time.
///
/// # Errors
/// When the brokers or the component are not there, or the job fails.
pub fn run_on_kafka(flow: Flow, component: &Path, topics: &Topics, settings: Settings) -> Result<(u64, Duration)> {
    let composer = Composer::new(settings, Registry::standard())?;
    timed(&composer, kafka_pipeline(flow, component, topics))
}

fn timed(composer: &Composer, pipeline: Pipeline) -> Result<(u64, Duration)> {
    let mut translation = translate(pipeline)?;
    let composed = composer.compose(&mut translation, "bench")?;
    let before = cpu_time()?;
    let running = runtime::start(composer.job("bench", composed))?;
    let progress = running.progress();
    match running.join().outcome {
        Outcome::Failed(error) => Err(error),
        Outcome::Cancelled => Err(Error::internal("JOB_CANCELLED", "the job was cancelled")),
        Outcome::Done | Outcome::Drained => Ok((progress.read(), cpu_time()?.saturating_sub(before))),
    }
}

/// CPU time of the process so far, in user mode and in the system.
fn cpu_time() -> Result<Duration> {
    /// Linux counts in hundredths of a second, whatever the machine.
    const TICK: Duration = Duration::from_millis(10);
    let failed = |why: String| Error::external("BENCH_CPU_TIME", format!("cannot read the process's CPU time: {why}"));
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(|e| failed(e.to_string()))?;
    // the name, in parentheses, may hold anything; what follows are plain fields
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut ticks = fields.split_whitespace().skip(11).map_while(|f| f.parse::<u32>().ok());
    match (ticks.next(), ticks.next()) {
        (Some(user), Some(system)) => Ok(TICK * user + TICK * system),
        _ => Err(failed("/proc/self/stat has another form".to_owned())),
    }
}
