//! What a job says of its states: by which names its pipeline calls them, and by which coders they can be read. Stored with the job.
//!
//! In: what the composition knows. Out: a JSON text beside the cells, and states found by name.

use super::coder::Noted;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thalweg_core::error::{Error, Result};

/// The form of the text. What has another one is of another version.
const VERSION: u32 = 1;

/// All states of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    version: u32,
    /// In the order of the pipeline.
    pub states: Vec<Known>,
}

/// One state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The transform, as the pipeline calls it.
    pub transform: String,
    /// The state, as the transform calls it.
    pub state: String,
    /// Under which its cells are stored.
    pub id: u64,
    /// How it is used.
    pub kind: Kind,
    /// How its cells are made.
    pub cells: Cells,
    /// Coder of the transform's keys.
    pub key: Noted,
    /// Coder of values, elements or accumulators.
    pub value: Noted,
    /// Coder of the keys of a map or multimap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_key: Option<Noted>,
    /// How many milliseconds it lives when it is not written; as long as its window without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<i64>,
}

/// How a state is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One value or none.
    Value,
    /// Any number of values.
    Bag,
    /// An accumulator; an SDK that has not merged them yet may have several.
    Combining,
    /// A value per key.
    Map,
    /// Elements, each once.
    Set,
    /// Any number of values per key.
    Multimap,
    /// Values in the order of a number.
    OrderedList,
}

impl Kind {
    /// Its name for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Bag => "bag",
            Self::Combining => "combining",
            Self::Map => "map",
            Self::Set => "set",
            Self::Multimap => "multimap",
            Self::OrderedList => "ordered list",
        }
    }
}

/// How the cells of a state are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cells {
    /// Nested elements, one after the other, over any number of cells.
    Chunks,
    /// A cell per entry of a component, named by the key or the element alone.
    Entries,
    /// Of an SDK: named by the length of the key (4), the key, and what tells chunks of elements apart.
    Keyed,
    /// Of an SDK: named by the number (8) and what tells entries apart; the number and the value behind its length.
    Numbered,
}

impl Catalog {
    /// One of these states.
    #[must_use]
    pub fn new(states: Vec<Known>) -> Self {
        Self { version: VERSION, states }
    }

    /// As it is stored.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).map(Bytes::from).unwrap_or_default()
    }

    /// Reads what was stored.
    ///
    /// # Errors
    /// `QUERY_UNDESCRIBED` when nothing was, or by another version; `STATE_CORRUPT` when it cannot be read.
    pub fn decode(stored: Option<&[u8]>) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let damaged = |e: serde_json::Error| {
            Error::external("STATE_CORRUPT", format!("the description of the job's states cannot be read: {e}")).help(
                "restore the directory from a copy, or start the job anew with an empty directory; check the disk",
            )
        };
        let undescribed = || {
            Error::user(
                "QUERY_UNDESCRIBED",
                "the job does not say what its states are: another version of Thalweg wrote it",
            )
            .help("start the job once with this version, and ask again after its next commit")
        };
        let stored = stored.ok_or_else(undescribed)?;
        if serde_json::from_slice::<Version>(stored).map_err(damaged)?.version != VERSION {
            return Err(undescribed());
        }
        serde_json::from_slice(stored).map_err(damaged)
    }

    /// The state of these names.
    ///
    /// # Errors
    /// `QUERY_TRANSFORM_UNKNOWN`, `QUERY_STATE_UNKNOWN`: with the names there are.
    pub fn find(&self, transform: &str, state: &str) -> Result<&Known> {
        let of: Vec<&Known> = self.states.iter().filter(|known| known.transform == transform).collect();
        let named = |names: Vec<&str>| {
            let mut names = names;
            names.dedup();
            match names.as_slice() {
                [] => "it has none".to_owned(),
                names => format!("there is {}", names.join(", ")),
            }
        };
        if of.is_empty() {
            let what = format!("the job has no transform {transform:?} that keeps state");
            let names = self.states.iter().map(|known| known.transform.as_str()).collect();
            return Err(Error::user("QUERY_TRANSFORM_UNKNOWN", what).help(named(names)));
        }
        of.iter().find(|known| known.state == state).copied().ok_or_else(|| {
            let what = format!("the transform {transform:?} has no state {state:?}");
            let names = of.iter().map(|known| known.state.as_str()).collect();
            Error::user("QUERY_STATE_UNKNOWN", what).help(named(names))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let known = |transform: &str, state: &str| Known {
            transform: transform.to_owned(),
            state: state.to_owned(),
            id: u64::MAX,
            kind: Kind::Bag,
            cells: Cells::Chunks,
            key: Noted::default(),
            value: Noted::default(),
            map_key: None,
            ttl_ms: None,
        };
        Catalog::new(vec![known("Count", "n"), known("Count", "m"), known("Sum", "n")])
    }

    #[test]
    fn states_are_found_by_name_and_those_there_are_are_named() {
        let catalog = catalog();
        assert_eq!(catalog.find("Count", "m").map(|known| known.state.as_str()), Ok("m"));
        let why = |transform: &str, state: &str| catalog.find(transform, state).err().map(|e| (e.code, e.help));
        assert_eq!(why("Coun", "n"), Some(("QUERY_TRANSFORM_UNKNOWN", "there is Count, Sum".to_owned())));
        assert_eq!(why("Count", "x"), Some(("QUERY_STATE_UNKNOWN", "there is n, m".to_owned())));
    }

    #[test]
    fn what_was_stored_is_read_and_what_is_missing_newer_or_damaged_has_its_code() {
        let stored = catalog().encode();
        assert_eq!(Catalog::decode(Some(&stored)), Ok(catalog()));
        let code = |stored: Option<&[u8]>| Catalog::decode(stored).err().map(|e| e.code);
        assert_eq!(code(None), Some("QUERY_UNDESCRIBED"));
        assert_eq!(code(Some(br#"{"version":2,"all":"new"}"#)), Some("QUERY_UNDESCRIBED"));
        for n in 0..stored.len() {
            assert_eq!(code(Some(&stored[..n])), Some("STATE_CORRUPT"), "cut at {n}");
        }
    }
}
