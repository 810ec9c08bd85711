//! A codec between encodings and the JSON in which Beam's file gives values, on the primitives of the product.

use super::row;
use super::spec::{Coder, bytes};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use thalweg_beam::coder::{WindowCoder, instant, pane};
use thalweg_core::batch::{Pane, Timing};
use thalweg_core::coder::{read_varint, take, take_prefixed, write_varint};
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;

type Read<'b> = Result<(Value, &'b [u8])>;

pub fn part(coder: &Coder, n: usize) -> Result<&Coder> {
    coder.components.get(n).with_context(|| format!("{} has no component {n}", coder.urn))
}

pub fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("{value} is no text"))
}

pub fn integer(value: &Value) -> Result<i64> {
    value.as_i64().with_context(|| format!("{value} is no integer"))
}

/// Bytes that are a text, as the file has them.
pub fn utf8(bytes: &[u8]) -> Result<Value> {
    Ok(Value::from(std::str::from_utf8(bytes)?))
}

fn short(urn: &str) -> &str {
    urn.trim_start_matches("beam:coder:").trim_end_matches(":v1")
}

/// Reads a value; returns it and what follows. In outer context it takes all there is.
pub fn decode<'b>(coder: &Coder, input: &'b [u8], nested: bool) -> Read<'b> {
    let all = |bytes: &'b [u8]| if nested { take_prefixed(bytes) } else { Ok((bytes, &bytes[bytes.len()..])) };
    match short(&coder.urn) {
        "bytes" | "string_utf8" => {
            let (content, rest) = all(input)?;
            Ok((utf8(content)?, rest))
        }
        "bool" => {
            let (byte, rest) = take(input, 1)?;
            Ok((Value::from(byte == [1]), rest))
        }
        "varint" => {
            let (n, rest) = read_varint(input)?;
            Ok((Value::from(n.cast_signed()), rest))
        }
        "double" => {
            let (raw, rest) = take(input, 8)?;
            Ok((Value::from(f64::from_be_bytes(raw.try_into()?).to_string()), rest))
        }
        "kv" => {
            let (key, rest) = decode(part(coder, 0)?, input, true)?;
            let (value, rest) = decode(part(coder, 1)?, rest, nested)?;
            Ok((json!({"key": key, "value": value}), rest))
        }
        "iterable" | "state_backed_iterable" => iterable(coder, input),
        "nullable" => match take(input, 1)? {
            ([0], rest) => Ok((Value::Null, rest)),
            (_, rest) => decode(part(coder, 0)?, rest, nested),
        },
        "sharded_key" => {
            let (shard, rest) = take_prefixed(input)?;
            let (key, rest) = decode(part(coder, 0)?, rest, true)?;
            Ok((json!({"shardId": utf8(shard)?, "key": key}), rest))
        }
        "global_window" => Ok((Value::from(""), input)),
        "interval_window" => interval(input),
        "custom_window" => {
            let (last, rest) = instant::read(input)?;
            let (window, rest) = decode(part(coder, 0)?, rest, nested)?;
            ensure!(Some(last.0 + 1) == window["end"].as_i64(), "the last timestamp is {last:?}");
            Ok((json!({"window": window}), rest))
        }
        "windowed_value" => windowed(coder, input, nested),
        "param_windowed_value" => {
            let fixed = bytes(&coder.payload)?;
            let (mut value, rest) = head(coder, &fixed)?;
            ensure!(rest == [0], "an empty byte string stands where the element would, not {rest:?}");
            let (inner, rest) = decode(part(coder, 0)?, input, nested)?;
            value["value"] = inner;
            Ok((value, rest))
        }
        "timer" => timer(coder, input),
        "row" => row::decode(&row::schema(coder)?, input),
        other => bail!("no coder is named {other}"),
    }
}

fn iterable<'b>(coder: &Coder, input: &'b [u8]) -> Read<'b> {
    let element = part(coder, 0)?;
    let (count, mut rest) = take(input, 4)?;
    let mut values = Vec::new();
    let mut block = |n: i64, mut rest: &'b [u8]| -> Result<&'b [u8]> {
        for _ in 0..n {
            let (value, after) = decode(element, rest, true)?;
            values.push(value);
            rest = after;
        }
        Ok(rest)
    };
    let count = i32::from_be_bytes(count.try_into()?);
    if count >= 0 {
        rest = block(i64::from(count), rest)?;
        return Ok((Value::from(values), rest));
    }
    loop {
        let (n, after) = read_varint(rest)?;
        match n.cast_signed() {
            0 => return Ok((Value::from(values), after)),
            // the rest is behind a token of the state API
            -1 => {
                let (token, after) = take_prefixed(after)?;
                let behind = coder.state.get(std::str::from_utf8(token)?).context("an unknown token")?;
                let behind = bytes(behind)?;
                let mut left = behind.as_slice();
                while !left.is_empty() {
                    let (value, next) = decode(element, left, true)?;
                    values.push(value);
                    left = next;
                }
                return Ok((Value::from(values), after));
            }
            n => rest = block(n, after)?,
        }
    }
}

fn interval(input: &[u8]) -> Read<'_> {
    match WindowCoder::Interval.read(input)? {
        (Window::Interval { start, end }, rest) => Ok((json!({"end": end.0, "span": end.0 - start.0}), rest)),
        (other, _) => bail!("{other:?} is no interval"),
    }
}

fn windows<'b>(coder: &Coder, input: &'b [u8]) -> Read<'b> {
    let (count, mut rest) = take(input, 4)?;
    let mut windows = Vec::new();
    for _ in 0..i32::from_be_bytes(count.try_into()?) {
        let (window, after) = decode(coder, rest, true)?;
        windows.push(if window == "" { Value::from("global") } else { window });
        rest = after;
    }
    Ok((Value::from(windows), rest))
}

fn head<'b>(coder: &Coder, input: &'b [u8]) -> Read<'b> {
    let (time, rest) = instant::read(input)?;
    let (windows, rest) = windows(part(coder, 1)?, rest)?;
    let (pane, rest) = pane::read(rest)?;
    Ok((json!({"timestamp": time.0, "windows": windows, "pane": pane_value(&pane)}), rest))
}

fn windowed<'b>(coder: &Coder, input: &'b [u8], nested: bool) -> Read<'b> {
    let (mut value, rest) = head(coder, input)?;
    let (inner, rest) = decode(part(coder, 0)?, rest, nested)?;
    value["value"] = inner;
    Ok((value, rest))
}

fn timer<'b>(coder: &Coder, input: &'b [u8]) -> Read<'b> {
    let (key, rest) = decode(part(coder, 0)?, input, true)?;
    let (tag, rest) = take_prefixed(rest)?;
    let (windows, rest) = windows(part(coder, 1)?, rest)?;
    let (clear, mut rest) = take(rest, 1)?;
    let mut value =
        json!({"userKey": key, "dynamicTimerTag": utf8(tag)?, "windows": windows, "clearBit": clear == [1]});
    if clear == [0] {
        let (fire, after) = instant::read(rest)?;
        let (hold, after) = instant::read(after)?;
        let (pane, after) = pane::read(after)?;
        value["fireTimestamp"] = fire.0.into();
        value["holdTimestamp"] = hold.0.into();
        value["pane"] = pane_value(&pane);
        rest = after;
    }
    Ok((value, rest))
}

fn pane_value(pane: &Pane) -> Value {
    let timing = match pane.timing {
        Timing::Early => "EARLY",
        Timing::OnTime => "ON_TIME",
        Timing::Late => "LATE",
        Timing::Unknown => "UNKNOWN",
    };
    json!({"is_first": pane.first, "is_last": pane.last, "timing": timing, "index": pane.index,
        "on_time_index": pane.non_speculative})
}

pub fn pane_of(value: &Value) -> Result<Pane> {
    Ok(Pane {
        first: value["is_first"] == true,
        last: value["is_last"] == true,
        timing: match text(&value["timing"])? {
            "EARLY" => Timing::Early,
            "ON_TIME" => Timing::OnTime,
            "LATE" => Timing::Late,
            _ => Timing::Unknown,
        },
        index: integer(&value["index"])?.cast_unsigned(),
        non_speculative: integer(&value["on_time_index"])?,
    })
}

/// Appends a value.
pub fn encode(coder: &Coder, value: &Value, nested: bool, out: &mut Vec<u8>) -> Result<()> {
    match short(&coder.urn) {
        "bytes" | "string_utf8" => {
            let content = text(value)?.as_bytes();
            if nested {
                write_varint(out, content.len() as u64);
            }
            out.extend_from_slice(content);
        }
        "bool" => out.push(u8::from(value == true)),
        "varint" => write_varint(out, integer(value)?.cast_unsigned()),
        "double" => out.extend(row::float(text(value)?)?.to_be_bytes()),
        "kv" => {
            encode(part(coder, 0)?, &value["key"], true, out)?;
            encode(part(coder, 1)?, &value["value"], nested, out)?;
        }
        "iterable" | "state_backed_iterable" => {
            let values = value.as_array().context("no list")?;
            out.extend(u32::try_from(values.len())?.to_be_bytes());
            values.iter().try_for_each(|v| encode(part(coder, 0)?, v, true, out))?;
        }
        "nullable" => {
            out.push(u8::from(!value.is_null()));
            if !value.is_null() {
                encode(part(coder, 0)?, value, nested, out)?;
            }
        }
        "sharded_key" => {
            let shard = text(&value["shardId"])?;
            write_varint(out, shard.len() as u64);
            out.extend_from_slice(shard.as_bytes());
            encode(part(coder, 0)?, &value["key"], true, out)?;
        }
        "global_window" => {}
        "interval_window" => {
            let (end, span) = (integer(&value["end"])?, integer(&value["span"])?);
            let window = Window::Interval { start: EventTime(end - span), end: EventTime(end) };
            WindowCoder::Interval.write(&window, out);
        }
        "custom_window" => {
            instant::write(EventTime(integer(&value["window"]["end"])? - 1), out);
            encode(part(coder, 0)?, &value["window"], nested, out)?;
        }
        "windowed_value" => {
            instant::write(EventTime(integer(&value["timestamp"])?), out);
            encode_windows(part(coder, 1)?, value, out)?;
            pane::write(&pane_of(&value["pane"])?, out);
            encode(part(coder, 0)?, &value["value"], nested, out)?;
        }
        "param_windowed_value" => encode(part(coder, 0)?, &value["value"], nested, out)?,
        "timer" => encode_timer(coder, value, out)?,
        "row" => row::encode(&row::schema(coder)?, value, out)?,
        other => bail!("no coder is named {other}"),
    }
    Ok(())
}

fn encode_windows(coder: &Coder, value: &Value, out: &mut Vec<u8>) -> Result<()> {
    let windows = value["windows"].as_array().context("no windows")?;
    out.extend(u32::try_from(windows.len())?.to_be_bytes());
    windows.iter().try_for_each(|w| encode(coder, w, true, out))
}

fn encode_timer(coder: &Coder, value: &Value, out: &mut Vec<u8>) -> Result<()> {
    encode(part(coder, 0)?, &value["userKey"], true, out)?;
    let tag = text(&value["dynamicTimerTag"])?;
    write_varint(out, tag.len() as u64);
    out.extend_from_slice(tag.as_bytes());
    encode_windows(part(coder, 1)?, value, out)?;
    out.push(u8::from(value["clearBit"] == true));
    if value["clearBit"] == false {
        instant::write(EventTime(integer(&value["fireTimestamp"])?), out);
        instant::write(EventTime(integer(&value["holdTimestamp"])?), out);
        pane::write(&pane_of(&value["pane"])?, out);
    }
    Ok(())
}
