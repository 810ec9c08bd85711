//! A store that tells others of source positions once they are committed.
//!
//! In: the commits of an epoch writer. Out: the same commits to the store behind, then the positions among them to whoever follows
//! a source: consumer groups of Kafka, for lag tools. A job never reads from there.

use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_core::error::Result;
use thalweg_core::id::{Epoch, StateId};
use thalweg_core::port::log::{Log, LogRecord};
use thalweg_core::port::store::{CellWrite, StateRead, StateStore};
use thalweg_core::state::layout::{KeyReader, Kind};
use thalweg_io::kafka::GroupOffsets;

/// The store of a job, with those who follow its sources.
pub struct MirroredStore {
    store: Box<dyn StateStore>,
    mirrors: BTreeMap<StateId, GroupOffsets>,
}

/// A store that tells `mirrors`, by source; the store itself if there are none.
pub fn mirrored(store: Box<dyn StateStore>, mirrors: BTreeMap<StateId, GroupOffsets>) -> Box<dyn StateStore> {
    if mirrors.is_empty() { store } else { Box::new(MirroredStore { store, mirrors }) }
}

impl StateStore for MirroredStore {
    fn reader(&self) -> Arc<dyn StateRead> {
        self.store.reader()
    }

    fn commit(&mut self, epoch: Epoch, writes: &[CellWrite], records: &[LogRecord]) -> Result<()> {
        self.store.commit(epoch, writes, records)?;
        for (source, position) in writes.iter().filter_map(position) {
            if let Some(mirror) = self.mirrors.get(&source) {
                mirror.committed(position);
            }
        }
        Ok(())
    }

    fn last_epoch(&self) -> Result<Epoch> {
        self.store.last_epoch()
    }

    fn log(&self) -> Option<Arc<dyn Log>> {
        self.store.log()
    }
}

/// The source and position of a write that is one. A position stands behind a byte that says whether its split has ended.
fn position(write: &CellWrite) -> Option<(StateId, &[u8])> {
    let (key, value) = write;
    let (_, kind, source, _) = KeyReader::open(key)?;
    let (_, position) = value.as_ref()?.split_first()?;
    (kind == Kind::Position as u8).then_some((source, position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use thalweg_core::state::layout::{CellKey, JOB_GROUP};

    #[test]
    fn positions_are_told_from_other_cells() {
        let cell = |kind| CellKey::new(JOB_GROUP, kind, StateId(7)).last(&[0, 0, 0, 1]).finish();
        let value = Some(Bytes::from_static(b"\x01position"));
        assert_eq!(position(&(cell(Kind::Position), value.clone())), Some((StateId(7), &b"position"[..])));
        assert_eq!(position(&(cell(Kind::SinkMark), value)), None);
        assert_eq!(position(&(cell(Kind::Position), None)), None);
    }
}
