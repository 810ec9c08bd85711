//! Kafka's source and sink against a real broker.
#![cfg(feature = "kafka")]

mod broker;

use broker::{committed, produce, producer, topic};
use rdkafka::producer::Producer;
use std::time::{Duration, Instant};
use thalweg_core::batch::{Batch, BatchBuilder};
use thalweg_core::error::Result;
use thalweg_core::id::{Epoch, SplitId};
use thalweg_core::port::sink::Sink;
use thalweg_core::port::source::{Read, Source};
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_io::kafka::{
    GroupOffsets, Guarantee, KafkaClientConfig, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig,
    KafkaSplits, Limit, MergedKafkaSource, Partitioner, RecordTime, SinkElement, SourceElement, Start,
};
use thalweg_io::row::{FieldType, Schema};

fn client() -> KafkaClientConfig {
    KafkaClientConfig::new(broker::bootstrap())
}

fn reading(topics: &[&str]) -> KafkaSourceConfig {
    let topics = topics.iter().map(|t| (*t).to_owned()).collect();
    KafkaSourceConfig { bounded: true, ..KafkaSourceConfig::new(client(), topics) }
}

/// Polls until something comes.
fn next(source: &mut impl Source, split: SplitId, rows: usize) -> Result<Read> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(read) = source.poll(split, rows)? {
            return Ok(read);
        }
        assert!(Instant::now() < end, "nothing comes");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn texts(batch: &Batch) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    batch.rows().iter().map(|r| (text(batch.key(r)), text(batch.value(r)))).collect()
}

/// Reads a split from a position to its end.
fn rest(source: &mut impl Source, split: SplitId, position: Option<&[u8]>) -> Result<Vec<(String, String)>> {
    source.open(split, position)?;
    let mut found = Vec::new();
    loop {
        let read = next(source, split, 100)?;
        found.extend(texts(&read.batch));
        if read.finished {
            assert_eq!(read.watermark, EventTime::MAX);
            return Ok(found);
        }
    }
}

fn pairs(records: &[(&str, &str)]) -> Vec<(String, String)> {
    records.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn a_bounded_source_reads_each_record_once_up_to_the_end_seen_at_the_start() -> Result<()> {
    let topic = topic("bounded", 3);
    let plain = producer(None);
    produce(&plain, &topic, 0, &[("a", "1"), ("b", "2"), ("c", "3")]);
    produce(&plain, &topic, 1, &[("d", "4")]);
    let config = reading(&[&topic]);
    let splits = KafkaSplits::discover(&config)?;
    assert_eq!(splits.splits(), [SplitId(0), SplitId(1), SplitId(2)]);
    assert_eq!(splits.records(), 4);
    assert_eq!(KafkaSplits::partitions(&client(), &topic)?, [0, 1, 2]);
    produce(&plain, &topic, 0, &[("late", "5")]);
    produce(&plain, &topic, 2, &[("late", "6")]);
    let mut source = KafkaSource::new(config.clone(), splits.clone())?;
    assert_eq!(rest(&mut source, SplitId(2), None)?, []);
    assert_eq!(rest(&mut source, SplitId(1), None)?, pairs(&[("d", "4")]));
    // one record at a time, and each stored position goes on with the next one, also in a job that is started again later
    source.open(SplitId(0), None)?;
    let mut seen = Vec::new();
    loop {
        let read = next(&mut source, SplitId(0), 1)?;
        assert!(read.batch.len() <= 1);
        seen.extend(texts(&read.batch));
        let again = KafkaSplits::discover(&config)?;
        let mut other = KafkaSource::new(config.clone(), again)?;
        let mut all = seen.clone();
        all.extend(rest(&mut other, SplitId(0), Some(&read.position))?);
        assert_eq!(all, pairs(&[("a", "1"), ("b", "2"), ("c", "3")]));
        if read.finished {
            return Ok(());
        }
    }
}

#[test]
fn an_end_that_a_replica_told_too_early_is_not_the_end_of_a_bounded_read() -> Result<()> {
    let topic = topic("lagging", 1);
    let plain = producer(None);
    produce(&plain, &topic, 0, &[("a", "1"), ("b", "2"), ("c", "3")]);
    let config = reading(&[&topic]);
    let mut source = KafkaSource::new(config.clone(), KafkaSplits::discover(&config)?)?;
    source.open(SplitId(0), None)?;
    // the leader told that there are five records, and the replica that is read has three of them so far
    let mut first = next(&mut source, SplitId(0), 1)?;
    while first.batch.is_empty() {
        first = next(&mut source, SplitId(0), 1)?;
    }
    let mut position = first.position.to_vec();
    let at = position.len() - 8;
    position.splice(at.., 5_i64.to_be_bytes());
    source.open(SplitId(0), Some(&position))?;
    let (mut found, end) = (Vec::new(), Instant::now() + Duration::from_secs(2));
    while Instant::now() < end {
        let read = source.poll(SplitId(0), 100)?;
        assert!(read.as_ref().is_none_or(|read| !read.finished), "two records are still to come");
        found.extend(read.iter().flat_map(|read| texts(&read.batch)));
    }
    produce(&plain, &topic, 0, &[("d", "4"), ("e", "5"), ("f", "6")]);
    while found.len() < 4 {
        found.extend(texts(&next(&mut source, SplitId(0), 1)?.batch));
    }
    assert_eq!(found, pairs(&[("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")]));
    Ok(())
}

#[test]
fn a_bounded_read_of_what_was_deleted_before_it_began_ends_although_nothing_leads_to_its_end() -> Result<()> {
    let topic = topic("emptied", 1);
    produce(&producer(None), &topic, 0, &[("a", "1"), ("b", "2"), ("c", "3")]);
    let config = reading(&[&topic]);
    let mut source = KafkaSource::new(config.clone(), KafkaSplits::discover(&config)?)?;
    broker::delete_before(&topic, 0, 3);
    assert_eq!(rest(&mut source, SplitId(0), None)?, []);
    Ok(())
}

#[test]
fn records_of_aborted_and_open_transactions_are_not_read() -> Result<()> {
    let topic = topic("transactions", 1);
    let first = producer(Some(&format!("{topic}-1")));
    produce(&first, &topic, 0, &[("a", "kept")]);
    first.commit_transaction(Duration::from_secs(20)).expect("committed");
    first.begin_transaction().expect("another");
    produce(&first, &topic, 0, &[("b", "aborted")]);
    first.abort_transaction(Duration::from_secs(20)).expect("aborted");
    let open = producer(Some(&format!("{topic}-2")));
    produce(&open, &topic, 0, &[("c", "open")]);
    let config = reading(&[&topic]);
    let mut source = KafkaSource::new(config.clone(), KafkaSplits::discover(&config)?)?;
    // the last offsets are markers, and an open transaction lies behind them: it ends all the same
    assert_eq!(rest(&mut source, SplitId(0), None)?, pairs(&[("a", "kept")]));
    Ok(())
}

#[test]
fn an_unbounded_source_gives_event_times_and_idles_without_holding_the_watermark() -> Result<()> {
    let topic = topic("unbounded", 1);
    let plain = producer(None);
    produce(&plain, &topic, 0, &[("a", "1"), ("b", "2")]);
    let mut config = reading(&[&topic]);
    config.bounded = false;
    config.time = RecordTime::Record { out_of_order_ms: 5 };
    let mut source = KafkaSource::new(config.clone(), KafkaSplits::discover(&config)?)?;
    source.open(SplitId(0), None)?;
    let mut times = Vec::new();
    while times.len() < 2 {
        let read = next(&mut source, SplitId(0), 100)?;
        times.extend(read.batch.rows().iter().map(|r| r.time));
        assert!(!read.finished);
    }
    assert_eq!(times, [EventTime(1000), EventTime(1001)]);
    let idle = next(&mut source, SplitId(0), 100)?;
    assert!(idle.batch.is_empty() && idle.watermark > EventTime(1_700_000_000_000), "{:?}", idle.watermark);
    produce(&plain, &topic, 0, &[("c", "3")]);
    let mut latest = reading(&[&topic]);
    (latest.bounded, latest.start) = (false, Start::Latest);
    let mut second = KafkaSource::new(latest.clone(), KafkaSplits::discover(&latest)?)?;
    second.open(SplitId(0), None)?;
    let pinned = next(&mut second, SplitId(0), 100)?;
    produce(&plain, &topic, 0, &[("d", "4")]);
    // the beginning is a position at once: what came while the job was down is not missed
    second.open(SplitId(0), Some(&pinned.position))?;
    let mut found = Vec::new();
    while found.is_empty() {
        found = texts(&next(&mut second, SplitId(0), 100)?.batch);
    }
    assert_eq!(found, pairs(&[("d", "4")]));
    Ok(())
}

#[test]
fn several_topics_and_json_values_become_rows() -> Result<()> {
    let (one, two) = (topic("json-one", 1), topic("json-two", 2));
    let plain = producer(None);
    produce(&plain, &one, 0, &[("", r#"{"line": "x", "row": 1}"#)]);
    produce(&plain, &two, 1, &[("", r#"{"row": 2, "line": "y"}"#), ("", r#"{"row": "2"}"#)]);
    let mut config = reading(&[&one, &two]);
    config.element = SourceElement::Json(Schema::of([("line", FieldType::String), ("row", FieldType::Int64)]));
    let splits = KafkaSplits::discover(&config)?;
    assert_eq!(splits.splits(), [SplitId(0), SplitId(65536), SplitId(65537)]);
    let mut source = KafkaSource::new(config, splits)?;
    let rows = rest(&mut source, SplitId(0), None)?;
    assert_eq!(rows, pairs(&[("", "\u{2}\0\u{1}x\u{1}")]));
    let error = rest(&mut source, SplitId(65537), None).expect_err("a row that is a string");
    assert_eq!(error.code, "KAFKA_RECORD_MALFORMED");
    assert!(error.message.contains(&format!("record 1 of {two:?} 1")), "{error}");
    Ok(())
}

#[test]
fn what_cannot_be_read_has_a_code_and_comes_in_time() -> Result<()> {
    let begin = Instant::now();
    let mut nowhere = reading(&["any"]);
    nowhere.client = KafkaClientConfig::new("127.0.0.1:1");
    nowhere.client.connect_timeout_ms = 1500;
    let error = KafkaSplits::discover(&nowhere).expect_err("nobody there");
    assert_eq!(error.code, "KAFKA_UNREACHABLE");
    assert!(error.message.contains("127.0.0.1:1") && error.message.contains("refused"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    let missing = KafkaSplits::discover(&reading(&["no-such-topic"])).expect_err("no topic");
    assert_eq!(missing.code, "KAFKA_UNKNOWN_TOPIC");
    assert!(missing.message.contains("no-such-topic"));
    let mut wrong = reading(&["any"]);
    wrong.client.properties.insert("fetch.min.byte".into(), "1".into());
    let error = KafkaSplits::discover(&wrong).expect_err("no such property");
    assert_eq!(error.code, "KAFKA_CONFIG");
    assert!(error.message.contains("fetch.min.byte"), "{error}");
    Ok(())
}

#[test]
fn records_that_retention_took_are_missed_aloud() -> Result<()> {
    let topic = topic("retention", 1);
    produce(&producer(None), &topic, 0, &[("a", "1"), ("b", "2"), ("c", "3")]);
    let config = reading(&[&topic]);
    let mut source = KafkaSource::new(config.clone(), KafkaSplits::discover(&config)?)?;
    source.open(SplitId(0), None)?;
    let mut read = next(&mut source, SplitId(0), 1)?;
    while read.batch.is_empty() {
        read = next(&mut source, SplitId(0), 1)?;
    }
    broker::delete_before(&topic, 0, 2);
    let mut again = KafkaSource::new(config.clone(), KafkaSplits::discover(&config)?)?;
    let error = rest(&mut again, SplitId(0), Some(&read.position)).expect_err("record 1 is gone");
    assert_eq!(error.code, "KAFKA_OFFSET_LOST");
    Ok(())
}

fn writing(topic: &str) -> KafkaSinkConfig {
    KafkaSinkConfig {
        client: client(),
        topic: topic.to_owned(),
        app_id: format!("app-{topic}"),
        sink: "out".to_owned(),
        element: SinkElement::KeyValue,
        guarantee: Guarantee::ExactlyOnceV2,
        partitioner: Partitioner::Key,
        transaction_timeout_ms: 20_000,
        delivery_timeout_ms: 60_000,
        outbox_bytes_max: 1 << 20,
    }
}

fn batch(records: &[(&str, &str)]) -> Batch {
    let mut b = BatchBuilder::new();
    for (key, value) in records {
        b.push(key.as_bytes(), value.as_bytes(), EventTime(0), &[Window::Global]);
    }
    b.finish()
}

fn values(topic: &str) -> Vec<String> {
    let mut found: Vec<String> = committed(topic).into_iter().map(|(_, _, value)| value).collect();
    found.sort();
    found
}

#[test]
fn an_epoch_is_delivered_once_however_often_it_is_tried() -> Result<()> {
    let topic = topic("once", 2);
    let mut sink = KafkaSink::new(writing(&topic))?;
    assert_eq!(sink.recover(None)?, None);
    let first = sink.prepare(Epoch(1), &[batch(&[("a", "1"), ("b", "2")]), batch(&[("", "3")])])?;
    let second = sink.prepare(Epoch(2), &[batch(&[("a", "4")])])?;
    assert_eq!(sink.prepare(Epoch(3), &[])?.outbox, None);
    let (mark, one, two) = (first.mark.unwrap(), first.outbox.unwrap(), second.outbox.unwrap());
    assert_eq!(values(&topic), [""; 0]);
    sink.deliver(Epoch(1), &one)?;
    sink.deliver(Epoch(1), &one)?;
    // the process dies; the next one does not know whether epoch 1 arrived
    drop(sink);
    let mut next = KafkaSink::new(writing(&topic))?;
    assert_eq!(next.recover(Some(&mark))?, Some(Epoch(1)));
    next.deliver(Epoch(1), &one)?;
    next.deliver(Epoch(2), &two)?;
    next.finish()?;
    assert_eq!(values(&topic), ["1", "2", "3", "4"]);
    let keys: Vec<_> = committed(&topic).into_iter().map(|(p, k, _)| (k, p)).collect();
    let of = |key: Option<&str>| keys.iter().filter(|(k, _)| k.as_deref() == key).map(|(_, p)| *p).collect::<Vec<_>>();
    let a = of(Some("a"));
    assert_eq!(a.len(), 2);
    assert!(a[0] == a[1] && of(None).len() == 1 && of(Some("b")).len() == 1);
    Ok(())
}

#[test]
fn a_transaction_left_open_by_a_dead_process_is_ended_and_its_epoch_delivered_anew() -> Result<()> {
    let topic = topic("left-open", 1);
    let config = writing(&topic);
    let mut sink = KafkaSink::new(config.clone())?;
    sink.recover(None)?;
    let prepared = sink.prepare(Epoch(1), &[batch(&[("a", "1")])])?;
    drop(sink);
    // what a process leaves that died in the middle of a delivery
    let dead = producer(Some(&format!("{}-{}", config.app_id, config.sink)));
    produce(&dead, &topic, 0, &[("a", "1")]);
    std::mem::forget(dead);
    let mut next = KafkaSink::new(config)?;
    assert_eq!(next.recover(prepared.mark.as_deref())?, None);
    next.deliver(Epoch(1), &prepared.outbox.unwrap())?;
    assert_eq!(values(&topic), ["1"]);
    Ok(())
}

#[test]
fn a_job_started_anew_is_not_taken_for_the_old_one() -> Result<()> {
    let topic = topic("anew", 1);
    for value in ["first", "second"] {
        let mut sink = KafkaSink::new(writing(&topic))?;
        assert_eq!(sink.recover(None)?, None); // no state: epochs begin at 1 again
        let outbox = sink.prepare(Epoch(1), &[batch(&[("", value)])])?.outbox.unwrap();
        sink.deliver(Epoch(1), &outbox)?;
    }
    assert_eq!(values(&topic), ["first", "second"]);
    Ok(())
}

#[test]
fn of_two_jobs_under_one_name_the_older_stops() -> Result<()> {
    let topic = topic("two-jobs", 1);
    let mut old = KafkaSink::new(writing(&topic))?;
    old.recover(None)?;
    let prepared = old.prepare(Epoch(1), &[batch(&[("", "old 1")])])?;
    old.deliver(Epoch(1), &prepared.outbox.unwrap())?;
    let mut new = KafkaSink::new(writing(&topic))?;
    new.recover(None)?;
    let outbox = new.prepare(Epoch(1), &[batch(&[("", "new 1")])])?.outbox.unwrap();
    new.deliver(Epoch(1), &outbox)?;
    let outbox = old.prepare(Epoch(2), &[batch(&[("", "old 2")])])?.outbox.unwrap();
    assert_eq!(old.deliver(Epoch(2), &outbox).err().map(|e| e.code), Some("KAFKA_FENCED"));
    let mut again = KafkaSink::new(writing(&topic))?;
    assert_eq!(again.recover(prepared.mark.as_deref()).err().map(|e| e.code), Some("KAFKA_FENCED"));
    assert_eq!(values(&topic), ["new 1", "old 1"]);
    Ok(())
}

#[test]
fn a_fenced_sink_that_is_still_the_job_goes_on() -> Result<()> {
    let topic = topic("fenced", 1);
    let config = writing(&topic);
    let mut sink = KafkaSink::new(config.clone())?;
    sink.recover(None)?;
    // someone took the transactional id, as the broker does when a transaction times out, but delivered nothing
    drop(producer(Some(&format!("{}-{}", config.app_id, config.sink))));
    let outbox = sink.prepare(Epoch(1), &[batch(&[("", "1")])])?.outbox.unwrap();
    sink.deliver(Epoch(1), &outbox)?;
    assert_eq!(values(&topic), ["1"]);
    Ok(())
}

#[test]
fn rows_are_written_as_json_with_a_field_as_key() -> Result<()> {
    let topic = topic("rows", 1);
    let mut config = writing(&topic);
    let schema = Schema::of([("carrier", FieldType::String), ("count", FieldType::Int64)]);
    config.element = SinkElement::Json { schema, key: Some("carrier".to_owned()) };
    let mut sink = KafkaSink::new(config)?;
    sink.recover(None)?;
    let outbox = sink.prepare(Epoch(1), &[batch(&[("", "\u{2}\0\u{2}UA\u{7}")])])?.outbox.unwrap();
    sink.deliver(Epoch(1), &outbox)?;
    assert_eq!(committed(&topic), [(0, Some("UA".to_owned()), r#"{"carrier":"UA","count":7}"#.to_owned())]);
    Ok(())
}

#[test]
fn what_cannot_be_written_has_a_code() -> Result<()> {
    let mut nowhere = writing("any");
    nowhere.client = KafkaClientConfig::new("127.0.0.1:1");
    nowhere.client.connect_timeout_ms = 1000;
    assert_eq!(KafkaSink::new(nowhere)?.recover(None).err().map(|e| e.code), Some("KAFKA_UNREACHABLE"));
    let missing = KafkaSink::new(writing("no-such-topic"))?.recover(None);
    assert_eq!(missing.err().map(|e| e.code), Some("KAFKA_UNKNOWN_TOPIC"));
    let topic = topic("large", 1);
    let mut config = writing(&topic);
    config.client.properties.insert("message.max.bytes".into(), "2000".into());
    let mut sink = KafkaSink::new(config)?;
    sink.recover(None)?;
    let large = sink.prepare(Epoch(1), &[batch(&[("", "ok"), ("", &"x".repeat(3000))])])?.outbox.unwrap();
    assert_eq!(sink.deliver(Epoch(1), &large).err().map(|e| e.code), Some("KAFKA_RECORD_TOO_LARGE"));
    assert_eq!(values(&topic), [""; 0]);
    // nothing of the refused epoch is visible, and the sink is of use
    let small = sink.prepare(Epoch(1), &[batch(&[("", "ok")])])?.outbox.unwrap();
    sink.deliver(Epoch(1), &small)?;
    assert_eq!(values(&topic), ["ok"]);
    Ok(())
}

/// A source of all partitions with a limit.
fn merged(config: &KafkaSourceConfig, limit: Limit) -> Result<MergedKafkaSource> {
    MergedKafkaSource::new(config.clone(), KafkaSplits::discover(config)?, limit)
}

#[test]
fn a_read_of_so_many_records_ends_after_them_wherever_it_was_interrupted() -> Result<()> {
    let topic = topic("limited", 2);
    let plain = producer(None);
    produce(&plain, &topic, 0, &[("a", "1"), ("b", "2"), ("c", "3")]);
    produce(&plain, &topic, 1, &[("d", "4"), ("e", "5")]);
    let config = KafkaSourceConfig { bounded: false, ..reading(&[&topic]) };
    let limit = Limit { records: Some(4), ..Limit::default() };
    let mut source = merged(&config, limit)?;
    source.open(SplitId(0), None)?;
    let mut seen = Vec::new();
    loop {
        let read = next(&mut source, SplitId(0), 1)?;
        seen.extend(texts(&read.batch));
        // from each stored position the rest comes, no record twice, and four in all
        let mut all = seen.clone();
        if !read.finished {
            all.extend(rest(&mut merged(&config, limit)?, SplitId(0), Some(&read.position))?);
        }
        all.sort();
        let before = all.len();
        all.dedup();
        assert_eq!((before, all.len()), (4, 4), "{all:?}");
        if read.finished {
            assert_eq!(read.watermark, EventTime::MAX);
            return Ok(());
        }
    }
}

#[test]
fn a_read_of_so_much_time_ends_without_a_record() -> Result<()> {
    let topic = topic("timed", 1);
    let config = KafkaSourceConfig { bounded: false, ..reading(&[&topic]) };
    let mut source = merged(&config, Limit { millis: Some(300), ..Limit::default() })?;
    assert_eq!(rest(&mut source, SplitId(0), None)?, []);
    Ok(())
}

#[test]
fn reading_begins_at_a_time_or_where_the_group_stands() -> Result<()> {
    let topic = topic("begin", 1);
    // at 1000, 1001 and 1002 ms
    produce(&producer(None), &topic, 0, &[("a", "1"), ("b", "2"), ("c", "3")]);
    let read = |config: &KafkaSourceConfig| {
        let mut source = KafkaSource::new(config.clone(), KafkaSplits::discover(config)?)?;
        rest(&mut source, SplitId(0), None)
    };
    let at = |ms| KafkaSourceConfig { start: Start::Timestamp(ms), ..reading(&[&topic]) };
    assert_eq!(read(&at(1001))?, pairs(&[("b", "2"), ("c", "3")]));
    assert_eq!(read(&at(5000))?, [], "nothing is so late: it begins at the end");
    let mut grouped = KafkaSourceConfig { from_group: true, ..reading(&[&topic]) };
    grouped.client.properties.insert("group.id".to_owned(), topic.clone());
    assert_eq!(read(&grouped)?.len(), 3, "a group that stands nowhere begins where others do");
    let splits = KafkaSplits::discover(&grouped)?;
    let mut source = KafkaSource::new(grouped.clone(), splits.clone())?;
    source.open(SplitId(0), None)?;
    // the first read may be empty: it makes the position lasting
    let mut first = next(&mut source, SplitId(0), 1)?;
    while first.batch.is_empty() {
        first = next(&mut source, SplitId(0), 1)?;
    }
    let group = GroupOffsets::new(&grouped.client, splits)?;
    group.committed(&first.position);
    drop(group); // waits for what it was told
    assert_eq!(read(&grouped)?, pairs(&[("b", "2"), ("c", "3")]));
    Ok(())
}

#[test]
fn partitions_that_are_added_are_read_from_their_beginning() -> Result<()> {
    let topic = topic("grown", 1);
    let plain = producer(None);
    let config = KafkaSourceConfig { bounded: false, start: Start::Latest, ..reading(&[&topic]) };
    let mut source = merged(&config, Limit { discover_ms: Some(200), ..Limit::default() })?;
    source.open(SplitId(0), None)?;
    broker::grow(&topic, 2);
    produce(&plain, &topic, 1, &[("n", "new")]);
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < end, "the new partition is not read");
        let read = next(&mut source, SplitId(0), 10)?;
        assert!(!read.finished);
        if !read.batch.is_empty() {
            assert_eq!(texts(&read.batch), pairs(&[("n", "new")]));
            return Ok(());
        }
    }
}
