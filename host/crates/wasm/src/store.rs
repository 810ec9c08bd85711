//! What the host keeps beside an instance, and what its imports do: logs, early outputs, and the limits of all. State has a
//! file of its own.
//!
//! A violation is kept as a typed error in the store's data and ends the call by a trap; the caller looks there first.

use crate::bags::Bags;
use crate::bindings::thalweg::udf::{iterables, log, outputs, side_inputs, state, tables, types};
use crate::clock;
use crate::error::Error;
use crate::frame::{Moment, OutputFrame};
use crate::iterables::Iterables;
use crate::limits::Limits;
use crate::side::{SideAccess, Table};
use crate::state::{StateAccess, Walk};
use crate::wasi::World;
use std::sync::Arc;
use types::Page;
use wasmtime::{ResourceLimiter, UpdateDeadline};

/// What a call may use; it comes back when the call is over.
#[derive(Default, Debug)]
pub struct Loan {
    /// State of the groups of the frame.
    pub state: Option<StateAccess>,
    /// Side inputs.
    pub sides: Option<SideAccess>,
    /// Values that are read by page.
    pub iterables: Option<Iterables>,
    /// Tables by their index in the description.
    pub tables: Arc<[Arc<dyn Table>]>,
}

/// What the running call has done so far. It counts only if the call returns ok.
#[derive(Default, Debug)]
pub struct Call {
    /// Frames of early outputs, in order.
    pub emitted: Vec<Vec<u8>>,
    /// What the call may use.
    pub loan: Loan,
    /// Checked frames of state changes, in order.
    pub changes: Vec<Vec<u8>>,
    /// Why the host ended the call.
    pub error: Option<Error>,
    output_bytes: usize,
    /// The entries that it walks over.
    pub walk: Option<Walk>,
    /// The bags that it reads by page.
    pub bags: Bags,
    /// Bytes of state changes so far.
    pub state_bytes: usize,
    /// When it has to be over.
    pub deadline: Deadline,
}

/// When a call has to be over.
#[derive(Clone, Copy, Default, Debug)]
pub struct Deadline {
    wall: u64,
    cpu: u64,
}

/// Which end has come.
#[derive(Clone, Copy, Debug)]
pub enum Passed {
    /// That of wall time.
    Wall,
    /// That of CPU time.
    Cpu,
}

impl Deadline {
    /// Whether it has passed.
    pub fn passed(self) -> Option<Passed> {
        if clock::monotonic() >= self.wall {
            return Some(Passed::Wall);
        }
        (clock::thread_cpu() >= self.cpu).then_some(Passed::Cpu)
    }
}

/// What a call gave.
#[derive(Debug)]
pub struct Returned {
    /// Frames of early outputs in order; the frame that the call returned is the last.
    pub frames: Vec<Vec<u8>>,
    /// Checked frames of changes, in order: for [`StateAccess::apply`] once the outputs are found sound.
    pub changes: Vec<Vec<u8>>,
    /// Whether the last frame has checked changes too, which come after those.
    pub last_changes: bool,
}

/// The data of a store.
#[derive(Debug)]
pub struct GuestStore {
    /// The function, for errors and logs.
    pub function: Arc<str>,
    /// The transform it runs as; empty outside of a pipeline.
    pub transform: Arc<str>,
    /// What the guest may use.
    pub limits: Arc<Limits>,
    /// The running call.
    pub call: Call,
    /// What it sees of the world.
    pub world: World,
    /// Linear memory now, in bytes.
    pub memory_bytes: usize,
    /// Whether memory was refused in this call.
    pub memory_refused: bool,
    /// What the last growth added to it: given back if it fails after all.
    memory_added: usize,
    /// Elements of all tables now.
    table_elements: usize,
    /// The engine's bound of the stack, for the error.
    pub stack_bytes: usize,
    log_tokens: f64,
    log_filled: u64,
    log_dropped: u64,
}

impl GuestStore {
    /// The data of a new store.
    pub fn new(function: Arc<str>, transform: Arc<str>, limits: Arc<Limits>, stack_bytes: usize) -> Self {
        let log_tokens = f64::from(limits.log_lines_per_second);
        Self {
            function,
            transform,
            limits,
            call: Call::default(),
            world: World::default(),
            memory_bytes: 0,
            memory_refused: false,
            memory_added: 0,
            table_elements: 0,
            stack_bytes,
            log_tokens,
            log_filled: clock::monotonic(),
            log_dropped: 0,
        }
    }

    /// Begins a call at a moment: the clocks of its limits start.
    pub fn begin(&mut self, moment: Moment, loan: Loan) {
        let time = |limit: std::time::Duration| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        self.memory_refused = false;
        self.world.begin(moment);
        self.call = Call {
            loan,
            deadline: Deadline {
                wall: clock::monotonic().saturating_add(time(self.limits.wall_hard)),
                cpu: clock::thread_cpu().saturating_add(time(self.limits.cpu_soft)),
            },
            ..Call::default()
        };
    }

    /// Gives the running call no more time than this.
    pub fn hurry(&mut self, time: std::time::Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let Deadline { wall, cpu } = &mut self.call.deadline;
        *wall = (*wall).min(clock::monotonic().saturating_add(time));
        *cpu = (*cpu).min(clock::thread_cpu().saturating_add(time));
    }

    /// Waits for something outside; the time is not the guest's.
    pub fn suspended<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        let before = (clock::monotonic(), clock::thread_cpu());
        let answer = wait();
        let (wall, cpu) = (clock::monotonic(), clock::thread_cpu());
        let Deadline { wall: wall_end, cpu: cpu_end } = &mut self.call.deadline;
        *wall_end = wall_end.saturating_add(wall.saturating_sub(before.0));
        *cpu_end = cpu_end.saturating_add(cpu.saturating_sub(before.1));
        answer
    }

    /// Whether the call may go on. Runs every tick on the guest's thread.
    pub fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        let milliseconds = |limit: std::time::Duration| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let (function, trace) = (self.function.to_string(), String::new());
        let late = match self.call.deadline.passed() {
            None => return Ok(UpdateDeadline::Continue(1)),
            Some(Passed::Wall) => {
                let limit_ms = milliseconds(self.limits.wall_hard);
                Error::WallLimit { function, limit_ms, trace }
            }
            Some(Passed::Cpu) => Error::CpuLimit { function, limit_ms: milliseconds(self.limits.cpu_soft), trace },
        };
        Err(self.end(late))
    }

    /// Keeps the reason and gives the trap that ends the call.
    fn end(&mut self, error: Error) -> wasmtime::Error {
        let trap = wasmtime::Error::msg(error.to_string());
        self.call.error = Some(error);
        trap
    }

    /// The trap of a guest that uses what it has no right to.
    pub fn deny(&mut self, what: String) -> wasmtime::Error {
        self.end(Error::Denied { function: self.function.to_string(), what })
    }

    /// Ends a call that returned `frame`: hands over what it did.
    pub fn finish(&mut self, frame: Vec<u8>) -> Result<Returned, Error> {
        let last_changes = self.count_output(&frame)?;
        if last_changes {
            self.check_changes(&frame)?;
        }
        let mut frames = std::mem::take(&mut self.call.emitted);
        frames.push(frame);
        Ok(Returned { frames, changes: std::mem::take(&mut self.call.changes), last_changes })
    }

    /// Takes a frame of early outputs.
    pub fn take_rows(&mut self, rows: Vec<u8>) -> Result<(), Error> {
        self.count_output(&rows)?;
        self.call.emitted.push(rows);
        Ok(())
    }

    /// Counts bytes of output; gives whether the frame changes state, too. Rows that share their bytes count like others.
    fn count_output(&mut self, frame: &[u8]) -> Result<bool, Error> {
        // a frame that cannot be parsed is refused when its rows are taken
        let parsed = OutputFrame::parse(frame).ok();
        let rows = parsed.as_ref().map_or(0, OutputFrame::logical_bytes);
        let bytes = frame.len().max(rows).saturating_add(KEPT_BYTES);
        self.call.output_bytes = self.call.output_bytes.saturating_add(bytes);
        if self.call.output_bytes > self.limits.output_bytes {
            return Err(Error::OutputLimit {
                function: self.function.to_string(),
                limit_bytes: self.limits.output_bytes as u64,
            });
        }
        Ok(parsed.is_some_and(|parsed| parsed.has_changes()))
    }

    /// Writes a line to the job's log, within the rate.
    pub fn log_line(&mut self, level: u8, row: Option<u32>, message: &str) {
        let now = clock::monotonic();
        let rate = f64::from(self.limits.log_lines_per_second);
        let passed = now.saturating_sub(self.log_filled) as f64 / 1e9;
        self.log_tokens = (self.log_tokens + passed * rate).min(rate);
        self.log_filled = now;
        if self.log_tokens < 1.0 {
            self.log_dropped += 1;
            return;
        }
        self.log_tokens -= 1.0;
        let dropped = std::mem::take(&mut self.log_dropped);
        let (function, transform) = (&*self.function, &*self.transform);
        // Control characters are escaped: a guest writes lines, never the terminal's commands.
        let line: String = cut_text(message, self.limits.log_line_bytes).chars().flat_map(escape).collect();
        event(level, transform, function, row, dropped, &line);
    }
}

fn event(level: u8, transform: &str, function: &str, row: Option<u32>, dropped: u64, line: &str) {
    match level {
        0 => tracing::trace!(target: "thalweg::udf", transform, function, row, dropped, "{line}"),
        1 => tracing::debug!(target: "thalweg::udf", transform, function, row, dropped, "{line}"),
        2 => tracing::info!(target: "thalweg::udf", transform, function, row, dropped, "{line}"),
        3 => tracing::warn!(target: "thalweg::udf", transform, function, row, dropped, "{line}"),
        _ => tracing::error!(target: "thalweg::udf", transform, function, row, dropped, "{line}"),
    }
}

/// What keeping a frame costs beside its bytes: a guest that sends frames of nothing pays for them, too.
pub const KEPT_BYTES: usize = 64;
/// Longest code of a failure, in bytes; the rest is cut off.
pub const CODE_BYTES: usize = 128;
/// Longest message of a failure.
pub const MESSAGE_BYTES: usize = 4 << 10;

/// The beginning of a text, at most `bytes` long.
pub fn cut_text(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

fn escape(c: char) -> impl Iterator<Item = char> {
    let (plain, escaped) = if c.is_control() { (None, Some(c.escape_default())) } else { (Some(c), None) };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

impl types::Host for GuestStore {}

impl log::Host for GuestStore {
    fn write(&mut self, level: u8, row: Option<u32>, message: String) -> wasmtime::Result<()> {
        self.log_line(level, row, &message);
        Ok(())
    }
}

impl outputs::Host for GuestStore {
    fn emit(&mut self, rows: Vec<u8>) -> wasmtime::Result<()> {
        self.take_rows(rows).map_err(|e| self.end(e))
    }
}

impl iterables::Host for GuestStore {
    fn read(&mut self, token: Vec<u8>, max_bytes: u32) -> wasmtime::Result<Page> {
        let page = self.read_iterable(&token, max_bytes);
        page.map(|(rows, next)| Page { rows, next }).map_err(|e| self.end(e))
    }
}

impl state::Host for GuestStore {
    fn read(&mut self, slot: u32, groups: Vec<u32>) -> wasmtime::Result<Vec<u8>> {
        self.read_cells(slot, &groups).map_err(|e| self.end(e))
    }

    fn lookup(&mut self, slot: u32, subkeys: Vec<u8>) -> wasmtime::Result<Vec<u8>> {
        self.look_up(slot, &subkeys).map_err(|e| self.end(e))
    }

    fn scan(
        &mut self,
        slot: u32,
        group: u32,
        start: Vec<u8>,
        end: Option<Vec<u8>>,
        max_bytes: u32,
    ) -> wasmtime::Result<Page> {
        let page = GuestStore::scan(self, slot, group, &start, end.as_deref(), max_bytes);
        page.map(|(rows, next)| Page { rows, next }).map_err(|e| self.end(e))
    }

    fn write(&mut self, ops: Vec<u8>) -> wasmtime::Result<()> {
        self.write_changes(ops).map_err(|e| self.end(e))
    }
}

impl side_inputs::Host for GuestStore {
    fn read(
        &mut self,
        input: u32,
        windows: u32,
        key: Option<Vec<u8>>,
        start: Option<Vec<u8>>,
        max_bytes: u32,
    ) -> wasmtime::Result<Page> {
        let page = self.read_side(input, windows, key.as_deref(), start.as_deref(), max_bytes);
        page.map(|(rows, next)| Page { rows, next }).map_err(|e| self.end(e))
    }

    fn keys(&mut self, input: u32, windows: u32, start: Option<Vec<u8>>, max_bytes: u32) -> wasmtime::Result<Page> {
        let page = self.side_keys(input, windows, start.as_deref(), max_bytes);
        page.map(|(rows, next)| Page { rows, next }).map_err(|e| self.end(e))
    }
}

impl tables::Host for GuestStore {
    fn lookup(&mut self, table: u32, keys: Vec<u8>) -> wasmtime::Result<Vec<u8>> {
        self.look_up_table(table, &keys).map_err(|e| self.end(e))
    }
}

impl ResourceLimiter for GuestStore {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let added = desired.saturating_sub(current);
        let all = self.memory_bytes.saturating_add(added);
        if all > self.limits.memory_bytes {
            self.memory_refused = true;
            return Ok(false);
        }
        (self.memory_bytes, self.memory_added) = (all, added);
        Ok(true)
    }

    // the growth that was just allowed: memories here have pages of 64 KiB, and all that they ask for is asked above
    fn memory_grow_failed(&mut self, _why: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory_bytes = self.memory_bytes.saturating_sub(std::mem::take(&mut self.memory_added));
        Ok(())
    }

    // A growth that a table's own maximum forbids is refused here and not counted. `table_grow_failed` would not do: it is also called
    // for a growth that nobody was asked for, so that a guest could have elements given back which it has.
    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let all = self.table_elements.saturating_add(desired.saturating_sub(current));
        if all > self.limits.table_elements || maximum.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        self.table_elements = all;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_tables_of_an_instance_share_its_elements_as_its_memories_do() -> wasmtime::Result<()> {
        let limits = Limits::default().table_elements(100).memory_bytes(100);
        let mut store = GuestStore::new("f".into(), "T".into(), Arc::new(limits), 0);
        assert!(store.table_growing(0, 60, None)? && !store.table_growing(0, 60, None)?);
        assert!(store.table_growing(0, 30, Some(30))? && store.table_growing(60, 70, None)?);
        assert!(!store.table_growing(0, 1, None)?);
        assert!(store.memory_growing(0, 60, None)? && !store.memory_growing(0, 60, None)?);
        assert!(store.memory_growing(0, 40, None)?);
        store.memory_grow_failed(wasmtime::Error::msg("no"))?;
        store.memory_grow_failed(wasmtime::Error::msg("given back once"))?;
        assert_eq!(store.memory_bytes, 60);
        Ok(())
    }
}
