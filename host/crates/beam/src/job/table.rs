//! All jobs the services remember, by id and by staging token, within bounds.

use super::artifact::ArtifactStore;
use super::limits::JobLimits;
use super::record::JobRecord;
use super::runner::PreparedJob;
use super::state::JobState;
use prost::Message;
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thalweg_core::error::{Error, Result};

/// The jobs, in the order they were prepared.
#[derive(Debug)]
pub(super) struct JobTable {
    limits: JobLimits,
    store: Arc<ArtifactStore>,
    random: RandomState,
    changing: Mutex<Changing>,
}

#[derive(Default, Debug)]
struct Changing {
    /// Ids given out so far.
    ids: u64,
    /// Jobs inserted so far.
    inserted: u64,
    /// Encoded bytes of what is remembered of all jobs.
    bytes: usize,
    jobs: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    record: Arc<JobRecord>,
    /// Of its pipeline and its options.
    bytes: usize,
    /// Of what was staged for it.
    staged: usize,
}

impl JobTable {
    pub(super) fn new(limits: JobLimits, store: Arc<ArtifactStore>) -> Self {
        Self { limits, store, random: RandomState::new(), changing: Mutex::default() }
    }

    pub(super) fn limits(&self) -> &JobLimits {
        &self.limits
    }

    fn changing(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A fresh id for a job of this name.
    pub(super) fn new_id(&self, name: &str) -> String {
        let number = {
            let mut changing = self.changing();
            changing.ids += 1;
            changing.ids
        };
        let word: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .take(40)
            .collect();
        let word = word.trim_matches('-');
        let word = if word.is_empty() { "job" } else { word };
        format!("{word}-{number}-{:08x}", self.secret(number) >> 32)
    }

    /// A number that only this process can know.
    fn secret(&self, number: u64) -> u64 {
        let mut hasher = self.random.build_hasher();
        hasher.write_u64(number);
        hasher.finish()
    }

    /// Remembers a prepared job.
    ///
    /// # Errors
    /// `JOBS_TOO_MANY` if all remembered jobs still run and there is no room for another.
    pub(super) fn insert(&self, job: PreparedJob) -> Result<Arc<JobRecord>> {
        // options are kept as they were sent and as they were read
        let bytes = job.pipeline.encoded_len() + 2 * job.options.wire().encoded_len();
        let mut changing = self.changing();
        self.forget_expired(&mut changing);
        self.release_ended(&changing);
        while changing.jobs.len() + 1 > self.limits.jobs_max {
            if !self.forget_oldest_finished(&mut changing) {
                return Err(self.full(&changing, bytes));
            }
        }
        self.make_room(&mut changing, bytes)?;
        changing.inserted += 1;
        let place = changing.inserted;
        let token = format!("{:016x}{:016x}", self.secret(!place), self.secret(place | 1 << 63));
        let record = Arc::new(JobRecord::new(job, token, &self.limits));
        changing.bytes += bytes;
        changing.jobs.insert(place, Entry { record: record.clone(), bytes, staged: 0 });
        Ok(record)
    }

    /// Forgets finished jobs until there is room for so many bytes.
    fn make_room(&self, changing: &mut Changing, bytes: usize) -> Result<()> {
        while changing.bytes.saturating_add(bytes) > self.limits.pipelines_bytes_max {
            if !self.forget_oldest_finished(changing) {
                return Err(self.full(changing, bytes));
            }
        }
        Ok(())
    }

    /// Counts what is staged for a job, in place of what was counted before.
    ///
    /// # Errors
    /// `JOBS_TOO_MANY` if there is no room for it.
    pub(super) fn count_staged(&self, record: &Arc<JobRecord>, bytes: usize) -> Result<()> {
        let mut changing = self.changing();
        let Some(place) = changing.jobs.iter().find(|(_, e)| Arc::ptr_eq(&e.record, record)).map(|(place, _)| *place)
        else {
            return Ok(()); // it was forgotten meanwhile
        };
        let before = changing.jobs.get_mut(&place).map(|entry| std::mem::take(&mut entry.staged)).unwrap_or_default();
        changing.bytes -= before;
        self.make_room(&mut changing, bytes)?;
        if let Some(entry) = changing.jobs.get_mut(&place) {
            entry.staged = bytes;
            changing.bytes += bytes;
        }
        Ok(())
    }

    fn full(&self, changing: &Changing, bytes: usize) -> Error {
        let message = format!(
            "there is no room for another job: {} jobs with {} bytes of pipelines and options are unfinished, the new one has {bytes} bytes",
            changing.jobs.len(),
            changing.bytes
        );
        let help = format!(
            "cancel a job or wait for one to end; the limits are {} jobs and {} bytes",
            self.limits.jobs_max, self.limits.pipelines_bytes_max
        );
        Error::user("JOBS_TOO_MANY", message).help(help)
    }

    /// Forgets prepared jobs whose clients have gone. A stream that still follows one is told that it was cancelled.
    fn forget_expired(&self, changing: &mut Changing) {
        let expired: Vec<u64> = changing
            .jobs
            .iter()
            .filter(|(_, e)| e.record.idle().is_some_and(|idle| idle > self.limits.prepared_for))
            .map(|(place, _)| *place)
            .collect();
        for place in expired {
            self.forget(changing, place);
        }
    }

    /// Lets go of the artifacts of jobs that have ended: nobody fetches them any more.
    fn release_ended(&self, changing: &Changing) {
        for entry in changing.jobs.values().filter(|e| e.record.state().is_terminal()) {
            self.store.release(&entry.record.take_digests());
        }
    }

    fn forget_oldest_finished(&self, changing: &mut Changing) -> bool {
        let oldest = changing.jobs.iter().find(|(_, e)| e.record.state().is_terminal()).map(|(place, _)| *place);
        oldest.map(|place| self.forget(changing, place)).is_some()
    }

    fn forget(&self, changing: &mut Changing, place: u64) {
        if let Some(entry) = changing.jobs.remove(&place) {
            changing.bytes -= entry.bytes + entry.staged;
            entry.record.enter(JobState::Cancelled);
            self.store.release(&entry.record.take_digests());
        }
    }

    /// The job of an id.
    ///
    /// # Errors
    /// `JOB_UNKNOWN`.
    pub(super) fn get(&self, id: &str) -> Result<Arc<JobRecord>> {
        let mut changing = self.changing();
        self.forget_expired(&mut changing);
        let found = changing.jobs.values().rev().find(|e| e.record.id() == id).map(|e| e.record.clone());
        found.ok_or_else(|| {
            Error::user("JOB_UNKNOWN", format!("there is no job `{id}`"))
                .help("jobs are forgotten after a restart, and when many others have followed; prepare it again")
        })
    }

    /// The job a staging token belongs to, with room made for its artifacts.
    ///
    /// # Errors
    /// `ARTIFACT_TOKEN_UNKNOWN`.
    pub(super) fn by_token(&self, token: &str) -> Result<Arc<JobRecord>> {
        let changing = self.changing();
        self.release_ended(&changing);
        let found = changing.jobs.values().find(|e| e.record.token() == token).map(|e| e.record.clone());
        found.ok_or_else(|| {
            Error::user("ARTIFACT_TOKEN_UNKNOWN", "no prepared job has this staging token")
                .help("the job has expired or the server was restarted: submit the pipeline again")
        })
    }

    /// All remembered jobs, oldest first.
    pub(super) fn all(&self) -> Vec<Arc<JobRecord>> {
        let mut changing = self.changing();
        self.forget_expired(&mut changing);
        changing.jobs.values().map(|e| e.record.clone()).collect()
    }
}
