//! The journal while its broker is away: what could not be written is not written later.
#![cfg(feature = "kafka")]

mod broker;

use bytes::Bytes;
use std::time::{Duration, Instant};
use thalweg_core::error::{Error, Result};
use thalweg_io::kafka::KafkaClientConfig;
use thalweg_io::kafka::cluster::{Journal, Page};

const CLUSTER: &str = "away";

/// How long a process may wait before it says that it cannot write.
const SAID_WITHIN: Duration = Duration::from_secs(35);

fn journal() -> Result<Journal> {
    Journal::open(&KafkaClientConfig::new(broker::bootstrap()), CLUSTER, |_| {})
}

/// What a try to write says while no broker is there.
fn refused<T: std::fmt::Debug>(write: impl FnOnce() -> Result<T>) -> Error {
    let begun = Instant::now();
    let error = write().expect_err("no broker is there");
    assert!(begun.elapsed() < SAID_WITHIN, "after {:?}: {error}", begun.elapsed());
    assert_eq!(error.code, "KAFKA_UNREACHABLE", "{error}");
    error
}

fn values(topic: &str) -> Vec<String> {
    broker::committed(&format!("{CLUSTER}-{topic}")).into_iter().map(|(_, _, value)| value).collect()
}

#[test]
fn what_could_not_be_written_is_not_written_later_and_what_comes_next_stands_where_it_is_said() -> Result<()> {
    let broker = broker::own();
    let (orders, artifacts) = (journal()?, journal()?);
    orders.append(Page::Orders, "job", Some(b"first"))?;
    assert_eq!(artifacts.get("one", artifacts.put("one", b"1")?)?, Bytes::from_static(b"1"));
    broker.kill();
    let errors = std::thread::scope(|scope| {
        let order = scope.spawn(|| refused(|| orders.append(Page::Orders, "job", Some(b"given up"))));
        let artifact = scope.spawn(|| refused(|| artifacts.put("two", b"2")));
        [order, artifact].map(|thread| thread.join().expect("it is refused in time"))
    });
    broker.start_again();
    let at = artifacts.put("three", b"3")?;
    assert_eq!(artifacts.get("three", at)?, Bytes::from_static(b"3"));
    orders.append(Page::Orders, "job", Some(b"second"))?;
    assert_eq!(values("orders"), ["first", "second"]);
    assert_eq!(values("artifacts"), ["1", "3"]);
    for error in errors {
        assert!(error.message.contains("not known whether it was written"), "{error}");
    }
    Ok(())
}
