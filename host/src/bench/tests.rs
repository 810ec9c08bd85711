//! Small inputs with results that can be seen at a glance.

use super::{Function, Workload, run};
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
    let done = run(workload, &Function::Native, data.path(), 2)?;
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
