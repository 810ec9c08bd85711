//! Transactions of a sink that hang: their coordinator has left out the markers of partitions that had no leader, as one broker alone does when it comes back after
//! it was killed.
#![cfg(feature = "kafka")]

mod broker;

use broker::relay::{END_TXN, TXN_OFFSET_COMMIT, WRITE_TXN_MARKERS};
use broker::{committed, topic};
use thalweg_core::batch::BatchBuilder;
use thalweg_core::error::Result;
use thalweg_core::id::Epoch;
use thalweg_core::port::sink::Sink;
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_io::kafka::{Guarantee, KafkaClientConfig, KafkaSink, KafkaSinkConfig, Partitioner, SinkElement};

const RECORDS: u64 = 200;

fn sink(topic: &str) -> Result<KafkaSink> {
    KafkaSink::new(KafkaSinkConfig {
        client: KafkaClientConfig::new(broker::bootstrap()),
        topic: topic.to_owned(),
        app_id: topic.to_owned(),
        sink: "out".to_owned(),
        element: SinkElement::KeyValue,
        guarantee: Guarantee::ExactlyOnceV2,
        partitioner: Partitioner::Key,
        transaction_timeout_ms: 2000,
        delivery_timeout_ms: 120_000,
        outbox_bytes_max: 1 << 20,
    })
}

/// An epoch that writes to all partitions: a commit completes one that hangs where it writes itself.
fn outbox(sink: &mut KafkaSink, epoch: u64) -> Result<bytes::Bytes> {
    let mut b = BatchBuilder::new();
    for i in 0..RECORDS {
        b.push(i.to_string().as_bytes(), format!("{epoch:03} {i:03}").as_bytes(), EventTime(0), &[Window::Global]);
    }
    Ok(sink.prepare(Epoch(epoch), &[b.finish()])?.outbox.expect("records"))
}

#[test]
fn what_hangs_of_a_lost_transaction_is_ended_and_what_was_committed_stays() -> Result<()> {
    let (broker, relay) = broker::relayed(broker::FORGETFUL);
    let relay = &relay;
    for (name, kind) in [("mark", END_TXN), ("records", TXN_OFFSET_COMMIT), ("markers", WRITE_TXN_MARKERS)] {
        let to = topic(name, 3);
        let mut sink = sink(&to)?;
        sink.recover(None)?;
        for epoch in 1..=3 {
            let outbox = outbox(&mut sink, epoch)?;
            std::thread::scope(|scope| {
                if epoch == 2 {
                    relay.hold(&[kind]);
                    scope.spawn(|| relay.kill_at(kind, broker));
                }
                sink.deliver(Epoch(epoch), &outbox)
            })?;
        }
        let mut values: Vec<String> = committed(&to).into_iter().map(|(_, _, value)| value).collect();
        values.sort();
        let expected: Vec<String> = (1..=3).flat_map(|e| (0..RECORDS).map(move |i| format!("{e:03} {i:03}"))).collect();
        assert!(values == expected, "{name}: {} records of {}", values.len(), expected.len());
    }
    Ok(())
}
