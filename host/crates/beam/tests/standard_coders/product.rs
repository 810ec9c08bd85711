//! What the product makes of an example: where it ends, its outer form, and, of windows, timers and windowed values, its
//! parts.

use super::spec::{Coder, Example, bytes};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use thalweg_beam::coder::table::{CoderTable, Coders, proto};
use thalweg_beam::coder::{TimerCoder, WindowCoder, WireCoder};
use thalweg_proto::pipeline::Environment;

/// What stands behind an example where it must not be taken for a part of it.
const TAIL: &[u8] = b"\xfftail";

/// Adds a coder of the file to those of a pipeline; returns its id.
fn add(coder: &Coder, coders: &mut Coders) -> Result<String> {
    let parts = coder.components.iter().map(|c| add(c, coders)).collect::<Result<Vec<_>>>()?;
    let mut made = proto(&coder.urn, &parts.iter().map(String::as_str).collect::<Vec<_>>());
    if let Some(spec) = &mut made.spec {
        spec.payload = bytes(&coder.payload)?.into();
    }
    Ok(thalweg_beam::coder::table::add(coders, made, &coder.urn))
}

/// A table for an SDK that knows every coder.
fn table() -> CoderTable {
    let capabilities = super::spec::STANDARD.iter().map(|urn| (*urn).to_owned()).collect();
    CoderTable::new([&Environment { capabilities, ..Default::default() }])
}

/// `example` is one in context `nested`; `value` is the nested encoding of the same value.
pub fn check(coder: &Coder, example: &Example, value: &[u8], nested: bool) -> Result<()> {
    let mut coders = Coders::new();
    let id = add(coder, &mut coders)?;
    let mut table = table();
    match coder.urn.as_str() {
        "beam:coder:timer:v1" => {
            let (_, key, window) = table.timer(&mut coders, &id)?;
            let wire = TimerCoder { key, window };
            let timers = wire.decode(&Bytes::copy_from_slice(&example.bytes))?;
            ensure!(timers.len() == 1, "it is {} timers", timers.len());
            let mut out = Vec::new();
            timers.iter().for_each(|timer| wire.encode(timer, &mut out));
            ensure!(out == example.bytes, "the timer is written back as {out:?}");
        }
        "beam:coder:windowed_value:v1" if nested => {
            let [element, window] = coder.components.as_slice() else { anyhow::bail!("not two components") };
            let (element, window) = (add(element, &mut coders)?, add(window, &mut coders)?);
            let window = table.window(&mut coders, &window)?.1;
            let wire = WireCoder { element: table.wire(&mut coders, &element)?.coder, window };
            let batch = wire.decode(Bytes::copy_from_slice(&example.bytes))?;
            let row = batch.rows().first().context("no element")?;
            ensure!(Some(row.time.0) == example.value["timestamp"].as_i64(), "its time is {:?}", row.time);
            let mut out = Vec::new();
            wire.encode(&batch, batch.rows(), &mut out);
            ensure!(out == example.bytes, "the element is written back as {out:?}");
        }
        "beam:coder:interval_window:v1" | "beam:coder:global_window:v1" => {
            let window = table.window(&mut coders, &id)?.1;
            let (read, rest) = window.read(&example.bytes)?;
            let mut out = Vec::new();
            window.write(&read, &mut out);
            ensure!(rest.is_empty() && out == example.bytes, "the window {read:?} is written back as {out:?}");
        }
        "beam:coder:custom_window:v1" => custom_window(&mut table, &mut coders, &id, example)?,
        _ => {}
    }
    element(&mut table, &mut coders, &id, example, value, nested)
}

/// The runner asks for such a window with its length, so that it need not know the part inside.
fn custom_window(table: &mut CoderTable, coders: &mut Coders, id: &str, example: &Example) -> Result<()> {
    let (wire_id, window) = table.window(coders, id)?;
    ensure!(window == WindowCoder::Custom, "it is taken for {window:?}");
    let inner = coders.get(&wire_id).and_then(|c| c.component_coder_ids.first()).context("no component")?;
    let urn = coders.get(inner).and_then(|c| c.spec.as_ref()).map(|s| s.urn.as_str());
    ensure!(urn == Some("beam:coder:length_prefix:v1"), "inside it is {urn:?}");
    let (time, content) = example.bytes.split_at(8);
    let sent = [time, &[u8::try_from(content.len())?], content].concat();
    let (read, rest) = window.read(&sent)?;
    ensure!(rest.is_empty() && read.max_timestamp().0 + 1 == example.value["window"]["end"], "it is read as {read:?}");
    let (mut out, mut key) = (Vec::new(), Vec::new());
    window.write(&read, &mut out);
    window.write_key(&read, &mut key);
    ensure!(out == sent && key == content, "the window is written back as {out:?} and {key:?}");
    Ok(())
}

/// An element with this coder: its end is found, and its outer form can be made and undone.
fn element(
    table: &mut CoderTable,
    coders: &mut Coders,
    id: &str,
    example: &Example,
    value: &[u8],
    nested: bool,
) -> Result<()> {
    let wire = table.wire(coders, id)?;
    let urn = |id: &str| coders.get(id).and_then(|c| c.spec.as_ref()).map_or("", |s| s.urn.as_str());
    let whole = [example.bytes.as_slice(), TAIL].concat();
    if urn(&wire.id) == "beam:coder:length_prefix:v1" {
        // an SDK sends such an element with its length
        let kept =
            ["windowed_value", "timer", "custom_window", "state_backed"].iter().any(|part| urn(id).contains(part));
        ensure!(kept, "{} need not be length-prefixed", urn(id));
        return Ok(());
    }
    if nested {
        ensure!(wire.coder.skip(&whole)? == TAIL, "its end is not found");
    }
    if nested && !wire.coder.is_prefixed() {
        ensure!(wire.coder.content(&example.bytes)? == example.bytes, "its outer form is another one");
    }
    if !nested && wire.coder.is_prefixed() {
        let mut out = Vec::new();
        wire.coder.write_nested(&mut out, &example.bytes);
        ensure!(out == value && wire.coder.content(&out)? == example.bytes, "nested it is {out:?}");
    }
    Ok(())
}
