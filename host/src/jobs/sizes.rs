//! How large a submitted job is made: shards, workers, bundles and retries, from its options and the server's own.
//!
//! In: the job's pipeline options and what the server was configured with. Out: numbers within bounds. What they do is the
//! engine's business.

use thalweg_beam::job::{OptionDescriptor, OptionKind, PreparedJob};
use thalweg_core::engine::Config;
use thalweg_core::error::Result;

/// The most shards a job and workers an environment may have, whatever a submitter asks for.
const PARALLELISM_MAX: i64 = 64;
/// The most retries of a bundle: with pauses that double, they take minutes.
const RETRIES_MAX: i64 = 16;

/// The sizes of one job.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// For the engine.
    pub config: Config,
    /// SDK workers of each environment.
    pub workers: u16,
}

impl Sizes {
    /// Reads a job's options. `config` is what holds where they say nothing.
    ///
    /// # Errors
    /// `OPTION_INVALID`.
    pub fn of(job: &PreparedJob, mut config: Config) -> Result<Self> {
        let small = |n: i64| u16::try_from(n.clamp(1, PARALLELISM_MAX)).unwrap_or(1);
        if let Some(shards) = job.options.integer("parallelism")?.filter(|n| *n > 0) {
            config.shards = small(shards);
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as i64;
        let workers = match job.options.integer("sdk_worker_parallelism")? {
            Some(0) => small(cores),
            Some(n) => small(n),
            None => 1,
        };
        // a shard keeps to one worker, so that a key's bundles always meet the same: no worker without a shard
        config.shards = config.shards.max(workers);
        if let Some(rows) = job.options.integer("max_bundle_size")? {
            config.bundle_rows_max = usize::try_from(rows).unwrap_or(1).max(1);
        }
        if let Some(ms) = job.options.integer("max_bundle_time_ms")? {
            config.bundle_ms = ms.max(1);
            config.checkpoint_ms = ms.max(1);
        }
        config.drain = job.options.list("experiments").iter().any(|e| e == "drain_at_start");
        if let Some(retries) = job.options.integer("bundle_retries")? {
            config.attempts_max = u32::try_from(retries.clamp(0, RETRIES_MAX)).unwrap_or(0) + 1;
        }
        Ok(Self { config, workers })
    }
}

/// The options of jobs that are read here and beside here, for SDKs that ask what there is.
pub fn options() -> Vec<OptionDescriptor> {
    let option = |name, kind, default, description| OptionDescriptor { name, kind, description, default };
    vec![
        option(
            "max_bundle_size",
            OptionKind::Integer,
            "",
            "Elements of a bundle at most; the runner decides if not given.",
        ),
        option(
            "max_bundle_time_ms",
            OptionKind::Integer,
            "",
            "Milliseconds that a bundle should take at most; the runner sizes bundles by it.",
        ),
        option(
            "bundle_retries",
            OptionKind::Integer,
            "3",
            "How often a bundle that failed is tried again, after pauses that double, before the job fails.",
        ),
        option(
            "state_name",
            OptionKind::Text,
            "",
            "Name of the job's state in the server's state directory: submitted again under the same name, the job goes on \
             where it was.",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::{Struct, Value, value::Kind};
    use std::sync::Arc;
    use thalweg_beam::job::JobOptions;

    fn sizes(options: &[(&str, f64)]) -> Sizes {
        let value = |n: &f64| Value { kind: Some(Kind::NumberValue(*n)) };
        let fields = options.iter().map(|(name, n)| (format!("beam:option:{name}:v1"), value(n))).collect();
        let options = Arc::new(JobOptions::new(Struct { fields }));
        let job = PreparedJob { id: String::new(), name: String::new(), pipeline: Arc::default(), options };
        Sizes::of(&job, Config { shards: 2, ..Config::default() }).expect("numbers")
    }

    #[test]
    fn every_worker_has_a_shard() {
        assert_eq!((sizes(&[]).config.shards, sizes(&[]).workers), (2, 1));
        let three = sizes(&[("sdk_worker_parallelism", 3.0)]);
        assert_eq!((three.config.shards, three.workers), (3, 3));
        assert!(sizes(&[("sdk_worker_parallelism", 0.0)]).workers >= 1, "as many as cores");
        assert_eq!(sizes(&[("parallelism", 7.0)]).config.shards, 7);
        assert_eq!(sizes(&[("parallelism", -1.0)]).config.shards, 2);
        assert_eq!(sizes(&[("parallelism", 1e6)]).config.shards, 64);
    }

    #[test]
    fn a_job_says_how_often_a_bundle_is_tried_again() {
        assert_eq!(sizes(&[("bundle_retries", 0.0)]).config.attempts_max, 1);
        assert_eq!(sizes(&[("bundle_retries", 1e9)]).config.attempts_max, 17);
    }
}
