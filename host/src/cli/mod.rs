//! The command line: `thalweg run`, `serve`, `plan`, `udf`, `log`, `state`, `savepoint`, `doctor`, `bench`, and Prism's own flags.
//!
//! In: arguments, signals. Out: output for people, errors as `error[CODE]: sentence` with what to do, and exit codes: 0 ok,
//! 1 the job failed, 2 usage, 3 configuration, 130 interrupted. Nothing here knows how jobs work.

mod args;
mod bench;
mod deploy;
mod doctor;
mod exit;
mod inspect;
mod job;
mod listener;
mod log;
mod log_args;
mod logs;
mod plan;
mod prism;
mod progress;
mod run;
mod serve;
mod signals;
mod staging;
mod state;
mod state_args;
mod store_args;
mod table;
mod trial;
mod udf;
mod udf_args;

pub use exit::print_error;
pub use logs::{LogKind, init as init_logs};

use args::{Arguments, Command};
use clap::Parser as _;
use exit::Failed;
use std::ffi::OsString;
use std::process::ExitCode;
use thalweg_core::error::{Error, Result};
use thalweg_wasm::Compiler;

/// What makes this program a compiler of components and nothing else. People have no use for it.
const COMPILE: &str = "compile-component";

/// Compiles components in a child of this program.
fn compiler() -> Compiler {
    Compiler::this_program(COMPILE).unwrap_or_else(|e| {
        tracing::warn!("components are compiled in this process, for it is not known which program it is: {e}");
        Compiler::Here
    })
}

/// What a server answers, waited for on this thread.
fn asked<T>(question: impl Future<Output = Result<T>>) -> Result<T> {
    waiting()?.block_on(question)
}

/// What waits on this thread.
fn waiting() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| {
        Error::external("THREAD_START", format!("cannot set up a connection: {e}")).help("raise the process's limits")
    })
}

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let mut raw = std::env::args_os().skip(1);
    if raw.next().is_some_and(|first| first == COMPILE) {
        return thalweg_wasm::compile_child(raw);
    }
    // Prism's flags are text; a name of a file need not be
    let given: Result<Vec<String>, _> = std::env::args_os().skip(1).map(OsString::into_string).collect();
    let (parsed, ignored) = match given.ok().and_then(|given| prism::parse(&given)) {
        Some(prism) => (Arguments::try_parse_from(prism.arguments), prism.ignored),
        None => (Arguments::try_parse(), Vec::new()),
    };
    let done = match parsed {
        Ok(arguments) => command(arguments, &ignored),
        Err(usage) => usage.exit(), // prints, and ends with 0 for --help and 2 for wrong usage
    };
    match done {
        Ok(code) => code,
        Err(failed) => failed.report(),
    }
}

fn command(arguments: Arguments, ignored: &[String]) -> Result<ExitCode, Failed> {
    match arguments.command {
        Command::Run(run) => run::run(&run),
        Command::Plan(plan) => plan::plan(&plan),
        Command::Job { command } => job::job(&command),
        Command::Serve(serve) => serve::serve(&serve, ignored),
        Command::Bench(bench) => bench::bench(&bench),
        Command::Udf { command } => udf::udf(&command),
        Command::Savepoint(args) => {
            crate::topics::savepoint(&args.state_dir, &args.to, &thalweg_state::Options::default())?;
            let next = if args.to.contains("://") { "NEW --from-savepoint " } else { "" };
            exit::print(&format!(
                "{}\ntry next\n  thalweg run FILE --state-dir {next}{0}   # goes on from there\n",
                args.to
            ))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Log { command } => log::log(&command),
        Command::State { command } => state::state(&command),
        Command::Doctor(languages) => doctor::doctor(&languages),
    }
}
