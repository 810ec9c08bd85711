//! The arguments of every command.

use super::log_args::LogCommand;
use super::logs::LogKind;
use super::state_args::StateCommand;
use super::store_args::{StoreArgs, TtlArgs};
use super::udf_args::{DoctorArgs, UdfCommand};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::collections::BTreeMap;
use std::path::PathBuf;
use thalweg_wasm::Allowed;

/// Runs Apache Beam pipelines: native and WebAssembly functions from a YAML file, or programs of any Beam SDK.
#[derive(Debug, Parser)]
#[command(name = "thalweg", version, about, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pipeline file
    Run(RunArgs),
    /// Take jobs from Beam SDKs (gRPC)
    Serve(ServeArgs),
    /// Submit pipeline files to a server, and look after jobs there
    Job {
        /// What to do.
        #[command(subcommand)]
        command: JobCommand,
    },
    /// Show what a pipeline file becomes, and run nothing
    Plan(PlanArgs),
    /// Make, build, test and look at functions in WebAssembly
    Udf {
        /// What to do.
        #[command(subcommand)]
        command: UdfCommand,
    },
    /// Copy a state directory, whether its job runs or not; a job started with the copy goes on from there
    Savepoint(SavepointArgs),
    /// Make, fill and look at topics of the embedded log
    Log {
        /// What to do.
        #[command(subcommand)]
        command: LogCommand,
    },
    /// Ask for the state of a job: what is committed, by the names of its pipeline
    State {
        /// What to do.
        #[command(subcommand)]
        command: StateCommand,
    },
    /// Say which tools are missing to build functions, and what installs them
    Doctor(DoctorArgs),
    /// Measure a workload of the benchmark
    Bench(BenchArgs),
}

/// `thalweg job`.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Submit a pipeline file; prints the job's id
    Submit(SubmitArgs),
    /// List the jobs that a server knows
    List(ServerArgs),
    /// Wait for the end of a job; prints its last state
    Wait(OneJobArgs),
    /// Let the sources of a job end, and finish what they gave
    Drain(OneJobArgs),
    /// Read nothing more, finish what was read, and wait; state and positions stay
    Pause(OneJobArgs),
    /// Go on after a pause
    Resume(OneJobArgs),
    /// Copy what a job keeps, all of one moment; a job that is started with the copy goes on from there
    Savepoint(JobSavepointArgs),
    /// Stop a job; what is committed stays
    Cancel(OneJobArgs),
}

/// Where a server is.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// The server; in a cluster any of its processes
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8099")]
    pub server: String,
}

/// `thalweg job submit`.
#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// The file.
    #[command(flatten)]
    pub file: FileArgs,
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Name of the job [default: after the file]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// A pipeline option, such as state_name or partitions; may be given more than once
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = pair)]
    pub options: Vec<(String, String)>,
    /// How long state lives.
    #[command(flatten)]
    pub state_ttl: TtlArgs,
    /// The pipeline takes the place of the job of this name that runs, and its state
    #[arg(long)]
    pub update: bool,
    /// Begin with the state of this savepoint: a path on the server's machine, a name below its --savepoint-dir, or a URL such as s3://bucket/prefix
    #[arg(long, value_name = "PLACE", conflicts_with = "update")]
    pub from_savepoint: Option<String>,
    /// Wait for its end
    #[arg(long)]
    pub wait: bool,
}

/// A job of a server.
#[derive(Debug, Args)]
pub struct OneJobArgs {
    /// The job's id
    pub job: String,
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `thalweg job savepoint`.
#[derive(Debug, Args)]
pub struct JobSavepointArgs {
    /// The job.
    #[command(flatten)]
    pub job: OneJobArgs,
    /// Where the copy goes, where there is nothing yet: a path on the server's machine, a name below its --savepoint-dir, or a URL such as
    /// s3://bucket/prefix
    #[arg(long, value_name = "PLACE")]
    pub to: String,
    /// Cancel the job once the savepoint is there: nothing that it does later lasts
    #[arg(long)]
    pub stop: bool,
}

/// A pipeline file and its values.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// The pipeline, in the format of Beam YAML
    pub file: PathBuf,
    /// Value of a {{ name }} in the file; may be given more than once
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
}

impl FileArgs {
    /// The values by name; the last one given counts.
    pub fn values(&self) -> BTreeMap<String, String> {
        self.set.iter().cloned().collect()
    }
}

/// `thalweg run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The file.
    #[command(flatten)]
    pub file: FileArgs,
    /// Keep the job's state here: run again, it goes on where it was; without it the job lives in memory
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The store in that directory.
    #[command(flatten)]
    pub store: StoreArgs,
    /// How long state lives.
    #[command(flatten)]
    pub state_ttl: TtlArgs,
    /// The file takes over the state of an earlier version of itself: transforms that keep something must be there under their names
    #[arg(long, requires = "state_dir")]
    pub update: bool,
    /// Begin with the state of this savepoint, a path or a URL such as s3://bucket/prefix; the state directory is made of it
    #[arg(long, value_name = "PLACE", requires = "state_dir", conflicts_with = "update")]
    pub from_savepoint: Option<String>,
    /// Threads that run the pipeline, at most 64 [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub shards: Option<u16>,
    /// Milliseconds between two commits [default: 500]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=3_600_000))]
    pub epoch_ms: Option<i64>,
    /// Seconds that what runs may take to come to its end after SIGTERM or SIGINT, its commit included
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub grace_seconds: u32,
    /// Name of the job among those that use the same Kafka cluster [default: after the file]
    #[arg(long, value_name = "NAME")]
    pub app_id: Option<String>,
    /// Property of all Kafka clients, by Kafka's name; may be given more than once
    #[arg(short = 'X', value_name = "PROPERTY=VALUE", value_parser = pair)]
    pub kafka: Vec<(String, String)>,
    /// Logging.
    #[command(flatten)]
    pub logs: LogArgs,
}

/// `thalweg savepoint`.
#[derive(Debug, Args)]
pub struct SavepointArgs {
    /// The state directory
    #[arg(long, value_name = "DIR")]
    pub state_dir: PathBuf,
    /// Where the copy goes: a directory that does not exist yet, which on the same disk costs next to nothing, or a URL such as s3://bucket/prefix
    #[arg(long, value_name = "PLACE")]
    pub to: String,
}

/// `thalweg plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The file.
    #[command(flatten)]
    pub file: FileArgs,
    /// How long state lives.
    #[command(flatten)]
    pub state_ttl: TtlArgs,
}

/// `thalweg serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Port of all services, on the loopback interface; 0 takes any free one
    #[arg(long, alias = "job_port", default_value_t = 8099)]
    pub port: u16,
    /// Threads that run each job, at most 64 [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub shards: Option<u16>,
    /// Milliseconds between two commits of a job [default: 500]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=3_600_000))]
    pub epoch_ms: Option<i64>,
    /// Keep the state of running jobs on disk, each in a directory of its own below this one; without it in memory
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The stores in those directories.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Where clients may have savepoints made and begin with them: below this directory or s3://bucket/prefix alone; without it, anywhere
    #[arg(long, value_name = "PLACE")]
    pub savepoint_dir: Option<String>,
    /// How long state lives.
    #[command(flatten)]
    pub state_ttl: TtlArgs,
    /// MiB that the bundles of a shard may put out before their end, at least 64; with more their job fails [default: a quarter of the memory, divided by the cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(64..))]
    pub outputs_mib: Option<u32>,
    /// Jobs that may run at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs_max: u16,
    /// How often a bundle that failed is tried again before its job fails [default: 3]
    #[arg(long, value_name = "N")]
    pub bundle_retries: Option<u32>,
    /// Largest message taken from a worker in MiB: no element may be larger
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(4..=2047))]
    pub message_mib_max: u16,
    /// Seconds a worker may take to start
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    pub worker_start_seconds: u32,
    /// Seconds that what runs may take to come to its end after SIGTERM or SIGINT, its commit included
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub grace_seconds: u32,
    /// Let submitters name commands that are run here as workers (environment PROCESS)
    #[arg(long)]
    pub allow_process_workers: bool,
    /// Let submitters name images that are run here as workers (environment DOCKER)
    #[arg(long)]
    pub allow_docker_workers: bool,
    /// Let pipelines grant this to components: clock, random, env or env:NAME; may be given more than once
    #[arg(long, value_name = "NAME", value_parser = capability)]
    pub allow_capability: Vec<String>,
    /// Show no data in messages about failed bundles
    #[arg(long)]
    pub hide_elements: bool,
    /// Run the jobs of a cluster: all processes that name the same Kafka brokers here and the same --cluster run them together
    #[arg(long, value_name = "HOST:PORT")]
    pub bootstrap: Option<String>,
    /// Name of the cluster: what its topics and groups begin with
    #[arg(long, value_name = "NAME", default_value = "thalweg", requires = "bootstrap", value_parser = cluster_name)]
    pub cluster: String,
    /// Names this process in the cluster, and again when it is restarted [default: one that is kept in the state directory]
    #[arg(long, value_name = "ID", requires = "bootstrap", value_parser = cluster_name)]
    pub process_id: Option<String>,
    /// Where the other processes of the cluster reach this one's port, to pass on questions about state
    #[arg(long, value_name = "HOST:PORT", requires = "bootstrap", value_parser = endpoint)]
    pub advertise: Option<String>,
    /// Partitions of a job in a cluster that does not ask for a number of them
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub partitions: u16,
    /// Copies of each partition's state that other processes of the cluster keep, for jobs that do not ask for a number of them
    #[arg(long, value_name = "N", default_value_t = 0, requires = "bootstrap")]
    pub standby_replicas: u16,
    /// Milliseconds of silence after which a process of the cluster has lost its partitions
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1_000..=300_000))]
    pub session_timeout_ms: u32,
    /// Milliseconds that a partition may go without a step, a bundle in a worker without a sign: then the process leaves the cluster and ends
    #[arg(long, value_name = "N", default_value_t = 300_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    pub max_poll_interval_ms: u32,
    /// Property of all Kafka clients, by Kafka's name; may be given more than once
    #[arg(short = 'X', value_name = "PROPERTY=VALUE", value_parser = pair)]
    pub kafka: Vec<(String, String)>,
    /// Of Prism's command line; there is no web page to serve
    #[arg(long = "serve_http", hide = true, num_args = 0..=1, default_missing_value = "true")]
    _serve_http: Option<String>,
    /// Logging.
    #[command(flatten)]
    pub logs: LogArgs,
}

/// What `--log-level` takes, here and on Prism's command line.
pub const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];

/// Logging.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// What to log
    #[arg(long, alias = "log_level", value_name = "LEVEL", default_value = "info", value_parser = LEVELS,
        ignore_case = true)]
    pub log_level: String,
    /// How to log
    #[arg(long, alias = "log_kind", value_name = "KIND", value_enum, default_value_t = LogKind::Text)]
    pub log_kind: LogKind,
}

/// `thalweg bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The workload
    pub workload: Workload,
    /// Directory with text.txt and events.tsv
    #[arg(required_unless_present = "kafka")]
    pub data: Option<PathBuf>,
    /// What runs the user's function
    #[arg(long, value_enum, default_value_t = Udf::Wasm)]
    pub udf: Udf,
    /// Threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub shards: u16,
    /// The component with the functions
    #[arg(long, value_name = "FILE", default_value = "target/guests/components/bench_udfs.wasm")]
    pub component: PathBuf,
    /// Keep the job's state here; without it the job lives in memory
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The store in it.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Milliseconds between two commits [default: 500]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=3_600_000))]
    pub epoch_ms: Option<i64>,
    /// Brokers, for w2, w4 and latency between two topics, whose keys are texts and whose values are longs
    #[arg(long, value_name = "HOST:PORT", requires_all = ["from", "to"], conflicts_with = "data")]
    pub kafka: Option<String>,
    /// The topic that is read
    #[arg(long, value_name = "TOPIC", requires = "kafka")]
    pub from: Option<String>,
    /// The topic that is written
    #[arg(long, value_name = "TOPIC", requires = "kafka")]
    pub to: Option<String>,
    /// Go on at the end of the topic
    #[arg(long, requires = "kafka")]
    pub endless: bool,
    /// A server that is to run it; its job's id is printed
    #[arg(long, value_name = "HOST:PORT", requires = "kafka")]
    pub server: Option<String>,
    /// Name of the job's state on the server
    #[arg(long, value_name = "NAME", requires = "server")]
    pub state_name: Option<String>,
}

/// A workload of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Workload {
    /// Words of lines, counted
    W1,
    /// Events, parsed and counted by key and minute
    W2,
    /// JSON documents, changed
    W3,
    /// Events, each with the count of its key so far
    W4,
    /// Events, joined with a table
    W5,
    /// Records counted by key, told at once; between two topics only
    Latency,
}

/// What runs the user's function.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Udf {
    /// A component
    Wasm,
    /// The host itself
    Native,
}

/// The name of something of the machine.
fn capability(text: &str) -> Result<String, String> {
    let known = Allowed::only([text]).map(|_| text.to_owned());
    known.map_err(|name| format!("{name} is none of clock, random, env and env:NAME"))
}

/// A name that topics and groups may begin with.
fn cluster_name(text: &str) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match !text.is_empty() && text.len() <= 100 && text.chars().all(fine) {
        true => Ok(text.to_owned()),
        false => Err("use up to 100 letters, digits, `.`, `_` and `-`".to_owned()),
    }
}

/// `HOST:PORT`.
fn endpoint(text: &str) -> Result<String, String> {
    let plain = |host: &str| {
        !host.is_empty() && host.len() <= 253 && !host.contains(|c: char| "/@?#".contains(c) || c.is_whitespace())
    };
    match text.rsplit_once(':') {
        Some((host, port)) if plain(host) && port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(text.to_owned()),
        _ => Err("write it as HOST:PORT".to_owned()),
    }
}

/// `NAME=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn values_keep_their_equals_signs() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(pair("=x").is_err() && pair("x").is_err());
    }
}
