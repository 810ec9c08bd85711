//! `thalweg bench`: one workload, one line of numbers for the script that compares.

use super::args::{self, BenchArgs, Udf};
use super::exit::{Failed, print};
use super::logs;
use crate::bench::{Function, Workload, run};
use std::process::ExitCode;

/// Runs a workload and prints `rows=N check=N events=N cpu_seconds=X`.
pub fn bench(args: &BenchArgs) -> Result<ExitCode, Failed> {
    logs::init("warn", logs::LogKind::Text);
    let workload = match args.workload {
        args::Workload::W1 => Workload::W1,
        args::Workload::W2 => Workload::W2,
        args::Workload::W3 => Workload::W3,
        args::Workload::W4 => Workload::W4,
        args::Workload::W5 => Workload::W5,
    };
    let function = match args.udf {
        Udf::Wasm => Function::Wasm(args.component.clone()),
        Udf::Native => Function::Native,
    };
    let done = run(workload, &function, &args.data, args.shards)?;
    let cpu = done.cpu.as_secs_f64();
    print(&format!("rows={} check={} events={} cpu_seconds={cpu:.2}\n", done.rows, done.check, done.events));
    Ok(ExitCode::SUCCESS)
}
