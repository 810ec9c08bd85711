//! Where reading from Kafka begins and ends, and where event times come from.
//!
//! Names and words are KafkaIO's where it has some. Ours are `stop_at`, `max_out_of_order`, `idle_after`, and a header as
//! `timestamp_policy`.

use super::super::duration;
use super::super::expand::Leaf;
use super::super::node::{Fields, Node, Value};
use super::super::suggest::did_you_mean;
use super::kafka::properties;
use crate::compose::payload::{KafkaSource, StopAt};
use thalweg_core::error::Result;
use thalweg_io::kafka::{Limit, RecordTime, Start};

/// A source, as far as its options say what is read and when.
pub fn source(leaf: &mut Leaf<'_, '_>) -> Result<KafkaSource> {
    let topic = leaf.config.need("topic")?.text()?.to_owned();
    let bootstrap_servers = leaf.config.need("bootstrap_servers")?.text()?.to_owned();
    let properties = leaf.config.get("consumer_config").map(properties).transpose()?.unwrap_or_default();
    let words = [("earliest", Start::Earliest), ("latest", Start::Latest)];
    let reset = choice(leaf.config.get("auto_offset_reset_config"), &words)?.unwrap_or(Start::Latest);
    let begin = leaf.config.get("start_read_time").map(instant).transpose()?;
    let words = [("never", StopAt::Never), ("end_offsets", StopAt::EndOffsets)];
    let stop = choice(leaf.config.get("stop_at"), &words)?.unwrap_or(StopAt::Never);
    let end = leaf.config.get("stop_read_time").map(instant).transpose()?;
    let named = properties.get("group.id").is_some_and(|group| !group.is_empty());
    let commits = properties.get("enable.auto.commit").is_none_or(|on| on != "false");
    Ok(KafkaSource {
        start: begin.map_or(reset, Start::Timestamp),
        stop: end.map_or(stop, StopAt::Timestamp),
        from_group: named && begin.is_none(),
        commit_group: named && commits,
        limit: limit(leaf)?,
        time: time(leaf)?,
        idle_after_ms: leaf.config.get("idle_after").map(short).transpose()?.unwrap_or_default(),
        properties,
        ..KafkaSource::new(&bootstrap_servers, &topic)
    })
}

fn limit(leaf: &mut Leaf<'_, '_>) -> Result<Limit> {
    let seconds = |node: &Node, name: &str| match node.value {
        Value::Int(n) if n > 0 => Ok(n.unsigned_abs().saturating_mul(1000)),
        _ => Err(node.place.error("YAML_CHOICE", format!("`{name}` is a whole number of seconds above 0"))),
    };
    let mut millis = |name: &'static str| leaf.config.get(name).map(|node| seconds(node, name)).transpose();
    let (millis, discover_ms) = (millis("max_read_time_seconds")?, millis("dynamic_read_poll_interval_seconds")?);
    let records = leaf.config.get("max_num_records").map(Node::count).transpose()?;
    Ok(Limit { records, millis, discover_ms })
}

fn time(leaf: &mut Leaf<'_, '_>) -> Result<Option<RecordTime>> {
    let distance = leaf.config.get("max_out_of_order");
    let out_of_order_ms = distance.map(short).transpose()?.unwrap_or_default();
    let Some(policy) = leaf.config.get("timestamp_policy") else {
        return match distance {
            Some(_) => Ok(Some(RecordTime::Record { out_of_order_ms })),
            None => Ok(None),
        };
    };
    if let Value::Map(_) = policy.value {
        let mut fields = Fields::of(policy)?;
        let name = fields.need("header")?.text()?.to_owned();
        fields.finish()?;
        return Ok(Some(RecordTime::Header { name, out_of_order_ms }));
    }
    let words = [
        ("CreateTime", RecordTime::Record { out_of_order_ms }),
        ("LogAppendTime", RecordTime::Append),
        ("ProcessingTime", RecordTime::Processing),
        ("None", RecordTime::None),
    ];
    choice(Some(policy), &words)
}

/// A duration of at most some weeks.
fn short(node: &Node) -> Result<u32> {
    let millis = duration::millis(node)?;
    u32::try_from(millis).map_err(|_| node.place.error("YAML_DURATION", "expected a duration from 0 to 49 days"))
}

/// A point in time, in milliseconds.
fn instant(node: &Node) -> Result<i64> {
    let read = match &node.value {
        Value::Int(ms) => Some(*ms),
        Value::Text(text) => text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond),
        _ => None,
    };
    read.ok_or_else(|| {
        let error = node.place.error("YAML_CHOICE", format!("expected a point in time, found {}", node.describe()));
        error.help("write `\"2026-01-31T12:00:00Z\"`, or milliseconds since 1970")
    })
}

/// One of a few words.
fn choice<T: Clone>(node: Option<&Node>, words: &[(&str, T)]) -> Result<Option<T>> {
    let Some(node) = node else { return Ok(None) };
    let text = node.text()?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| value.clone());
    found.map(Some).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        node.place.error("YAML_CHOICE", format!("`{text}` cannot stand here")).help(did_you_mean(text, &known))
    })
}
