//! Processes of a cluster that only take part and commit.
#![allow(dead_code, reason = "each test program uses a part of it")]

use crate::broker;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use thalweg_core::error::Result;
use thalweg_core::id::{Epoch, StateId};
use thalweg_core::port::store::CellWrite;
use thalweg_core::state::layout::{CellKey, JOB_GROUP, Kind};
use thalweg_io::kafka::KafkaClientConfig;
use thalweg_io::kafka::cluster::{
    Changelog, EpochPart, Epochs, EpochsConfig, JobTopics, LogReader, Members, MembersConfig, Ownership, Restored,
    Tenure,
};

pub const PARTITIONS: u16 = 4;

/// Processes there were, by job and name: two tests of one job would take each other's places.
static JOINED: Mutex<BTreeSet<(String, String)>> = Mutex::new(BTreeSet::new());

/// A process that only takes part.
pub struct Process {
    pub topics: JobTopics,
    pub reader: Arc<LogReader>,
    pub members: Members,
    pub epochs: Epochs,
    pub owned: Arc<Mutex<BTreeSet<u16>>>,
    /// It takes no part any more.
    pub ended: Arc<AtomicBool>,
    /// Of each partition since it was used first: it does not hear that it has lost one.
    pub tenures: Mutex<BTreeMap<u16, Tenure>>,
}

impl Process {
    pub fn join(job: &str, name: &str, doubt_every: u64) -> Result<Self> {
        Self::join_with(job, name, doubt_every, Duration::from_secs(10))
    }

    /// With a `transaction.timeout.ms`.
    pub fn join_with(job: &str, name: &str, doubt_every: u64, timeout: Duration) -> Result<Self> {
        let mut joined = JOINED.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(joined.insert((job.to_owned(), name.to_owned())), "{name} of {job} is of another test");
        drop(joined);
        let client = KafkaClientConfig::new(broker::bootstrap());
        let topics = JobTopics::new("io", job);
        topics.create(&client, PARTITIONS, &[])?;
        let reader = LogReader::new(&client)?;
        let owned = Arc::new(Mutex::new(BTreeSet::new()));
        let config = MembersConfig {
            client: client.clone(),
            group: topics.prefix().to_owned(),
            topic: topics.members(),
            process: name.to_owned(),
            session_timeout: Duration::from_secs(6),
        };
        let ended = Arc::new(AtomicBool::new(false));
        let (theirs, over) = (Arc::clone(&owned), Arc::clone(&ended));
        let members = Members::join(&config, move |ownership| {
            let mut owned = theirs.lock().unwrap_or_else(PoisonError::into_inner);
            match ownership {
                Ownership::Gained(gained) => owned.extend(gained),
                Ownership::Leaving(gone) | Ownership::Lost(gone) => owned.retain(|p| !gone.contains(p)),
                Ownership::Ended(_) => {
                    owned.clear();
                    over.store(true, Ordering::SeqCst);
                }
            }
        })?;
        let config = EpochsConfig {
            client,
            group: topics.prefix().to_owned(),
            members: topics.members(),
            changelog: topics.changelog(),
            exchanges: Vec::new(),
            partitions: PARTITIONS,
            process: name.to_owned(),
            timeout,
            delivery_timeout: Duration::from_secs(60),
            doubt_every,
        };
        let epochs = Epochs::start(config, &members)?;
        Ok(Self { topics, reader, members, epochs, owned, ended, tenures: Mutex::default() })
    }

    /// Of the process `one`.
    pub fn transactional_id(&self) -> String {
        format!("{}:one", self.topics.prefix())
    }

    pub fn owned(&self) -> BTreeSet<u16> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn commit(&self, partition: u16, epoch: u64) -> Result<i64> {
        let last = CellKey::new(JOB_GROUP, Kind::Job, StateId(1)).last(b"last").finish();
        let writes = vec![cell(epoch), (last, Some(Bytes::from(epoch.to_string())))];
        let tenure = self.tenure(partition)?;
        self.epochs.commit(EpochPart { tenure, epoch: Epoch(epoch), after: 0, writes, records: Vec::new() })
    }

    pub fn tenure(&self, partition: u16) -> Result<Tenure> {
        let mut tenures = self.tenures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tenure) = tenures.get(&partition) {
            return Ok(*tenure);
        }
        let tenure = self.epochs.take_over(partition)?;
        tenures.insert(partition, tenure);
        Ok(tenure)
    }

    /// The last committed epoch of a partition that it owns.
    pub fn committed(&self, partition: u16) -> Result<Epoch> {
        Ok(self.epochs.take_over(partition)?.committed)
    }

    /// Its last epoch and the end of the changelog, as a copy that has everything would say.
    pub fn end(&self, partition: u16) -> Result<Restored> {
        let epoch = self.committed(partition)?;
        let next = broker::end_of(&self.topics.changelog(), i32::from(partition));
        Ok(Restored { epoch, next, ..Restored::default() })
    }

    /// All writes of a partition, and how far they lead.
    pub fn changelog(&self, partition: u16, have: Restored, wanted: u64) -> Result<Option<(Vec<CellWrite>, Restored)>> {
        let changelog = Changelog::new(Arc::clone(&self.reader), self.topics.changelog(), partition);
        let mut found = Vec::new();
        let read = changelog.read(have, Epoch(wanted), &|| true, &mut |writes| {
            found.extend(writes);
            Ok(())
        })?;
        Ok(read.map(|restored| (found, restored)))
    }
}

pub fn cell(epoch: u64) -> CellWrite {
    let key = CellKey::new(JOB_GROUP, Kind::Job, StateId(0)).number(epoch).finish();
    (key, Some(Bytes::from_static(b"x")))
}

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
