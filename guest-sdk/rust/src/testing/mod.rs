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

mod outcome;
mod shapes;
mod world;

pub use outcome::Outcome;
pub use shapes::{CombineKit, KeyKit, WindowKit};

use crate::dofn::{DoFn, EventTime, Failure, is_keyed};
use crate::element::{Element, View};
use crate::frame::{EXPIRES, FrameWriter, pack, section};
use crate::host::Host;
use crate::instance::{Function, Instance};
use crate::side::{SideList, SideMultimap, SideSpec, Table, TableSpec};
use crate::window::Window;
use outcome::Ran;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use world::{Shared, World};

const PROCESS: u32 = 0;
const START_BUNDLE: u32 = 1;
const FINISH_BUNDLE: u32 = 2;

/// A row of a frame that the kit makes.
struct Row {
    place: usize,
    time: EventTime,
    key: Vec<u8>,
    value: Vec<u8>,
    window: Window,
    kind: u8,
    fire: i64,
}

/// A plan with a configuration.
fn plan(config: &str) -> Vec<u8> {
    let mut plan = FrameWriter::new(0, 0);
    plan.section(section::CONFIG, &[config.as_bytes()]);
    plan.finish()
}

/// One open function, the state and timers of its keys, its side inputs and tables. All of it lives from one
/// [`run`](Kit::run) to the next.
pub struct Kit<D> {
    instance: Box<dyn Instance>,
    world: Shared,
    dofn: PhantomData<fn() -> D>,
}

impl<D> Drop for Kit<D> {
    fn drop(&mut self) {
        self.instance.close();
    }
}

impl<D: DoFn> Kit<D> {
    /// Opens the function with the JSON text of its configuration.
    ///
    /// # Errors
    /// What the function's `open` says.
    pub fn open(config: &str) -> Result<Self, Failure> {
        let bags = D::SLOTS.iter().map(|slot| slot.first()).collect();
        let world = Shared(Arc::new(Mutex::new(World::of(bags))));
        let host = Host::new(Shared(Arc::clone(&world.0)));
        let instance = Function::open(&[Function::of::<D>("it")], "it", &plan(config), host)?;
        Ok(Self { instance, world, dofn: PhantomData })
    }

    /// Grouped values of more than so many bytes come by page, as they do from the runner; 256 KiB without it.
    pub fn page_bytes(&mut self, bytes: usize) {
        self.world.with(|world| world.page_bytes = bytes.max(1));
    }

    /// Fills a side input that is a list.
    pub fn fill_list<'a, T: Element>(&mut self, side: &SideList<T>, elements: impl IntoIterator<Item = View<'a, T>>) {
        self.world.with(|world| {
            let rows = elements.into_iter().map(|element| {
                let mut value = Vec::new();
                let split = T::encode_columns(&element, &mut value);
                (value.drain(..split).collect(), value)
            });
            world.sides.insert(side.index(), rows.collect());
        });
    }

    /// Fills a side input that is read by key.
    pub fn fill_multimap<'a, K: Element, V: Element>(
        &mut self,
        side: &SideMultimap<K, V>,
        elements: impl IntoIterator<Item = (View<'a, K>, View<'a, V>)>,
    ) {
        self.world.with(|world| {
            let rows = elements.into_iter().map(|pair| pair_of::<K, V>(&pair));
            world.sides.insert(side.index(), rows.collect());
        });
    }

    /// Fills a table.
    pub fn fill_table<'a, K: Element, V: Element>(
        &mut self,
        table: &Table<K, V>,
        entries: impl IntoIterator<Item = (View<'a, K>, View<'a, V>)>,
    ) {
        self.world.with(|world| {
            let rows = entries.into_iter().map(|pair| pair_of::<K, V>(&pair));
            world.tables.insert(table.index(), rows.collect());
        });
    }

    /// Runs the elements as one batch in the global window. Elements of a keyed function are brought together by key,
    /// as the runner does; [`Outcome`] counts them in the order given here.
    ///
    /// # Errors
    /// If the call fails as a whole; failed elements are in the outcome.
    pub fn run<'a>(
        &mut self,
        elements: impl IntoIterator<Item = (EventTime, View<'a, D::In>)>,
    ) -> Result<Outcome, Failure> {
        self.run_in(&Window::Global, elements)
    }

    /// Runs the elements as one batch in a window.
    ///
    /// # Errors
    /// If the call fails as a whole; failed elements are in the outcome.
    pub fn run_in<'a>(
        &mut self,
        window: &Window,
        elements: impl IntoIterator<Item = (EventTime, View<'a, D::In>)>,
    ) -> Result<Outcome, Failure> {
        let mut rows = Vec::new();
        for (place, (time, element)) in elements.into_iter().enumerate() {
            let mut value = Vec::new();
            let split = D::In::encode_columns(&element, &mut value);
            let key: Vec<u8> = value.drain(..split).collect();
            rows.push(Row { place, time, key, value, window: window.clone(), kind: 0, fire: 0 });
        }
        if is_keyed::<D>() {
            rows.sort_by(|a, b| a.key.cmp(&b.key)); // stable: the rows of a key keep their order
        }
        let mut outcome = Outcome::default();
        if D::BUNDLES {
            self.call(START_BUNDLE, &[], &mut outcome)?;
        }
        self.call(PROCESS, &rows, &mut outcome)?;
        if D::BUNDLES {
            self.call(FINISH_BUNDLE, &[], &mut outcome)?;
        }
        Ok(outcome)
    }

    /// Moves the watermark on: event-time timers up to it fire, in the order of time, and windows that it has passed expire
    /// with what their keys kept. [`EventTime`] of `i64::MAX` ends the global window too.
    ///
    /// # Errors
    /// What the function says to a timer or the end of a window.
    pub fn advance_watermark(&mut self, to: EventTime) -> Result<Outcome, Failure> {
        let mut outcome = self.fire("event", to.0)?;
        let over = self.world.with(|world| world.expired(to));
        for (key, window) in over {
            if D::EXPIRES {
                let time = if let Window::Interval(interval) = &window { EventTime(interval.end.0 - 1) } else { to };
                let row = Row {
                    place: 0,
                    time,
                    key: key.clone(),
                    value: Vec::new(),
                    window: window.clone(),
                    kind: EXPIRES,
                    fire: time.0,
                };
                self.call(PROCESS, &[row], &mut outcome)?;
            }
            self.world.with(|world| world.forget(&(key, window)));
        }
        outcome.all_good()
    }

    /// Moves the clock on, to milliseconds since 1970: processing-time timers up to it fire, in the order of time.
    ///
    /// # Errors
    /// What the function says to a timer.
    pub fn advance_clock(&mut self, to_ms: i64) -> Result<Outcome, Failure> {
        self.world.with(|world| world.now = to_ms);
        self.fire("processing", to_ms)?.all_good()
    }

    /// The timers that are set: name of the family, tag, and when it fires.
    #[must_use]
    pub fn timers(&self) -> Vec<(&'static str, String, i64)> {
        self.world.with(|world| {
            let name = |family: u32| D::TIMERS.get(family as usize).map_or("", |timer| timer.name());
            let timers = world.timers.iter();
            timers.map(|((_, family, tag), (fire, _))| (name(*family), tag.clone(), *fire)).collect()
        })
    }

    /// How often the function asked the host about state so far.
    #[must_use]
    pub fn state_calls(&self) -> usize {
        self.world.with(|world| world.calls)
    }

    fn fire(&mut self, domain: &str, to: i64) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::default();
        let ours = |family: u32| D::TIMERS.get(family as usize).is_some_and(|timer| timer.domain() == domain);
        loop {
            let due = self.world.with(|world| world.due(to, ours));
            if due.is_empty() {
                return Ok(outcome);
            }
            let row = |(((key, window), family, tag), (fire, hold))| Row {
                place: 0,
                time: EventTime(hold),
                key,
                value: String::into_bytes(tag),
                window,
                kind: (family + 1) as u8,
                fire,
            };
            let rows: Vec<Row> = due.into_iter().map(row).collect();
            self.call(PROCESS, &rows, &mut outcome)?;
        }
    }

    fn call(&mut self, op: u32, rows: &[Row], outcome: &mut Outcome) -> Result<(), Failure> {
        self.world.with(|world| world.pages.clear());
        let input = self.frame(rows);
        let result = self.instance.call(op, &input);
        self.world.with(|world| {
            let mut frames = std::mem::take(&mut world.emitted);
            outcome.logs.append(&mut world.logs);
            let result = result?;
            let times: Vec<EventTime> = rows.iter().map(|row| row.time).collect();
            world
                .apply(&result, &times, |family| D::TIMERS.get(family as usize).is_some_and(|t| t.domain() == "event"))
                .ok_or_else(|| Failure::new("BAD_FRAME", "the function gave a broken frame of changes"))?;
            frames.push(result);
            let order = rows.iter().map(|row| (row.place, row.time, row.window.clone())).collect();
            outcome.calls.push(Ran { frames, order });
            Ok(())
        })
    }

    fn frame(&self, rows: &[Row]) -> Vec<u8> {
        let (mut arena, mut time, mut group, mut fire) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut key, mut value, mut groups, mut keys) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut windows, mut sets, mut set_bytes) = (Vec::new(), Vec::new(), Vec::new());
        let (mut large, mut tokens) = (Vec::new(), Vec::new());
        for (at, row) in rows.iter().enumerate() {
            let start = arena.len();
            arena.extend_from_slice(&row.key);
            key.push(pack(start, arena.len()));
            let id = (row.key.clone(), row.window.clone());
            if keys.last() != Some(&id) {
                let set = set_bytes.len();
                row.window.put(&mut set_bytes);
                sets.push(pack(set, set_bytes.len()));
                groups.extend([pack(start, arena.len()), pack(sets.len() - 1, 0)]);
                keys.push(id);
            }
            group.push((keys.len() as u32 - 1).to_le_bytes());
            windows.push((sets.len() as u32 - 1).to_le_bytes());
            let start = arena.len();
            let rest = if row.kind == 0 { self.world.with(|world| world.cut::<D::In>(&row.value)) } else { None };
            if let Some((head, token)) = rest {
                arena.extend_from_slice(&head);
                let start = tokens.len();
                tokens.extend(token);
                large.extend([pack(at, 0), pack(start, tokens.len())]);
            } else {
                arena.extend_from_slice(&row.value);
            }
            value.push(pack(start, arena.len()));
            time.push(row.time.0.to_le_bytes());
            fire.push(row.fire.to_le_bytes());
        }
        let kinds: Vec<u8> = rows.iter().map(|row| row.kind).collect();
        let mut frame = FrameWriter::new(rows.len(), arena.len());
        if kinds.iter().any(|kind| *kind != 0) {
            frame.section(section::KIND, &[&kinds]);
            frame.section(section::FIRE, &[fire.as_flattened()]);
        }
        if !large.is_empty() {
            frame.table(section::LARGE, [large.len() as u32 / 2, 0], large.as_flattened(), &tokens);
        }
        frame.section(section::TIME, &[time.as_flattened()]);
        frame.section(section::VALUE, &[value.as_flattened()]);
        frame.section(section::ARENA, &[&arena]);
        frame.section(section::WINDOWS, &[windows.as_flattened()]);
        frame.table(section::WINDOW_SETS, [sets.len() as u32, 0], sets.as_flattened(), &set_bytes);
        self.world.with(|world| {
            frame.section(section::CLOCK, &[&world.now.to_le_bytes()]);
            frame.section(section::SEED, &[&7u64.to_le_bytes()]);
            for table in D::TABLES.iter().filter(|table| table.lookup() == "key") {
                world.table_cells(&mut frame, table.index(), rows.iter().map(|row| row.key.as_slice()));
            }
            if is_keyed::<D>() {
                frame.section(section::GROUP, &[group.as_flattened()]);
                frame.section(section::GROUPS, &[&pack(keys.len(), 0), groups.as_flattened()]);
                world.groups = keys;
                let all: Vec<u32> = (0..world.groups.len() as u32).collect();
                for slot in D::SLOTS.iter().filter(|slot| slot.eager()) {
                    world.cells(&mut frame, slot.index(), &all);
                }
            } else {
                frame.section(section::KEY, &[key.as_flattened()]);
            }
        });
        frame.finish()
    }
}

/// Key and value, each in the outer context.
fn pair_of<K: Element, V: Element>(pair: &(View<'_, K>, View<'_, V>)) -> (Vec<u8>, Vec<u8>) {
    let mut value = Vec::new();
    K::encode(&pair.0, &mut value);
    let split = value.len();
    V::encode(&pair.1, &mut value);
    (value.drain(..split).collect(), value)
}
