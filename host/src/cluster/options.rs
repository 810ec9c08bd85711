//! Options of jobs that mean something in a cluster alone.

use thalweg_beam::job::{JobOptions, OptionDescriptor, OptionKind};
use thalweg_core::error::Result;

const PARTITIONS: &str = "partitions";
const STANDBY_REPLICAS: &str = "standby_replicas";

/// What they are, for clients that ask.
pub fn described() -> [OptionDescriptor; 2] {
    let integer = |name, description| OptionDescriptor { name, kind: OptionKind::Integer, description, default: "" };
    [
        integer(PARTITIONS, "Partitions of the job: how far it can be spread, for good."),
        integer(STANDBY_REPLICAS, "Copies of each partition's state that processes keep which do not own it."),
    ]
}

/// Partitions that a job wants; `None` if it does not say.
///
/// # Errors
/// `OPTION_INVALID`.
pub fn partitions(options: &JobOptions) -> Result<Option<u16>> {
    Ok(options.integer(PARTITIONS)?.and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0))
}

/// Standby copies that a job wants; `None` if it does not say.
///
/// # Errors
/// `OPTION_INVALID`.
pub fn standby_replicas(options: &JobOptions) -> Result<Option<u16>> {
    Ok(options.integer(STANDBY_REPLICAS)?.map(|n| u16::try_from(n.max(0)).unwrap_or(u16::MAX)))
}
