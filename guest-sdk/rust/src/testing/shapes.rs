//! Tests of CombineFns, WindowFns and key selectors: through the same frames as in a pipeline.

use super::plan;
use super::world::{Shared, World};
use crate::combine::CombineFn;
use crate::dofn::{EventTime, Failure};
use crate::element::{Element, View};
use crate::frame::{FrameWriter, Input, Sections, Table, pack, section};
use crate::host::Host;
use crate::instance::{Function, Instance, bad_frame};
use crate::owned::Owned;
use crate::select::KeySelector;
use crate::window::{Interval, Merged, WindowFn};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

type Bytes = Vec<u8>;

fn open(function: Function, config: &str) -> Result<Box<dyn Instance>, Failure> {
    let host = Host::new(Shared(Arc::new(Mutex::new(World::default()))));
    Function::open(&[function], "it", &plan(config), host)
}

/// A frame of values in groups: each with its time.
fn frame(rows: &[(u32, EventTime, Bytes, Bytes)]) -> Bytes {
    let (mut group, mut time, mut key, mut value) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut arena = Vec::new();
    for (g, t, k, v) in rows {
        group.push(g.to_le_bytes());
        time.push(t.0.to_le_bytes());
        let start = arena.len();
        arena.extend_from_slice(k);
        let middle = arena.len();
        arena.extend_from_slice(v);
        key.push(pack(start, middle));
        value.push(pack(middle, arena.len()));
    }
    let groups = rows.iter().map(|row| row.0 as usize + 1).max().unwrap_or(0);
    let mut frame = FrameWriter::new(rows.len(), arena.len());
    frame.section(section::TIME, &[time.as_flattened()]);
    frame.section(section::KEY, &[key.as_flattened()]);
    frame.section(section::VALUE, &[value.as_flattened()]);
    frame.section(section::ARENA, &[&arena]);
    frame.section(section::GROUP, &[group.as_flattened()]);
    frame.section(section::GROUPS, &[&pack(groups, 0), vec![[0u8; 16]; groups].as_flattened()]);
    frame.finish()
}

/// The values of a frame, unless one of its rows failed.
fn values(frame: &[u8]) -> Result<Vec<Bytes>, Failure> {
    let broken = || bad_frame("output frame");
    for (id, payload) in Sections(frame).flatten() {
        if id == section::FAILED {
            let entry = payload.get(8..32).ok_or_else(broken)?;
            let count = u32::from_le_bytes(*payload.first_chunk().ok_or_else(broken)?) as usize;
            let texts = payload.get(8 + count * 24..).unwrap_or_default();
            let range = |at: usize| entry.get(at..).and_then(|b| b.first_chunk::<8>()).copied().unwrap_or_default();
            let text = |at| String::from_utf8_lossy(crate::frame::cut(&[range(at)], 0, texts)).into_owned();
            return Err(Failure::new(text(8), text(16)));
        }
    }
    let output = Input::parse(frame).map_err(|_| broken())?;
    (0..output.rows).map(|row| Ok(output.element(row).map_err(|_| broken())?.1.to_vec())).collect()
}

/// An open CombineFn.
pub struct CombineKit<C> {
    instance: Box<dyn Instance>,
    of: PhantomData<fn() -> C>,
}

impl<C: CombineFn> CombineKit<C> {
    /// Opens the function with the JSON text of its configuration.
    ///
    /// # Errors
    /// What the function's `open` says.
    pub fn open(config: &str) -> Result<Self, Failure> {
        Ok(Self { instance: open(Function::combinefn::<C>("it"), config)?, of: PhantomData })
    }

    /// Combines values as a pipeline may: whole, one by one, in parts of every length and in falling order, merged and compacted;
    /// gives the result. All ways have to agree, by their encodings.
    ///
    /// # Errors
    /// What the function says; or the code `ORDER` if two ways disagree.
    pub fn combine<'a>(&mut self, elements: impl IntoIterator<Item = View<'a, C::In>>) -> Result<C::Out, Failure> {
        let encode = |element: View<'a, C::In>| {
            let mut bytes = Vec::new();
            C::In::encode(&element, &mut bytes);
            bytes
        };
        let all: Vec<Bytes> = elements.into_iter().map(encode).collect();
        let whole = self.by(&all, all.len().max(1), false)?;
        for part in 1..all.len() {
            for turned in [false, true] {
                if self.by(&all, part, turned)? != whole {
                    let why = format!("in parts of {part} the result is another one than of all values at once");
                    return Err(Failure::new("ORDER", why));
                }
            }
        }
        Ok(C::Out::decode(&whole)?)
    }

    fn by(&mut self, all: &[Bytes], part: usize, turned: bool) -> Result<Bytes, Failure> {
        let row = |(i, value): (usize, &Bytes)| ((i / part) as u32, EventTime(0), Vec::new(), value.clone());
        let rows: Vec<_> = all.iter().enumerate().map(row).collect();
        let mut accumulators = values(&self.instance.call(16, &frame(&rows))?)?;
        if turned {
            accumulators.reverse();
        }
        let one = |value: Bytes| (0, EventTime(0), Vec::new(), value);
        let apart = |(i, value): (usize, Bytes)| (i as u32, EventTime(0), Vec::new(), value);
        let compact = accumulators.into_iter().enumerate().map(apart).collect::<Vec<_>>();
        let compact = values(&self.instance.call(19, &frame(&compact))?)?;
        let mut merged = compact.into_iter().map(one).collect::<Vec<_>>();
        if merged.is_empty() {
            // the accumulator of no values: a group without rows
            let mut nothing = FrameWriter::new(0, 0);
            nothing.section(section::GROUPS, &[&pack(1, 0), &[0; 16]]);
            merged = values(&self.instance.call(16, &nothing.finish())?)?.into_iter().map(one).collect();
        }
        let merged = values(&self.instance.call(17, &frame(&merged))?)?;
        let rows: Vec<_> = merged.into_iter().map(one).collect();
        let mut out = values(&self.instance.call(18, &frame(&rows))?)?;
        out.pop().ok_or_else(|| bad_frame("output frame"))
    }
}

/// An open WindowFn.
pub struct WindowKit<W> {
    instance: Box<dyn Instance>,
    of: PhantomData<fn() -> W>,
}

impl<W: WindowFn> WindowKit<W> {
    /// Opens the function with the JSON text of its configuration.
    ///
    /// # Errors
    /// What the function's `open` says.
    pub fn open(config: &str) -> Result<Self, Failure> {
        Ok(Self { instance: open(Function::windowfn::<W>("it"), config)?, of: PhantomData })
    }

    /// The windows of an element.
    ///
    /// # Errors
    /// What the function says.
    pub fn assign(&mut self, time: EventTime, element: View<'_, W::In>) -> Result<Vec<Interval>, Failure> {
        let mut value = Vec::new();
        let split = W::In::encode_columns(&element, &mut value);
        let key: Bytes = value.drain(..split).collect();
        let output = self.instance.call(32, &frame(&[(0, time, key, value)]))?;
        values(&output)?;
        let sets = Sections(&output).flatten().find(|(id, _)| *id == section::WINDOW_SETS);
        let mut rest = sets.and_then(|(_, payload)| Table::dictionary(payload)).unwrap_or_default().get(0);
        let mut windows = Vec::new();
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let (window, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
            windows.push(Interval::decode(window)?);
            rest = tail;
        }
        Ok(windows)
    }

    /// Merges the windows of a key: the windows that there are afterwards, each with the places of those that went into it.
    ///
    /// # Errors
    /// What the function says.
    pub fn merge(&mut self, windows: &[Interval]) -> Result<Vec<Merged>, Failure> {
        let row = |window: &Interval| {
            let mut value = Vec::new();
            window.encode(&mut value);
            (0, EventTime(0), Vec::new(), value)
        };
        let rows: Vec<_> = windows.iter().map(row).collect();
        let output = self.instance.call(33, &frame(&rows))?;
        let after = values(&output)?.iter().map(|bytes| Interval::decode(bytes)).collect::<Result<Vec<_>, _>>()?;
        let mut merged: Vec<Merged> = after.into_iter().map(|window| (window, Vec::new())).collect();
        let targets = Sections(&output).flatten().find(|(id, _)| *id == section::TARGET).map_or(&[][..], |s| s.1);
        for (i, target) in targets.as_chunks::<4>().0.iter().enumerate() {
            if let Some((_, members)) = merged.get_mut(u32::from_le_bytes(*target) as usize) {
                members.push(i);
            }
        }
        Ok(merged)
    }
}

/// An open key selector.
pub struct KeyKit<S> {
    instance: Box<dyn Instance>,
    keys: Vec<Bytes>,
    of: PhantomData<fn() -> S>,
}

impl<S: KeySelector> KeyKit<S> {
    /// Opens the function with the JSON text of its configuration.
    ///
    /// # Errors
    /// What the function's `open` says.
    pub fn open(config: &str) -> Result<Self, Failure> {
        Ok(Self { instance: open(Function::keyselector::<S>("it"), config)?, keys: Vec::new(), of: PhantomData })
    }

    /// The keys of some elements, in their order.
    ///
    /// # Errors
    /// What the function says to the first element that has no key.
    pub fn keys<'a>(
        &mut self,
        elements: impl IntoIterator<Item = View<'a, S::In>>,
    ) -> Result<Vec<View<'_, S::Key>>, Failure> {
        let row = |element: View<'a, S::In>| {
            let mut value = Vec::new();
            let split = S::In::encode_columns(&element, &mut value);
            (0, EventTime(0), value.drain(..split).collect(), value)
        };
        let rows: Vec<_> = elements.into_iter().map(row).collect();
        self.keys = values(&self.instance.call(0, &frame(&rows))?)?;
        Ok(self.keys.iter().map(|key| S::Key::decode(key)).collect::<Result<_, _>>()?)
    }
}
