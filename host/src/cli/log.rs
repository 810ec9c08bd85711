//! `thalweg log`: topics of the embedded log, made, filled and looked at.

use super::exit::{Failed, heard, print};
use super::listener::Listener;
use super::log_args::{AppendArgs, CreateArgs, LogCommand, OutputKind, PlaceArgs, TailArgs};
use super::table::{table, thousands};
use crate::topics::Topics;
use bytes::Bytes;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use thalweg_core::error::{Error, Result};
use thalweg_core::port::log::{Log, LogRecord, LogView, TopicConfig};
use thalweg_io::kafka::embedded::partition_of_key;
use thalweg_state::Options;

/// Records that are appended at once, at most: as many as came in one piece.
const APPEND_MAX: usize = 10_000;
/// And their bytes.
const APPEND_BYTES_MAX: usize = 8 << 20;
/// Between two looks at a topic that is followed.
const FOLLOW: Duration = Duration::from_millis(100);
const HOUR_MS: i64 = 3_600_000;

/// Does what is asked for.
pub fn log(command: &LogCommand) -> Result<ExitCode, Failed> {
    match command {
        LogCommand::List(args) => list(args),
        LogCommand::Create(args) => create(args),
        LogCommand::Append(args) => append(args),
        LogCommand::Tail(args) => tail(args),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn open(place: &PlaceArgs, make: bool) -> Result<Arc<dyn Log>> {
    Topics::open(&place.state_dir, make, &Options::default()).map(|topics| topics.log)
}

fn line(value: &Value) -> Result<()> {
    print(&format!("{value}\n"))
}

fn list(args: &PlaceArgs) -> Result<()> {
    let log = open(args, false)?;
    let mut rows = vec![["topic", "partitions", "records", "bytes", "keeps"].map(str::to_owned).to_vec()];
    for (name, config) in log.topics() {
        let bounds = (0..config.partitions).map(|p| log.bounds(&name, p)).collect::<Result<Vec<_>>>()?;
        let (records, bytes) =
            bounds.iter().fold((0, 0), |(n, bytes), b| (n + b.end.saturating_sub(b.start), bytes + b.bytes));
        if args.output == OutputKind::Json {
            let partitions: Vec<Value> =
                bounds.iter().map(|b| json!({"start": b.start, "end": b.end, "bytes": b.bytes})).collect();
            line(&json!({"topic": *name, "partitions": partitions, "compact": config.compact,
                "retention_ms": config.retention_ms, "retention_bytes": config.retention_bytes}))?;
        }
        // what was compacted away still counts between start and end
        let counted = if config.compact { format!("at most {}", thousands(records)) } else { thousands(records) };
        rows.push(vec![name.to_string(), config.partitions.to_string(), counted, thousands(bytes), keeps(&config)]);
    }
    if args.output == OutputKind::Text {
        print(&table(&rows, &[false, true, true, true]))?;
    }
    Ok(())
}

/// What a topic keeps, in words.
fn keeps(config: &TopicConfig) -> String {
    let time = config.retention_ms.map(|ms| format!("{} h", ms / HOUR_MS));
    let size = config.retention_bytes.map(|n| format!("{} MiB a partition", n >> 20));
    match (config.compact, time, size) {
        (true, ..) => "the last of each key".to_owned(),
        (_, None, None) => "everything".to_owned(),
        (_, time, size) => time.into_iter().chain(size).collect::<Vec<_>>().join(", "),
    }
}

fn create(args: &CreateArgs) -> Result<()> {
    let usual = TopicConfig::default();
    let kept = |given: Option<u32>, unit: u64, usual: Option<u64>| match given {
        _ if args.compact => None,
        None => usual,
        Some(0) => None,
        Some(n) => Some(u64::from(n).saturating_mul(unit)),
    };
    let usual_ms = usual.retention_ms.and_then(|ms| u64::try_from(ms).ok());
    let millis = kept(args.retention_hours, HOUR_MS as u64, usual_ms).and_then(|ms| i64::try_from(ms).ok());
    let config = TopicConfig {
        partitions: args.partitions,
        compact: args.compact,
        retention_ms: millis,
        retention_bytes: kept(args.retention_mib, 1 << 20, usual.retention_bytes),
    };
    open(&args.place, true)?.create(&args.topic, &config)?;
    match args.place.output {
        OutputKind::Json => line(&json!({"topic": args.topic, "partitions": config.partitions})),
        OutputKind::Text => {
            let of = if config.partitions == 1 {
                "1 partition".to_owned()
            } else {
                format!("{} partitions", config.partitions)
            };
            print(&format!("{} has {of} and keeps {}\n", args.topic, keeps(&config)))
        }
    }
}

fn append(args: &AppendArgs) -> Result<()> {
    let log = open(&args.place, false)?;
    let topic: Arc<str> = Arc::from(args.topic.as_str());
    let partitions = match log.topic(&topic) {
        Some(config) => config.partitions,
        None => log.create(&topic, &TopicConfig::default()).map(|()| 1)?,
    };
    let mut input = BufReader::with_capacity(1 << 20, std::io::stdin().lock());
    let (mut records, mut bytes, mut total) = (Vec::new(), 0, 0_u64);
    loop {
        let mut text = Vec::new();
        let failed = |e: std::io::Error| Error::external("LOG_INPUT", format!("cannot read the standard input: {e}"));
        let more = input.read_until(b'\n', &mut text).map_err(failed)? > 0;
        if more {
            let record = record(&text, &topic, partitions, args, total + records.len() as u64);
            bytes += record.weight();
            records.push(record);
        }
        // what came in one piece is one append; who types a line sees it appended at once
        let full = records.len() >= APPEND_MAX || bytes >= APPEND_BYTES_MAX;
        if !records.is_empty() && (!more || full || input.buffer().is_empty()) {
            let offsets = log.append(&records)?;
            total += offsets.len() as u64;
            if args.place.output == OutputKind::Json {
                for (record, offset) in records.iter().zip(offsets) {
                    line(&json!({"topic": args.topic, "partition": record.partition, "offset": offset}))?;
                }
            }
            (records, bytes) = (Vec::new(), 0);
        }
        if !more {
            break;
        }
    }
    if args.place.output == OutputKind::Text {
        print(&format!("{} records appended to {}\n", thousands(total), args.topic))?;
    }
    Ok(())
}

/// The record of a line, the `nth` of this command.
fn record(text: &[u8], topic: &Arc<str>, partitions: u32, args: &AppendArgs, nth: u64) -> LogRecord {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let separator = args.key_separator.as_ref().map(String::as_bytes).filter(|s| !s.is_empty());
    let found = separator.and_then(|s| Some((s, text.windows(s.len()).position(|w| w == s)?)));
    let (key, value) = match found {
        Some((s, at)) => (text.get(..at), text.get(at + s.len()..).unwrap_or_default()),
        None => (None, text),
    };
    let partition = match (args.partition, key) {
        (Some(partition), _) => partition,
        (None, Some(key)) => partition_of_key(key, partitions),
        (None, None) => (nth % u64::from(partitions.max(1))) as u32,
    };
    LogRecord {
        topic: Arc::clone(topic),
        partition,
        key: key.map(Bytes::copy_from_slice),
        value: Some(Bytes::copy_from_slice(value)),
        headers: Vec::new(),
        timestamp_ms: None,
    }
}

fn tail(args: &TailArgs) -> Result<()> {
    let log = open(&args.place, false)?;
    let partitions = log.topic(&args.topic).map_or(1, |config| config.partitions);
    let mut next = Vec::new();
    for partition in args.partition.map_or(0..partitions, |p| p..p.saturating_add(1)) {
        let bounds = log.bounds(&args.topic, partition)?;
        let from = args.from.unwrap_or_else(|| bounds.end.saturating_sub(args.last));
        next.push((partition, from.max(bounds.start)));
    }
    let listener = Listener::new()?;
    loop {
        for (partition, from) in &mut next {
            let mut read = Ok(true);
            log.read(&args.topic, *partition, *from, &mut |record| {
                read = show(args, *partition, record);
                *from = record.offset + 1;
                matches!(read, Ok(true))
            })?;
            if !read? {
                return Ok(());
            }
        }
        if !args.follow || !listener.stays(FOLLOW) {
            return Ok(());
        }
    }
}

/// Prints a record; gives whether somebody reads it.
fn show(args: &TailArgs, partition: u32, record: &LogView<'_>) -> Result<bool> {
    if args.place.output == OutputKind::Json {
        let headers: Vec<Value> = record.headers.iter().map(|(name, value)| json!([name, value.map(text)])).collect();
        let shown = json!({"topic": args.topic, "partition": partition, "offset": record.offset,
            "timestamp_ms": record.timestamp_ms, "key": record.key.map(text), "value": record.value.map(text),
            "headers": headers});
        return heard(&format!("{shown}\n"));
    }
    let key = record.key.map_or_else(String::new, |key| format!("{}  ", String::from_utf8_lossy(key)));
    let value = record.value.map_or_else(|| "(deleted)".into(), String::from_utf8_lossy);
    heard(&format!("{partition}:{}  {key}{value}\n", record.offset))
}

/// Bytes as JSON: a text, or a list of numbers where they are none.
fn text(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).map_or_else(|_| json!(bytes), |text| json!(text))
}
