//! Questions about the state of a job: what is committed, by the names and coders of its pipeline, and never a job that waits.
//!
//! In: a [`Question`] and the cells of one commit. Out: an [`Answer`] within bounds. Who has the cells open is asked: this process for a state
//! directory at rest, the process at its door ([`topics`](crate::topics)), a server ([`jobs`](crate::jobs)), in a cluster any of its processes
//! for the partitions it has copies of. Nothing here is called by a shard.

mod catalog;
mod coder;
mod show;
mod walk;

pub use catalog::{Catalog, Cells, Kind, Known};
pub use coder::{Noted, hex, unhex};
pub use walk::Room;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::ops::Range;
use thalweg_core::engine::stored_description;
use thalweg_core::error::{Domain, Error, Result};
use thalweg_core::id::{Epoch, KEY_GROUPS, KeyGroup, StateId, key_hash};
use thalweg_core::port::store::StateRead;
use thalweg_core::state::layout::{self, CellKey, KeyReader};
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use walk::Walk;

/// Entries of an answer where the question does not say how many.
pub const LIMIT_USUAL: u32 = 100;
/// Entries of an answer at most.
pub const LIMIT_MAX: u32 = 10_000;

/// Codes of errors that are answers: whoever asks through another process gets them as they are.
const CODES: [&str; 11] = [
    "JOB_NOT_RUNNING",
    "QUERY_ELSEWHERE",
    "QUERY_IN_MEMORY",
    "QUERY_KEY_INVALID",
    "QUERY_KEY_UNKNOWN",
    "QUERY_PAGE_INVALID",
    "QUERY_STATE_UNKNOWN",
    "QUERY_TRANSFORM_UNKNOWN",
    "QUERY_UNDESCRIBED",
    "QUERY_WINDOW_INVALID",
    "STATE_NO_JOB",
];

/// The error that another process gave as an answer to a question; nothing if it is about something else.
#[must_use]
pub fn answered_error(code: &str, message: &str, help: &str) -> Option<Error> {
    let known = CODES.into_iter().find(|known| *known == code)?;
    Some(Error::new(known, Domain::User, message).help(help))
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Which states there are.
    List,
    /// What a state holds for a key, in all its windows or in one.
    Get {
        /// The transform, as the pipeline calls it.
        transform: String,
        /// The state, as the transform calls it.
        state: String,
        /// The key, as [`Noted::key`] reads it.
        key: String,
        /// `global`, `START..END` in milliseconds, or `hex:` and the bytes of a window of an SDK's own.
        window: Option<String>,
    },
    /// What a state holds for all keys, a page at a time.
    Scan {
        /// As for [`Question::Get`].
        transform: String,
        /// As for [`Question::Get`].
        state: String,
        /// Entries of a page, up to [`LIMIT_MAX`].
        limit: u32,
        /// How keys begin that are wanted: a text, or `hex:` and bytes.
        prefix: Option<String>,
        /// Where the page before said that this one begins.
        page: Option<String>,
    },
}

/// What is answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The commits that were read: one, or in a cluster one for each partition.
    pub read: Vec<ReadAt>,
    /// The states there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<Listed>,
    /// What was found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<Found>,
    /// Where the next page begins, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Partitions of which the process that was asked has no copy: their keys are not among the entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<u16>,
}

/// A commit that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadAt {
    /// Its epoch.
    pub epoch: u64,
    /// The partition, in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u16>,
    /// Whether the copy is that of a process that does not own the partition.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub standby: bool,
    /// Milliseconds since the commit reached this copy, in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<i64>,
}

/// A state there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The transform.
    pub transform: String,
    /// The state.
    pub state: String,
    /// How it is used.
    pub kind: Kind,
    /// Coder of the transform's keys.
    pub key: String,
    /// Coder of values; of a map or multimap with that of its keys before.
    pub coder: String,
    /// How many milliseconds it lives when it is not written; as long as its window without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<i64>,
}

/// What a state holds for a key and window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The key.
    pub key: Value,
    /// `"global"`, `{"start": .., "end": ..}` in milliseconds, or `{"hex": ..}`.
    pub window: Value,
    /// What it holds; its form depends on the kind of the state.
    pub value: Value,
    /// The value is larger than an answer may be, and this is its beginning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// What a job said of its states when it committed.
///
/// # Errors
/// As for [`Catalog::decode`], and those of the store.
pub fn described(cells: &dyn StateRead) -> Result<Catalog> {
    Catalog::decode(stored_description(cells)?.as_deref())
}

/// Answers from all cells of a job.
///
/// # Errors
/// `QUERY_*`: what was asked for is not there, or cannot be understood; those of the store.
pub fn answer(cells: &dyn StateRead, epoch: Epoch, question: &Question) -> Result<Answer> {
    let catalog = described(cells)?;
    let mut answer = match question {
        Question::List => list(&catalog),
        Question::Get { .. } => get(cells, &wanted_key(&catalog, question)?)?,
        Question::Scan { limit, .. } => scan(cells, &catalog, question, 0..KEY_GROUPS, &mut room(*limit))?,
    };
    answer.read.push(ReadAt { epoch: epoch.0, ..ReadAt::default() });
    Ok(answer)
}

/// The states of a catalog.
#[must_use]
pub fn list(catalog: &Catalog) -> Answer {
    let listed = |known: &Known| Listed {
        transform: known.transform.clone(),
        state: known.state.clone(),
        kind: known.kind,
        key: known.key.name(),
        coder: known.map_key.iter().chain([&known.value]).map(Noted::name).collect::<Vec<_>>().join(" -> "),
        ttl_ms: known.ttl_ms,
    };
    Answer { states: catalog.states.iter().map(listed).collect(), ..Answer::default() }
}

/// A key of a state that is asked for.
pub struct WantedKey<'a> {
    known: &'a Known,
    given: &'a str,
    key: Vec<u8>,
    window: Option<WantedWindow>,
    /// The group it is in.
    pub group: KeyGroup,
}

/// Finds what a [`Question::Get`] asks for.
///
/// # Errors
/// `QUERY_TRANSFORM_UNKNOWN`, `QUERY_STATE_UNKNOWN`, `QUERY_KEY_INVALID`, `QUERY_WINDOW_INVALID`.
pub fn wanted_key<'a>(catalog: &'a Catalog, question: &'a Question) -> Result<WantedKey<'a>> {
    let Question::Get { transform, state, key: given, window } = question else {
        return Err(Error::internal("QUERY_KEY_INVALID", "a question that names no key was taken for one that does"));
    };
    let known = catalog.find(transform, state)?;
    let key = known.key.key(given).map_err(|why| {
        let what = format!("{given:?} is no key of {transform:?}, whose keys are {}: {why}", known.key.name());
        Error::user("QUERY_KEY_INVALID", what)
            .help("give a text as it is, anything else as json:VALUE or as hex:DIGITS of its bytes")
    })?;
    let window = window.as_deref().map(WantedWindow::read).transpose()?;
    let group = KeyGroup::of_hash(key_hash(&key));
    Ok(WantedKey { known, given, key, window, group })
}

/// What a state holds for a key.
///
/// # Errors
/// `QUERY_KEY_UNKNOWN` when it holds nothing; those of the store.
pub fn get(cells: &dyn StateRead, wanted: &WantedKey<'_>) -> Result<Answer> {
    let WantedKey { known, given, key, window, group } = wanted;
    let in_window = |_: &[u8], found: &Window| window.as_ref().is_none_or(|wanted| wanted.is(found));
    let mut room = room(LIMIT_MAX);
    let mut walk = Walk::new(&mut room, &in_window);
    let more = walk.key(cells, StateId(known.id), *group, key)?;
    let mut entries: Vec<Found> = walk.found.iter().map(|entry| show::entry(known, entry)).collect();
    if let Some(last) = entries.last_mut().filter(|_| more) {
        last.cut = true;
    }
    if entries.is_empty() {
        let place = if window.is_some() { " in this window" } else { "" };
        let what =
            format!("the state {:?} of {:?} holds nothing for the key {given:?}{place}", known.state, known.transform);
        return Err(Error::user("QUERY_KEY_UNKNOWN", what)
            .help("the key was never written, or was cleared, or its window is over, or it is not committed yet"));
    }
    Ok(Answer { entries, ..Answer::default() })
}

/// What an answer of so many entries may take.
#[must_use]
pub fn room(limit: u32) -> Room {
    Room::new(limit.clamp(1, LIMIT_MAX) as usize)
}

/// What a state holds for the keys of these groups, as much of it as there is room for.
///
/// # Errors
/// `QUERY_TRANSFORM_UNKNOWN`, `QUERY_STATE_UNKNOWN`, `QUERY_PAGE_INVALID`, `QUERY_KEY_INVALID` for the prefix; those of the store.
pub fn scan(
    cells: &dyn StateRead,
    catalog: &Catalog,
    question: &Question,
    groups: Range<u16>,
    room: &mut Room,
) -> Result<Answer> {
    let Question::Scan { transform, state, prefix, page, .. } = question else {
        return Err(Error::internal(
            "QUERY_PAGE_INVALID",
            "a question that names a key was taken for one that does not",
        ));
    };
    let known = catalog.find(transform, state)?;
    let prefix = prefix.as_deref().map(|text| front_of_key(known, text)).transpose()?;
    let page = page.as_deref().map(|page| page_of(known, page)).transpose()?;
    let begins = |key: &[u8], _: &Window| prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix));
    let mut walk = Walk::new(room, &begins);
    let next = walk.groups(cells, StateId(known.id), groups, page.as_deref())?;
    let entries = walk.found.iter().map(|entry| show::entry(known, entry)).collect();
    Ok(Answer { entries, next: next.map(|next| hex(&next)), ..Answer::default() })
}

/// How keys begin that are wanted.
fn front_of_key(known: &Known, text: &str) -> Result<Vec<u8>> {
    let bytes = match text.strip_prefix("hex:") {
        Some(digits) => unhex(digits),
        None => known.key.is_text().then(|| text.as_bytes().to_vec()),
    };
    bytes.ok_or_else(|| {
        let what = format!("{text:?} is no beginning of keys that are {}", known.key.name());
        Error::user("QUERY_KEY_INVALID", what)
            .help("give a text where keys are texts, and hex: with the first bytes elsewhere")
    })
}

/// Where a page begins: in a cell of this state.
fn page_of(known: &Known, page: &str) -> Result<Vec<u8>> {
    let of_state = |bytes: &Vec<u8>| KeyReader::open(bytes).is_some_and(|(_, _, id, _)| id.0 == known.id);
    unhex(page).filter(of_state).ok_or_else(|| {
        Error::user(
            "QUERY_PAGE_INVALID",
            format!("{page:?} is no page of the state {:?} of {:?}", known.state, known.transform),
        )
        .help("give what the page before said under `next`, with the same transform and state")
    })
}

/// The page that begins with a group.
///
/// # Errors
/// As for [`Catalog::find`].
pub fn page_at(catalog: &Catalog, transform: &str, state: &str, group: KeyGroup) -> Result<Option<String>> {
    let known = catalog.find(transform, state)?;
    Ok(Some(hex(CellKey::new(group, layout::Kind::User, StateId(known.id)).as_slice())))
}

/// The group in which a page begins, so that the right copy is asked.
#[must_use]
pub fn group_of_page(page: &str) -> Option<KeyGroup> {
    KeyReader::open(&unhex(page)?).map(|(group, ..)| group)
}

/// A window that is asked for.
enum WantedWindow {
    Is(Window),
    /// One of an SDK's own, by its encoding.
    Encoded(Vec<u8>),
}

impl WantedWindow {
    fn read(text: &str) -> Result<Self> {
        let interval = |(start, end): (&str, &str)| {
            let (start, end) = (EventTime(start.parse().ok()?), EventTime(end.parse().ok()?));
            Some(Self::Is(Window::Interval { start, end }))
        };
        let read = match text.strip_prefix("hex:") {
            Some(digits) => unhex(digits).map(Self::Encoded),
            None if text == "global" => Some(Self::Is(Window::Global)),
            None => text.split_once("..").and_then(interval),
        };
        read.ok_or_else(|| {
            Error::user("QUERY_WINDOW_INVALID", format!("{text:?} is no window"))
                .help("write global, or START..END in milliseconds since 1970, or hex: with the bytes of a window of an SDK's own")
        })
    }

    fn is(&self, window: &Window) -> bool {
        match (self, window) {
            (Self::Is(wanted), found) => wanted == found,
            (Self::Encoded(wanted), Window::Custom { encoded, .. }) => encoded == wanted,
            _ => false,
        }
    }
}

/// A window in JSON.
fn shown(window: &Window) -> Value {
    match window {
        Window::Global => json!("global"),
        Window::Interval { start, end } => json!({ "start": start.0, "end": end.0 }),
        Window::Custom { encoded, .. } => json!({ "hex": hex(encoded) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use thalweg_core::port::store::{CellWrite, StateStore as _};
    use thalweg_state::{Options, RocksStateStore};

    #[test]
    fn what_is_read_is_of_one_commit_whatever_is_committed_meanwhile() -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let mut store = RocksStateStore::open(dir.path(), &Options::default())?;
        let cell = |n: u16| CellKey::new(KeyGroup(n), layout::Kind::User, StateId(1)).finish();
        let all = |value: &'static [u8]| -> Vec<CellWrite> {
            (0..10).map(|n| (cell(n), Some(Bytes::from_static(value)))).collect()
        };
        store.commit(Epoch(1), &all(b"one"), &[])?;
        let database = store.database().clone();
        let (mut scanned, mut got) = (Vec::new(), None);
        database.committed(None, |cells, epoch| {
            assert_eq!(epoch, Epoch(1));
            store.commit(Epoch(2), &all(b"two"), &[])?;
            got = cells.get(&cell(3))?;
            cells.scan(&[], &[], &mut |_, value| {
                scanned.push(value.to_vec());
                true
            })
        })?;
        assert_eq!((got.as_deref(), scanned.len()), (Some(&b"one"[..]), 10));
        assert!(scanned.iter().all(|value| value == b"one"));
        database.committed(None, |cells, epoch| {
            assert_eq!((epoch, cells.get(&cell(3))?.as_deref()), (Epoch(2), Some(&b"two"[..])));
            Ok(())
        })
    }
}
