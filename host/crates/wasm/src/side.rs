//! Side inputs and tables during a call: what the guest may read of them, by page.

use crate::describe::Access;
use crate::error::Error;
use crate::frame::{self, section};
use crate::store::GuestStore;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use thalweg_core::coder::Coder;
use thalweg_core::state::{SideView, SideWindow};
use thalweg_core::window::{WindowFn, WindowSet};

/// A side input of a function, bound to the windows of its collection.
#[derive(Clone, Debug)]
pub struct Side {
    /// How it is read.
    pub access: Access,
    /// Coder of its elements.
    pub coder: Coder,
    /// Maps a window of the main input to one of the side input.
    pub window_fn: WindowFn,
}

/// The side inputs that a call may read.
#[derive(Clone, Debug)]
pub struct SideAccess {
    /// By their index in the description.
    pub sides: Arc<[Side]>,
    /// What each has.
    pub views: Arc<[Arc<SideView>]>,
    /// The window sets of the input frame.
    pub windows: Vec<WindowSet>,
}

/// A table: entries by key, both in the outer context of their coders.
pub trait Table: Send + Sync + fmt::Debug {
    /// The entry of a key. May block if the table says so, but not for ever: nothing else ends a call that waits here.
    fn get(&self, key: &[u8]) -> Option<Bytes>;

    /// Entries of several keys, in their order: for tables that answer many questions at once sooner than one by one.
    fn get_all(&self, keys: &[&[u8]]) -> Vec<Option<Bytes>> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// Whether lookups may take longer than memory does: functions that ask such a table run beside the shard.
    fn waits(&self) -> bool {
        false
    }
}

/// Keys that a table in memory is asked for at a time.
const ASKED: usize = 64;
/// What a key costs beside its bytes, as a share of what is done between two looks at the clock.
const ASKED_BYTES: usize = 256;

/// Element after element of a side input, from `start` on.
struct Page {
    start: usize,
    limit: usize,
}

impl Page {
    /// What stands in `values` (nested encoding) from the start on, as a frame, and where to go on.
    fn of(&self, coder: &Coder, values: &[u8]) -> Result<(Vec<u8>, Option<Vec<u8>>), Error> {
        let mut rest = values.get(self.start..).unwrap_or_default();
        let (mut rows, mut next, mut bytes) = (Vec::new(), None, 0);
        while !rest.is_empty() {
            if bytes > self.limit {
                next = Some(((values.len() - rest.len()) as u64).to_le_bytes().to_vec());
                break;
            }
            let (row, tail) = element(coder, rest).map_err(Error::State)?;
            if tail.len() == rest.len() {
                break; // elements without bytes
            }
            bytes += rest.len() - tail.len() + 16;
            rows.push(row);
            rest = tail;
        }
        Ok((frame::page(&rows).into_vec(), next))
    }
}

type Split<'a> = ((&'a [u8], &'a [u8]), &'a [u8]);

/// Key and value of the first element, and what follows it.
fn element<'a>(coder: &Coder, bytes: &'a [u8]) -> thalweg_core::error::Result<Split<'a>> {
    let part = |coder: &Coder, bytes: &'a [u8]| {
        let tail = coder.skip(bytes)?;
        let nested = bytes.get(..bytes.len() - tail.len()).unwrap_or_default();
        Ok::<_, thalweg_core::error::Error>((coder.content(nested)?, tail))
    };
    match coder.kv() {
        Some((key, value)) => {
            let (key, rest) = part(key, bytes)?;
            let (value, rest) = part(value, rest)?;
            Ok(((key, value), rest))
        }
        None => part(coder, bytes).map(|(value, rest)| ((&[][..], value), rest)),
    }
}

impl GuestStore {
    fn side_denied(&self, what: String) -> Error {
        Error::StateDenied { function: self.function.to_string(), what }
    }

    /// A side input and its contents for a window set of the frame; none if there is nothing in its window.
    fn side(&self, input: u32, windows: u32) -> Result<(Side, Option<Arc<SideWindow>>), Error> {
        let denied = |what: String| self.side_denied(what);
        let access = self.call.loan.sides.as_ref().ok_or_else(|| denied("it has no side inputs".into()))?;
        let (side, view) = access
            .sides
            .get(input as usize)
            .zip(access.views.get(input as usize))
            .ok_or_else(|| denied(format!("side input {input} is not described")))?;
        let set = access.windows.get(windows as usize).map(WindowSet::as_slice);
        let Some([window]) = set else {
            return Err(denied(format!("window set {windows} is not a single window of the frame")));
        };
        let mapped = side.window_fn.side_of(window);
        let contents = mapped.and_then(|window| view.windows.get(&window).cloned());
        Ok((side.clone(), contents))
    }

    fn page(&self, start: Option<&[u8]>, max_bytes: u32) -> Result<Page, Error> {
        let start = match start {
            None => Some(0),
            Some(token) => token.first_chunk::<8>().and_then(|n| usize::try_from(u64::from_le_bytes(*n)).ok()),
        };
        let start = start.ok_or_else(|| self.side_denied("it forged where a page begins".into()))?;
        Ok(Page { start, limit: self.limits.output_bytes.min(max_bytes as usize) })
    }

    /// A page of a side input.
    pub fn read_side(
        &mut self,
        input: u32,
        windows: u32,
        key: Option<&[u8]>,
        start: Option<&[u8]>,
        max_bytes: u32,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), Error> {
        let (side, contents) = self.side(input, windows)?;
        let page = self.page(start, max_bytes)?;
        let Some(contents) = contents else { return page.of(&side.coder, &[]) };
        match (side.access, key) {
            (Access::Iterable, None) => page.of(&side.coder, &contents.values),
            (Access::Multimap, Some(key)) => {
                let value = side.coder.kv().map_or(&side.coder, |(_, value)| value);
                page.of(value, contents.by_key.get(key).map_or(&[], Vec::as_slice))
            }
            _ => Err(self.side_denied(format!("side input {input} is read with a key if it is a multimap"))),
        }
    }

    /// A page of the keys of a multimap.
    pub fn side_keys(
        &mut self,
        input: u32,
        windows: u32,
        start: Option<&[u8]>,
        max_bytes: u32,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), Error> {
        let (side, contents) = self.side(input, windows)?;
        if side.access != Access::Multimap {
            return Err(self.side_denied(format!("side input {input} has no keys")));
        }
        let page = self.page(start, max_bytes)?;
        let keys = contents.as_ref().map_or(&[][..], |c| c.keys.as_slice());
        let (mut rows, mut bytes, mut next) = (Vec::new(), 0, None);
        for (i, key) in keys.iter().enumerate().skip(page.start) {
            if bytes > page.limit {
                next = Some((i as u64).to_le_bytes().to_vec());
                break;
            }
            bytes += key.len() + 16;
            rows.push((&[][..], key.as_ref()));
        }
        Ok((frame::page(&rows).into_vec(), next))
    }

    /// The entries of a table, as a frame.
    pub fn look_up_table(&mut self, table: u32, questions: &[u8]) -> Result<Vec<u8>, Error> {
        let found = self.call.loan.tables.get(table as usize).cloned();
        let found = found.ok_or_else(|| self.side_denied(format!("table {table} is not described")))?;
        let broken = |e: frame::FrameError| Error::Frame {
            function: self.function.to_string(),
            section: e.section,
            what: e.what,
        };
        let questions = frame::subkeys(questions).map_err(broken)?;
        let limit = self.limits.output_bytes;
        let keys: Vec<&[u8]> = questions.iter().map(|(_, key)| *key).collect();
        let entries = if found.waits() {
            self.suspended(|| found.get_all(&keys))
        } else {
            // what is in memory is found at the guest's cost, and nobody interrupts the host
            let (mut entries, mut watch) = (Vec::with_capacity(keys.len()), self.watch());
            for keys in keys.chunks(ASKED) {
                watch.look(keys.iter().map(|key| key.len() + ASKED_BYTES).sum())?;
                entries.append(&mut found.get_all(keys));
            }
            entries
        };
        let mut answer = Vec::new();
        frame::sub_cells(section::SUBCELLS, None, questions.len(), &mut answer, |i, out| {
            let entry = entries.get(i).and_then(Option::as_ref);
            entry.iter().for_each(|bytes| out.extend_from_slice(bytes));
            if out.len() > limit {
                return Err(Error::OutputLimit { function: self.function.to_string(), limit_bytes: limit as u64 });
            }
            Ok(entry.is_some())
        })?;
        Ok(answer)
    }
}

/// Appends a TABLE_CELLS section: what a table has for the keys of the rows.
pub fn declared(table: u32, entries: &[Option<Bytes>], out: &mut Vec<u8>) {
    let filled = frame::sub_cells(section::TABLE_CELLS, Some(table), entries.len(), out, |i, out| {
        let entry = entries.get(i).and_then(Option::as_ref);
        entry.iter().for_each(|bytes| out.extend_from_slice(bytes));
        Ok::<_, std::convert::Infallible>(entry.is_some())
    });
    filled.unwrap_or_default();
}
