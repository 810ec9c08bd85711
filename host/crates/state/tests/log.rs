//! The embedded log: offsets, what readers see, compaction and retention, and what is left after the process died.

use bytes::Bytes;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_core::error::Result;
use thalweg_core::id::Epoch;
use thalweg_core::port::log::{Log, LogRecord, TopicConfig};
use thalweg_core::port::store::StateStore;
use thalweg_state::{Database, FsyncPolicy, Options, RocksLog};

const CHILD: &str = "THALWEG_LOG_TEST_CHILD";

fn record(topic: &str, partition: u32, key: &str, value: Option<&str>) -> LogRecord {
    LogRecord {
        topic: topic.into(),
        partition,
        key: Some(Bytes::from(key.to_owned())),
        value: value.map(|v| Bytes::from(v.to_owned())),
        headers: vec![("h".into(), Some(Bytes::from_static(b"x")))],
        timestamp_ms: Some(7),
    }
}

fn open(dir: &Path) -> Database {
    Database::open(dir, &Options::default()).expect("a database")
}

fn all(log: &dyn Log, topic: &str, partition: u32, from: u64) -> Result<Vec<(u64, String, Option<String>)>> {
    let mut found = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    log.read(topic, partition, from, &mut |record| {
        found.push((record.offset, text(record.key.unwrap_or_default()), record.value.map(text)));
        true
    })?;
    Ok(found)
}

fn offsets(log: &dyn Log, topic: &str, from: u64) -> Vec<u64> {
    all(log, topic, 0, from).expect("records").into_iter().map(|(offset, ..)| offset).collect()
}

#[test]
fn records_are_seen_with_the_commit_they_are_part_of_and_not_before_or_without() {
    let dir = tempfile::tempdir().expect("a directory");
    {
        let database = open(dir.path());
        let mut store = database.store().expect("a store");
        let log = store.log().expect("a log");
        log.create("t", &TopicConfig { partitions: 2, ..TopicConfig::default() }).expect("a topic");
        let records = [record("t", 1, "a", Some("1")), record("t", 0, "b", Some("2")), record("t", 1, "c", None)];
        let unknown = store.commit(Epoch(1), &[], &[record("t", 0, "x", None), record("other", 0, "x", None)]);
        assert_eq!(unknown.expect_err("no such topic").code, "LOG_TOPIC_UNKNOWN");
        assert_eq!(all(log.as_ref(), "t", 0, 0), Ok(Vec::new()), "nothing of the commit that was refused");
        drop(store);
        let mut store = database.store().expect("a store");
        let cell = (Bytes::from_static(b"cell"), Some(Bytes::from_static(b"v")));
        store.commit(Epoch(1), &[cell], &records).expect("a commit");
        assert_eq!(all(log.as_ref(), "t", 0, 0), Ok(vec![(0, "b".to_owned(), Some("2".to_owned()))]));
    }
    let database = open(dir.path());
    let log = RocksLog::new(database.clone());
    let there = all(&log, "t", 1, 0).expect("records");
    assert_eq!(there, [(0, "a".to_owned(), Some("1".to_owned())), (1, "c".to_owned(), None)]);
    assert_eq!(log.append(&[record("t", 1, "d", None)]), Ok(vec![2]), "offsets go on");
    assert_eq!(database.store().expect("a store").last_epoch(), Ok(Epoch(1)));
    log.read("t", 1, 0, &mut |record| {
        assert_eq!((record.timestamp_ms, &record.headers[..]), (7, &[("h", Some(&b"x"[..]))][..]));
        true
    })
    .expect("records");
}

#[test]
fn topics_and_records_that_cannot_be_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = RocksLog::new(open(dir.path()));
    let code = |name: &str, config: TopicConfig| log.create(name, &config).err().map(|e| e.code);
    assert_eq!(code("t", TopicConfig::default()), None);
    assert_eq!(code("t", TopicConfig::default()), Some("LOG_TOPIC_EXISTS"));
    for name in ["", "a b", "..", "ä"] {
        assert_eq!(code(name, TopicConfig::default()), Some("LOG_TOPIC_INVALID"), "{name}");
    }
    assert_eq!(code("n", TopicConfig { partitions: 0, ..TopicConfig::default() }), Some("LOG_TOPIC_INVALID"));
    assert_eq!(code("c", TopicConfig { compact: true, ..TopicConfig::default() }), None);
    let bad = [
        record("t", 1, "k", None),
        LogRecord { key: None, ..record("c", 0, "k", None) },
        LogRecord { value: Some(Bytes::from(vec![0; (64 << 20) + 1])), ..record("t", 0, "k", None) },
    ];
    for record in bad {
        assert_eq!(log.append(&[record]).err().map(|e| e.code), Some("LOG_RECORD_INVALID"));
    }
    assert_eq!(log.bounds("t", 0).map(|b| b.end), Ok(0));
}

#[test]
fn a_compacted_topic_holds_the_last_record_of_each_key() {
    let dir = tempfile::tempdir().expect("a directory");
    {
        let log = RocksLog::new(open(dir.path()));
        let config = TopicConfig { compact: true, retention_bytes: None, ..TopicConfig::default() };
        log.create("c", &config).expect("a topic");
        let put = |key: &str, value| record("c", 0, key, value);
        log.append(&[put("a", Some("1")), put("b", Some("2")), put("a", Some("3"))]).expect("appended");
        log.append(&[put("b", None), put("c", Some("4"))]).expect("appended");
    }
    let log = RocksLog::new(open(dir.path()));
    let wanted = [(2, "a", Some("3")), (3, "b", None), (4, "c", Some("4"))];
    let wanted =
        wanted.map(|(offset, key, value): (_, _, Option<&str>)| (offset, key.to_owned(), value.map(str::to_owned)));
    assert_eq!(all(&log, "c", 0, 0).expect("records"), wanted);
    assert_eq!(all(&log, "c", 0, 1).expect("a gap is no loss here").len(), 3);
    let before = log.bounds("c", 0).expect("bounds").bytes;
    log.append(&[record("c", 0, "c", Some("5"))]).expect("appended");
    assert_eq!(log.bounds("c", 0).map(|b| b.bytes), Ok(before), "what is deleted is not counted");
}

#[test]
fn the_oldest_records_go_when_a_partition_is_over_its_bytes_and_who_still_wants_them_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = RocksLog::new(open(dir.path()));
    let config = TopicConfig { retention_bytes: Some(10_000), ..TopicConfig::default() };
    log.create("t", &config).expect("a topic");
    let value = "x".repeat(900);
    for _ in 0..50 {
        log.append(&[record("t", 0, "k", Some(&value))]).expect("appended");
        let bounds = log.bounds("t", 0).expect("bounds");
        assert!(bounds.bytes <= 10_000 + 10_000 / 8 + 1000, "{bounds:?}");
    }
    let bounds = log.bounds("t", 0).expect("bounds");
    assert!(bounds.start > 35 && bounds.end == 50, "{bounds:?}");
    assert_eq!(offsets(&log, "t", bounds.start), (bounds.start..50).collect::<Vec<_>>());
    assert_eq!(all(&log, "t", 0, 3).expect_err("they are gone").code, "LOG_OFFSET_LOST");
    drop(log);
    assert_eq!(RocksLog::new(open(dir.path())).bounds("t", 0), Ok(bounds));
}

#[test]
fn records_go_by_the_time_they_were_appended_whatever_their_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = RocksLog::new(open(dir.path()));
    let config = TopicConfig { retention_ms: Some(400), ..TopicConfig::default() };
    log.create("t", &config).expect("a topic");
    // their own time is that of 1970
    log.append(&[record("t", 0, "a", None), record("t", 0, "b", None)]).expect("appended");
    log.append(&[record("t", 0, "c", None)]).expect("appended");
    assert_eq!(offsets(&log, "t", 0), [0, 1, 2]);
    std::thread::sleep(Duration::from_millis(600));
    log.append(&[record("t", 0, "d", None)]).expect("appended");
    assert_eq!(offsets(&log, "t", 3), [3]);
    assert_eq!(log.bounds("t", 0).map(|b| b.start), Ok(3));
}

#[test]
fn readers_beside_writers_see_every_offset_once_and_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options { fsync: FsyncPolicy::Relaxed, ..Options::default() };
    let log = Arc::new(RocksLog::new(Database::open(dir.path(), &options).expect("a database")));
    log.create("t", &TopicConfig::default()).expect("a topic");
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                for i in 0..500 {
                    log.append(&[record("t", 0, &format!("{writer} {i}"), None)]).expect("appended");
                }
            })
        })
        .collect();
    let (mut seen, end) = (Vec::new(), Instant::now() + Duration::from_secs(60));
    while seen.len() < 2000 {
        assert!(Instant::now() < end, "{} of 2000 records were seen", seen.len());
        seen.extend(offsets(log.as_ref(), "t", seen.len() as u64));
    }
    assert_eq!(seen, (0..2000).collect::<Vec<u64>>());
    writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
}

#[test]
fn what_was_acknowledged_is_there_after_the_process_died_and_a_lost_end_is_noticed() {
    if let Ok(dir) = std::env::var(CHILD) {
        let log = RocksLog::new(open(Path::new(&dir)));
        log.create("t", &TopicConfig::default()).expect("a topic");
        for i in 0..100 {
            log.append(&[record("t", 0, &i.to_string(), None)]).expect("appended");
        }
        std::process::abort();
    }
    let dir = tempfile::tempdir().expect("a directory");
    let name = "what_was_acknowledged_is_there_after_the_process_died_and_a_lost_end_is_noticed";
    let mut child = Command::new(std::env::current_exe().expect("this test"));
    let died = child.args(["--exact", name]).env(CHILD, dir.path()).output().expect("the child");
    assert!(!died.status.success());
    let cut = dir.path().join("cut");
    std::fs::create_dir_all(cut.join("db")).expect("a directory");
    for from in ["", "db"].map(|part| dir.path().join(part)) {
        let to = if from.ends_with("db") { cut.join("db") } else { cut.clone() };
        for file in std::fs::read_dir(&from).expect("a directory").flatten().filter(|f| f.path().is_file()) {
            std::fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
        }
    }
    let files = std::fs::read_dir(cut.join("db")).expect("a directory").flatten().map(|file| file.path());
    let written = files.filter(|path| path.extension().is_some_and(|e| e == "log")).max().expect("a log");
    let whole = std::fs::read(&written).expect("bytes");
    std::fs::write(&written, &whole[..whole.len() - 10]).expect("a cut");
    assert_eq!(Database::open(&cut, &Options::default()).err().map(|e| e.code), Some("STATE_CORRUPT"));
    let log = RocksLog::new(open(dir.path()));
    assert_eq!(offsets(&log, "t", 0), (0..100).collect::<Vec<u64>>());
}

#[test]
fn jobs_that_share_a_directory_have_cells_of_their_own_and_one_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let cell = |value: &'static str| (Bytes::from_static(b"cell"), Some(Bytes::from_static(value.as_bytes())));
    {
        let database = open(dir.path());
        let (mut a, mut b) = (database.store_of("a").expect("a store"), database.store_of("b").expect("a store"));
        a.log().expect("a log").create("t", &TopicConfig::default()).expect("a topic");
        a.commit(Epoch(1), &[cell("of a")], &[record("t", 0, "a", None)]).expect("a commit");
        b.commit(Epoch(1), &[cell("of b")], &[record("t", 0, "b", None)]).expect("a commit");
        b.commit(Epoch(2), &[], &[]).expect("a commit");
        assert_eq!(a.reader().get(b"cell"), Ok(Some(Bytes::from_static(b"of a"))));
        assert_eq!(database.store().expect("a store").reader().get(b"cell"), Ok(None));
        let again = |job| database.store_of(job).map(|_| ()).map_err(|e| e.code);
        let reader = a.reader();
        drop(a);
        assert_eq!(again("a"), Err("STATE_LOCKED"), "a reader of it is left");
        drop(reader);
        assert_eq!((again("a"), again("b")), (Ok(()), Err("STATE_LOCKED")));
    }
    let database = open(dir.path());
    assert!(database.has_store_of("a") && !database.has_store_of("c"));
    let b = database.store_of("b").expect("a store");
    assert_eq!((b.last_epoch(), b.reader().get(b"cell")), (Ok(Epoch(2)), Ok(Some(Bytes::from_static(b"of b")))));
    assert_eq!(offsets(&RocksLog::new(database.clone()), "t", 0), [0, 1]);
    drop(b);
    database.forget(|job| job == "b").expect("a is forgotten");
    assert!(!database.has_store_of("a") && database.has_store_of("b"));
}
