//! Kafka's source and sink while their broker dies and comes back.
#![cfg(feature = "kafka")]

mod broker;

use broker::{committed, produce, producer, topic};
use std::time::{Duration, Instant};
use thalweg_core::batch::BatchBuilder;
use thalweg_core::error::Result;
use thalweg_core::id::{Epoch, SplitId};
use thalweg_core::port::sink::Sink;
use thalweg_core::port::source::Source;
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_io::kafka::{
    Guarantee, KafkaClientConfig, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, KafkaSplits, Partitioner,
    SinkElement, SourceElement,
};

/// An epoch of some records.
fn outbox(sink: &mut KafkaSink, epoch: u64) -> Result<bytes::Bytes> {
    let mut b = BatchBuilder::new();
    for i in 0..200 {
        b.push(b"", format!("{epoch:03} {i:03}").as_bytes(), EventTime(0), &[Window::Global]);
    }
    Ok(sink.prepare(Epoch(epoch), &[b.finish()])?.outbox.expect("records"))
}

#[test]
fn a_broker_that_dies_and_comes_back_loses_and_doubles_nothing() -> Result<()> {
    let broker = broker::own();
    let (to, from) = (topic("restart-sink", 2), topic("restart-source", 1));
    let client = KafkaClientConfig::new(broker::bootstrap());
    let mut sink = KafkaSink::new(KafkaSinkConfig {
        client: client.clone(),
        topic: to.clone(),
        app_id: "restart".to_owned(),
        sink: "out".to_owned(),
        element: SinkElement::Value,
        guarantee: Guarantee::ExactlyOnceV2,
        partitioner: Partitioner::Key,
        transaction_timeout_ms: 10_000,
        delivery_timeout_ms: 120_000,
        outbox_bytes_max: 1 << 20,
    })?;
    sink.recover(None)?;
    let config =
        KafkaSourceConfig { element: SourceElement::Value, ..KafkaSourceConfig::new(client, vec![from.clone()]) };
    produce(&producer(None), &from, 0, &[("", "before")]);
    let mut source = KafkaSource::new(config.clone(), KafkaSplits::discover(&config)?)?;
    source.open(SplitId(0), None)?;
    let mut read = Vec::new();
    let mut poll = |until: usize| -> Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        while read.len() < until {
            assert!(Instant::now() < end, "the source does not come back");
            if let Some(found) = source.poll(SplitId(0), 100)? {
                read.extend(found.batch.rows().iter().map(|r| found.batch.shared(r.value)));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    };
    poll(1)?;
    // the sink goes on through two deaths, whatever moment of a transaction they hit
    let begin = Instant::now();
    let bounces = std::thread::spawn(|| {
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(700));
            broker.bounce(Duration::from_millis(1500));
        }
    });
    let mut epochs = 0;
    while !bounces.is_finished() || epochs < 20 {
        epochs += 1;
        let outbox = outbox(&mut sink, epochs)?;
        sink.deliver(Epoch(epochs), &outbox)?;
        std::thread::sleep(Duration::from_millis(20));
    }
    bounces.join().expect("the broker came back");
    println!("{epochs} epochs in {:?}", begin.elapsed());
    let mut values: Vec<String> = committed(&to).into_iter().map(|(_, _, value)| value).collect();
    values.sort();
    let expected: Vec<String> = (1..=epochs).flat_map(|e| (0..200).map(move |i| format!("{e:03} {i:03}"))).collect();
    assert!(values == expected, "{} records of {}", values.len(), expected.len());
    produce(&producer(None), &from, 0, &[("", "after")]);
    poll(2)?;
    assert_eq!(read, ["before", "after"]);
    Ok(())
}
