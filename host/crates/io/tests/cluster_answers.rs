//! What a transaction has sent is answered before it is ended: what comes behind its end would begin another one, which nobody ends.

mod broker;
mod process;

use broker::relay::{END_TXN, PRODUCE, TXN_OFFSET_COMMIT};
use process::{PARTITIONS, Process, cell, until};
use std::time::{Duration, Instant};
use thalweg_core::error::Result;
use thalweg_core::id::Epoch;
use thalweg_io::kafka::cluster::Restored;

/// How long records are under way: not as long as they are waited for.
const SLOW: Duration = Duration::from_millis(600);

#[test]
fn a_transaction_that_is_given_up_waits_for_the_answers_to_what_it_has_sent() -> Result<()> {
    let (_, relay) = broker::relayed("");
    let one = Process::join("answers", "one", 0)?;
    until("one has all", || one.owned().len() == usize::from(PARTITIONS));
    for partition in 0..PARTITIONS {
        one.commit(partition, 1)?;
    }
    relay.hold(&[PRODUCE, TXN_OFFSET_COMMIT]);
    let (one, relay, two) = (&one, &relay, &mut None);
    let ended = std::thread::scope(|scope| -> Result<_> {
        let commits = scope.spawn(|| one.commit(0, 2));
        until("it is under way", || relay.waiting(PRODUCE) > 0 && relay.waiting(TXN_OFFSET_COMMIT) > 0);
        // the group is another one by the time its offsets come: they are refused, and with them the transaction
        let joined = two.insert(Process::join("answers", "two", 0)?);
        until("they share", || joined.owned().len() == 2);
        let before = relay.came(END_TXN);
        relay.release(TXN_OFFSET_COMMIT);
        let slow = Instant::now() + SLOW;
        while Instant::now() < slow {
            assert_eq!(relay.came(END_TXN), before, "it was ended while its records were under way");
            std::thread::sleep(Duration::from_millis(5));
        }
        relay.release(PRODUCE);
        let committed = commits.join().expect("no panic");
        assert!(committed.map_or_else(|e| e.code == "CLUSTER_LOST", |_| true));
        Ok(relay.came(END_TXN) - before)
    })?;
    assert!(ended > 0, "it was not ended");
    let two = two.as_ref().expect("it has joined");
    // all that was committed is read, and nothing that was given up
    for partition in 0..PARTITIONS {
        let owner = if two.owned().contains(&partition) { two } else { one };
        let last = owner.committed(partition)?.0;
        owner.commit(partition, last + 1)?;
        let (writes, restored) = owner.changelog(partition, Restored::default(), last + 1)?.expect("a changelog");
        assert_eq!(restored.epoch, Epoch(last + 1));
        let cells = writes.iter().filter(|(_, value)| value.as_deref() == Some(b"x")).cloned();
        assert_eq!(cells.collect::<Vec<_>>(), (1..=last + 1).map(cell).collect::<Vec<_>>(), "partition {partition}");
    }
    Ok(())
}
