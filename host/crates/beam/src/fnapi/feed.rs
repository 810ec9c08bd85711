//! The input of a bundle on its way to the worker: encoded message by message, when the connection can take one.
//!
//! In: an owned [`Input`]. Out: `Elements` messages of about `chunk_bytes`, of which the last closes every input and timer
//! family of the stage. A message's data is one buffer; rows are appended to it and never held apart.
//!
//! A closing entry is always empty and stands behind the data: the Python SDK drops the payload of an entry that has
//! `is_last` set. Source: `Elements`.

use super::pages::Pages;
use super::wiring::StageWire;
use crate::coder::WireTimer;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use thalweg_core::batch::Batch;
use thalweg_core::port::worker::{Group, Input, Item, TimerSet};
use thalweg_proto::fn_execution::{Elements, elements};
use tokio_stream::Stream;

/// Rows encoded between two looks at the size of the message.
const STEP: usize = 64;

/// A bundle's input, partly sent.
#[derive(Debug)]
pub(super) struct Feed {
    instruction: String,
    stage: Arc<StageWire>,
    input: Input,
    chunk_bytes: usize,
    /// Which batch (or, keyed, which item) comes next.
    next: usize,
    /// Which row of the batch comes next.
    row: usize,
    closed: bool,
    /// How large grouped values are sent.
    pages: Option<Pages>,
}

impl Feed {
    /// The feed of an instruction.
    pub fn new(instruction: u64, stage: Arc<StageWire>, input: Input, chunk_bytes: usize) -> Self {
        Self {
            instruction: instruction.to_string(),
            stage,
            input,
            chunk_bytes,
            next: 0,
            row: 0,
            closed: false,
            pages: None,
        }
    }

    /// The same, with large values in pages.
    pub fn in_pages(mut self, pages: Option<Pages>) -> Self {
        self.pages = pages;
        self
    }

    fn data(&self, input: usize, bytes: Vec<u8>) -> elements::Data {
        let transform_id = self.stage.inputs.get(input).map(|wire| wire.source.clone()).unwrap_or_default();
        elements::Data { instruction_id: self.instruction.clone(), transform_id, data: bytes.into(), is_last: false }
    }

    /// Encodes rows of one input into one buffer; stops at its bound, or where another input begins.
    fn chunk(&mut self) -> Option<elements::Data> {
        let Input::Elements { batches } = &self.input else { return None };
        let mut buffer = Vec::new();
        let mut input = None;
        while let Some((to, batch)) = batches.get(self.next) {
            let to = *to as usize;
            let another = input.is_some_and(|input| input != to) && !buffer.is_empty();
            if another || buffer.len() >= self.chunk_bytes {
                break;
            }
            input = Some(to);
            let Some(wire) = self.stage.inputs.get(to) else { break };
            let rest = batch.rows().get(self.row..).unwrap_or_default();
            if buffer.capacity() == 0 {
                buffer.reserve(batch.weight().min(self.chunk_bytes + self.chunk_bytes / 8));
            }
            let step = rest.get(..STEP).unwrap_or(rest);
            let large = self.pages.and_then(|pages| step.iter().position(|row| pages.is_paged(batch, row)));
            // rows before a large one go first, then the large one alone
            let step = step.get(..large.map_or(STEP, |at| at.max(1))).unwrap_or(step);
            let head = self.pages.filter(|_| large == Some(0)).zip(step.first());
            let place = (self.next as u32, self.row as u32);
            match head.and_then(|(pages, row)| Some((row, pages.head(&wire.coder, batch, place)?))) {
                Some((row, head)) => wire.coder.encode_as(&head, None, batch, row, &mut buffer),
                None => wire.coder.encode(batch, step, &mut buffer),
            }
            self.row += step.len();
            if self.row >= batch.len() {
                self.row = 0;
                self.next += 1;
            }
        }
        (!buffer.is_empty()).then(|| self.data(input.unwrap_or_default(), buffer))
    }

    /// Encodes items of a keyed bundle into one data buffer and one buffer per timer family.
    fn keyed(&mut self, message: &mut Elements) {
        let Input::Keyed { groups, batches, items } = &self.input else { return };
        let Some(wire) = self.stage.inputs.first() else { return };
        let left = items.len().saturating_sub(self.next);
        let weight: usize = batches.iter().map(Batch::weight).sum();
        let mut data = Vec::with_capacity(weight.min(left * 128 + STEP).min(self.chunk_bytes + self.chunk_bytes / 8));
        let mut timers: Vec<Vec<u8>> = vec![Vec::new(); self.stage.timers.len()];
        let mut timer_bytes = 0;
        while data.len() + timer_bytes < self.chunk_bytes {
            let Some(item) = items.get(self.next) else { break };
            self.next += 1;
            match item {
                Item::Row { group, batch: index, row: place } => {
                    let group = groups.get(*group as usize);
                    let batch = batches.get(*index as usize);
                    let row = batch.and_then(|batch| batch.rows().get(*place as usize));
                    if let (Some(group), Some(batch), Some(row)) = (group, batch, row) {
                        let paged = self.pages.filter(|pages| pages.is_paged(batch, row));
                        match paged.and_then(|pages| pages.head(&wire.coder, batch, (*index, *place))) {
                            Some(head) => wire.coder.encode_as(&head, Some(&group.window), batch, row, &mut data),
                            None => wire.coder.encode_in(&group.window, batch, row, &mut data),
                        }
                    }
                }
                Item::Timer { group, timer } => {
                    let family = timer.family as usize;
                    let (wire, buffer) = (self.stage.timers.get(family), timers.get_mut(family));
                    if let (Some(group), Some(wire), Some(buffer)) = (groups.get(*group as usize), wire, buffer) {
                        let set = TimerSet { fire: timer.fire, hold: timer.hold, pane: timer.pane };
                        let before = buffer.len();
                        wire.coder.encode(&due(group, timer.tag.clone(), set), buffer);
                        timer_bytes += buffer.len() - before;
                    }
                }
            }
        }
        if !data.is_empty() {
            message.data.push(self.data(0, data));
        }
        for (wire, buffer) in self.stage.timers.iter().zip(timers) {
            if !buffer.is_empty() {
                message.timers.push(self.timers(&wire.transform, &wire.family, buffer, false));
            }
        }
    }

    fn timers(&self, transform: &str, family: &str, bytes: Vec<u8>, is_last: bool) -> elements::Timers {
        elements::Timers {
            instruction_id: self.instruction.clone(),
            transform_id: transform.to_owned(),
            timer_family_id: family.to_owned(),
            timers: bytes.into(),
            is_last,
        }
    }

    fn is_empty(&self) -> bool {
        match &self.input {
            Input::Elements { batches } => self.next >= batches.len(),
            Input::Keyed { items, .. } => self.next >= items.len(),
        }
    }

    /// Closes every input and timer family.
    fn close(&mut self, message: &mut Elements) {
        for input in 0..self.stage.inputs.len() {
            message.data.push(elements::Data { is_last: true, ..self.data(input, Vec::new()) });
        }
        let once = self.stage.ends_once();
        for (i, wire) in self.stage.timers.iter().enumerate() {
            let is_last = !once || self.stage.timers.iter().skip(i + 1).all(|other| other.transform != wire.transform);
            message.timers.push(self.timers(&wire.transform, &wire.family, Vec::new(), is_last));
        }
        self.closed = true;
        self.input = Input::Elements { batches: Vec::new() }; // what was sent need not be kept
    }
}

fn due(group: &Group, tag: bytes::Bytes, set: TimerSet) -> WireTimer {
    WireTimer { key: group.key.to_bytes(), tag, windows: [group.window.clone()].into_iter().collect(), set: Some(set) }
}

impl Iterator for Feed {
    type Item = Elements;

    fn next(&mut self) -> Option<Elements> {
        if self.closed {
            return None;
        }
        let mut message = Elements::default();
        match &self.input {
            Input::Elements { .. } => message.data.extend(self.chunk()),
            Input::Keyed { .. } => self.keyed(&mut message),
        }
        // an input without a source would never advance: the bundle is closed rather than sent for ever
        if self.is_empty() || message == Elements::default() {
            self.close(&mut message);
        }
        Some(message)
    }
}

/// The messages of all feeds, one feed after another; each is encoded when the connection asks for it.
pub(super) fn messages(feeds: impl Stream<Item = Feed> + Send) -> impl Stream<Item = Elements> + Send {
    Messages { feeds: Box::pin(feeds), current: None }
}

struct Messages<S> {
    feeds: Pin<Box<S>>,
    current: Option<Feed>,
}

impl<S: Stream<Item = Feed>> Stream for Messages<S> {
    type Item = Elements;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Elements>> {
        loop {
            if let Some(message) = self.current.as_mut().and_then(Iterator::next) {
                return Poll::Ready(Some(message));
            }
            match ready!(self.feeds.as_mut().poll_next(cx)) {
                Some(feed) => self.current = Some(feed),
                None => return Poll::Ready(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coder::{WindowCoder, WireCoder};
    use crate::descriptor::InputWire;
    use thalweg_core::batch::BatchBuilder;
    use thalweg_core::coder::Coder;
    use thalweg_core::time::EventTime;
    use thalweg_core::window::Window;

    fn stage() -> Arc<StageWire> {
        let coder = WireCoder { element: Arc::new(Coder::Bytes), window: WindowCoder::Global };
        let input = |source: &str| InputWire {
            paged: false,
            source: source.to_owned(),
            coder: coder.clone(),
            consumers: Vec::new(),
        };
        Arc::new(StageWire {
            descriptor: Default::default(),
            inputs: vec![input("a"), input("b")],
            outputs: Vec::new(),
            timers: Vec::new(),
            states: Vec::new(),
            sides: Vec::new(),
            key: Arc::new(Coder::Bytes),
            window: WindowCoder::Global,
            lone_keys: false,
            truncate: None,
        })
    }

    #[test]
    fn an_empty_batch_hides_nothing_that_follows_it() {
        let batch = |values: &[&[u8]]| {
            let mut builder = BatchBuilder::new();
            values.iter().for_each(|value| builder.push(b"", value, EventTime(0), &[Window::Global]));
            builder.finish()
        };
        let batches = vec![
            (0, batch(&[])),
            (1, batch(&[b"x", b"y"])),
            (0, batch(&[])),
            (0, batch(&[b"z"])),
            (1, batch(&[])),
            (1, batch(&[b"w"])),
            (0, batch(&[])),
        ];
        let coder = WireCoder { element: Arc::new(Coder::Bytes), window: WindowCoder::Global };
        let mut sent = Vec::new();
        for message in Feed::new(1, stage(), Input::Elements { batches }, 1 << 20) {
            for data in message.data.into_iter().filter(|data| !data.is_last) {
                let batch = coder.decode(data.data).expect("elements");
                sent.extend(batch.rows().iter().map(|row| (data.transform_id.clone(), batch.value(row).to_vec())));
            }
        }
        let sent: Vec<_> = sent.iter().map(|(to, value)| (to.as_str(), value.as_slice())).collect();
        assert_eq!(sent, [("b", &b"x"[..]), ("b", b"y"), ("a", b"z"), ("b", b"w")]);
    }
}
