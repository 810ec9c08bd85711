//! A real broker for the tests: the one that `THALWEG_TEST_BROKER` names, or one of our own out of the jars of `make setup`, which ends
//! with the test process.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod relay;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use relay::Relay;

/// Of a broker that is alone: when it comes back after it was killed it takes itself for alive for so long, and for gone then. What it ends in between, as transactions
/// of two seconds, it ends without markers.
pub const FORGETFUL: &str =
    "broker.session.timeout.ms=4000\ntransaction.abort.timed.out.transaction.cleanup.interval.ms=500";

static BROKER: OnceLock<Broker> = OnceLock::new();

/// What [`script`] hears beside its arguments.
type Settings = Vec<(&'static str, String)>;

/// A broker.
pub struct Broker {
    bootstrap: String,
    settings: Settings,
    /// Where our own one keeps its data, and who stops it.
    own: Option<(PathBuf, Child)>,
}

/// `bootstrap.servers` of the broker; started at the first call.
pub fn bootstrap() -> String {
    let given = || {
        std::env::var("THALWEG_TEST_BROKER").ok().map(|bootstrap| Broker {
            bootstrap,
            settings: Settings::new(),
            own: None,
        })
    };
    BROKER.get_or_init(|| given().unwrap_or_else(|| Broker::start(Settings::new()))).bootstrap.clone()
}

/// A broker of this test program alone, which it may kill; call it before anything else.
pub fn own() -> &'static Broker {
    BROKER.get_or_init(|| Broker::start(Settings::new()))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

fn script(verb: &str, dir: &Path, settings: &Settings) {
    let mut script = Command::new(root().join("scripts/kafka.sh"));
    let done = script.envs(settings.iter().cloned()).arg(verb).arg(dir).output().expect("scripts/kafka.sh");
    assert!(done.status.success(), "{verb} of the broker failed: {}", String::from_utf8_lossy(&done.stderr));
}

/// A broker of this test program alone behind a relay, with these lines in its configuration; call it before anything else.
pub fn relayed(properties: &str) -> (&'static Broker, Relay) {
    let relay = Relay::bind();
    let settings =
        vec![("KAFKA_ADVERTISED_PORT", relay.port().to_string()), ("KAFKA_PROPERTIES", properties.to_owned())];
    let broker = BROKER.get_or_init(|| Broker { bootstrap: relay.address(), ..Broker::start(settings) });
    relay.run(broker.port());
    (broker, relay)
}

impl Broker {
    fn start(settings: Settings) -> Self {
        assert!(root().join(".cache/kafka/lib").is_dir(), "there are no Kafka jars: run `make setup`");
        let dir = tempfile::tempdir().expect("a temporary directory").keep();
        script("start", &dir, &settings);
        // waits for the end of its input, which comes when this process ends, however it ends
        let guard = Command::new("sh")
            .args(["-c", "trap '' INT; cat > /dev/null; \"$0\" stop \"$1\"; rm -rf \"$1\""])
            .arg(root().join("scripts/kafka.sh"))
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let own = fs::read_to_string(dir.join("port")).expect("the broker's port");
        Self { bootstrap: format!("127.0.0.1:{}", own.trim()), settings, own: Some((dir, guard)) }
    }

    /// Where it listens itself.
    fn port(&self) -> u16 {
        let port = fs::read_to_string(self.dir().join("port")).expect("the broker's port");
        port.trim().parse().expect("a port")
    }

    /// Kills the broker, and starts it again on the same data after a while.
    pub fn bounce(&self, pause: Duration) {
        self.kill();
        std::thread::sleep(pause);
        self.start_again();
    }

    /// Kills the broker, and waits until it is dead.
    pub fn kill(&self) {
        let pid = fs::read_to_string(self.dir().join("pid")).expect("the broker's process");
        let killed = Command::new("kill").args(["-9", pid.trim()]).status().expect("kill");
        assert!(killed.success());
        let lives = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            stat.is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
        };
        while lives() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again on the same data.
    pub fn start_again(&self) {
        script("start", self.dir(), &self.settings);
    }

    fn dir(&self) -> &Path {
        &self.own.as_ref().expect("a broker of our own").0
    }
}

fn client() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap());
    config
}

/// Makes a topic of this name and some random letters.
pub fn topic(name: &str, partitions: i32) -> String {
    let name = format!("{name}-{:08x}", std::process::id() ^ rdkafka::util::current_time_millis() as u32);
    let new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
    let made = wait(admin().create_topics([&new], &AdminOptions::new())).expect("the broker");
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    name
}

/// Gives a topic more partitions.
pub fn grow(topic: &str, partitions: usize) {
    let new = NewPartitions::new(topic, partitions);
    let grown = wait(admin().create_partitions([&new], &AdminOptions::new())).expect("the broker");
    assert!(grown.iter().all(Result::is_ok), "{grown:?}");
}

/// Deletes the records of a partition before an offset.
pub fn delete_before(topic: &str, partition: i32, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
    wait(admin().delete_records(&list, &AdminOptions::new())).expect("the broker");
}

/// Deletes a topic.
pub fn delete(topic: &str) {
    let gone = wait(admin().delete_topics(&[topic], &AdminOptions::new())).expect("the broker");
    assert!(gone.iter().all(Result::is_ok), "{gone:?}");
}

/// Offset behind the last record of a partition, markers of transactions included.
pub fn end_of(topic: &str, partition: i32) -> i64 {
    let consumer: BaseConsumer = client().create().expect("a consumer");
    consumer.fetch_watermarks(topic, partition, Duration::from_secs(20)).expect("the broker").1
}

fn admin() -> AdminClient<DefaultClientContext> {
    client().create().expect("an admin client")
}

/// Runs a future on this thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park_timeout(Duration::from_millis(100)),
        }
    }
}

/// A plain producer, or a transactional one that has begun a transaction.
pub fn producer(transactional: Option<&str>) -> BaseProducer {
    let mut config = client();
    if let Some(id) = transactional {
        config.set("transactional.id", id);
    }
    let producer: BaseProducer = config.create().expect("a producer");
    if transactional.is_some() {
        producer.init_transactions(Duration::from_secs(20)).expect("the transactional id");
        producer.begin_transaction().expect("a transaction");
    }
    producer
}

/// Produces records `key, value` to a partition, with timestamps 1000, 1001, ...
pub fn produce(producer: &BaseProducer, topic: &str, partition: i32, records: &[(&str, &str)]) {
    for (i, (key, value)) in records.iter().enumerate() {
        let record = BaseRecord::to(topic).partition(partition).key(*key).payload(*value).timestamp(1000 + i as i64);
        producer.send(record).map_err(|(e, _)| e).expect("room in the queue");
    }
    producer.flush(Duration::from_secs(20)).expect("delivered");
}

/// Produces one record of any bytes, as somebody would who has lost his way.
pub fn produce_to(topic: &str, partition: u16, key: &[u8], value: &[u8]) {
    let producer = producer(None);
    let record = BaseRecord::to(topic).partition(i32::from(partition)).key(key).payload(value);
    producer.send(record).map_err(|(e, _)| e).expect("room in the queue");
    producer.flush(Duration::from_secs(20)).expect("delivered");
}

/// All committed records of a topic: partition, key, value.
pub fn committed(topic: &str) -> Vec<(i32, Option<String>, String)> {
    let consumer: BaseConsumer = client()
        .set("group.id", "test")
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "50")
        .create()
        .expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(20)).expect("the broker");
    let mut open = metadata.topics()[0].partitions().len();
    let mut list = TopicPartitionList::new();
    for partition in 0..open {
        list.add_partition_offset(topic, partition as i32, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&list).expect("assigned");
    let mut found = Vec::new();
    let end = Instant::now() + Duration::from_secs(30);
    while open > 0 {
        assert!(Instant::now() < end, "the topic does not end");
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(m)) => {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
                found.push((m.partition(), m.key().map(text), text(m.payload().unwrap_or_default())));
            }
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(e)) => println!("{e}"), // the client tries again, until the end above
            None => {}
        }
    }
    found.sort();
    found
}
