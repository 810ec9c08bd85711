//! What a cluster's processes tell each other of jobs: two topics, read whole by every process, and one of which they fetch what they need.
//!
//! *Orders* are what is to be done, in the one order in which all see it; none is ever forgotten. *Results* are what became of it, by
//! key, of which the newest counts. *Artifacts* are large, and stand under a key that never changes its meaning, until they are taken away. What stands in an entry is
//! not known here.

use super::super::client::{KafkaClientConfig, Reports, made};
use super::super::error;
use super::super::send;
use super::super::thread::spawn;
use super::reader::{LogReader, passes};
use super::topics::{RECORD_BYTES_MAX, create_journal};
use bytes::Bytes;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thalweg_core::error::{Error, Result};

/// How long an entry may take to be written.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);
/// `message.timeout.ms`: when a producer itself gives up an entry, so long before that its verdict, for which it looks once a second, comes while it is waited for.
const GIVEN_UP_AFTER_MS: &str = "25000";
/// How long an artifact may take to be read.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// What is to be done.
    Orders,
    /// What became of it.
    Results,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub page: Page,
    /// What it is about.
    pub key: String,
    /// What it says; of results, nothing takes a key back.
    pub value: Option<Bytes>,
}

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// An entry.
    Entry(Entry),
    /// All there was when the journal was opened has been told.
    CaughtUp,
}

/// Called on the journal's thread.
type Listener = Box<dyn Fn(Told) + Send>;

/// The journal of a cluster.
pub struct Journal {
    client: KafkaClientConfig,
    orders: String,
    results: String,
    artifacts: String,
    /// None once one has failed, until the next entry.
    producer: Mutex<Option<Arc<BaseProducer<Reports>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("orders", &self.orders).field("results", &self.results).finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal of a cluster, and makes it where there is none. `listener` hears of all entries there are, then of new ones, on a
    /// thread of the journal's own; at first of orders, so that no result is about something unknown.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_AUTH`, `KAFKA_CONFIG`, `THREAD_START`.
    pub fn open(client: &KafkaClientConfig, cluster: &str, listener: impl Fn(Told) + Send + 'static) -> Result<Self> {
        let [orders, results, artifacts] = ["orders", "results", "artifacts"].map(|page| format!("{cluster}-{page}"));
        create_journal(client, &orders, &results, &artifacts)?;
        let producer = producer(client, &artifacts)?;
        let reader = LogReader::new(client)?;
        let known = [reader.bounds(&orders, 0)?.1, reader.bounds(&results, 0)?.1];
        let pages = [(Page::Orders, reader.open(&orders, 0, 0)?), (Page::Results, reader.open(&results, 0, 0)?)];
        let stop = Arc::new(AtomicBool::new(false));
        let reading = Reading { reader, pages, known, listener: Box::new(listener), stop: Arc::clone(&stop) };
        let thread = spawn(&format!("{cluster}-journal"), move || reading.run())?;
        let (client, producer) = (client.clone(), Mutex::new(Some(producer)));
        Ok(Self { client, orders, results, artifacts, producer, stop, thread: Some(thread) })
    }

    /// Writes an entry, and waits until it is safe. One that failed is not tried again behind the caller's back; of one that was under way just then
    /// nobody can know whether it arrived, and the message says so.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_FAILED`, `KAFKA_AUTH`, `KAFKA_TLS`, `KAFKA_RECORD_TOO_LARGE`.
    pub fn append(&self, page: Page, key: &str, value: Option<&[u8]>) -> Result<()> {
        let topic = match page {
            Page::Orders => &self.orders,
            Page::Results => &self.results,
        };
        self.write(topic, key, value).map(drop)
    }

    /// Puts an artifact under a key, and waits until it is safe. Gives where it stands.
    ///
    /// # Errors
    /// As for [`Journal::append`].
    pub fn put(&self, key: &str, bytes: &[u8]) -> Result<i64> {
        let write = || self.write(&self.artifacts, key, Some(bytes));
        // of a record that the broker had already it may not say where: the same once more stands somewhere else, and the last one of a key stays
        let at = match write()? {
            Some(at) => Some(at),
            None => write()?,
        };
        at.ok_or_else(|| {
            Error::external("KAFKA_FAILED", format!("no broker says where it has put {key} in {:?}", self.artifacts))
                .help("look at the brokers' logs, then give the order again")
        })
    }

    /// Takes what stands under a key away: the brokers delete it when they compact the topic, and may give it until then.
    ///
    /// # Errors
    /// As for [`Journal::append`].
    pub fn take_away(&self, key: &str) -> Result<()> {
        self.write(&self.artifacts, key, None).map(drop)
    }

    /// The artifact that stands there, under this key. Blocks until it is read.
    ///
    /// # Errors
    /// `CLUSTER_TOPIC` when it does not, `KAFKA_UNREACHABLE`.
    pub fn get(&self, key: &str, at: i64) -> Result<Bytes> {
        let reader = LogReader::new(&self.client)?;
        let (_, end) = reader.bounds(&self.artifacts, 0)?;
        let queue = reader.open(&self.artifacts, 0, at)?;
        let gone = || {
            let what = format!("the artifact {key} of a job is not in the topic {:?}", self.artifacts);
            Error::external("CLUSTER_TOPIC", what)
                .help("restore the topic, or submit the job again where its files are, as an update")
        };
        let patience = Instant::now() + READ_WITHIN;
        while at < end && Instant::now() < patience {
            reader.serve()?;
            match queue.poll(Duration::from_millis(20)) {
                Some(Ok(record)) if record.offset() == at && record.key() == Some(key.as_bytes()) => {
                    return record.payload().map(Bytes::copy_from_slice).ok_or_else(gone);
                }
                Some(Ok(_)) => return Err(gone()),
                Some(Err(e)) if !passes(&e) => return Err(reader.failed(&e, &self.artifacts)),
                Some(Err(_)) | None => {}
            }
        }
        Err(gone())
    }

    /// Writes a record, and waits until it is safe. Gives its offset, where offsets are watched and the broker says it.
    fn write(&self, topic: &str, key: &str, value: Option<&[u8]>) -> Result<Option<i64>> {
        let mut kept = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        let producer = match kept.take() {
            Some(producer) => producer,
            None => producer(&self.client, &self.artifacts)?,
        };
        let mut record = BaseRecord::<str, [u8]>::to(topic).key(key).partition(0);
        record.payload = value;
        let queued = producer.send(record).map_err(|(e, _)| e);
        let doubted = queued.is_ok();
        match queued.and_then(|()| send::settle(&producer, Instant::now() + WRITTEN_WITHIN)) {
            Ok(()) => {
                let mut written = producer.context().take_written();
                *kept = Some(producer);
                Ok(written.remove(topic).and_then(|partitions| Some(partitions.get(&0)?.1)))
            }
            Err(e) => {
                // it ends with all it has queued: nothing of it is written later, and no verdict of it is taken for that of another record; now, for who renews
                // its token may hold it a moment longer
                producer.purge(PurgeConfig::default().queue().inflight());
                let reason = producer.context().reason();
                let error = error::talking(&e, &format!("write the topic {topic:?}"), &self.client.bootstrap, &reason);
                Err(if doubted && !e.rdkafka_error_code().is_some_and(error::is_refusal) {
                    unknown(error)
                } else {
                    error
                })
            }
        }
    }
}

/// What a try to write says of which nobody knows whether it was the last one that failed: a request that was under way may have arrived.
fn unknown(error: Error) -> Error {
    Error { message: format!("{}; it is not known whether it was written all the same", error.message), ..error }
}

/// What entries are written by.
fn producer(client: &KafkaClientConfig, artifacts: &str) -> Result<Arc<BaseProducer<Reports>>> {
    let mut settings = client.client()?;
    settings.remove("group.id");
    settings.remove("delivery.timeout.ms"); // the same as what is set here, by another name
    for (name, value) in [
        ("enable.idempotence", "true"),
        ("linger.ms", "0"),
        ("message.max.bytes", RECORD_BYTES_MAX),
        ("message.timeout.ms", GIVEN_UP_AFTER_MS),
    ] {
        settings.set(name, value);
    }
    made(&settings, Reports::watching(&[artifacts]))
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // a panic of that thread is no reason for one of this
            drop(thread.join());
        }
    }
}

struct Reading {
    reader: Arc<LogReader>,
    /// Orders, then results.
    pages: [(Page, PartitionQueue<Reports>); 2],
    /// Where both ended when the journal was opened.
    known: [i64; 2],
    listener: Listener,
    stop: Arc<AtomicBool>,
}

impl Reading {
    fn run(self) {
        let mut next = [0, 0];
        let mut caught_up = false;
        while !self.stop.load(Ordering::SeqCst) {
            if let Err(e) = self.reader.serve() {
                tracing::warn!(target: "kafka", "{e}");
            }
            for (i, ((page, queue), next)) in self.pages.iter().zip(&mut next).enumerate() {
                self.turn(*page, queue, next, self.known.get(i).copied().unwrap_or_default());
                if i == 0 && *next < self.known.first().copied().unwrap_or_default() {
                    break; // results are about orders
                }
            }
            if !caught_up && next.iter().zip(&self.known).all(|(next, known)| next >= known) {
                caught_up = true;
                (self.listener)(Told::CaughtUp);
            }
        }
    }

    /// Takes what a page has, and waits a moment if it has nothing.
    fn turn(&self, page: Page, queue: &PartitionQueue<Reports>, next: &mut i64, known: i64) {
        let mut wait = Duration::from_millis(20);
        while let Some(polled) = queue.poll(wait) {
            wait = Duration::ZERO;
            match polled {
                Ok(record) => {
                    *next = record.offset() + 1;
                    (self.listener)(Told::Entry(entry(page, &record)));
                }
                // entries that were compacted away take offsets all the same
                Err(KafkaError::PartitionEOF(_)) => return *next = known.max(*next),
                Err(e) if passes(&e) => return,
                Err(e) => return tracing::warn!(target: "kafka", "the journal cannot be read: {e}"),
            }
        }
    }
}

fn entry(page: Page, record: &impl Message) -> Entry {
    Entry {
        page,
        key: String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned(),
        value: record.payload().map(Bytes::copy_from_slice),
    }
}
