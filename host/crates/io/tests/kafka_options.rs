//! What a pipeline may ask of Kafka's source and sink beyond the usual, against a real broker.
#![cfg(feature = "kafka")]

mod broker;

use broker::{committed, produce, producer, topic};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};
use std::time::{Duration, Instant};
use thalweg_core::batch::{Batch, BatchBuilder};
use thalweg_core::error::Result;
use thalweg_core::id::{Epoch, SplitId};
use thalweg_core::port::sink::Sink;
use thalweg_core::port::source::{Read, Source};
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_io::kafka::{
    Guarantee, KafkaClientConfig, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, KafkaSplits, Partitioner,
    RecordTime, SinkElement, SourceElement, Start,
};

fn reading(topics: &[&str]) -> KafkaSourceConfig {
    let topics = topics.iter().map(|t| (*t).to_owned()).collect();
    KafkaSourceConfig {
        element: SourceElement::Value,
        ..KafkaSourceConfig::new(KafkaClientConfig::new(broker::bootstrap()), topics)
    }
}

fn opened(config: &KafkaSourceConfig) -> Result<KafkaSource> {
    let splits = KafkaSplits::discover(config)?;
    let mut source = KafkaSource::new(config.clone(), splits.clone())?;
    splits.splits().into_iter().try_for_each(|split| source.open(split, None))?;
    Ok(source)
}

/// Asks until there is an answer.
fn waited<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = ask()? {
            return Ok(found);
        }
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn texts(batch: &Batch) -> Vec<String> {
    batch.rows().iter().map(|r| String::from_utf8_lossy(batch.value(r)).into_owned()).collect()
}

/// The next read with records.
fn records(source: &mut KafkaSource, split: SplitId) -> Result<Read> {
    waited("no records", || Ok(source.poll(split, 100)?.filter(|read| !read.batch.is_empty())))
}

#[test]
fn the_source_finds_partitions_that_topics_are_given_and_reads_them_from_their_beginning() -> Result<()> {
    let (other, grown) = (topic("not-grown", 1), topic("found", 1));
    let config = KafkaSourceConfig { start: Start::Latest, discover_ms: Some(200), ..reading(&[&other, &grown]) };
    let mut source = opened(&config)?;
    assert_eq!(source.found()?, [], "nobody was asked yet");
    broker::grow(&grown, 3);
    produce(&producer(None), &grown, 2, &[("", "new")]);
    let found = waited("no new partitions", || Ok(Some(source.found()?).filter(|found| !found.is_empty())))?;
    assert_eq!(found, [SplitId(65537), SplitId(65538)]);
    source.open(found[1], None)?;
    let read = records(&mut source, found[1])?;
    assert_eq!(texts(&read.batch), ["new"]);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(source.found()?, [], "each is found once");
    // the next run knows them from its start
    assert_eq!(KafkaSplits::discover(&config)?.splits().len(), 4);
    Ok(())
}

#[test]
fn a_read_may_end_at_a_time_that_has_passed() -> Result<()> {
    let topic = topic("stop", 2);
    // at 1000, 1001 and 1002 ms
    produce(&producer(None), &topic, 0, &[("a", "1"), ("b", "2"), ("c", "3")]);
    let until = |ms| KafkaSourceConfig { bounded: true, stop_ms: Some(ms), ..reading(&[&topic]) };
    let read = |config: &KafkaSourceConfig| {
        let mut source = opened(config)?;
        let mut found = Vec::new();
        for split in [SplitId(0), SplitId(1)] {
            while !waited("no end", || source.poll(split, 1)).map(|read| {
                found.extend(texts(&read.batch));
                read.finished
            })? {}
        }
        Ok(found)
    };
    assert_eq!(read(&until(1002))?, ["1", "2"]);
    assert_eq!(read(&until(5000))?, ["1", "2", "3"], "nothing is so late");
    assert_eq!(read(&until(1000))?, Vec::<String>::new());
    assert_eq!(KafkaSplits::discover(&until(1002))?.records(), 2);
    let to_come = KafkaSplits::discover(&until(i64::MAX)).map(|found| found.records());
    assert_eq!(to_come.map_err(|e| e.code), Err("KAFKA_CONFIG"));
    Ok(())
}

#[test]
fn headers_give_event_times_and_a_partition_is_idle_only_after_a_while() -> Result<()> {
    let topic = topic("header-time", 1);
    let time = RecordTime::Header { name: "at".to_owned(), out_of_order_ms: 100 };
    let config = KafkaSourceConfig { time, idle_after_ms: 1500, ..reading(&[&topic]) };
    let mut source = opened(&config)?;
    let plain = producer(None);
    let headers = OwnedHeaders::new().insert(Header { key: "at", value: Some("50000") });
    let record = BaseRecord::<str, str>::to(&topic).payload("x").timestamp(7).headers(headers);
    plain.send(record).map_err(|(e, _)| e).expect("room");
    plain.flush(Duration::from_secs(20)).expect("delivered");
    let read = records(&mut source, SplitId(0))?;
    assert_eq!((read.batch.rows()[0].time, read.watermark), (EventTime(50_000), EventTime(49_900)));
    let begin = Instant::now();
    let idle = waited("never idle", || source.poll(SplitId(0), 100))?;
    assert!(begin.elapsed() > Duration::from_millis(1000), "idle after {:?}", begin.elapsed());
    assert!(idle.batch.is_empty() && idle.watermark > EventTime(1_700_000_000_000), "{:?}", idle.watermark);
    Ok(())
}

fn writing(topic: &str) -> KafkaSinkConfig {
    KafkaSinkConfig {
        client: KafkaClientConfig::new(broker::bootstrap()),
        topic: topic.to_owned(),
        app_id: "options".to_owned(),
        sink: topic.to_owned(),
        element: SinkElement::KeyValue,
        guarantee: Guarantee::AtLeastOnce,
        partitioner: Partitioner::Key,
        transaction_timeout_ms: 10_000,
        delivery_timeout_ms: 30_000,
        outbox_bytes_max: 1 << 20,
    }
}

/// An epoch of so many records of one key, brought out.
fn deliver(sink: &mut KafkaSink, epoch: u64, records: usize) -> Result<()> {
    let mut b = BatchBuilder::new();
    for i in 0..records {
        b.push(b"key", format!("{epoch} {i}").as_bytes(), EventTime(0), &[Window::Global]);
    }
    let prepared = sink.prepare(Epoch(epoch), &[b.finish()])?;
    sink.deliver(Epoch(epoch), &prepared.outbox.expect("records"))
}

fn values(topic: &str) -> Vec<String> {
    let mut values: Vec<String> = committed(topic).into_iter().map(|(_, _, value)| value).collect();
    values.sort();
    values
}

#[test]
fn at_least_once_needs_no_transaction_and_delivers_again_what_it_is_given_again() -> Result<()> {
    let topic = topic("at-least-once", 1);
    let mut sink = KafkaSink::new(writing(&topic))?;
    assert_eq!(sink.recover(None)?, None);
    deliver(&mut sink, 1, 2)?;
    deliver(&mut sink, 2, 1)?;
    assert_eq!(values(&topic), ["1 0", "1 1", "2 0"]);
    assert_eq!(broker::end_of(&topic, 0), 3, "no marker of a transaction takes an offset");
    // a crash before the outbox was forgotten: the sink knows of nothing that it holds
    let mut again = KafkaSink::new(writing(&topic))?;
    assert_eq!(again.recover(None)?, None);
    deliver(&mut again, 2, 1)?;
    assert_eq!(values(&topic), ["1 0", "1 1", "2 0", "2 0"]);
    Ok(())
}

#[test]
fn records_go_where_the_partitioner_says() -> Result<()> {
    let spread = |partitioner, guarantee| -> Result<Vec<usize>> {
        let topic = topic("spread", 3);
        let mut sink = KafkaSink::new(KafkaSinkConfig { partitioner, guarantee, ..writing(&topic) })?;
        sink.recover(None)?;
        deliver(&mut sink, 1, 4)?;
        deliver(&mut sink, 2, 2)?;
        let records = committed(&topic);
        Ok((0..3).map(|p| records.iter().filter(|(partition, ..)| *partition == p).count()).collect())
    };
    let mut by_key = spread(Partitioner::Key, Guarantee::AtLeastOnce)?;
    by_key.sort_unstable();
    assert_eq!(by_key, [0, 0, 6], "one key, one partition");
    assert_eq!(spread(Partitioner::RoundRobin, Guarantee::AtLeastOnce)?, [2, 2, 2]);
    assert_eq!(spread(Partitioner::RoundRobin, Guarantee::ExactlyOnceV2)?, [2, 2, 2]);
    assert_eq!(spread(Partitioner::Fixed(1), Guarantee::AtLeastOnce)?, [0, 6, 0]);
    let nowhere = spread(Partitioner::Fixed(3), Guarantee::AtLeastOnce).expect_err("no such partition");
    assert!(nowhere.code == "KAFKA_CONFIG" && nowhere.message.contains("no partition 3"), "{nowhere}");
    Ok(())
}

#[test]
fn a_topic_that_vanishes_is_named_whatever_the_guarantee() -> Result<()> {
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnceV2] {
        let topic = topic("vanishes", 1);
        let mut config = KafkaSinkConfig { guarantee, ..writing(&topic) };
        // how long a client takes a topic that is not there for one that is just being made
        config.client.properties.insert("topic.metadata.propagation.max.ms".to_owned(), "1000".to_owned());
        let mut sink = KafkaSink::new(config)?;
        sink.recover(None)?;
        deliver(&mut sink, 1, 1)?;
        broker::delete(&topic);
        // the broker hears of it from the controller, and takes records until then
        let after = |epoch| {
            std::thread::sleep(Duration::from_millis(100));
            deliver(&mut sink, epoch, 1).err()
        };
        let error = (2..100).find_map(after).expect("no topic");
        assert_eq!(error.code, "KAFKA_UNKNOWN_TOPIC", "{guarantee:?}: {error}");
        assert!(error.message.contains(&topic), "{error}");
    }
    Ok(())
}
