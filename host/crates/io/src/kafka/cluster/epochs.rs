//! The transactions of a process: one producer, by which the epochs of all its partitions become lasting.
//!
//! In: the parts that partitions have sealed. Out: per part, from where on its copy has to read the changelog once it is committed. Parts that wait at the same time
//! share a transaction; each has in it its records, its cells and a commit record ([`super::commits`]), sent with the group's metadata, so that a
//! process which has lost the partition cannot commit (engine decisions 17 to 20).
//!
//! A transaction that was aborted is sent again with what the group says then. One whose end is unknown is never: the producer is thrown
//! away, another one under the same id ends what is open, and the commit records say which parts were committed, by this process: who has
//! the partition by now may have committed an epoch of the same number. A part counts only in the tenure in which it was sealed, for
//! the partition may have been another process's meanwhile.

use super::super::ask::connect;
use super::super::client::{KafkaClientConfig, Reports, made, unless_given};
use super::super::error;
use super::super::send;
use super::super::thread::spawn;
use super::commits::{CommitRecord, CommitRecords};
use super::ends::Ends;
use super::members::{Group, GroupState, Members};
use super::predecessor::Predecessors;
use super::sizes;
use super::topics::RECORD_BYTES_MAX;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::Epoch;
use thalweg_core::port::log::LogRecord;
use thalweg_core::port::store::CellWrite;
use thalweg_core::state::layout::EPOCH;

/// Parts that may wait; a partition waits for its own before it sends another.
const WAITING: usize = 4096;
/// How long a transaction waits for other parts: partitions seal by the same clock.
const LINGER: Duration = Duration::from_millis(2);
/// Records of a part that are queued between two looks whether the partition is still this process's.
const LOOK_EVERY: usize = 4096;
/// How long a transaction that is given up waits for the answers to what was sent, before its producer is given up with it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// What the transactions of a process need to know.
#[derive(Clone, Debug)]
pub struct EpochsConfig {
    /// The cluster.
    pub client: KafkaClientConfig,
    /// The group whose offsets are the commit records.
    pub group: String,
    /// The members topic.
    pub members: String,
    /// The changelog topic.
    pub changelog: String,
    /// Name of the process: with the group's it is the `transactional.id`, the same for every life.
    pub process: String,
    /// `transaction.timeout.ms` of small transactions, and the bound of every call; large ones are given more.
    pub timeout: Duration,
    /// How long a part may take, over all tries; a large one may take longer by what one try may.
    pub delivery_timeout: Duration,
    /// For tests: the result of every so manieth transaction is taken for unknown although it was committed; 0: of none.
    pub doubt_every: u64,
}

impl EpochsConfig {
    /// The transactional id of a process.
    fn id(&self, process: &str) -> String {
        format!("{}:{process}", self.group) // no name of a job or a process has a colon
    }
}

/// The time in which a process owns a partition, without a break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// Which partition.
    pub partition: u16,
    /// The round of the group in which the process got it.
    pub(super) round: u64,
    /// The last epoch that was committed before.
    pub committed: Epoch,
}

/// The epoch of one partition.
#[derive(Debug)]
pub struct EpochPart {
    /// Which partition, and since when.
    pub tenure: Tenure,
    /// Which epoch.
    pub epoch: Epoch,
    /// How far the changelog is known to reach: what is written now comes behind.
    pub after: i64,
    /// Its cells, for the changelog.
    pub writes: Vec<CellWrite>,
    /// Records of sinks and exchanges.
    pub records: Vec<LogRecord>,
}

struct Asked {
    part: EpochPart,
    answer: SyncSender<Result<i64>>,
}

/// Bytes of the parts of a transaction.
fn bytes(parts: &[Asked]) -> usize {
    parts.iter().map(|asked| sizes::of(&asked.part)).sum()
}

/// A handle to the transactions. Cheap to clone; they end with the last one.
#[derive(Clone)]
pub struct Epochs {
    asked: SyncSender<Asked>,
    group: Arc<Group>,
    entry: Arc<Mutex<Entry>>,
}

/// What is asked when a partition is taken over, by one at a time.
struct Entry {
    records: CommitRecords,
    predecessors: Predecessors,
}

impl std::fmt::Debug for Epochs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Epochs").finish_non_exhaustive()
    }
}

impl Epochs {
    /// Starts the thread that owns the producer, which takes its transactional id at once.
    ///
    /// # Errors
    /// `KAFKA_CONFIG`, `KAFKA_PROPERTY_REFUSED`, `THREAD_START`.
    pub fn start(config: EpochsConfig, members: &Members) -> Result<Self> {
        let records = CommitRecords::settled(&config)?;
        let predecessors = Predecessors::new(&config)?;
        let entry = Arc::new(Mutex::new(Entry { records: CommitRecords::settled(&config)?, predecessors }));
        let (asked, waiting) = sync_channel(WAITING);
        let name = format!("{}-epochs", config.group);
        let group = members.group();
        let life = RandomState::new().hash_one(&config.process);
        let transactions = Transactions {
            own: CommitRecord { epoch: Epoch::default(), life, process: config.process.clone() },
            config,
            group: Arc::clone(&group),
            records,
            producer: None,
            ends: Ends::default(),
            count: 0,
        };
        spawn(&name, move || transactions.run(&waiting))?;
        Ok(Self { asked, group, entry })
    }

    /// Takes a partition over: ends what its last owner left open when it died, waits for a transaction that is just being committed, so that
    /// nothing of an earlier owner is still to come, and tells the last committed epoch, zero for none. The producer ends a
    /// transaction that this process itself left open.
    ///
    /// # Errors
    /// `CLUSTER_LOST` when it is another process's; `KAFKA_UNREACHABLE`, `KAFKA_AUTH`.
    pub fn take_over(&self, partition: u16) -> Result<Tenure> {
        let owned = |group: &GroupState| group.owned.get(&partition).copied().ok_or_else(|| lost(partition));
        let round = owned(&self.group.now())?;
        let mut entry = self.entry.lock().unwrap_or_else(PoisonError::into_inner);
        // others came first, and the partition may have gone meanwhile
        let group = self.group.now();
        if owned(&group)? != round {
            return Err(lost(partition));
        }
        entry.predecessors.end(partition, group.round);
        let committed = entry.records.last(partition)?.epoch;
        Ok(Tenure { partition, round, committed })
    }

    /// Makes an epoch lasting, and waits until it is. Gives the offset from which on a copy that holds the epoch has to read the changelog: behind
    /// the epoch's cells, or before them where its result was unknown at first.
    ///
    /// # Errors
    /// `CLUSTER_LOST` when the partition is another process's now, and nothing was committed; `KAFKA_UNREACHABLE`, `KAFKA_RECORD_TOO_LARGE`,
    /// `CLUSTER_FENCED`.
    pub fn commit(&self, part: EpochPart) -> Result<i64> {
        let (answer, answered) = sync_channel(1);
        let gone = |_| Error::external("CLUSTER_LOST", "this process takes no part any more");
        self.asked.send(Asked { part, answer }).map_err(|_| gone(()))?;
        answered.recv().map_err(|_| gone(()))?
    }
}

/// Why a transaction did not end well.
enum Trouble {
    /// It is aborted: it may be sent again.
    Aborted(Error),
    /// It may or may not have been committed.
    Unknown(Error),
    /// Nothing of it is visible, and another try cannot help.
    Refused(Error),
}

struct Transactions {
    config: EpochsConfig,
    /// What its commit records say, but for the epoch.
    own: CommitRecord,
    group: Arc<Group>,
    records: CommitRecords,
    producer: Option<Taken>,
    /// How far the job's topics are written.
    ends: Ends,
    /// Transactions so far.
    count: u64,
}

/// The producer that has this process's transactional id.
struct Taken {
    producer: Arc<BaseProducer<Reports>>,
    /// The timeout that its transactions were to have.
    timeout: Duration,
    /// When one was last in need of it.
    needed: Instant,
}

impl Transactions {
    fn run(mut self, waiting: &Receiver<Asked>) {
        match self.taken(self.config.timeout) {
            Ok(taken) => self.producer = Some(taken),
            // with the first part it tries again
            Err(error) => tracing::info!(target: "kafka", "{error}"),
        }
        let mut left = None;
        loop {
            let first = left.take().map_or_else(|| waiting.recv_timeout(Duration::from_millis(500)), Ok);
            let first = match first {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(Taken { producer, .. }) = &self.producer {
                        producer.poll(Duration::ZERO); // takes in what the client has to say
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let end = Instant::now() + LINGER;
            let next = || waiting.recv_timeout(end.saturating_duration_since(Instant::now())).ok();
            let (parts, next) = sizes::gather(first, |asked| sizes::of(&asked.part), next);
            left = next;
            self.settle(parts);
        }
    }

    /// Commits parts, as often as it takes.
    fn settle(&mut self, mut parts: Vec<Asked>) {
        let within = sizes::within(self.config.timeout, bytes(&parts)).saturating_sub(self.config.timeout);
        let end = Instant::now() + self.config.delivery_timeout + within;
        let mut pause = Duration::from_millis(20);
        loop {
            let group = self.group.now();
            let (mine, gone): (Vec<_>, Vec<_>) = parts.into_iter().partition(|asked| group.is_of(&asked.part.tenure));
            parts = mine;
            answer(gone, |part| Err(lost(part.tenure.partition)));
            let trouble = match self.attempt(&mut parts, group.metadata.as_deref()) {
                Ok(ends) => {
                    return answer(parts, |part| {
                        let missing = || Error::internal("KAFKA_DELIVERY", "a record was committed and not reported");
                        ends.get(&part.tenure.partition).copied().ok_or_else(missing)
                    });
                }
                Err(trouble) => trouble,
            };
            let error = match trouble {
                Trouble::Refused(error) => {
                    self.producer = None;
                    return answer(parts, |_| Err(error.clone()));
                }
                Trouble::Aborted(error) => error,
                Trouble::Unknown(error) => {
                    self.producer = None;
                    error
                }
            };
            if Instant::now() + pause > end {
                return answer(parts, |_| Err(error.clone()));
            }
            tracing::info!(target: "kafka", "a transaction is tried again: {error}");
            self.group.wait_after(group.round, pause);
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// One transaction, or what the last one turns out to have committed.
    fn attempt(
        &mut self,
        parts: &mut Vec<Asked>,
        group: Option<&ConsumerGroupMetadata>,
    ) -> Result<BTreeMap<u16, i64>, Trouble> {
        let (size, now) = (bytes(parts), Instant::now());
        let wanted = sizes::timeout(self.config.timeout, size);
        // no transaction is open here: one that takes the id over ends nothing
        drop(self.producer.take_if(|taken| !sizes::serves(taken.timeout, wanted, now.duration_since(taken.needed))));
        if self.producer.is_none() && !parts.is_empty() {
            self.producer = Some(self.taken(wanted).map_err(Trouble::Unknown)?);
            self.resolve(parts).map_err(Trouble::Unknown)?;
        }
        let Some(taken) = self.producer.as_mut().filter(|_| !parts.is_empty()) else { return Ok(BTreeMap::new()) };
        if taken.timeout == wanted {
            taken.needed = now;
        }
        let Some(group) = group else {
            return Err(Trouble::Unknown(Error::internal("CLUSTER_GROUP", "the group has no metadata yet")));
        };
        let end = Instant::now() + sizes::within(self.config.timeout, size);
        let (producer, config, members) = (&*taken.producer, &self.config, &*self.group);
        let transaction = Transaction { producer, config, members, own: &self.own, end };
        let committed = transaction.commit(parts, group, &mut self.ends)?;
        self.count += 1;
        if self.config.doubt_every > 0 && self.count.is_multiple_of(self.config.doubt_every) {
            return Err(Trouble::Unknown(Error::external("KAFKA_UNREACHABLE", "no answer came, as a test wanted it")));
        }
        Ok(committed)
    }

    /// Takes the transactional id of this process, for transactions of this timeout if brokers allow it (`transaction.max.timeout.ms`).
    fn taken(&self, timeout: Duration) -> Result<Taken> {
        let (config, process) = (&self.config, &self.config.process);
        let made = match producer(config, process, timeout) {
            Err(error) if timeout > config.timeout => {
                tracing::info!(target: "kafka", "a transaction cannot be given {} s: {error}", timeout.as_secs());
                producer(config, process, config.timeout)
            }
            made => made,
        };
        Ok(Taken { producer: made?, timeout, needed: Instant::now() })
    }

    /// Answers parts that are committed already.
    fn resolve(&self, parts: &mut Vec<Asked>) -> Result<()> {
        let committed = self.records.read(parts.iter().map(|asked| asked.part.tenure.partition))?;
        let is = |part: &EpochPart| committed.get(&part.tenure.partition) == Some(&self.own.at(part.epoch));
        let (done, open): (Vec<_>, Vec<_>) = std::mem::take(parts).into_iter().partition(|asked| is(&asked.part));
        *parts = open;
        // Where its cells end is not known. The end of the topic is no answer: it may be behind what another owner has committed since, which a copy
        // that begins there would never see. To read the part's own cells once more changes nothing.
        answer(done, |part| Ok(part.after));
        Ok(())
    }
}

/// A producer that has the transactional id of a process to itself: whoever had it is fenced, and its open transaction is ended.
pub(super) fn producer(config: &EpochsConfig, process: &str, timeout: Duration) -> Result<Arc<BaseProducer<Reports>>> {
    let mut settings = config.client.client()?;
    settings.remove("group.id");
    let (id, millis) = (config.id(process), timeout.as_millis().to_string());
    settings.set("transactional.id", &id).set("transaction.timeout.ms", &millis);
    let usual = [
        ("partitioner", "murmur2_random"), // as Java's producer
        ("linger.ms", "2"),
        ("queue.buffering.max.kbytes", "131072"),
        ("message.max.bytes", RECORD_BYTES_MAX),
        ("compression.type", "lz4"),
    ];
    unless_given(&mut settings, &usual);
    let context = Reports::watching(&[&config.changelog, &format!("{}-exchange-", config.group)]);
    let producer: Arc<BaseProducer<Reports>> = made(&settings, context)?;
    connect(producer.client(), &config.client, &config.members);
    producer.init_transactions(config.timeout).map_err(|e| {
        let what = format!("take the transactional id {id:?}");
        error::talking(&e, &what, &config.client.bootstrap, &producer.context().reason())
    })?;
    Ok(producer)
}

fn lost(partition: u16) -> Error {
    Error::external("CLUSTER_LOST", format!("partition {partition} belongs to another process now"))
}

fn answer(parts: Vec<Asked>, with: impl Fn(&EpochPart) -> Result<i64>) {
    for asked in parts {
        // a partition that does not wait any more was stopped
        asked.answer.send(with(&asked.part)).unwrap_or_default();
    }
}

/// A transaction under way.
struct Transaction<'a> {
    producer: &'a BaseProducer<Reports>,
    config: &'a EpochsConfig,
    members: &'a Group,
    own: &'a CommitRecord,
    /// Until when everything must be queued and settled.
    end: Instant,
}

impl Transaction<'_> {
    fn commit(
        &self,
        parts: &[Asked],
        group: &ConsumerGroupMetadata,
        ends: &mut Ends,
    ) -> Result<BTreeMap<u16, i64>, Trouble> {
        self.producer.context().take_written();
        self.producer.begin_transaction().map_err(|e| self.judged(e))?;
        let mut offsets = TopicPartitionList::new();
        for Asked { part, .. } in parts {
            ends.reached(&self.config.changelog, i32::from(part.tenure.partition), part.after);
            for some in part.records.chunks(LOOK_EVERY) {
                self.is_still_of(&part.tenure)?;
                some.iter().try_for_each(|record| self.send(record))?;
            }
            for some in part.writes.chunks(LOOK_EVERY) {
                self.is_still_of(&part.tenure)?;
                let cell = |(key, value): &CellWrite| self.cell(part.tenure.partition, key, value.as_deref());
                some.iter().try_for_each(cell)?;
            }
            self.cell(part.tenure.partition, EPOCH, Some(&part.epoch.0.to_be_bytes()))?;
            let mut place = offsets.add_partition(&self.config.members, i32::from(part.tenure.partition));
            place.set_metadata(self.own.at(part.epoch).metadata());
            place.set_offset(Offset::Offset(part.epoch.0 as i64)).map_err(|e| self.judged(e))?;
        }
        // offsets go while the records are under way
        let sent = self.producer.send_offsets_to_transaction(&offsets, group, self.config.timeout);
        sent.map_err(|e| self.judged(e))?;
        send::settle(self.producer, self.end).map_err(|e| self.judged(e))?;
        let mut written = self.producer.context().take_written();
        // nothing is committed to topics that do not hold any more what was committed before
        ends.take(&written).map_err(|error| {
            self.abort();
            Trouble::Refused(error)
        })?;
        self.producer.commit_transaction(self.config.timeout).map_err(|e| self.judged(e))?;
        let cells = written.remove(&self.config.changelog).unwrap_or_default();
        Ok(cells.into_iter().map(|(partition, (_, last))| (partition as u16, last + 1)).collect())
    }

    /// What is lost is given up at once: whoever has it now reads behind nothing that is open.
    fn is_still_of(&self, tenure: &Tenure) -> Result<(), Trouble> {
        if self.members.is_of(tenure) {
            return Ok(());
        }
        let error = lost(tenure.partition);
        Err(if self.abort() { Trouble::Aborted(error) } else { Trouble::Unknown(error) })
    }

    fn cell(&self, partition: u16, key: &[u8], value: Option<&[u8]>) -> Result<(), Trouble> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.config.changelog).key(key).partition(i32::from(partition));
        record.payload = value;
        self.queue(record)
    }

    fn send(&self, given: &LogRecord) -> Result<(), Trouble> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&given.topic);
        (record.key, record.payload) = (given.key.as_deref(), given.value.as_deref());
        record.partition = i32::try_from(given.partition).ok(); // [`BY_KEY`] is none
        record.timestamp = given.timestamp_ms;
        let headers = given.headers.iter().map(|(key, value)| (key.as_ref(), value.as_deref()));
        self.queue(send::with_headers(record, headers))
    }

    fn queue(&self, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), Trouble> {
        send::push(self.producer, record, self.end).map_err(|e| self.judged(e))
    }

    /// What an error means. A transaction that can be ended is ended at once, so that readers need not wait for its timeout.
    fn judged(&self, e: KafkaError) -> Trouble {
        self.producer.poll(Duration::ZERO);
        let context = self.producer.context();
        // a client whose transaction failed says only that; the record's own error says why
        let cause = context.take_undelivered().unwrap_or_else(|| e.clone());
        let code = cause.rdkafka_error_code();
        let error = error::talking(&cause, "commit an epoch", &self.config.client.bootstrap, &context.reason());
        if matches!(code, Some(Code::Fenced | Code::InvalidProducerEpoch | Code::ProducerFenced)) {
            let id = self.config.id(&self.config.process);
            // by who took this process for dead, or by the brokers, for whom it took too long; of another one of the same name the group tells
            return Trouble::Unknown(
                Error::user("CLUSTER_FENCED", format!("another process commits under the transactional id {id:?}"))
                    .help("give every process a process id of its own, and start each one once"),
            );
        }
        let refused = code.is_some_and(error::is_refusal);
        let abortable = refused || matches!(&e, KafkaError::Transaction(e) if e.txn_requires_abort());
        if !abortable {
            return Trouble::Unknown(error);
        }
        match self.abort() {
            true if refused => Trouble::Refused(error),
            true => Trouble::Aborted(error),
            false => Trouble::Unknown(error),
        }
    }

    /// Ends the transaction without a commit; false where that is left to whoever takes the transactional id next.
    fn abort(&self) -> bool {
        send::abort(self.producer, ANSWERED_WITHIN, self.config.timeout)
    }
}
