//! A job of the cluster that begins with a savepoint: of any cluster, of any number of partitions, or of one process.
//!
//! In: a savepoint that was checked, and a job with its topics. Out: a changelog that holds, by partition, what the savepoint has, and the versions of functions that were
//! deployed into its job. The order to run comes after it and has these, so no process sees less.

use super::order::Dealings;
use super::{Inner, deal};
use crate::compose::deploy::{Saved, put, saved};
use crate::jobs::is_update;
use crate::runtime::fault;
use crate::savepoint::{Savepoint, state_there};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thalweg_beam::job::PreparedJob;
use thalweg_core::engine::{Deal, identity, stored_shape};
use thalweg_core::error::Result;
use thalweg_core::graph::{Plan, Shape};
use thalweg_core::id::StateId;
use thalweg_core::port::store::StateStore as _;
use thalweg_io::kafka::cluster::{JobTopics, LogReader, Remover, Seeder};
use thalweg_state::{Options, RocksStateStore};

impl Inner {
    /// Checks that a job can begin with a savepoint.
    ///
    /// # Errors
    /// `UPDATE_INCOMPATIBLE`, naming what it cannot take over.
    pub(super) fn takes_over(&self, job: &PreparedJob, savepoint: &Savepoint) -> Result<()> {
        savepoint.begins(&self.composer.plan(&mut self.jobs.translate(job)?)?)
    }

    /// Makes the topics of a job that is about to be ordered, and its state if it begins with a savepoint. Tells whose the splits of its sources are, `fresh`
    /// if it begins anew, or nothing if only the state that is there could tell; and what a savepoint has in place of the pipeline's functions.
    ///
    /// # Errors
    /// What savepoint, disk and brokers say; `CLUSTER_TOPIC`, `SAVEPOINT_STATE_THERE`.
    pub(super) fn make_topics(
        &self,
        job: &PreparedJob,
        plan: &Plan,
        (state, partitions): (&str, u16),
        fresh: Dealings,
    ) -> Result<(Option<Dealings>, Vec<Saved>)> {
        let edges: Vec<StateId> = plan.exchanges.iter().map(|e| e.state).collect();
        let (topics, savepoint) = (JobTopics::new(&self.config.name, state), self.jobs.wanted_savepoint(job)?);
        topics.create(&self.config.client, partitions, &edges)?;
        if let Some(savepoint) = savepoint {
            let (dealt, versions) = self.begin_with(job, &savepoint, &topics, (partitions, fresh))?;
            return Ok((Some(dealt), versions));
        }
        // of its own name no job finds a state
        let reader = LogReader::new(&self.config.client)?;
        let goes_on = state != job.id && (is_update(job)? || topics.has_state(&reader, partitions)?);
        if !goes_on {
            return Ok((Some(fresh), Vec::new()));
        }
        Ok((self.state().dealt.get(state).map(|old| deal::kept(old, fresh)), Vec::new()))
    }

    /// Writes the state of a savepoint as that of a job that has not begun. What was made for the job alone goes when it fails.
    ///
    /// # Errors
    /// `SAVEPOINT_STATE_THERE` when the job has a state already, and what savepoint, disk and brokers say.
    fn begin_with(
        &self,
        job: &PreparedJob,
        savepoint: &Savepoint,
        topics: &JobTopics,
        (partitions, fresh): (u16, Dealings),
    ) -> Result<(Dealings, Vec<Saved>)> {
        let reader = LogReader::new(&self.config.client)?;
        none_there(topics, &reader, partitions)?;
        let seeded = self.seed(job, savepoint, topics, (partitions, fresh), &reader);
        fault("restore_seeded");
        // of a state that was named another job may be about to begin with the same topics
        let own = *topics == JobTopics::new(&self.config.name, &job.id);
        if seeded.is_err() && own {
            let removed = Remover::new(&self.config.client).and_then(|remover| remover.remove(topics));
            removed.unwrap_or_else(|error| tracing::warn!(%error, "topics of a job that did not begin stay"));
        }
        seeded
    }

    fn seed(
        &self,
        job: &PreparedJob,
        savepoint: &Savepoint,
        topics: &JobTopics,
        (partitions, fresh): (u16, Dealings),
        reader: &LogReader,
    ) -> Result<(Dealings, Vec<Saved>)> {
        // a copy: to open a store is to write to it
        let dir = Scratch(self.config.state_dir.join(format!("{SCRATCH}{}", job.id)));
        savepoint.copy_to(&dir.0)?;
        let store = RocksStateStore::open(&dir.0, &Options::default())?;
        let (epoch, cells) = (store.last_epoch()?, store.reader());
        let versions = saved(&self.jobs.translate(job)?, self.composer.components(), cells.as_ref())?;
        let (plan, apart) = self.plans(job, &versions)?;
        // that of the cells: the manifest's has no checksum
        let old = stored_shape(cells.as_ref())?.unwrap_or_else(|| savepoint.shape().clone());
        Shape::of(&plan).takes_over(&old)?;
        let dealt = deal::saved(fresh, cells.as_ref())?;
        let mut deal = Deal::new(&plan, &old, partitions, dealt.owners(), epoch);
        let seeder = Seeder::begin(&self.config.client, topics, partitions)?;
        // who was writing it just now cannot any more, or had written it
        none_there(topics, reader, partitions)?;
        let mut give = |to: u16, key: bytes::Bytes, value: bytes::Bytes| seeder.cell(to, &key, &value);
        let mut given = Ok(());
        cells.scan(&[], &[], &mut |key, value| {
            given = deal.cell(key, value, &mut give);
            given.is_ok()
        })?;
        given?;
        deal.finish(&mut give)?;
        // whose it is, should nobody come to order this job
        for (key, value) in identity(&apart).into_iter().filter_map(|(key, value)| Some((key, value?))) {
            (0..partitions).try_for_each(|to| give(to, key.clone(), value.clone()))?;
        }
        fault("restore_begun");
        seeder.commit(epoch, reader)?;
        tracing::info!(job = job.id, from = savepoint.manifest().job, epoch = epoch.0, "begins with a savepoint");
        Ok((dealt, versions))
    }

    /// The plan of a job with these versions, before it is divided and after.
    fn plans(&self, job: &PreparedJob, versions: &[Saved]) -> Result<(Plan, Arc<Plan>)> {
        let brought = versions.iter().map(|saved| (PathBuf::from(saved.path()), saved.bytes.clone())).collect();
        let composer = self.composer.with_components(brought)?;
        let translated = || {
            let mut translation = self.jobs.translate(job)?;
            put(&mut translation, versions).map(|()| translation)
        };
        Ok((composer.plan(&mut translated()?)?, composer.compose_apart(&mut translated()?)?.plan))
    }
}

/// Checks that a job has no state.
fn none_there(topics: &JobTopics, reader: &LogReader, partitions: u16) -> Result<()> {
    if topics.has_state(reader, partitions)? {
        return Err(state_there(&format!("there is state already in {:?}", topics.changelog())));
    }
    Ok(())
}

/// How directories begin in which savepoints are looked at: no state is called so.
const SCRATCH: &str = ".restore-";

/// Removes what a process that was killed left of them.
pub(super) fn sweep(dir: &Path) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for left in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(SCRATCH)) {
        drop(Scratch(left.path()));
    }
}

/// A directory that goes when this does.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
