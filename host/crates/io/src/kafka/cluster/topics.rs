//! The topics of a job: their names, and how they are made.

use super::super::ask::{counts, partitions};
use super::super::client::{KafkaClientConfig, Reports, made};
use super::super::error;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::StateId;

/// Largest record of an internal topic, in bytes: an element may be large, and is not divided.
pub(super) const RECORD_BYTES_MAX: &str = "67108864";

/// How long the news of a new topic may take to reach all brokers.
const SPREADS_WITHIN: Duration = Duration::from_secs(5);

/// What those do who make topics, in messages.
const MAKE: &str = "make the topics of a job";

/// Names of a job's topics: `<cluster>-<job>-<part>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobTopics {
    prefix: String,
}

/// How long records of a topic stay.
#[derive(Clone, Copy, Debug)]
enum Keeps {
    /// The last record of each key.
    Newest,
    /// All of them, until they are deleted by name.
    Everything,
}

impl JobTopics {
    /// Those of a job.
    #[must_use]
    pub fn new(cluster: &str, job: &str) -> Self {
        Self { prefix: format!("{cluster}-{job}") }
    }

    /// What group and transactional ids of the job begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whose partitions stand for the job's; it has no records.
    #[must_use]
    pub fn members(&self) -> String {
        format!("{}-members", self.prefix)
    }

    /// The cells of the job's state, by partition.
    #[must_use]
    pub fn changelog(&self) -> String {
        format!("{}-changelog", self.prefix)
    }

    /// What goes from partition to partition over an edge.
    #[must_use]
    pub fn exchange(&self, edge: StateId) -> String {
        format!("{}-exchange-{:016x}", self.prefix, edge.0)
    }

    /// Whether a topic is one of the job's.
    pub(super) fn owns(&self, topic: &str) -> bool {
        let part = topic.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix('-'));
        part.is_some_and(|part| match part.strip_prefix("exchange-") {
            Some(edge) => edge.len() == 16 && edge.bytes().all(|byte| byte.is_ascii_hexdigit()),
            None => part == "members" || part == "changelog",
        })
    }

    /// Makes the topics of a job with so many partitions; those that are there already stay as they are.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_AUTH`, and `CLUSTER_TOPIC` when one is there with another number of partitions.
    pub fn create(&self, client: &KafkaClientConfig, count: u16, exchanges: &[StateId]) -> Result<()> {
        let mut wanted = vec![(self.members(), Keeps::Everything), (self.changelog(), Keeps::Newest)];
        wanted.extend(exchanges.iter().map(|edge| (self.exchange(*edge), Keeps::Everything)));
        create(client, count, &wanted)
    }

    /// Checks that all topics of a job are there: one that is gone took state or elements with it.
    ///
    /// # Errors
    /// `CLUSTER_TOPIC`, naming it; `KAFKA_UNREACHABLE`.
    pub fn check(&self, client: &KafkaClientConfig, count: u16, exchanges: &[StateId]) -> Result<()> {
        let admin = admin(client)?;
        self.all(exchanges).iter().try_for_each(|topic| has(&admin, client, topic, count))
    }

    fn all(&self, exchanges: &[StateId]) -> Vec<String> {
        let edges = exchanges.iter().map(|edge| self.exchange(*edge));
        [self.members(), self.changelog()].into_iter().chain(edges).collect()
    }
}

/// Deletes the records of exchanges that their readers have behind them for good.
pub struct Trimmer {
    admin: Arc<Admin>,
    client: KafkaClientConfig,
}

impl std::fmt::Debug for Trimmer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trimmer").finish_non_exhaustive()
    }
}

impl Trimmer {
    /// One for a cluster; it connects in the background.
    ///
    /// # Errors
    /// `KAFKA_CONFIG`, `KAFKA_PROPERTY_REFUSED`.
    pub fn new(client: &KafkaClientConfig) -> Result<Self> {
        Ok(Self { admin: admin(client)?, client: client.clone() })
    }

    /// As [`JobTopics::check`].
    ///
    /// # Errors
    /// As [`JobTopics::check`].
    pub fn check(&self, topics: &JobTopics, count: u16, exchanges: &[StateId]) -> Result<()> {
        let wanted = topics.all(exchanges);
        wanted.iter().try_for_each(|topic| has(&self.admin, &self.client, topic, count))
    }

    /// Deletes what stands before these offsets, by topic and partition. Blocks for the brokers' answer.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_AUTH`: the records stay until the next call.
    pub fn trim<'a>(&self, before: impl Iterator<Item = (&'a str, u16, i64)>) -> Result<()> {
        let failed = |e: &KafkaError| {
            let reason = self.admin.inner().context().reason();
            error::talking(e, "delete what was read of a job's topics", &self.client.bootstrap, &reason)
        };
        let mut list = TopicPartitionList::new();
        for (topic, partition, offset) in before {
            let offset = Offset::Offset(offset);
            list.add_partition_offset(topic, i32::from(partition), offset).map_err(|e| failed(&e))?;
        }
        if list.count() == 0 {
            return Ok(());
        }
        let options = AdminOptions::new().operation_timeout(Some(self.client.connect_timeout()));
        wait(self.admin.delete_records(&list, &options)).map(drop).map_err(|e| failed(&e))
    }
}

/// Makes the topics in which a cluster's jobs are told.
pub(super) fn create_journal(client: &KafkaClientConfig, orders: &str, results: &str, artifacts: &str) -> Result<()> {
    // as usual they are there, and nobody deletes them
    if counts(client, &[orders, results, artifacts], MAKE)? == [1, 1, 1] {
        return Ok(());
    }
    let newest = [results, artifacts].map(|topic| (topic.to_owned(), Keeps::Newest));
    create(client, 1, &[&[(orders.to_owned(), Keeps::Everything)][..], &newest].concat())
}

pub(super) type Admin = AdminClient<Reports>;

pub(super) fn admin(client: &KafkaClientConfig) -> Result<Arc<Admin>> {
    made(&client.client()?, Reports::default())
}

fn create(client: &KafkaClientConfig, count: u16, wanted: &[(String, Keeps)]) -> Result<()> {
    if let Some((topic, _)) = wanted.first() {
        counts(client, &[topic], MAKE)?; // says why brokers do not answer
    }
    let admin = admin(client)?;
    let topics: Vec<NewTopic<'_>> = wanted.iter().map(|(name, keeps)| new(name, *keeps, count)).collect();
    // without a bound of its own a request to brokers that turn the client away takes a minute
    let timeout = Some(client.connect_timeout());
    let options = AdminOptions::new().operation_timeout(timeout).request_timeout(timeout);
    let made = wait(admin.create_topics(&topics, &options));
    let failed = |e: &KafkaError| error::talking(e, MAKE, &client.bootstrap, &admin.inner().context().reason());
    for result in made.map_err(|e| failed(&e))? {
        match result {
            Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(failed(&KafkaError::AdminOp(code))),
        }
    }
    wanted.iter().try_for_each(|(topic, _)| has(&admin, client, topic, count))
}

fn new(name: &str, keeps: Keeps, count: u16) -> NewTopic<'_> {
    // as many replicas as the brokers give by default
    let topic = NewTopic::new(name, i32::from(count), TopicReplication::Fixed(-1));
    let topic = topic.set("max.message.bytes", RECORD_BYTES_MAX);
    match keeps {
        Keeps::Newest => topic.set("cleanup.policy", "compact"),
        Keeps::Everything => {
            topic.set("cleanup.policy", "delete").set("retention.ms", "-1").set("retention.bytes", "-1")
        }
    }
}

/// Checks that a topic is there, with so many partitions.
fn has(admin: &Admin, client: &KafkaClientConfig, topic: &str, count: u16) -> Result<()> {
    let end = Instant::now() + SPREADS_WITHIN;
    let found = loop {
        match partitions(admin.inner(), client, topic) {
            Ok(found) => break found.len(),
            Err(KafkaError::MetadataFetch(Code::UnknownTopicOrPartition | Code::UnknownTopic)) => {
                if Instant::now() > end {
                    break 0;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(e) => {
                let reason = admin.inner().context().reason();
                return Err(error::talking(&e, &format!("find the topic {topic:?}"), &client.bootstrap, &reason));
            }
        }
    };
    if found == usize::from(count) {
        return Ok(());
    }
    let what = match found {
        0 => format!("the topic {topic:?} of the job is gone, and with it what only it held"),
        n => format!("the topic {topic:?} has {n} partitions, the job has {count}"),
    };
    Err(Error::user("CLUSTER_TOPIC", what)
        .help("restore the topic, or submit the job under another name to begin anew"))
}

/// Runs a future to its end on this thread.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_whose_they_are() {
        let topics = JobTopics::new("thalweg", "daily");
        assert_eq!(topics.changelog(), "thalweg-daily-changelog");
        assert_eq!(topics.exchange(StateId(10)), "thalweg-daily-exchange-000000000000000a");
        let all = topics.all(&[StateId(10), StateId(u64::MAX)]);
        assert!(all.len() == 4 && all.iter().all(|name| topics.owns(name)));
        for other in ["thalweg-daily", "thalweg-daily-out", "thalweg-daily-2-members", "thalweg-daily-exchange-rates"] {
            assert!(!topics.owns(other), "{other}");
        }
    }
}
