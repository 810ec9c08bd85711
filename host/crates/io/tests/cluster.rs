//! Membership, transactions and changelogs on a real broker: what is committed is there once, whoever else commits and whatever is not known.

mod broker;
mod process;

use bytes::Bytes;
use process::{PARTITIONS, Process, cell, until};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use thalweg_core::error::Result;
use thalweg_core::id::Epoch;
use thalweg_core::port::store::CellWrite;
use thalweg_core::state::layout::EPOCH;
use thalweg_io::kafka::KafkaClientConfig;
use thalweg_io::kafka::cluster::{EpochPart, Restored};

#[test]
fn epochs_are_committed_once_although_their_results_are_doubted_and_the_group_changes() -> Result<()> {
    // every third transaction is taken for one whose end nobody knows: its commit record says that it was committed
    let one = Process::join("doubted", "one", 3)?;
    until("one has all", || one.owned().len() == usize::from(PARTITIONS));
    let (mut two, mut doubted) = (None, 0);
    let partition = 3;
    for epoch in 1..=30 {
        if epoch == 10 {
            // while another process joins, generations change under the commits: they are aborted and sent again
            two = Some(Process::join("doubted", "two", 0)?);
        }
        let error = match one.commit(partition, epoch) {
            Ok(next) => {
                // of a doubted one it is not known where it ends: another owner may have come behind
                doubted += u32::from(next == 0);
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
            Err(error) => error,
        };
        assert_eq!(error.code, "CLUSTER_LOST", "{error}");
        // it went to the other process: which goes on behind what was committed
        let two = two.as_ref().expect("nobody else could take it");
        until("two has it", || two.owned().contains(&partition));
        assert_eq!(two.committed(partition)?, Epoch(epoch - 1));
        two.commit(partition, epoch)?;
        break;
    }
    assert!(doubted >= 3, "{doubted} doubted");
    let owner = two.as_ref().filter(|two| two.owned().contains(&partition)).unwrap_or(&one);
    let last = owner.committed(partition)?.0;
    let (writes, restored) = one.changelog(3, Restored::default(), last)?.expect("a changelog");
    assert_eq!(restored.epoch, Epoch(last));
    let cells: Vec<&CellWrite> = writes.iter().filter(|(_, value)| value.as_deref() == Some(b"x")).collect();
    let wanted: Vec<CellWrite> = (1..=last).map(cell).collect();
    assert_eq!(cells, wanted.iter().collect::<Vec<_>>(), "each epoch once, in order");
    Ok(())
}

#[test]
fn who_has_lost_a_partition_cannot_commit_and_nothing_of_it_is_there() -> Result<()> {
    let one = Process::join("lost", "one", 0)?;
    until("one has all", || one.owned().len() == usize::from(PARTITIONS));
    for partition in 0..PARTITIONS {
        one.commit(partition, 1)?;
    }
    let two = Process::join("lost", "two", 0)?;
    until("they share", || one.owned().len() == 2 && two.owned().len() == 2);
    let theirs = *two.owned().iter().next().expect("one of two");
    assert!(!one.members.owns(theirs));
    let refused = one.commit(theirs, 2).expect_err("it belongs to another");
    assert_eq!(refused.code, "CLUSTER_LOST");
    assert_eq!(two.committed(theirs)?, Epoch(1));
    two.commit(theirs, 2)?;
    let (_, restored) = two.changelog(theirs, Restored::default(), 2)?.expect("a changelog");
    // a copy that reaches to the end reads nothing more, one that reaches beyond it is none
    let (more, again) = two.changelog(theirs, restored, 2)?.expect("a changelog");
    assert!(more.is_empty() && again.records == 0);
    assert!(two.changelog(theirs, Restored { next: restored.next + 100, ..restored }, 2)?.is_none());
    Ok(())
}

#[test]
fn large_epochs_are_committed_by_a_producer_that_may_take_long_and_small_ones_after_them() -> Result<()> {
    let one = Process::join("large", "one", 0)?;
    until("one has all", || one.owned().len() == usize::from(PARTITIONS));
    one.commit(0, 1)?;
    let large = Bytes::from(vec![7; 1 << 20]);
    let writes: Vec<CellWrite> = (100..124).map(|n| (cell(n).0, Some(large.clone()))).collect();
    let part = |partition| {
        let (tenure, writes) = (one.tenure(partition)?, writes.clone());
        one.epochs.commit(EpochPart { tenure, epoch: Epoch(2), after: 0, writes, records: Vec::new() })
    };
    // those that wait while the first is on its way come to more than one transaction holds
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..PARTITIONS).map(|partition| scope.spawn(move || part(partition))).collect();
        all.into_iter().try_for_each(|thread| thread.join().expect("no panic").map(drop))
    })?;
    one.commit(0, 3)?;
    for (partition, epoch) in [(0, 3), (1, 2), (2, 2), (3, 2)] {
        assert_eq!(one.committed(partition)?, Epoch(epoch));
        let (found, restored) = one.changelog(partition, Restored::default(), epoch)?.expect("a changelog");
        assert_eq!(restored.epoch, Epoch(epoch));
        let found = found.iter().filter(|write| writes.contains(write));
        assert_eq!(found.count(), writes.len(), "each once, in partition {partition}");
    }
    Ok(())
}

/// A producer that has taken a transactional id, and whose transactions brokers leave open for a minute.
fn takes(id: &str) -> BaseProducer {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", broker::bootstrap()).set("transactional.id", id);
    let producer: BaseProducer = settings.set("transaction.timeout.ms", "60000").create().expect("a producer");
    producer.init_transactions(Duration::from_secs(10)).expect("the id");
    producer
}

#[test]
fn a_process_that_was_taken_for_dead_takes_its_id_back() -> Result<()> {
    let one = Process::join("fenced", "one", 0)?;
    until("one has all", || one.owned().len() == usize::from(PARTITIONS));
    for epoch in 1..=3 {
        one.commit(0, epoch)?;
        drop(takes(&one.transactional_id()));
    }
    one.commit(0, 4)?;
    let (writes, _) = one.changelog(0, Restored::default(), 4)?.expect("a changelog");
    let cells = writes.iter().filter(|(_, value)| value.as_deref() == Some(b"x"));
    assert_eq!(cells.cloned().collect::<Vec<_>>(), (1..=4).map(cell).collect::<Vec<_>>(), "each epoch once");
    Ok(())
}

#[test]
fn what_a_process_left_open_when_it_died_is_ended_by_who_takes_over() -> Result<()> {
    let one = Process::join("orphaned", "one", 0)?;
    until("one has all", || one.owned().len() == usize::from(PARTITIONS));
    one.commit(3, 1)?;
    let (topic, id) = (one.topics.changelog(), one.transactional_id());
    drop(one); // it does not leave: the group waits for the end of its session
    let open = takes(&id);
    let (key, value) = cell(2);
    let record = BaseRecord::<[u8], [u8]>::to(&topic).partition(3).key(&key);
    open.begin_transaction().expect("a transaction");
    open.send(BaseRecord { payload: value.as_deref(), ..record }).map_err(|(e, _)| e).expect("a record");
    open.flush(Duration::from_secs(10)).expect("it is written");

    let two = Process::join("orphaned", "two", 0)?;
    until("two has all", || two.owned().len() == usize::from(PARTITIONS));
    assert_eq!(two.committed(3)?, Epoch(1));
    let refused = open.commit_transaction(Duration::from_secs(10)).expect_err("it was ended");
    assert_eq!(refused.rdkafka_error_code(), Some(Code::Fenced), "{refused}");
    two.commit(3, 2)?;
    let (writes, _) = two.changelog(3, Restored::default(), 2)?.expect("a changelog");
    assert_eq!(writes.iter().filter(|write| **write == cell(2)).count(), 1, "{writes:?}");
    Ok(())
}

/// Another process under the name of this one, once it has partitions. It stays a member for its session when it is dropped.
fn of_its_name(process: &Process, name: &str) -> BaseConsumer {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", broker::bootstrap()).set("group.id", process.topics.prefix());
    settings.set("group.instance.id", name).set("session.timeout.ms", "6000");
    settings.set("partition.assignment.strategy", "cooperative-sticky");
    let consumer: BaseConsumer = settings.create().expect("a consumer");
    consumer.subscribe(&[process.topics.members().as_str()]).expect("a name");
    until("it has the place", || {
        drop(consumer.poll(Duration::from_millis(100)));
        consumer.assignment().is_ok_and(|all| all.count() > 0)
    });
    consumer
}

#[test]
fn a_process_takes_its_place_again_from_a_life_that_has_ended_and_leaves_it_to_one_that_lives() -> Result<()> {
    let one = Process::join("replaced", "one", 0)?;
    let has_all = || one.owned().len() == usize::from(PARTITIONS);
    until("one has all", has_all);
    assert_eq!(one.commit(1, 1).err(), None);
    let other = of_its_name(&one, "one");
    until("one has lost all", || one.owned().is_empty());
    assert_eq!(one.commit(1, 2).map_err(|e| e.code), Err("CLUSTER_LOST"));
    drop(other);
    until("one has all again", has_all);
    one.tenures.lock().unwrap_or_else(PoisonError::into_inner).clear();
    assert_eq!(one.commit(1, 2).err(), None);
    assert!(!one.ended.load(Ordering::SeqCst));
    let other = of_its_name(&one, "one");
    until("one has given way", || {
        drop(other.poll(Duration::from_millis(20)));
        one.ended.load(Ordering::SeqCst)
    });
    assert!(one.owned().is_empty());
    Ok(())
}

#[test]
fn nothing_is_committed_to_a_changelog_that_was_deleted_and_made_again() -> Result<()> {
    let one = Process::join("remade", "one", 0)?;
    until("one has all", || one.owned().len() == usize::from(PARTITIONS));
    one.commit(1, 1)?;
    one.commit(1, 2)?;
    broker::delete(&one.topics.changelog());
    one.topics.create(&KafkaClientConfig::new(broker::bootstrap()), PARTITIONS, &[])?;
    let refused = one.commit(1, 3).expect_err("what was committed before is gone");
    assert_eq!(refused.code, "CLUSTER_TOPIC", "{refused}");
    assert_eq!(one.committed(1)?, Epoch(2), "the commit record stands where it was");
    // a process that knows of no commit here but where its copy ends is told the same
    let two = Process::join("remade", "two", 0)?;
    until("they share", || two.owned().len() == 2);
    let theirs = *two.owned().iter().next().expect("one of two");
    let tenure = two.tenure(theirs)?;
    let part = EpochPart { tenure, epoch: Epoch(1), after: 100, writes: vec![cell(1)], records: Vec::new() };
    let refused = two.epochs.commit(part).expect_err("it ends before offset 100");
    assert_eq!(refused.code, "CLUSTER_TOPIC", "{refused}");
    Ok(())
}

#[test]
fn what_the_job_did_not_write_or_a_later_version_wrote_is_refused_by_name() -> Result<()> {
    let one = Process::join("foreign", "one", 0)?;
    until("one has all", || one.owned().len() == usize::from(PARTITIONS));
    let later = [&5_u64.to_be_bytes()[..], &2_u32.to_be_bytes()].concat();
    let later_kind = [&[0, 0, 77][..], &[0; 8]].concat();
    let found: [(&[u8], &[u8], &str); 5] = [
        (EPOCH, &later, "STATE_VERSION"),
        (EPOCH, b"short", "CLUSTER_RECORD"),
        (b"hello", b"world", "CLUSTER_RECORD"),
        (b"a key of somebody else", b"world", "CLUSTER_RECORD"),
        (&later_kind, b"", "CLUSTER_RECORD"),
    ];
    for ((key, value, code), partition) in found.into_iter().zip([0, 1, 2, 3, 3]) {
        let have = if partition == 3 { one.end(3)? } else { Restored::default() };
        let end = || broker::end_of(&one.topics.changelog(), i32::from(partition));
        let before = end();
        one.commit(partition, have.epoch.0 + 1)?;
        until("its marker is there", || end() > before);
        broker::produce_to(&one.topics.changelog(), partition, key, value);
        let refused = one.changelog(partition, have, have.epoch.0 + 1).expect_err("it is not of this job");
        assert_eq!(refused.code, code, "{refused}");
    }
    Ok(())
}
