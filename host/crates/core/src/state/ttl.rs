//! Until when state was written, so that state nobody writes any more can go: time to live.
//!
//! In: keys and windows whose state was written, and the clock. Out: those that were not written for as long as state lives, and at
//! the seal the writes that keep both from run to run. It does not know states, and deletes none.
//!
//! A *mark* says until when state was written at the latest. It is a multiple of a step, an eighth of the time state lives: a key that
//! is written all the time is marked eight times in that time, and state goes at the latest an eighth too late, never too early.
//! A mark does not depend on how long state lives, so that may be another in every run. Marks are stored twice: under
//! their key, and in the order of their time. So what is to go stands together, in front of each group, and nothing else is looked at.
//! At every step begins a *round* over the groups, in portions: no turn takes long, however much there is.

use super::layout::{CellKey, KeyReader, Kind};
use crate::error::{Error, Result};
use crate::id::{KeyGroup, StateId, key_hash};
use crate::port::store::{CellWrite, StateRead};
use crate::port::worker::Group;
use crate::time::ProcessingTime;
use bytes::Bytes;
use hashbrown::HashSet;
use std::collections::{BTreeSet, VecDeque};
use std::ops::{Bound, Range};

/// State is marked so often while it lives.
const STEPS: i64 = 8;
/// The shortest step in milliseconds: a round asks the store once for each of up to 4096 groups, which takes it some of them.
const STEP_MIN_MS: i64 = 1000;
/// Between two portions, in milliseconds: beside the work for what has to go, half of the time is left for all else.
const PAUSE_MS: i64 = 10;
/// Keys and windows of a portion, and groups that are looked into for them: some milliseconds of a store.
const PORTION: usize = 256;

/// When the clock has run out.
const NEVER: ProcessingTime = ProcessingTime(i64::MAX);

/// What is known of a mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// The store knows.
    Unknown,
    /// There is none.
    Missing,
    /// The state was written before.
    Until(ProcessingTime),
}

/// A mark whose time has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expired {
    /// The mark.
    pub until: ProcessingTime,
    /// Key and window.
    pub group: Group,
}

/// How far a round is.
#[derive(Debug)]
struct Round {
    /// Marks up to this have come to their end; all, where there is none.
    bound: Option<ProcessingTime>,
    group: u16,
    /// Behind what was found in the group.
    from: Option<Vec<u8>>,
}

/// How far the search for state without marks is.
#[derive(Default, Debug)]
struct Search {
    /// Groups that have such state.
    groups: VecDeque<u16>,
    /// Which of the states is looked at.
    state: usize,
    /// Behind what was found of it.
    from: Option<Vec<u8>>,
}

/// The marks of one stage on one shard.
#[derive(Debug)]
pub struct Ttl {
    stage: StateId,
    /// How long state lives, in milliseconds; without it marks of an earlier run are deleted, and nothing else.
    limit: Option<i64>,
    /// No state counts as written before.
    floor: ProcessingTime,
    groups: Range<u16>,
    /// Marks in the order of time, where no store keeps them, or not soon enough.
    held: Option<BTreeSet<Bytes>>,
    /// A store keeps them.
    stored: bool,
    writes: Vec<CellWrite>,
    round: Option<Round>,
    search: Search,
    /// When the next round begins.
    next: ProcessingTime,
    /// When the next portion may be taken.
    not_before: ProcessingTime,
    /// While cells are restored: the group they are of, and which keys of it have state but no mark so far.
    restored: (u16, HashSet<u64, foldhash::fast::FixedState>),
}

impl Ttl {
    /// State that lives for `limit` milliseconds, and was written at `floor` if not later. `groups` are those of the shard; `stored`
    /// says whether a store keeps what is written.
    #[must_use]
    pub fn new(stage: StateId, limit: i64, floor: ProcessingTime, groups: Range<u16>, stored: bool) -> Self {
        let held = (!stored).then(BTreeSet::new);
        Self { limit: Some(limit.max(1)), floor, held, stored, ..Self::leaving(stage, groups) }
    }

    /// The same for a clock that does not wait for commits: what a store will keep is in memory, too.
    #[must_use]
    pub fn at_once(mut self) -> Self {
        self.held.get_or_insert_default();
        self
    }

    /// State that lives on, but has marks of an earlier run.
    #[must_use]
    pub fn leaving(stage: StateId, groups: Range<u16>) -> Self {
        let start = ProcessingTime(i64::MIN);
        Self {
            stage,
            limit: None,
            floor: start,
            groups,
            held: None,
            stored: true,
            writes: Vec::new(),
            round: None,
            search: Search::default(),
            next: start,
            not_before: start,
            restored: Default::default(),
        }
    }

    /// Whether state is marked.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.limit.is_some()
    }

    fn step(&self) -> i64 {
        (self.limit.unwrap_or(i64::MAX) / STEPS).max(STEP_MIN_MS)
    }

    /// The mark of state that is written now.
    fn until(&self, now: ProcessingTime) -> ProcessingTime {
        let step = self.step();
        ProcessingTime(now.0.div_euclid(step).saturating_add(1).saturating_mul(step))
    }

    fn written_key(&self, group: &Group) -> Bytes {
        CellKey::new(KeyGroup::of_hash(group.hash), Kind::Written, self.stage)
            .part(&group.key)
            .window(&group.window)
            .finish()
    }

    fn expires_key(&self, group: &Group, until: ProcessingTime) -> Bytes {
        CellKey::new(KeyGroup::of_hash(group.hash), Kind::Expires, self.stage)
            .number(ordered(until))
            .part(&group.key)
            .window(&group.window)
            .finish()
    }

    /// The mark that the store has. Cost: one read.
    ///
    /// # Errors
    /// Those of the store, and `STATE_CORRUPT`.
    pub fn stored(&self, group: &Group, store: &dyn StateRead) -> Result<Mark> {
        if !self.stored {
            return Ok(Mark::Missing);
        }
        let Some(value) = store.get(&self.written_key(group))? else { return Ok(Mark::Missing) };
        let until: [u8; 8] = value.as_ref().try_into().map_err(|_| corrupt())?;
        Ok(Mark::Until(ProcessingTime(i64::from_be_bytes(until))))
    }

    /// State is written now: its mark, which is another than `before` when that has been reached. Cost: nothing while it has not.
    pub fn write(&mut self, group: &Group, before: Mark, now: ProcessingTime) -> Mark {
        match before {
            Mark::Until(until) if now < until => return before,
            Mark::Until(until) => self.set(self.expires_key(group, until), None),
            Mark::Missing | Mark::Unknown => {}
        }
        let until = self.until(now);
        self.set(self.expires_key(group, until), Some(Bytes::new()));
        if self.stored {
            self.writes.push((self.written_key(group), Some(Bytes::copy_from_slice(&until.0.to_be_bytes()))));
        }
        Mark::Until(until)
    }

    /// The state is gone, and its mark.
    pub fn forget(&mut self, group: &Group, mark: Mark) {
        if let Mark::Until(until) = mark {
            self.set(self.expires_key(group, until), None);
            if self.stored {
                self.writes.push((self.written_key(group), None));
            }
        }
    }

    /// The mark has been replaced by a later one.
    pub fn forget_turn(&mut self, expired: &Expired) {
        self.set(self.expires_key(&expired.group, expired.until), None);
    }

    fn set(&mut self, key: Bytes, value: Option<Bytes>) {
        match &mut self.held {
            Some(held) if value.is_some() => drop(held.insert(key.clone())),
            Some(held) => drop(held.remove(&key)),
            None => {}
        }
        if self.stored {
            self.writes.push((key, value));
        }
    }

    /// Stores a cell with the others of the epoch.
    pub fn store(&mut self, write: CellWrite) {
        self.writes.push(write);
    }

    /// Collects the writes of the epoch.
    pub fn seal(&mut self, out: &mut Vec<CellWrite>) {
        out.append(&mut self.writes);
    }

    /// Whether nothing is left to do, where state lives on, and what was done is sealed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.is_on() && self.round.is_none() && self.next == NEVER && self.writes.is_empty()
    }

    /// When time alone makes something happen.
    #[must_use]
    pub fn next_alarm(&self) -> Option<ProcessingTime> {
        let works = self.round.is_some() || !self.search.groups.is_empty();
        let next = if works { self.not_before } else { self.next };
        Some(next).filter(|next| *next < NEVER)
    }

    /// Begins a round when its time has come, and says whether a portion of something may be taken now.
    pub fn begin(&mut self, now: ProcessingTime) -> bool {
        if self.round.is_none() && now >= self.next && self.next < NEVER {
            let bound = self.limit.map(|limit| now.plus(-limit));
            // what is older than the floor counts as written then: before its time has come, nothing has
            if bound.is_none_or(|bound| bound >= self.floor) {
                self.round = Some(Round { bound, group: self.groups.start, from: None });
            }
            self.next = match self.limit {
                // marks that were made by this step come to their end exactly then
                Some(limit) => self.until(now.plus(-limit)).plus(limit),
                None => NEVER,
            };
        }
        let works = self.round.is_some() || !self.search.groups.is_empty();
        let may = works && now >= self.not_before;
        if may {
            self.not_before = now.plus(PAUSE_MS);
        }
        may
    }

    /// Whether state of this mark has come to its end and the round has not got so far.
    #[must_use]
    pub fn is_overdue(&self, group: &Group, until: ProcessingTime) -> bool {
        let Some(round) = &self.round else { return false };
        self.is_on()
            && KeyGroup::of_hash(group.hash).0 >= round.group
            && round.bound.is_some_and(|bound| until <= bound)
    }

    /// Whether a round is under way.
    #[must_use]
    pub fn is_in_round(&self) -> bool {
        self.round.is_some()
    }

    /// The next marks that have come to their end; `all` of them, or a portion. Each is told once in a round.
    ///
    /// # Errors
    /// Those of the store, and `STATE_CORRUPT`.
    pub fn expired(&mut self, store: &dyn StateRead, all: bool) -> Result<Vec<Expired>> {
        let mut found = Vec::new();
        let most = if all { usize::MAX } else { PORTION };
        for _ in 0..most {
            let Some(round) = &mut self.round else { break };
            if round.group >= self.groups.end {
                self.round = None;
                break;
            }
            let front = CellKey::new(KeyGroup(round.group), Kind::Expires, self.stage);
            let end = match round.bound {
                Some(bound) => front.clone().number(ordered(bound).saturating_add(1)).finish().to_vec(),
                None => front.successor(),
            };
            let start = round.from.take().unwrap_or_else(|| front.as_slice().to_vec());
            let (mut sound, mut last) = (true, None);
            let mut each = |key: &[u8]| {
                match read_expires(key) {
                    Some(expired) => found.push(expired),
                    None => sound = false,
                }
                if found.len() >= most {
                    last = Some([key, &[0][..]].concat());
                }
                sound && last.is_none()
            };
            match &self.held {
                Some(held) if start < end => {
                    let range = (Bound::Included(start.as_slice()), Bound::Excluded(end.as_slice()));
                    let mut keys = held.range::<[u8], _>(range);
                    while keys.next().is_some_and(|key| each(key)) {}
                }
                Some(_) => {}
                None => store.scan(&start, &end, &mut |key, _| each(key))?,
            }
            if !sound {
                return Err(corrupt());
            }
            if last.is_some() {
                round.from = last;
                break;
            }
            round.group += 1;
        }
        Ok(found)
    }

    /// While cells are restored, group by group and state before marks: state is there. `name` are the bytes of key and window.
    pub fn saw_state(&mut self, group: KeyGroup, name: &[u8]) {
        if self.is_on() {
            self.enter(group.0);
            self.restored.1.insert(key_hash(name));
        }
    }

    /// The same: a mark is there.
    pub fn saw_mark(&mut self, group: KeyGroup, name: &[u8]) {
        self.enter(group.0);
        self.restored.1.remove(&key_hash(name));
    }

    /// The same: a mark has its turn.
    pub fn saw_turn(&mut self, key: &[u8]) {
        if let Some(held) = &mut self.held {
            held.insert(Bytes::copy_from_slice(key));
        }
    }

    fn enter(&mut self, group: u16) {
        if self.restored.0 != group {
            self.restored_all();
            self.restored.0 = group;
        }
    }

    /// All cells of a group, or all at all, are restored.
    pub fn restored_all(&mut self) {
        if !self.restored.1.is_empty() {
            self.search.groups.push_back(self.restored.0);
        }
        self.restored.1 = Default::default();
    }

    /// Keys and windows that have state: the next portion of those groups in which some were found that have no mark.
    ///
    /// # Errors
    /// Those of the store, and `STATE_CORRUPT`.
    pub fn unmarked(&mut self, states: &[StateId], store: &dyn StateRead, all: bool) -> Result<Vec<Group>> {
        let mut found = Vec::new();
        let most = if all { usize::MAX } else { PORTION };
        for _ in 0..most {
            let Some(group) = self.search.groups.front().copied() else { break };
            let Some(state) = states.get(self.search.state) else {
                self.search.groups.pop_front();
                self.search.state = 0;
                continue;
            };
            let front = CellKey::new(KeyGroup(group), Kind::User, *state);
            let start = self.search.from.take().unwrap_or_else(|| front.as_slice().to_vec());
            let (mut first, mut sound) = (None, true);
            store.scan(&start, &front.successor(), &mut |key, _| {
                first = read_user(key);
                sound = first.is_some();
                false
            })?;
            match first {
                Some(group) => {
                    // all cells of this key and window are passed over, however many there are
                    let cells = front.part(&group.key).window(&group.window);
                    self.search.from = Some(cells.successor());
                    found.push(group);
                }
                None if sound => self.search.state += 1,
                None => return Err(corrupt()),
            }
        }
        Ok(found)
    }
}

/// Bytes order as times do.
fn ordered(time: ProcessingTime) -> u64 {
    (time.0 as u64) ^ (1 << 63)
}

fn read_expires(key: &[u8]) -> Option<Expired> {
    let (_, _, _, mut rest) = KeyReader::open(key)?;
    let until = ProcessingTime((rest.number()? ^ (1 << 63)) as i64);
    Some(Expired { until, group: read_group(&mut rest)? })
}

fn read_user(key: &[u8]) -> Option<Group> {
    let (_, _, _, mut rest) = KeyReader::open(key)?;
    read_group(&mut rest)
}

fn read_group(rest: &mut KeyReader<'_>) -> Option<Group> {
    let (key, window) = (rest.part()?, rest.window()?);
    Some(Group::new(key, window))
}

fn corrupt() -> Error {
    Error::external("STATE_CORRUPT", "a stored mark of when state was written cannot be read")
        .help("restore the directory from a copy, or start the job anew with an empty directory; check the disk")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::Window;

    #[test]
    fn a_mark_costs_nothing_until_it_is_reached_and_has_one_turn() {
        let mut ttl = Ttl::new(StateId(1), 8_000, ProcessingTime(0), 0..4096, true);
        let group = Group::new(b"k", Window::Global);
        let writes = |ttl: &mut Ttl| {
            let mut out = Vec::new();
            ttl.seal(&mut out);
            (out.iter().filter(|(_, value)| value.is_some()).count(), out.iter().filter(|(_, v)| v.is_none()).count())
        };
        let first = ttl.write(&group, Mark::Missing, ProcessingTime(10_300));
        assert_eq!((first, writes(&mut ttl)), (Mark::Until(ProcessingTime(11_000)), (2, 0)));
        let same = ttl.write(&group, first, ProcessingTime(10_999));
        assert_eq!((same, writes(&mut ttl)), (first, (0, 0)));
        let next = ttl.write(&group, first, ProcessingTime(11_000));
        assert_eq!((next, writes(&mut ttl)), (Mark::Until(ProcessingTime(12_000)), (2, 1)));
        ttl.forget(&group, next);
        assert_eq!(writes(&mut ttl), (0, 2));
    }

    #[test]
    fn rounds_begin_when_marks_come_to_their_end() {
        let mut ttl = Ttl::new(StateId(1), 8_000, ProcessingTime(500), 0..1, false);
        assert!(ttl.begin(ProcessingTime(10_300)));
        while ttl.is_in_round() {
            ttl.expired(&crate::port::store::NullStore::default(), true).expect("nothing");
        }
        assert_eq!(ttl.next_alarm(), Some(ProcessingTime(11_000)));
        assert!(!ttl.begin(ProcessingTime(10_999)) && ttl.begin(ProcessingTime(11_000)));
    }
}
