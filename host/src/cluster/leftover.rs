//! What jobs leave behind that nobody can go on with: topics and copies of state.
//!
//! A job that names its state (`state_name`) leaves it to the next one of that name, however it ended. Of any other job the state is called after
//! its id, which no other job gets but its updates: when they are over, so is its state. Every process removes its own copies; topics are deleted once nobody is a
//! member of the job's group any more, which is when every process has seen its end or is gone. Whoever comes first deletes; a process that starts
//! looks after what others did not come to.

use super::ClusterConfig;
use super::known::Known;
use super::order::Run;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use thalweg_core::error::Result;
use thalweg_io::kafka::cluster::{GroupMembers, JobTopics, Remover};

/// How long beyond the session of its members a group may take to be empty.
const EMPTY_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// States of jobs that are over, which they leave to nobody.
pub fn of(jobs: &BTreeMap<String, Known>) -> Vec<String> {
    jobs.keys().filter(|state| is_left(jobs, state)).cloned().collect()
}

/// The same for the state of one job.
pub fn of_one(jobs: &BTreeMap<String, Known>, run: &Run) -> Vec<String> {
    if is_left(jobs, &run.state) { vec![run.state.clone()] } else { Vec::new() }
}

/// Whether a state is called after a job, and that job is over with all that were updates of it. A job that was given that
/// name by its user keeps it.
fn is_left(jobs: &BTreeMap<String, Known>, state: &str) -> bool {
    let mut of_it = jobs.iter().filter(|(_, known)| known.run.state == state);
    let first = jobs.get(state).is_some_and(|known| known.run.state == state);
    let over = |(id, known): (&String, &Known)| known.over && (id == state || !known.run.replaces.is_empty());
    first && of_it.all(over)
}

/// Removes what these jobs left, on a thread of its own: others may have to see their end first.
pub fn remove_soon(config: &ClusterConfig, jobs: Vec<String>) {
    if jobs.is_empty() {
        return;
    }
    let config = config.clone();
    let started = std::thread::Builder::new().name("job-leftovers".to_owned()).spawn(move || remove(&config, jobs));
    if let Err(error) = started {
        tracing::error!(%error, "cannot start a thread for what jobs left behind");
    }
}

/// Blocks until the jobs' groups are empty; what cannot be removed is left to the next process that starts.
fn remove(config: &ClusterConfig, jobs: Vec<String>) {
    for job in &jobs {
        let dir = config.state_dir.join(job);
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(job, %error, "the copies of a job that is over cannot be removed");
            }
            _ => {}
        }
    }
    if let Err(error) = topics(config, jobs) {
        tracing::warn!(%error, "topics of jobs that are over stay for now");
    }
}

fn topics(config: &ClusterConfig, jobs: Vec<String>) -> Result<()> {
    let remover = Remover::new(&config.client)?;
    let of = |job: String| JobTopics::new(&config.name, &job);
    for job in remover.left(jobs.into_iter().map(of).collect())? {
        let group = GroupMembers::of(&config.client, job.prefix())?;
        let end = Instant::now() + config.session_timeout * 2 + EMPTY_WITHIN;
        while !group.processes()?.is_empty() && Instant::now() < end {
            std::thread::sleep(LOOK_EVERY);
        }
        if Instant::now() < end {
            remover.remove(&job)?;
            tracing::info!(topics = job.prefix(), "what a job left that is over is deleted");
        }
    }
    Ok(())
}
