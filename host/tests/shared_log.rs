//! Jobs of one process that share a log: what one writes another reads, and each has its state beside the log.

use anyhow::{Result, ensure};
use std::path::Path;
use std::sync::Arc;
use thalweg::compose::{Composer, Settings, SharedLog};
use thalweg::native::Registry;
use thalweg::{runtime, yaml};
use thalweg_beam::translate::translate;
use thalweg_core::engine::Outcome;
use thalweg_core::id::Epoch;
use thalweg_core::port::log::Log as _;
use thalweg_core::port::store::StateStore as _;
use thalweg_state::{Options, RocksLog};

const WRITER: &str = "
pipeline:
  type: chain
  transforms:
    - type: Create
      config: {elements: [{word: b}, {word: a}, {word: c}]}
    - type: WriteToKafka
      config: {topic: words, bootstrap_servers: embedded, format: JSON}
";
const READER: &str = "
pipeline:
  type: chain
  transforms:
    - type: ReadFromKafka
      config:
        topic: words
        bootstrap_servers: embedded
        auto_offset_reset_config: earliest
        stop_at: end_offsets
        format: RAW
    - type: WriteToKafka
      config: {topic: copied, bootstrap_servers: embedded, format: RAW}
";

fn run(dir: &Path, job: &str, text: &str, shared: &Arc<SharedLog>) -> Result<()> {
    let settings = Settings { shards: 2, ..Settings::default() };
    let composer = Composer::new(settings, Registry::standard())?
        .with_state_dir(Some(dir.join(job)))
        .with_shared_log(Some(Arc::clone(shared)));
    let pipeline = yaml::load("words.yaml", text, &Default::default(), composer.components().as_ref())?;
    let composed = composer.compose(&mut translate(pipeline)?, job)?;
    ensure!(runtime::start(composer.job(job, composed))?.join().outcome == Outcome::Done, "{job}");
    Ok(())
}

#[test]
fn what_one_job_writes_another_reads_and_both_keep_their_state_in_one_place() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let shared = || Arc::new(SharedLog::new(dir.path().join("log"), Options::default(), "named-"));
    let one = shared();
    run(dir.path(), "named-writer", WRITER, &one)?;
    run(dir.path(), "named-reader", READER, &one)?;
    run(dir.path(), "job-1", READER, &one)?;
    // done already: nothing is read or written again
    run(dir.path(), "named-reader", READER, &one)?;
    let copied =
        |shared: &SharedLog| Ok::<_, anyhow::Error>(RocksLog::new(shared.database()?).bounds("copied", 0)?.end);
    ensure!(copied(&one)? == 6, "three words, copied by two jobs, once each: {}", copied(&one)?);
    ensure!(!dir.path().join("named-writer").exists(), "a job that shares a log has no directory of its own");
    // as another server that has the same directory: it finds what is there without opening it
    let other = shared();
    ensure!(other.has("named-reader")? && !other.has("named-other")? && !other.has("job-1")?);
    drop(one);
    let again = shared();
    let database = again.database()?;
    ensure!(database.store_of("named-reader")?.last_epoch()? > Epoch(0), "its state is kept");
    ensure!(!database.has_store_of("job-1"), "nobody could find it again");
    ensure!(copied(&again)? == 6, "the log is kept");
    Ok(())
}
