//! The lines of a trial as a TestStream.
//!
//! In: lines of JSON, as [`trial`](super::trial) describes them, and those of side inputs. Out: the script, one output for the elements and
//! one per side input. It does not know what runs over it.

use super::elements;
use serde_json::{Map, Value, json};
use thalweg_core::error::{Error, Result};
use thalweg_core::time::EventTime;
use thalweg_proto::pipeline::{
    TestStreamPayload,
    test_stream_payload::{
        Event, TimestampedElement,
        event::{AddElements, AdvanceProcessingTime, AdvanceWatermark, Event as Kind},
    },
};
use thalweg_wasm::describe::{Coder, Function, Kind as FunctionKind, SideInput};

/// The script's output of elements.
pub const MAIN: &str = "output";

/// The script's output of what a side input has.
pub fn side_tag(name: &str) -> String {
    format!("side:{name}")
}

/// An error of what was given to try.
pub fn wrong(message: impl Into<String>, help: &str) -> Error {
    Error::user("UDF_TEST", message).help(help)
}

/// The lines as events.
pub fn script(lines: &str, sides: &[(&SideInput, &str)], function: &Function) -> Result<TestStreamPayload> {
    let mut events: Vec<Event> = Vec::new();
    let mut push = |kind| events.push(Event { event: Some(kind) });
    // what side inputs have is there before the first element
    for (side, lines) in sides {
        let tag = side_tag(&side.name);
        push(Kind::ElementEvent(AddElements { elements: side_elements(side, lines)?, tag: tag.clone() }));
        push(Kind::WatermarkEvent(AdvanceWatermark { new_watermark: EventTime::MAX.0, tag }));
    }
    let tag = MAIN.to_owned();
    let mut waiting = Vec::new();
    for (i, line) in lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = |why: String| {
            wrong(format!("line {}: {why}", i + 1), "`thalweg udf inspect` shows what the function takes")
        };
        let value = json_of(line).map_err(at)?;
        match Line::read(&value, function).map_err(at)? {
            Line::Element(element) => waiting.push(element),
            other => {
                push(Kind::ElementEvent(AddElements { elements: std::mem::take(&mut waiting), tag: tag.clone() }));
                push(match other {
                    Line::Watermark(to) => {
                        Kind::WatermarkEvent(AdvanceWatermark { new_watermark: to, tag: tag.clone() })
                    }
                    Line::Clock(by) => Kind::ProcessingTimeEvent(AdvanceProcessingTime { advance_duration: by }),
                    Line::Element(_) => continue,
                });
            }
        }
    }
    push(Kind::ElementEvent(AddElements { elements: waiting, tag: tag.clone() }));
    push(Kind::WatermarkEvent(AdvanceWatermark { new_watermark: EventTime::MAX.0, tag }));
    Ok(TestStreamPayload { events, ..TestStreamPayload::default() })
}

/// The elements of a side input, a line each.
fn side_elements(side: &SideInput, lines: &str) -> Result<Vec<TimestampedElement>> {
    let element = |(i, line): (usize, &str)| {
        let encoded = || {
            let mut bytes = Vec::new();
            elements::encode(&side.coder, &json_of(line)?, false, &mut bytes)?;
            Ok(TimestampedElement { encoded_element: bytes.into(), timestamp: EventTime::MIN.0 })
        };
        let help = "a line is an element of it: of a multimap a pair of key and value";
        encoded().map_err(|why: String| wrong(format!("line {} of the side input `{}`: {why}", i + 1, side.name), help))
    };
    lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(element).collect()
}

fn json_of(line: &str) -> std::result::Result<Value, String> {
    serde_json::from_str(line).map_err(|e| format!("it is no JSON: {e}"))
}

enum Line {
    Element(TimestampedElement),
    Watermark(i64),
    Clock(i64),
}

impl Line {
    fn read(value: &Value, function: &Function) -> std::result::Result<Self, String> {
        if let Some([(name, value)]) = value.as_object().map(|o| o.iter().collect::<Vec<_>>()).as_deref() {
            match name.as_str() {
                "watermark" => return time(value).map(Self::Watermark),
                "clock_ms" => return value.as_i64().map(Self::Clock).ok_or_else(|| "clock_ms is a number".to_owned()),
                _ => {}
            }
        }
        let envelope = value.as_object().filter(|o| is_envelope(o));
        let element = envelope.and_then(|o| o.get("element")).unwrap_or(value);
        let timestamp = envelope.and_then(|o| o.get("time")).map_or(Ok(EventTime::MIN.0), time)?;
        let mut bytes = Vec::new();
        if function.kind == FunctionKind::CombineFn {
            let key = envelope.and_then(|o| o.get("key")).and_then(Value::as_str).unwrap_or_default();
            let text = Coder { urn: "beam:coder:string_utf8:v1".to_owned(), components: vec![], fields: vec![] };
            elements::encode(&text, &json!(key), true, &mut bytes)?;
        }
        elements::encode(&function.input, element, false, &mut bytes)?;
        Ok(Self::Element(TimestampedElement { encoded_element: bytes.into(), timestamp }))
    }
}

/// Whether an object is an element with its time and key, and not the element itself.
fn is_envelope(object: &Map<String, Value>) -> bool {
    object.contains_key("element") && object.keys().all(|key| ["element", "time", "key"].contains(&key.as_str()))
}

/// Milliseconds since 1970.
fn time(value: &Value) -> std::result::Result<i64, String> {
    let wrong = || format!("{value} is no time: write milliseconds since 1970, or RFC 3339");
    match value {
        Value::Number(n) => n.as_i64().ok_or_else(wrong),
        Value::String(text) => text.parse::<jiff::Timestamp>().map(|t| t.as_millisecond()).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}
