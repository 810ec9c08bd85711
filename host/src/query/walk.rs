//! From stored cells to the entries of a state: a key and window, and what they hold.
//!
//! In: a range of stored keys. Out: entries in stored order, within bounds, and where to go on. It does not know how they are shown.

use thalweg_core::error::{Error, Result};
use thalweg_core::id::{KeyGroup, StateId};
use thalweg_core::port::store::StateRead;
use thalweg_core::state::layout::{CellKey, KeyReader, Kind};
use thalweg_core::window::Window;

/// Bytes of an answer's entries, about.
const BYTES_MAX: usize = 4 << 20;
/// Bytes of one entry; of a larger one the first are shown.
const ENTRY_BYTES_MAX: usize = 1 << 20;
/// Cells that are looked at for one answer: some tenths of a second.
const CELLS_MAX: usize = 200_000;

/// What is stored of one key and window.
#[derive(Debug)]
pub struct Entry {
    /// The key, in the outer context.
    pub key: Vec<u8>,
    /// The window.
    pub window: Window,
    /// Sub-keys and values, in their order.
    pub cells: Vec<(Vec<u8>, Vec<u8>)>,
    /// There is more of it.
    pub cut: bool,
    bytes: usize,
}

#[cfg(test)]
impl Entry {
    /// One with these cells.
    pub fn of(key: &[u8], window: Window, cells: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        Self { key: key.to_vec(), window, cells, cut: false, bytes: 0 }
    }
}

/// How much an answer may still take, over all that is walked for it.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    entries: usize,
    bytes: usize,
    cells: usize,
}

impl Room {
    /// That of an answer with so many entries at most.
    pub fn new(entries: usize) -> Self {
        Self { entries, bytes: BYTES_MAX, cells: CELLS_MAX }
    }

    /// How many entries still fit.
    pub fn entries(&self) -> u32 {
        u32::try_from(self.entries).unwrap_or(u32::MAX)
    }

    /// Takes what came from elsewhere in.
    pub fn take(&mut self, entries: usize, bytes: usize) {
        self.entries = self.entries.saturating_sub(entries);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Whether nothing more fits.
    pub fn is_full(&self) -> bool {
        self.entries == 0 || self.bytes == 0 || self.cells == 0
    }
}

/// Collects entries until a bound is reached.
pub struct Walk<'a> {
    /// Whether a key and window are wanted.
    wanted: &'a dyn Fn(&[u8], &Window) -> bool,
    room: &'a mut Room,
    /// What was found.
    pub found: Vec<Entry>,
}

/// Where the cells of a state in one group begin.
fn front(group: u16, id: StateId) -> CellKey {
    CellKey::new(KeyGroup(group), Kind::User, id)
}

/// What the key of a cell says.
struct Parts<'a> {
    group: KeyGroup,
    id: StateId,
    key: &'a [u8],
    window: Window,
    sub: &'a [u8],
}

fn parts(cell: &[u8]) -> Option<Parts<'_>> {
    let (group, _, id, mut reader) = KeyReader::open(cell)?;
    let (key, window) = (reader.part()?, reader.window()?);
    Some(Parts { group, id, key, window, sub: reader.rest() })
}

/// What ended a scan early.
enum Stopped {
    /// A bound was reached; the next answer begins here.
    Full(Vec<u8>),
    /// The entry is too large; the next one begins here at the soonest.
    Cut(Vec<u8>),
    Damaged,
}

impl<'a> Walk<'a> {
    /// A walk that has not begun.
    pub fn new(room: &'a mut Room, wanted: &'a dyn Fn(&[u8], &Window) -> bool) -> Self {
        Self { wanted, room, found: Vec::new() }
    }

    /// All windows of a key. Whether there are more of them.
    ///
    /// # Errors
    /// Those of the store, and `STATE_CORRUPT`.
    pub fn key(&mut self, cells: &dyn StateRead, id: StateId, group: KeyGroup, key: &[u8]) -> Result<bool> {
        let range = front(group.0, id).part(key);
        Ok(self.range(cells, range.as_slice().to_vec(), &range.successor())?.is_some())
    }

    /// The entries of a state in these groups, from `page` on if it is in one of them. Gives the page that comes next.
    ///
    /// # Errors
    /// Those of the store, and `STATE_CORRUPT`.
    pub fn groups(
        &mut self,
        cells: &dyn StateRead,
        id: StateId,
        groups: std::ops::Range<u16>,
        page: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>> {
        let begin = page.and_then(KeyReader::open).map_or(groups.start, |(group, ..)| group.0.max(groups.start));
        for group in begin..groups.end {
            let range = front(group, id);
            let from = page.filter(|page| *page > range.as_slice()).unwrap_or(range.as_slice()).to_vec();
            if let Some(next) = self.range(cells, from, &range.successor())? {
                return Ok(Some(next));
            }
        }
        Ok(None)
    }

    fn range(&mut self, cells: &dyn StateRead, mut from: Vec<u8>, end: &[u8]) -> Result<Option<Vec<u8>>> {
        loop {
            let (mut at, mut taken, mut stopped) = (Vec::new(), false, None);
            cells.scan(&from, end, &mut |cell, value| {
                stopped = self.cell(cell, value, &mut at, &mut taken);
                stopped.is_none()
            })?;
            match stopped {
                None => return Ok(None),
                Some(Stopped::Full(next)) => return Ok(Some(next)),
                Some(Stopped::Cut(next)) => from = next,
                Some(Stopped::Damaged) => {
                    return Err(Error::external("STATE_CORRUPT", "a stored cell of a state cannot be read")
                        .help("the state directory is damaged or of another version; restore a copy of it"));
                }
            }
        }
    }

    /// Takes one cell. `at` is the front of the entry that the last one was of, `taken` whether that is wanted.
    fn cell(&mut self, cell: &[u8], value: &[u8], at: &mut Vec<u8>, taken: &mut bool) -> Option<Stopped> {
        let Some(Parts { group, id, key, window, sub }) = parts(cell) else { return Some(Stopped::Damaged) };
        let prefix = cell.get(..cell.len() - sub.len()).unwrap_or_default();
        let full = self.room.cells == 0 || self.room.bytes == 0;
        if at.as_slice() != prefix {
            if self.room.is_full() {
                return Some(Stopped::Full(prefix.to_vec()));
            }
            (*at, *taken) = (prefix.to_vec(), (self.wanted)(key, &window));
            if *taken {
                self.room.entries -= 1;
                self.room.bytes = self.room.bytes.saturating_sub(prefix.len());
                let (key, window) = (key.to_vec(), window.clone());
                self.found.push(Entry { key, window, cells: Vec::new(), cut: false, bytes: 0 });
            }
        }
        self.room.cells = self.room.cells.saturating_sub(1);
        let behind = || CellKey::new(group, Kind::User, id).part(key).window(&window).successor();
        let Some(entry) = self.found.last_mut().filter(|_| *taken) else {
            return full.then(|| Stopped::Full(behind()));
        };
        let size = sub.len() + value.len() + 16;
        if entry.bytes + size > ENTRY_BYTES_MAX {
            entry.cut = true;
            // of a single large cell the beginning
            if entry.cells.is_empty() {
                let (sub, value) = (beginning(sub), beginning(value));
                self.room.bytes = self.room.bytes.saturating_sub(sub.len() + value.len());
                entry.cells.push((sub.to_vec(), value.to_vec()));
            }
            return Some(Stopped::Cut(behind()));
        }
        entry.bytes += size;
        self.room.bytes = self.room.bytes.saturating_sub(size);
        entry.cells.push((sub.to_vec(), value.to_vec()));
        None
    }
}

fn beginning(bytes: &[u8]) -> &[u8] {
    bytes.get(..ENTRY_BYTES_MAX).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::collections::BTreeMap;
    use thalweg_core::id::key_hash;
    use thalweg_core::time::EventTime;

    const ID: StateId = StateId(7);

    struct Stored(BTreeMap<Bytes, Bytes>);

    impl StateRead for Stored {
        fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
            Ok(self.0.get(key).cloned())
        }
        fn scan(&self, start: &[u8], end: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
            let range = Bytes::copy_from_slice(start)..Bytes::copy_from_slice(end);
            self.0.range(range).all(|(key, value)| each(key, value));
            Ok(())
        }
        fn holds_cells(&self) -> bool {
            true
        }
    }

    fn group(key: &str) -> KeyGroup {
        KeyGroup::of_hash(key_hash(key.as_bytes()))
    }

    fn window(n: i64) -> Window {
        Window::Interval { start: EventTime(n), end: EventTime(n + 1) }
    }

    fn stored(keys: usize, windows: i64, cells: u32, bytes: usize) -> Stored {
        let mut all = BTreeMap::new();
        for key in (0..keys).map(|n| format!("k{n}")) {
            for at in 0..windows {
                for sub in 0..cells {
                    let front = CellKey::new(group(&key), Kind::User, ID).part(key.as_bytes()).window(&window(at));
                    all.insert(front.last(&sub.to_be_bytes()).finish(), Bytes::from(vec![7; bytes]));
                }
            }
        }
        Stored(all)
    }

    #[test]
    fn every_entry_is_on_one_page_whatever_its_size() {
        let stored = stored(200, 2, 3, 5);
        for limit in [1, 7, 1000] {
            let (mut page, mut found) = (None, BTreeMap::new());
            loop {
                let mut room = Room::new(limit);
                let mut walk = Walk::new(&mut room, &|_, _| true);
                page = walk.groups(&stored, ID, 0..4096, page.as_deref()).unwrap();
                assert!(walk.found.len() <= limit);
                for entry in walk.found {
                    assert_eq!((entry.cells.len(), entry.cut), (3, false));
                    let Window::Interval { start, .. } = entry.window else { panic!("its window") };
                    assert!(found.insert((entry.key, start.0), ()).is_none(), "twice");
                }
                if page.is_none() {
                    break;
                }
            }
            assert_eq!(found.len(), 400);
        }
    }

    #[test]
    fn a_key_has_all_its_windows_and_no_other_keys() {
        let stored = stored(50, 3, 1, 1);
        let mut room = Room::new(100);
        let mut walk = Walk::new(&mut room, &|_, window_found| *window_found != window(1));
        assert!(!walk.key(&stored, ID, group("k1"), b"k1").unwrap());
        let found: Vec<_> = walk.found.iter().map(|e| (e.key.as_slice(), e.window.clone())).collect();
        assert_eq!(found, [(&b"k1"[..], window(0)), (b"k1", window(2))]);
        let mut nobody = Walk::new(&mut room, &|_, _| true);
        assert!(!nobody.key(&stored, ID, group("k"), b"k").unwrap() && nobody.found.is_empty());
    }

    #[test]
    fn a_large_entry_is_cut_and_the_next_one_comes_behind_it() {
        let stored = stored(2, 1, 40, 100_000);
        let mut room = Room::new(100);
        let mut walk = Walk::new(&mut room, &|_, _| true);
        assert_eq!(walk.groups(&stored, ID, 0..4096, None).unwrap(), None);
        let cut: Vec<_> = walk.found.iter().map(|e| (e.cut, e.cells.len())).collect();
        assert_eq!(cut, [(true, 10), (true, 10)]);
    }

    fn size(found: &[Entry]) -> usize {
        found.iter().flat_map(|e| e.cells.iter().map(|(sub, value)| e.key.len() + sub.len() + value.len())).sum()
    }

    #[test]
    fn of_one_large_value_the_beginning_is_shown() {
        let stored = stored(2, 1, 1, 3 * ENTRY_BYTES_MAX);
        let mut room = Room::new(100);
        let mut walk = Walk::new(&mut room, &|_, _| true);
        assert_eq!(walk.groups(&stored, ID, 0..4096, None).unwrap(), None);
        assert_eq!(walk.found.iter().map(|e| (e.cut, e.cells.len())).collect::<Vec<_>>(), [(true, 1), (true, 1)]);
        assert!(size(&walk.found) <= 2 * ENTRY_BYTES_MAX + 100, "{}", size(&walk.found));
    }

    #[test]
    fn large_keys_and_several_walks_for_one_answer_are_within_its_bounds() {
        let key = |n: u8| vec![n; BYTES_MAX / 8];
        let cell = |n| CellKey::new(KeyGroup(u16::from(n)), Kind::User, ID).part(&key(n)).window(&window(0)).finish();
        let stored = Stored((0..40).map(|n| (cell(n), Bytes::from_static(b"v"))).collect());
        let mut room = Room::new(100);
        let (mut found, mut nexts) = (Vec::new(), Vec::new());
        for part in [0..4, 4..40] {
            let mut walk = Walk::new(&mut room, &|_, _| true);
            nexts.push(walk.groups(&stored, ID, part, None).unwrap().is_some());
            found.append(&mut walk.found);
        }
        assert!(room.is_full() && size(&found) <= BYTES_MAX + BYTES_MAX / 8, "{} of {}", size(&found), found.len());
        assert_eq!(nexts, [false, true]);
    }

    #[test]
    fn a_damaged_cell_is_an_error() {
        let key = [CellKey::new(KeyGroup(0), Kind::User, ID).as_slice(), &[0xff; 3]].concat();
        let stored = Stored([(Bytes::from(key), Bytes::new())].into());
        let walked = Walk::new(&mut Room::new(1), &|_, _| true).groups(&stored, ID, 0..4096, None);
        assert_eq!(walked.err().map(|e| e.code), Some("STATE_CORRUPT"));
    }
}
