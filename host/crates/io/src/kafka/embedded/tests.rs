//! Source and sink against a log in memory.

use super::*;
use crate::kafka::{Limit, Partitioner, RecordTime, SinkElement, SourceElement, Start};
use bytes::Bytes;
use std::sync::Arc;
use thalweg_core::batch::{Batch, BatchBuilder};
use thalweg_core::id::{Epoch, SplitId};
use thalweg_core::port::log::{Log, LogRecord, TopicConfig};
use thalweg_core::port::sink::Sink;
use thalweg_core::port::source::Source;
use thalweg_core::testing::MemoryLog;
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;

fn record(partition: u32, key: &str, value: &str, time: i64) -> LogRecord {
    LogRecord {
        topic: "t".into(),
        partition,
        key: Some(Bytes::from(key.to_owned())),
        value: Some(Bytes::from(value.to_owned())),
        headers: Vec::new(),
        timestamp_ms: Some(time),
    }
}

fn log(partitions: u32) -> Arc<dyn Log> {
    let log = MemoryLog::default();
    log.create("t", &TopicConfig { partitions, ..TopicConfig::default() }).expect("a topic");
    Arc::new(log)
}

fn config(start: Start, bounded: bool) -> LogSourceConfig {
    let time = RecordTime::Record { out_of_order_ms: 10 };
    LogSourceConfig { topics: vec!["t".to_owned()], element: SourceElement::KeyValue, time, start, bounded }
}

fn source(log: &Arc<dyn Log>, config: LogSourceConfig) -> LogSource {
    let splits = LogSplits::discover(log.as_ref(), &config).expect("partitions");
    LogSource::new(Arc::clone(log), config, splits).expect("a source")
}

fn values(batch: &Batch) -> Vec<String> {
    batch.rows().iter().map(|row| String::from_utf8_lossy(batch.value(row)).into_owned()).collect()
}

#[test]
fn records_are_read_from_their_offsets_on_and_a_position_goes_on_behind_them() {
    let log = log(2);
    log.append(&[record(0, "a", "1", 100), record(1, "b", "2", 200), record(0, "a", "3", 300)]).expect("appended");
    let mut all = source(&log, config(Start::Earliest, false));
    all.open(SplitId(0), None).expect("a split");
    let read = all.poll(SplitId(0), 1).expect("no error").expect("a record");
    assert_eq!((values(&read.batch), read.watermark, read.finished), (vec!["1".to_owned()], EventTime(90), false));
    let mut again = source(&log, config(Start::Earliest, false));
    again.open(SplitId(0), Some(&read.position)).expect("a split");
    let read = again.poll(SplitId(0), 100).expect("no error").expect("a record");
    assert_eq!(values(&read.batch), ["3"]);
    assert!(again.open(SplitId(1), Some(&read.position)).is_err(), "a position is of its partition");
}

#[test]
fn a_bounded_source_ends_where_the_log_ended_and_others_wait_to_be_woken() {
    let log = log(1);
    log.append(&[record(0, "a", "1", 100)]).expect("appended");
    let (mut ends, mut goes_on) =
        (source(&log, config(Start::Earliest, true)), source(&log, config(Start::Latest, false)));
    ends.open(SplitId(0), None).expect("a split");
    goes_on.open(SplitId(0), None).expect("a split");
    let woken = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = Arc::clone(&woken);
    let waker: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    });
    goes_on.woken_by(&waker);
    log.append(&[record(0, "a", "2", 200)]).expect("appended");
    assert_eq!(woken.load(std::sync::atomic::Ordering::SeqCst), 1);
    let read = ends.poll(SplitId(0), 100).expect("no error").expect("a record");
    assert_eq!((values(&read.batch), read.finished, read.watermark), (vec!["1".to_owned()], true, EventTime::MAX));
    let read = goes_on.poll(SplitId(0), 100).expect("no error").expect("a record");
    assert_eq!((values(&read.batch), read.finished), (vec!["2".to_owned()], false));
}

#[test]
fn a_start_by_time_and_a_limit_of_records_hold_over_partitions() {
    let log = log(2);
    let all: Vec<LogRecord> = (0..10).map(|i| record(i % 2, "k", &i.to_string(), i64::from(i))).collect();
    log.append(&all).expect("appended");
    let mut since = source(&log, config(Start::Timestamp(5), false));
    since.open(SplitId(1), None).expect("a split");
    let read = since.poll(SplitId(1), 100).expect("no error").expect("records");
    assert_eq!(values(&read.batch), ["5", "7", "9"]);
    let config = config(Start::Earliest, false);
    let splits = LogSplits::discover(log.as_ref(), &config).expect("partitions");
    let limit = Limit { records: Some(7), ..Limit::default() };
    let mut limited = LimitedLogSource::new(log, config, splits, limit).expect("a source");
    limited.open(SplitId(0), None).expect("a split");
    let mut found = Vec::new();
    loop {
        let Some(read) = limited.poll(SplitId(0), 2).expect("no error") else { continue };
        found.extend(values(&read.batch));
        if read.finished {
            break;
        }
    }
    assert_eq!(found.len(), 7, "{found:?}");
}

fn batch(pairs: &[(&str, &str)]) -> Batch {
    let mut builder = BatchBuilder::new();
    for (key, value) in pairs {
        builder.push(key.as_bytes(), value.as_bytes(), EventTime(0), &[Window::Global]);
    }
    builder.finish()
}

#[test]
fn what_is_prepared_goes_with_the_commit_to_the_partition_of_its_key() {
    let log = log(3);
    let config = LogSinkConfig {
        topic: "t".to_owned(),
        element: SinkElement::KeyValue,
        partitioner: Partitioner::Key,
        epoch_bytes_max: 1000,
    };
    let mut sink = LogSink::new(Arc::clone(&log), config.clone()).expect("a sink");
    let prepared = sink.prepare(Epoch(1), &[batch(&[("foobar", "1"), ("foobar", "2"), ("", "3"), ("", "4")])]);
    let records = prepared.expect("room").records;
    assert_eq!(log.bounds("t", 0).expect("a partition").end, 0, "nothing is there before the commit");
    let places: Vec<u32> = records.iter().map(|r| r.partition).collect();
    // murmur2("foobar") is -790332482, without its sign bit 1357151166
    assert_eq!(places[..2], [1_357_151_166 % 3, 1_357_151_166 % 3]);
    assert_ne!(places[2], places[3], "records without a key go to all in turn");
    let fixed = LogSinkConfig { partitioner: Partitioner::Fixed(2), ..config.clone() };
    let mut given = LogSink::new(Arc::clone(&log), fixed).expect("a sink");
    let records = given.prepare(Epoch(1), &[batch(&[("foobar", "1"), ("", "2")])]).expect("room").records;
    assert!(records.iter().all(|r| r.partition == 2), "they go where the pipeline says: {records:?}");
    let nowhere = LogSinkConfig { partitioner: Partitioner::Fixed(3), ..config.clone() };
    assert_eq!(LogSink::new(Arc::clone(&log), nowhere).err().map(|e| e.code), Some("KAFKA_CONFIG"));
    let large = "x".repeat(2000);
    let error = sink.prepare(Epoch(2), &[batch(&[("k", &large)])]).expect_err("too much");
    assert_eq!(error.code, "LOG_EPOCH_TOO_LARGE");
    let mut other =
        LogSink::new(Arc::clone(&log), LogSinkConfig { topic: "new".to_owned(), ..config }).expect("a sink");
    assert_eq!(log.topic("new").map(|t| t.partitions), Some(1), "a topic is made when its writer starts");
    other.prepare(Epoch(1), &[]).expect("nothing to do");
}
