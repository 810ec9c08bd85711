//! A sink that is much slower than the source: the memory of the process stays where it was, and what was read is soon written.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use thalweg::compose::{Composer, Connectors, Settings};
use thalweg::native::Registry;
use thalweg::pipeline::{Element, PipelineBuilder, Windows};
use thalweg::runtime::{self, SourceSpec};
use thalweg_beam::translate::translate;
use thalweg_core::batch::{Batch, BatchBuilder};
use thalweg_core::error::Result as CoreResult;
use thalweg_core::id::{Epoch, SplitId};
use thalweg_core::port::sink::{Prepared, Sink};
use thalweg_core::port::source::{Read, Source};
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;

const SOURCE: &str = "thalweg:source:test_flood:v1";
const SINK: &str = "thalweg:sink:test_slow:v1";
const ROW: usize = 1024;
/// What the sink takes: a small part of what the source gives, which is as much as it is asked for.
const BYTES_PER_SECOND: u64 = 20 << 20;
/// What memory may grow by besides the batches that wait.
const ELSE_MAX: u64 = 64 << 20;
const SHARDS: u16 = 2;
const SECONDS: u64 = 10;

/// As many rows as it is asked for, for ever.
struct Flood(u64);

impl Source for Flood {
    fn open(&mut self, _: SplitId, _: Option<&[u8]>) -> CoreResult<()> {
        Ok(())
    }

    fn poll(&mut self, _: SplitId, rows: usize) -> CoreResult<Option<Read>> {
        let mut batch = BatchBuilder::new();
        for _ in 0..rows {
            batch.push(b"", &[7; ROW], EventTime(0), &[Window::Global]);
            self.0 += 1;
        }
        let position = Bytes::copy_from_slice(&self.0.to_be_bytes());
        Ok(Some(Read { batch: batch.finish(), position, watermark: EventTime(0), finished: false }))
    }
}

/// Takes its time for every byte.
struct Slow(Arc<AtomicU64>);

impl Sink for Slow {
    fn prepare(&mut self, _: Epoch, batches: &[Batch]) -> CoreResult<Prepared> {
        for rows in batches.iter().map(Batch::len) {
            sleep(Duration::from_millis((rows * ROW) as u64 * 1000 / BYTES_PER_SECOND));
            self.0.fetch_add(rows as u64, Ordering::SeqCst);
        }
        Ok(Prepared::default())
    }
}

/// Bytes of memory that this process has.
fn memory() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split_whitespace().nth(1).context("no resident pages")?.parse()?;
    Ok(pages * 4096)
}

#[test]
fn a_slow_sink_stops_the_source_and_memory_stays_bounded() -> Result<()> {
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&taken);
    let mut connectors = Connectors::default();
    connectors.register_source(SOURCE, |_| {
        let open = Arc::new(|| Ok(Box::new(Flood(0)) as Box<dyn Source>));
        Ok(SourceSpec::new(vec![SplitId(0), SplitId(1)], open))
    });
    connectors.register_sink(SINK, move |_| Ok(Box::new(Slow(Arc::clone(&counted)))));
    let mut build = PipelineBuilder::new();
    let rows = build.collection("Flood.output", Element::Bytes, Windows::Global, false);
    build.transform("Flood", SOURCE, Vec::new(), &[], &[("output", &rows)]);
    build.transform("Slow", SINK, Vec::new(), &[("input", &rows)], &[]);
    let settings = Settings { shards: SHARDS, epoch_ms: 200, ..Settings::default() };
    let composer = Composer::new(settings, Registry::standard())?.with_connectors(connectors);
    // per shard, what an epoch writes to sinks is eight queues at most: those of the open epoch, and those that are being committed
    let waits = 2 * 8 * composer.config().queue_bytes_max as u64 * u64::from(SHARDS);
    let composed = composer.compose(&mut translate(build.finish())?, "flood")?;
    let before = memory()?;
    let running = runtime::start(composer.job("flood", composed))?;
    let (progress, began, mut most) = (running.progress(), Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(SECONDS) {
        sleep(Duration::from_millis(20));
        most = most.max(memory()?.saturating_sub(before));
    }
    let (read, written) = (progress.read(), taken.load(Ordering::SeqCst));
    println!("memory grew by {} MiB; {read} rows read, {written} taken by the sink", most >> 20);
    running.control().cancel();
    drop(running.join());
    ensure!(written > 0, "the sink took nothing");
    ensure!(
        most < waits + ELSE_MAX,
        "memory grew by {} MiB and not by {} at most",
        most >> 20,
        (waits + ELSE_MAX) >> 20
    );
    Ok(())
}
