//! The transactions of a process: one producer, by which the epochs of all its partitions become lasting.
//!
//! In: the parts that partitions have sealed. Out: per part, from where on its copy has to read the changelog once it is committed. Parts that wait at the same time
//! share a transaction; each has in it its records, its cells and a commit record ([`super::commits`]), sent with the group's metadata, so that a
//! process which has lost the partition cannot commit (engine decisions 17 to 20).
//!
//! A transaction that was aborted is sent again with what the group says then. One whose end is unknown is never: the producer is thrown
//! away, another one under the same id ends what is open, and the commit records say which parts were committed, by this process: who has
//! the partition by now may have committed an epoch of the same number. One that brokers have said is committed may hang all the same when they are lost
//! ([`super::hanging`]): it is completed before the next one, and while there is none. A part counts only in the tenure in which it was sealed, for
//! the partition may have been another process's meanwhile.

use super::super::ask::connect;
use super::super::client::{KafkaClientConfig, Reports, made, unless_given};
use super::super::error;
use super::super::thread::spawn;
use super::commits::{CommitRecord, CommitRecords};
use super::ends::Ends;
use super::hanging::{Hanging, Told};
use super::members::{Group, GroupState, Members};
use super::predecessor::Predecessors;
use super::sizes;
use super::topics::RECORD_BYTES_MAX;
use super::transaction::{Transaction, Trouble};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::producer::{BaseProducer, Producer};
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

/// Parts that may wait; a partition waits for its own before it sends another.
const WAITING: usize = 4096;
/// How long a transaction waits for other parts: partitions seal by the same clock.
const LINGER: Duration = Duration::from_millis(2);

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
    /// The exchange topics.
    pub exchanges: Vec<String>,
    /// Partitions of the job.
    pub partitions: u16,
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
    pub(super) fn id(&self, process: &str) -> String {
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

pub(super) struct Asked {
    pub part: EpochPart,
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
            group: Arc::clone(&group),
            records,
            producer: None,
            ends: Ends::default(),
            cut_short: true,
            lost: false,
            told: Told::default(),
            hanging: Hanging::new(&config)?,
            config,
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

struct Transactions {
    config: EpochsConfig,
    /// What its commit records say, but for the epoch.
    own: CommitRecord,
    group: Arc<Group>,
    records: CommitRecords,
    producer: Option<Taken>,
    /// How far the job's topics are written.
    ends: Ends,
    /// A transaction may have been cut short, by the end of this process's last life too: what it wrote must not become visible with the next one.
    cut_short: bool,
    /// A connection was lost: even what was committed may hang, and others wait for it.
    lost: bool,
    told: Told,
    hanging: Hanging,
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
        self.take();
        let mut left = None;
        loop {
            let first = left.take().map_or_else(|| waiting.recv_timeout(Duration::from_millis(500)), Ok);
            let first = match first {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    self.hear();
                    match &self.producer {
                        Some(_) if self.lost => self.look_after(),
                        Some(_) => {}
                        // who takes over a partition waits for the end of all that was begun
                        None if !self.group.now().left => self.take(),
                        None => {}
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

    /// Takes in what the client has to say.
    fn hear(&mut self) {
        if let Some(Taken { producer, .. }) = &self.producer {
            producer.poll(Duration::ZERO);
            if producer.context().take_lost() {
                (self.cut_short, self.lost) = (true, true);
            }
        }
    }

    /// Takes the transactional id of this process before there are parts, and ends what hangs of an earlier transaction.
    fn take(&mut self) {
        let taken = self.taken(self.config.timeout).and_then(|taken| {
            let whole = self.hanging.end(&taken.producer, std::iter::empty(), &self.told)?;
            Ok((taken, !whole))
        });
        match taken {
            Ok((taken, lost)) => (self.producer, self.lost) = (Some(taken), lost),
            // it is tried again
            Err(error) => tracing::info!(target: "kafka", "{error}"),
        }
    }

    /// Ends what hangs of transactions that ended before a connection was lost, while there are no parts.
    fn look_after(&mut self) {
        let Some(taken) = &self.producer else { return };
        let ended = match self.hanging.find(std::iter::empty(), &self.told) {
            Ok(hangs) => hangs.end(&taken.producer).map(|()| !hangs.whole),
            // it is tried again
            Err(error) => return tracing::info!(target: "kafka", "{error}"),
        };
        match ended {
            Ok(lost) => self.lost = lost,
            Err(error) => {
                tracing::info!(target: "kafka", "{error}");
                self.producer = None;
            }
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
                    (self.producer, self.cut_short) = (None, true);
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
        self.hear();
        let (size, now) = (bytes(parts), Instant::now());
        let wanted = sizes::timeout(self.config.timeout, size);
        // no transaction is open here: one that takes the id over ends nothing
        drop(self.producer.take_if(|taken| !sizes::serves(taken.timeout, wanted, now.duration_since(taken.needed))));
        let anew = self.producer.is_none() && !parts.is_empty();
        if anew {
            self.producer = Some(self.taken(wanted).map_err(Trouble::Unknown)?);
        }
        self.end_hanging(parts).map_err(Trouble::Unknown)?;
        if anew {
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
        let written = transaction.commit(parts, group, &mut self.ends)?;
        self.told.take(parts.iter().map(|asked| (asked.part.tenure.partition, asked.part.epoch)), &written);
        self.count += 1;
        if self.config.doubt_every > 0 && self.count.is_multiple_of(self.config.doubt_every) {
            return Err(Trouble::Unknown(Error::external("KAFKA_UNREACHABLE", "no answer came, as a test wanted it")));
        }
        let cells = written.get(&self.config.changelog).into_iter().flatten();
        Ok(cells.map(|(partition, (_, last))| (*partition as u16, last + 1)).collect())
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

    /// Ends what hangs of a transaction that was cut short, before another one is committed to the same topics: that would commit it, too.
    fn end_hanging(&mut self, parts: &[Asked]) -> Result<()> {
        if let Some(taken) = self.producer.as_ref().filter(|_| self.cut_short && !parts.is_empty()) {
            let topics = parts.iter().flat_map(|asked| &asked.part.records).map(|record| record.topic.as_ref());
            let whole = self.hanging.end(&taken.producer, topics, &self.told)?;
            (self.cut_short, self.lost) = (false, !whole);
        }
        Ok(())
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

pub(super) fn lost(partition: u16) -> Error {
    Error::external("CLUSTER_LOST", format!("partition {partition} belongs to another process now"))
}

fn answer(parts: Vec<Asked>, with: impl Fn(&EpochPart) -> Result<i64>) {
    for asked in parts {
        // a partition that does not wait any more was stopped
        asked.answer.send(with(&asked.part)).unwrap_or_default();
    }
}
