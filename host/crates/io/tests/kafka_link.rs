//! Kafka's source while the link to a leader is broken, on librdkafka's own brokers of nothing but answers.
#![cfg(feature = "kafka")]

use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use std::time::{Duration, Instant, SystemTime};
use thalweg_core::error::Result;
use thalweg_core::id::SplitId;
use thalweg_core::port::source::Source;
use thalweg_core::time::EventTime;
use thalweg_io::kafka::{KafkaClientConfig, KafkaSource, KafkaSourceConfig, KafkaSplits, RecordTime};

fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

fn produce(brokers: &MockCluster<'_, DefaultProducerContext>, topic: &str) {
    let mut settings = ClientConfig::new();
    let producer: BaseProducer =
        settings.set("bootstrap.servers", brokers.bootstrap_servers()).create().expect("a producer");
    producer.send(BaseRecord::<str, str>::to(topic).partition(0).payload("x")).map_err(|(e, _)| e).expect("room");
    producer.flush(Duration::from_secs(20)).expect("delivered");
}

/// Polls for a while, or until the watermark has come so far; gives the watermark.
fn watermark(source: &mut KafkaSource, until: i64, within: Duration) -> Result<EventTime> {
    let (mut at, end) = (EventTime::MIN, Instant::now() + within);
    while at < EventTime(until) && Instant::now() < end {
        if let Some(read) = source.poll(SplitId(0), 100)? {
            at = read.watermark;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(at)
}

#[test]
fn the_watermark_of_an_idle_partition_stays_where_its_broker_was_heard_last() -> Result<()> {
    let brokers = MockCluster::new(1).expect("brokers");
    brokers.create_topic("idle", 1, 1).expect("a topic");
    let client = KafkaClientConfig::new(brokers.bootstrap_servers());
    let config = KafkaSourceConfig {
        time: RecordTime::Record { out_of_order_ms: 0 },
        ..KafkaSourceConfig::new(client, vec!["idle".to_owned()])
    };
    produce(&brokers, "idle");
    let mut source = KafkaSource::new(config.clone(), KafkaSplits::discover(&config)?)?;
    source.open(SplitId(0), None)?;
    let few = Duration::from_secs(10);
    let heard = now() + 2000;
    assert!(watermark(&mut source, heard, few)? >= EventTime(heard), "it follows the clock while the broker answers");
    assert!(now() - heard < 3000, "and is not far behind");

    brokers.broker_down(1).expect("down");
    let broken = now();
    let silent = watermark(&mut source, i64::MAX, Duration::from_secs(4))?;
    assert!(silent <= EventTime(broken), "{} ms after the last answer could come", silent.0 - broken);

    brokers.broker_up(1).expect("up");
    let back = now();
    assert!(watermark(&mut source, back, Duration::from_secs(30))? >= EventTime(back), "it follows the clock again");
    Ok(())
}
