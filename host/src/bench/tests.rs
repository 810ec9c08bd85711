//! Small inputs with results that can be seen at a glance.

use super::{Flow, Function, Topics, Workload, kafka_pipeline, run};
use crate::compose::Settings;
use std::path::Path;
use thalweg_beam::translate::translate;
use thalweg_core::error::{Error, Result};

fn rows(workload: Workload) -> Result<(u64, u64, u64)> {
    let io = |e: std::io::Error| Error::internal("TEST", e.to_string());
    let data = tempfile::tempdir().map_err(io)?;
    std::fs::write(data.path().join("text.txt"), "to be or\nnot to be\n").map_err(io)?;
    let events = "a\t1000\t5\nb\t2000\t6\na\t59999\t7\na\t60000\t8\n";
    std::fs::write(data.path().join("events.tsv"), events).map_err(io)?;
    let document =
        |id, ok| format!(r#"{{"id":{id},"user":"u","ts":1,"page":"/","amount":1.5,"ok":{ok},"tags":[]}}"#) + "\n";
    let documents = document(3, true) + &document(4, false);
    std::fs::write(data.path().join("events.jsonl"), documents).map_err(io)?;
    std::fs::write(data.path().join("table.csv"), "key,factor\na,10\n").map_err(io)?;
    let done = run(workload, &Function::Native, data.path(), Settings { shards: 2, ..Settings::default() })?;
    Ok((done.rows, done.check, done.events))
}

#[test]
fn workloads_give_rows_and_checksums() -> Result<()> {
    assert_eq!(rows(Workload::W1)?, (4, 6, 6), "to 2, be 2, or 1, not 1");
    assert_eq!(rows(Workload::W2)?, (3, 4, 4), "a 2, b 1 in the first minute, a 1 in the second");
    assert_eq!(rows(Workload::W3)?, (1, 3, 2), "the document 3");
    assert_eq!(rows(Workload::W4)?, (4, 1 + 2 + 3 + 1, 4), "a 1, 2, 3 and b 1");
    assert_eq!(rows(Workload::W5)?, (3, 10 * (5 + 7 + 8), 4), "a alone is in the table");
    Ok(())
}

#[test]
fn workloads_between_topics_are_whole_pipelines() -> Result<()> {
    let topics = |endless| Topics { bootstrap: "b:9092".into(), from: "a".into(), to: "b".into(), endless };
    for (flow, functions) in [(Flow::W2, 2), (Flow::W4, 1), (Flow::Latency, 2)] {
        for endless in [false, true] {
            let pipeline = kafka_pipeline(flow, Path::new("bench.wasm"), &topics(endless));
            let calls = pipeline.components.iter().flat_map(|c| c.transforms.values());
            let calls = calls.filter(|t| t.spec.as_ref().is_some_and(|s| s.urn == crate::pipeline::urn::WASM)).count();
            let translation = translate(pipeline)?;
            assert_eq!((translation.sources.len(), translation.sinks.len(), calls), (1, 1, functions), "{flow:?}");
        }
    }
    Ok(())
}
