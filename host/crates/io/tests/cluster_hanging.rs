//! Transactions of a process that hang: their coordinator has left out the markers of partitions that had no leader, as one broker alone does when it comes back
//! after it was killed.

mod broker;
mod process;

use broker::relay::{END_TXN, Relay, TXN_OFFSET_COMMIT, WRITE_TXN_MARKERS};
use process::{PARTITIONS, Process, cell, until};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use std::sync::PoisonError;
use std::time::Duration;
use thalweg_core::error::Result;
use thalweg_core::id::Epoch;
use thalweg_io::kafka::cluster::Restored;

/// The broker ends transactions that are older before it knows who leads.
const TIMEOUT: Duration = Duration::from_secs(2);

fn joined(job: &str, name: &str) -> Result<Process> {
    let process = Process::join_with(job, name, 0, TIMEOUT)?;
    until("it has all", || process.owned().len() == usize::from(PARTITIONS));
    Ok(process)
}

/// Checks that the changelog of a partition has each epoch once, up to the last.
fn each_once(process: &Process, partition: u16, last: u64) -> Result<()> {
    assert_eq!(process.committed(partition)?, Epoch(last));
    let (writes, restored) = process.changelog(partition, Restored::default(), last)?.expect("a changelog");
    let cells = writes.iter().filter(|(_, value)| value.as_deref() == Some(b"x"));
    assert_eq!(cells.cloned().collect::<Vec<_>>(), (1..=last).map(cell).collect::<Vec<_>>());
    assert_eq!(restored.epoch, Epoch(last));
    Ok(())
}

/// The broker dies in a transaction of a process, which goes on.
fn of_itself(broker: &broker::Broker, relay: &Relay, kind: i16) -> Result<()> {
    let one = joined(&format!("hanging-{kind}"), "one")?;
    one.commit(0, 1)?;
    let committed = std::thread::scope(|scope| {
        relay.hold(&[kind]);
        scope.spawn(|| relay.kill_at(kind, broker));
        one.commit(0, 2)
    });
    // to a group that begins anew it belongs only from now on
    let told = committed.map_or_else(|e| if e.code == "CLUSTER_LOST" { Ok(1) } else { Err(e) }, |_| Ok(2))?;
    one.tenures.lock().unwrap_or_else(PoisonError::into_inner).clear();
    until("it has all again", || one.owned().len() == usize::from(PARTITIONS));
    until("nothing is pending", || one.committed(0).is_ok());
    let last = one.committed(0)?.0;
    assert!(last >= told, "epoch {told} was committed, and {last} is the last");
    one.commit(0, last + 1)?;
    one.commit(1, 1)?;
    each_once(&one, 0, last + 1)?;
    each_once(&one, 1, 1)
}

/// It dies in a transaction of a process that dies, too.
fn of_another(broker: &broker::Broker) -> Result<()> {
    let one = joined("hanging-orphan", "one")?;
    one.commit(3, 1)?;
    let (topic, id) = (one.topics.changelog(), one.transactional_id());
    drop(one);
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", broker::bootstrap()).set("transactional.id", id);
    let timeout = TIMEOUT.as_millis().to_string();
    let open: BaseProducer = settings.set("transaction.timeout.ms", timeout).create().expect("a producer");
    open.init_transactions(Duration::from_secs(10)).expect("the id");
    open.begin_transaction().expect("a transaction");
    let (key, value) = cell(7);
    let record = BaseRecord::<[u8], [u8]>::to(&topic).partition(3).key(&key);
    open.send(BaseRecord { payload: value.as_deref(), ..record }).map_err(|(e, _)| e).expect("a record");
    open.flush(Duration::from_secs(10)).expect("it is written");
    broker.kill();
    drop(open);
    broker.start_again();
    let two = joined("hanging-orphan", "two")?;
    until("nothing is pending", || two.committed(3).is_ok());
    two.commit(3, 2)?;
    each_once(&two, 3, 2)
}

#[test]
fn what_hangs_of_a_lost_transaction_is_ended_and_what_was_committed_stays() -> Result<()> {
    let (broker, relay) = broker::relayed(broker::FORGETFUL);
    of_itself(broker, &relay, END_TXN)?;
    of_itself(broker, &relay, TXN_OFFSET_COMMIT)?;
    of_itself(broker, &relay, WRITE_TXN_MARKERS)?;
    of_another(broker)
}
