//! `thalweg run`: a pipeline file, run in this process to its end.

use super::args::RunArgs;
use super::exit::{Failed, INTERRUPTED, print};
use super::progress::Bar;
use super::table::{table, thousands};
use super::{logs, signals};
use crate::compose::{ComponentStore, Composer, Place, Settings, SinkReport, StateTtl};
use crate::native::Registry;
use crate::pipeline::urn;
use crate::savepoint::Savepoint;
use crate::topics::Door;
use crate::{runtime, yaml};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use thalweg_beam::translate::{Role, Translation, translate};
use thalweg_core::engine::Outcome;
use thalweg_core::error::Error;
use thalweg_core::id::Epoch;

/// Runs the file.
pub fn run(args: &RunArgs) -> Result<ExitCode, Failed> {
    logs::init(&args.logs.log_level, args.logs.log_kind);
    let composer = Composer::new(settings(args)?, Registry::standard())?;
    let pipeline = yaml::load_file(&args.file.file, &args.file.values(), composer.components().as_ref())?;
    let mut translation = translate(pipeline.clone())?;
    if let Some(info) = translation.transforms.iter().find(|t| matches!(t.role, Role::Sdk(_))) {
        let message = format!("{} is a function of an SDK, which needs a worker", info.name);
        return Err(Error::user("RUN_NEEDS_SDK", message)
            .help("start `thalweg serve` and submit the pipeline by its SDK")
            .into());
    }
    let name = args.app_id.clone().unwrap_or_else(|| stem(&args.file.file));
    if !args.kafka.is_empty() && !uses_kafka(&translation) {
        tracing::warn!("-X sets a property of Kafka clients, and this pipeline has none: it has no effect");
    }
    if let (Some(place), Some(dir)) = (&args.from_savepoint, &args.state_dir) {
        let savepoint = Savepoint::open(place)?;
        // said before anything is copied
        savepoint.begins(&composer.plan(&mut translate(pipeline)?)?)?;
        savepoint.copy_to(dir)?;
    }
    let composed = composer.compose(&mut translation, &name)?;
    let door = composed.database.clone().and_then(Door::try_open);
    let (sinks, rows) = (composed.reports.clone(), composed.rows.filter(|n| *n > 0));
    let mut spec = composer.job(&name, composed);
    spec.update = args.update || args.from_savepoint.is_some();
    let began = Instant::now();
    let running = runtime::start(spec)?;
    let control = running.control();
    let resumed = running.resumed() > Epoch(0);
    let grace = Duration::from_secs(u64::from(args.grace_seconds));
    // half of it for what runs, half for its commit
    let interrupted = signals::on_interrupt(grace, move || control.leave(grace / 2))?;
    let progress = running.progress();
    let bar = Bar::follow(Arc::clone(&progress), rows);
    let finished = running.join();
    drop((bar, door));
    match finished.outcome {
        Outcome::Done | Outcome::Drained => {
            if resumed && progress.read() == 0 && sinks.iter().all(|s| s.rows() == 0) {
                print(
                    "finished already: nothing was left to do since the last commit, its results are where they were\n",
                )?;
            }
            print(&summary(args, progress.read(), &sinks, began.elapsed()))?;
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Cancelled if interrupted.load(Ordering::SeqCst) => {
            eprintln!("{}", stopped(args));
            Ok(ExitCode::from(INTERRUPTED))
        }
        Outcome::Cancelled => Err(Failed::running(Error::internal("JOB_CANCELLED", "the job was cancelled"))),
        // what is found wrong when a source is opened is found before anything runs
        Outcome::Failed(error) if finished.refused => Err(Failed::before(error)),
        Outcome::Failed(error) => Err(Failed::running(error)),
    }
}

fn settings(args: &RunArgs) -> Result<Settings, Error> {
    let default = Settings::default();
    Ok(Settings {
        shards: args.shards.unwrap_or(default.shards),
        epoch_ms: args.epoch_ms.unwrap_or(default.epoch_ms),
        state_dir: args.state_dir.clone(),
        store: args.store.options(args.state_dir.as_deref()),
        cache_dir: ComponentStore::default_cache_dir(),
        compiler: super::compiler(),
        kafka: args.kafka.iter().cloned().collect(),
        state_ttl: StateTtl::of(&args.state_ttl.state_ttl)?,
        ..default
    })
}

/// Whether a source or a sink of the pipeline is a Kafka client.
fn uses_kafka(translation: &Translation) -> bool {
    let mut all = translation.sources.iter().chain(&translation.sinks);
    all.any(|spec| [urn::SOURCE_KAFKA, urn::SINK_KAFKA].contains(&spec.urn.as_str()))
}

/// The name of a job: that of its file.
fn stem(file: &Path) -> String {
    file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}

fn stopped(args: &RunArgs) -> String {
    match &args.state_dir {
        Some(dir) => format!("stopped; the same command goes on from the last commit in {}", dir.display()),
        None => "stopped; with --state-dir DIR a job can go on where it was".to_owned(),
    }
}

/// What was done, where the output is, and what to try next.
fn summary(args: &RunArgs, read: u64, sinks: &[SinkReport], took: Duration) -> String {
    let seconds = took.as_secs_f64().max(1e-3);
    let rate = thousands((read as f64 / seconds) as u64);
    let mut rows = Vec::new();
    if read > 0 {
        rows.push(vec!["read".to_owned(), thousands(read), "rows".to_owned(), format!("{rate} rows/s")]);
    }
    for sink in sinks {
        let place = match &sink.place {
            Place::File(path) => path.clone(),
            Place::Topic(topic, cluster) => format!("topic {topic} at {cluster}"),
            Place::Other(urn) => urn.clone(),
        };
        rows.push(vec![sink.name.clone(), thousands(sink.rows()), "rows".to_owned(), format!("-> {place}")]);
    }
    let mut text = format!("done in {seconds:.2} s\n{}", table(&rows, &[false, true]));
    let file = args.file.file.display();
    let mut next = Vec::new();
    let written = sinks.iter().filter(|s| s.rows() > 0).find_map(|s| match &s.place {
        Place::File(path) => Some(path),
        _ => None,
    });
    next.extend(written.map(|path| format!("head -3 {path}")));
    next.push(format!("thalweg plan {file}"));
    if args.state_dir.is_none() {
        next.push(format!("thalweg run {file} --state-dir .state   # survives kill -9"));
    }
    text.push_str("try next\n");
    for line in next {
        text.push_str(&format!("  {line}\n"));
    }
    text
}
