//! What every `StateStore` must do, as functions over the trait; run here against RocksDB and against core's fake, which
//! the engine's own tests trust.

use bytes::Bytes;
use thalweg_core::error::Result;
use thalweg_core::id::{Epoch, KeyGroup, StateId};
use thalweg_core::port::store::{CellWrite, StateRead, StateStore};
use thalweg_core::state::layout::JOB_GROUP;
use thalweg_core::state::{CellKey, Kind};
use thalweg_core::testing::FakeStore;
use thalweg_state::{FsyncPolicy, Options, RocksStateStore};

fn put(key: &[u8], value: &[u8]) -> CellWrite {
    (Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(value)))
}

fn delete(key: &[u8]) -> CellWrite {
    (Bytes::copy_from_slice(key), None)
}

fn all(reader: &dyn StateRead, start: &[u8], end: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut found = Vec::new();
    reader.scan(start, end, &mut |k, v| {
        found.push((k.to_vec(), v.to_vec()));
        true
    })?;
    Ok(found)
}

fn new_store_is_empty(store: &mut impl StateStore) -> Result<()> {
    assert_eq!(store.last_epoch()?, Epoch(0));
    assert!(store.reader().holds_cells());
    assert_eq!(store.reader().get(b"a")?, None);
    assert_eq!(all(&*store.reader(), b"\0", b"\xff")?, vec![]);
    Ok(())
}

fn commits_are_seen_and_the_last_write_wins(store: &mut impl StateStore) -> Result<()> {
    let reader = store.reader();
    store.commit(Epoch(1), &[put(b"a", b"1"), put(b"b", b"1"), delete(b"b"), put(b"a", b"2"), put(b"e", b"")], &[])?;
    assert_eq!(reader.get(b"a")?.as_deref(), Some(&b"2"[..]));
    assert_eq!(reader.get(b"b")?, None);
    assert_eq!(reader.get(b"e")?.as_deref(), Some(&b""[..]));
    store.commit(Epoch(2), &[delete(b"a"), delete(b"never there")], &[])?;
    assert_eq!(reader.get(b"a")?, None);
    store.commit(Epoch(3), &[], &[])?;
    assert_eq!(store.last_epoch()?, Epoch(3));
    Ok(())
}

fn scans_are_ordered_half_open_and_stoppable(store: &mut impl StateStore) -> Result<()> {
    let keys: [&[u8]; 6] = [b"k\0", b"k", b"k\xff", b"k\x7f", b"l", b"j"];
    let writes: Vec<CellWrite> = keys.iter().map(|k| put(k, b"v")).collect();
    store.commit(Epoch(1), &writes, &[])?;
    let reader = store.reader();
    let found: Vec<Vec<u8>> = all(&*reader, b"k", b"l")?.into_iter().map(|(k, _)| k).collect();
    assert_eq!(found, [&b"k"[..], b"k\0", b"k\x7f", b"k\xff"]);
    let mut seen = 0;
    reader.scan(b"j", b"z", &mut |_, _| {
        seen += 1;
        seen < 2
    })?;
    assert_eq!(seen, 2);
    assert_eq!(all(&*reader, b"l", b"k")?, vec![]);
    Ok(())
}

fn layout_ranges_hold_together(store: &mut impl StateStore) -> Result<()> {
    let mut writes = Vec::new();
    for group in [KeyGroup(0), KeyGroup(255), KeyGroup(256), KeyGroup(4095), JOB_GROUP] {
        for id in [0, 1, u64::MAX] {
            for key in [&b""[..], b"a", b"\xff\xff"] {
                writes.push(put(&CellKey::new(group, Kind::View, StateId(id)).part(key).finish(), b"v"));
            }
        }
    }
    store.commit(Epoch(1), &writes, &[])?;
    let reader = store.reader();
    for group in [KeyGroup(0), KeyGroup(255), KeyGroup(256), KeyGroup(4095), JOB_GROUP] {
        for id in [0, 1, u64::MAX] {
            let prefix = CellKey::new(group, Kind::View, StateId(id));
            assert_eq!(all(&*reader, prefix.as_slice(), &prefix.successor())?.len(), 3);
        }
    }
    Ok(())
}

fn obeys<S: StateStore>(mut fresh: impl FnMut() -> S) -> Result<()> {
    new_store_is_empty(&mut fresh())?;
    commits_are_seen_and_the_last_write_wins(&mut fresh())?;
    scans_are_ordered_half_open_and_stoppable(&mut fresh())?;
    layout_ranges_hold_together(&mut fresh())
}

#[test]
fn the_fake_obeys_the_contract() -> Result<()> {
    obeys(FakeStore::new)
}

#[test]
fn rocks_obeys_the_contract() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for fsync in [FsyncPolicy::EachEpoch, FsyncPolicy::Relaxed] {
        let mut n = 0;
        obeys(|| {
            n += 1;
            let options = Options { fsync, ..Options::default() };
            RocksStateStore::open(dir.path().join(format!("{fsync:?}-{n}")), &options).expect("a new store")
        })?;
    }
    Ok(())
}
