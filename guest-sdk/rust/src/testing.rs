//! Runs a function in an ordinary test, without Wasm and without a runner: the same loop, the same frames, a host that
//! keeps state in memory.
//!
//! ```
//! use thalweg_udf::{testing::Kit, *};
//!
//! const DOUBLE: Output<i64> = Output::new(0, "main");
//! struct Double;
//! impl DoFn for Double {
//!     type In = i64;
//!     const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&DOUBLE];
//!     fn open(_config: &str) -> Result<Self, Failure> {
//!         Ok(Double)
//!     }
//!     fn process(&mut self, n: i64, ctx: &mut Context) -> Result<(), Failure> {
//!         ctx.emit(&DOUBLE, n * 2);
//!         Ok(())
//!     }
//! }
//!
//! let mut kit = Kit::<Double>::open("")?;
//! let outcome = kit.run([(EventTime(1), 21)])?;
//! assert_eq!(outcome.elements(&DOUBLE)?, [(EventTime(1), 42)]);
//! # Ok::<(), Failure>(())
//! ```

use crate::dofn::{DoFn, EventTime, Failure, Output, OutputSpec};
use crate::element::{Element, View};
use crate::frame::{FrameWriter, INHERIT, Sections, cut, pack, section};
use crate::host::{Host, Imports, Level};
use crate::instance::{Function, Instance};
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

/// What the runner would keep and do, in memory.
#[derive(Default)]
struct World {
    cells: HashMap<(u32, Vec<u8>), Vec<u8>>,
    keys: Vec<Vec<u8>>,
    pending: Vec<Vec<u8>>,
    emitted: Vec<Vec<u8>>,
    logs: Vec<(Level, String)>,
    calls: usize,
}

impl World {
    fn cell(&self, slot: u32, group: u32) -> &[u8] {
        let key = self.keys.get(group as usize).cloned().unwrap_or_default();
        self.cells.get(&(slot, key)).map_or(&[], Vec::as_slice)
    }

    fn apply(&mut self, ops: &[u8]) -> Option<()> {
        for section in Sections(ops) {
            let (id, payload) = section.ok()?;
            if id != section::CELL_OPS {
                continue;
            }
            let number = |at: usize| Some(u32::from_le_bytes(*payload.get(at..)?.first_chunk()?));
            let (slot, count) = (number(0)?, number(4)? as usize);
            for i in 0..count {
                let at = 8 + i * 16;
                let (group, op) = (number(at)?, number(at + 4)?);
                let bytes = payload.get(8 + count * 16..)?;
                let value = bytes.get(number(at + 8)? as usize..number(at + 12)? as usize)?;
                let cell = self.cells.entry((slot, self.keys.get(group as usize)?.clone())).or_default();
                if op != 1 {
                    cell.clear();
                }
                cell.extend_from_slice(value);
            }
        }
        Some(())
    }
}

struct Shared(Arc<Mutex<World>>);

impl Shared {
    fn with<R>(&self, f: impl FnOnce(&mut World) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Imports for Shared {
    fn log(&mut self, level: Level, _row: Option<u32>, message: &str) {
        self.with(|world| world.logs.push((level, message.to_owned())));
    }
    fn emit(&mut self, rows: Vec<u8>) {
        self.with(|world| world.emitted.push(rows));
    }
    fn read(&mut self, slot: u32, groups: &[u32]) -> Vec<u8> {
        self.with(|world| {
            world.calls += 1;
            let mut frame = FrameWriter::new(0, 0);
            cells(&mut frame, slot, groups, world);
            frame.finish()
        })
    }
    fn write(&mut self, ops: Vec<u8>) {
        self.with(|world| {
            world.calls += 1;
            world.pending.push(ops);
        });
    }
}

fn cells(frame: &mut FrameWriter, slot: u32, groups: &[u32], world: &World) {
    let (mut entries, mut bytes) = (Vec::new(), Vec::new());
    for group in groups {
        let start = bytes.len();
        bytes.extend_from_slice(world.cell(slot, *group));
        entries.push(pack(start, bytes.len()));
    }
    frame.table(section::CELLS, [slot, groups.len() as u32], entries.as_flattened(), &bytes);
}

/// One open function and the state of its keys. State lives from one [`run`](Kit::run) to the next.
pub struct Kit<D> {
    instance: Box<dyn Instance>,
    world: Arc<Mutex<World>>,
    dofn: PhantomData<fn() -> D>,
}

impl<D: DoFn> Kit<D> {
    /// Opens the function with the JSON text of its configuration.
    ///
    /// # Errors
    /// What the function's `open` says.
    pub fn open(config: &str) -> Result<Self, Failure> {
        let world = Arc::default();
        let mut plan = FrameWriter::new(0, 0);
        plan.section(section::CONFIG, &[config.as_bytes()]);
        let host = Host(Box::new(Shared(Arc::clone(&world))));
        let functions = [Function::of::<D>("it")];
        let instance = Function::open(&functions, "it", &plan.finish(), host)?;
        Ok(Self { instance, world, dofn: PhantomData })
    }

    /// Runs the elements as one batch in the global window. Elements of a function with slots are brought together by key,
    /// as the runner does; [`Outcome`] counts them in the order given here.
    ///
    /// # Errors
    /// If the call fails as a whole; failed elements are in the outcome.
    pub fn run<'a>(
        &mut self,
        elements: impl IntoIterator<Item = (EventTime, View<'a, D::In>)>,
    ) -> Result<Outcome, Failure> {
        let mut rows = Vec::new();
        for (i, (time, element)) in elements.into_iter().enumerate() {
            let mut value = Vec::new();
            let split = D::In::encode_columns(&element, &mut value);
            let key: Vec<u8> = value.drain(..split).collect();
            rows.push((i, time, key, value));
        }
        if !D::SLOTS.is_empty() {
            rows.sort_by(|a, b| a.2.cmp(&b.2)); // stable: the rows of a key keep their order
        }
        let input = self.frame(&rows);
        let shared = Shared(Arc::clone(&self.world));
        let result = self.instance.call(0, &input);
        shared.with(|world| {
            let pending = std::mem::take(&mut world.pending);
            let mut frames = std::mem::take(&mut world.emitted);
            frames.push(result?);
            for ops in pending {
                world
                    .apply(&ops)
                    .ok_or_else(|| Failure::new("BAD_FRAME", "the function wrote a broken frame of state"))?;
            }
            let order = rows.iter().map(|row| (row.0, row.1)).collect();
            Ok(Outcome { frames, order, logs: std::mem::take(&mut world.logs) })
        })
    }

    /// How often the function called the host about state so far.
    #[must_use]
    pub fn state_calls(&self) -> usize {
        Shared(Arc::clone(&self.world)).with(|world| world.calls)
    }

    fn frame(&self, rows: &[(usize, EventTime, Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let (mut arena, mut time, mut group) = (Vec::new(), Vec::new(), Vec::new());
        let (mut key, mut value, mut groups, mut keys) = (Vec::new(), Vec::new(), Vec::new(), Vec::<Vec<u8>>::new());
        for row in rows {
            let start = arena.len();
            arena.extend_from_slice(&row.2);
            key.push(pack(start, arena.len()));
            if keys.last() != Some(&row.2) {
                keys.push(row.2.clone());
                groups.extend([pack(start, arena.len()), pack(0, 0)]);
            }
            group.push((keys.len() as u32 - 1).to_le_bytes());
            let start = arena.len();
            arena.extend_from_slice(&row.3);
            value.push(pack(start, arena.len()));
            time.push(row.1.0.to_le_bytes());
        }
        let mut frame = FrameWriter::new(rows.len(), arena.len());
        frame.section(section::TIME, &[time.as_flattened()]);
        frame.section(section::VALUE, &[value.as_flattened()]);
        frame.section(section::ARENA, &[&arena]);
        frame.table(section::WINDOW_SETS, [1, 0], &pack(0, 4), &[0; 4]); // one window, the global one
        frame.section(section::CLOCK, &[&1i64.to_le_bytes()]);
        if D::SLOTS.is_empty() {
            frame.section(section::KEY, &[key.as_flattened()]);
            return frame.finish();
        }
        frame.section(section::GROUP, &[group.as_flattened()]);
        frame.section(section::GROUPS, &[&pack(keys.len(), 0), groups.as_flattened()]);
        let all: Vec<u32> = (0..keys.len() as u32).collect();
        Shared(Arc::clone(&self.world)).with(|world| {
            world.keys = keys;
            for slot in D::SLOTS.iter().filter(|slot| slot.eager()) {
                cells(&mut frame, slot.index(), &all, world);
            }
        });
        frame.finish()
    }
}

/// What one batch gave.
pub struct Outcome {
    frames: Vec<Vec<u8>>,
    order: Vec<(usize, EventTime)>,
    logs: Vec<(Level, String)>,
}

impl Outcome {
    /// The elements of an output with their event times, without those of failed elements.
    ///
    /// # Errors
    /// If what was written is not of the output's type.
    pub fn elements<T: Element>(&self, output: &Output<T>) -> Result<Vec<(EventTime, View<'_, T>)>, Failure> {
        let failed: Vec<u32> = self.failed_rows().into_iter().map(|(row, _)| row).collect();
        let mut elements = Vec::new();
        for frame in &self.frames {
            let columns = Columns::of(frame);
            for i in 0..columns.value.len() {
                let source = Columns::number(columns.source, i);
                if Columns::number(columns.output, i) != output.index() || failed.contains(&source) {
                    continue;
                }
                let own = columns.time.get(i).map(|t| i64::from_le_bytes(*t)).filter(|t| *t != INHERIT);
                let inherited = self.order.get(source as usize).map_or(EventTime(0), |(_, time)| *time);
                let element = T::decode_columns(columns.bytes(columns.key, i), columns.bytes(columns.value, i))?;
                elements.push((own.map_or(inherited, EventTime), element));
            }
        }
        Ok(elements)
    }

    /// The failed elements: place in the batch, and why.
    #[must_use]
    pub fn failures(&self) -> Vec<(usize, Failure)> {
        let place = |row: u32| self.order.get(row as usize).map_or(usize::MAX, |(i, _)| *i);
        self.failed_rows().into_iter().map(|(row, failure)| (place(row), failure)).collect()
    }

    /// The log lines.
    #[must_use]
    pub fn logs(&self) -> &[(Level, String)] {
        &self.logs
    }

    /// What the batch added to a metric: a counter's sum first; of a distribution count, sum, minimum, maximum.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<[i64; 4]> {
        let payload = self.section(section::METRICS)?;
        let (entries, names) = table_of(payload, 48)?;
        entries.chunks_exact(48).find_map(|entry| {
            let at = |i: usize| entry[i * 8..].first_chunk::<8>().map(|b| i64::from_le_bytes(*b)).unwrap_or_default();
            let (start, end) = ((at(1) & 0xffff_ffff) as usize, (at(1) >> 32) as usize);
            (names.get(start..end)? == name.as_bytes()).then(|| [at(2), at(3), at(4), at(5)])
        })
    }

    fn failed_rows(&self) -> Vec<(u32, Failure)> {
        let Some((entries, texts)) = self.section(section::FAILED).and_then(|payload| table_of(payload, 24)) else {
            return Vec::new();
        };
        let text = |entry: &[[u8; 4]], at: usize| {
            let range = Columns::number(entry, at) as usize..Columns::number(entry, at + 1) as usize;
            String::from_utf8_lossy(texts.get(range).unwrap_or_default()).into_owned()
        };
        let entries = entries.chunks_exact(24).map(|entry| entry.as_chunks::<4>().0);
        entries.map(|e| (Columns::number(e, 0), Failure::new(text(e, 2), text(e, 4)))).collect()
    }

    fn section(&self, id: u32) -> Option<&[u8]> {
        Sections(self.frames.last()?).flatten().find(|section| section.0 == id).map(|section| section.1)
    }
}

fn table_of(payload: &[u8], entry: usize) -> Option<(&[u8], &[u8])> {
    let count = u32::from_le_bytes(*payload.first_chunk()?) as usize;
    payload.get(8..)?.split_at_checked(count * entry)
}

/// The columns of an output frame.
#[derive(Default)]
struct Columns<'a> {
    source: &'a [[u8; 4]],
    output: &'a [[u8; 4]],
    time: &'a [[u8; 8]],
    key: &'a [[u8; 8]],
    value: &'a [[u8; 8]],
    arena: &'a [u8],
}

impl<'a> Columns<'a> {
    fn of(frame: &'a [u8]) -> Self {
        let mut columns = Self::default();
        for (id, payload) in Sections(frame).flatten() {
            match id {
                section::SOURCE => columns.source = payload.as_chunks().0,
                section::OUTPUT => columns.output = payload.as_chunks().0,
                section::TIME => columns.time = payload.as_chunks().0,
                section::KEY => columns.key = payload.as_chunks().0,
                section::VALUE => columns.value = payload.as_chunks().0,
                section::ARENA => columns.arena = payload,
                _ => {}
            }
        }
        columns
    }

    fn number(column: &[[u8; 4]], i: usize) -> u32 {
        column.get(i).map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    fn bytes(&self, column: &[[u8; 8]], i: usize) -> &'a [u8] {
        cut(column, i, self.arena)
    }
}
