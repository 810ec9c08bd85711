//! `thalweg bench`: one workload, one line of numbers for the script that compares.

use super::args::{BenchArgs, Udf, Workload};
use super::exit::{Failed, print};
use super::logs;
use crate::bench::{self, Flow, Function, Topics};
use crate::compose::{ComponentStore, Settings};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use thalweg_beam::job::JobClient;
use thalweg_core::error::{Error, Result};

/// Runs a workload and prints `rows=N check=N events=N cpu_seconds=X`; between topics `events=N cpu_seconds=X`, or the id of the server's job.
pub fn bench(args: &BenchArgs) -> Result<ExitCode, Failed> {
    logs::init("warn", logs::LogKind::Text);
    let said = match &args.kafka {
        Some(bootstrap) => on_kafka(args, bootstrap)?,
        None => on_files(args)?,
    };
    print(&said)?;
    Ok(ExitCode::SUCCESS)
}

fn on_files(args: &BenchArgs) -> Result<String> {
    let workload = match args.workload {
        Workload::W1 => bench::Workload::W1,
        Workload::W2 => bench::Workload::W2,
        Workload::W3 => bench::Workload::W3,
        Workload::W4 => bench::Workload::W4,
        Workload::W5 => bench::Workload::W5,
        Workload::Latency => return Err(unfit("latency is taken between two topics", "give --kafka, --from and --to")),
    };
    let function = match args.udf {
        Udf::Wasm => Function::Wasm(args.component.clone()),
        Udf::Native => Function::Native,
    };
    let data = args.data.as_deref().unwrap_or_else(|| Path::new("."));
    let done = bench::run(workload, &function, data, settings(args))?;
    let cpu = done.cpu.as_secs_f64();
    Ok(format!("rows={} check={} events={} cpu_seconds={cpu:.2}\n", done.rows, done.check, done.events))
}

fn on_kafka(args: &BenchArgs, bootstrap: &str) -> Result<String> {
    let flow = match args.workload {
        Workload::W2 => Flow::W2,
        Workload::W4 => Flow::W4,
        Workload::Latency => Flow::Latency,
        _ => return Err(unfit("this workload has no form between two topics", "choose w2, w4 or latency")),
    };
    let topic = |name: &Option<String>| name.clone().unwrap_or_default();
    let topics =
        Topics { bootstrap: bootstrap.to_owned(), from: topic(&args.from), to: topic(&args.to), endless: args.endless };
    if let Some(server) = &args.server {
        let pipeline = bench::kafka_pipeline(flow, &args.component, &topics);
        let named = args.state_name.iter().map(|name| ("state_name".to_owned(), name.clone()));
        let options: BTreeMap<_, _> = named.collect();
        let submit = async { JobClient::connect(server).await?.submit("bench", pipeline, &options).await };
        return super::asked(submit).map(|id| format!("{id}\n"));
    }
    let (events, cpu) = bench::run_on_kafka(flow, &args.component, &topics, settings(args))?;
    Ok(format!("events={events} cpu_seconds={:.2}\n", cpu.as_secs_f64()))
}

fn settings(args: &BenchArgs) -> Settings {
    let default = Settings::default();
    Settings {
        shards: args.shards,
        epoch_ms: args.epoch_ms.unwrap_or(default.epoch_ms),
        state_dir: args.state_dir.clone(),
        store: args.store.options(args.state_dir.as_deref()),
        cache_dir: ComponentStore::default_cache_dir(),
        compiler: super::compiler(),
        ..default
    }
}

fn unfit(message: &str, help: &str) -> Error {
    Error::user("BENCH_WORKLOAD", message).help(help)
}
