//! A walk over the entries of a group costs what the entries cost, however small its pages are and whatever it writes on its way.

use crate::support::{bundle, keyed};
use bytes::Bytes;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use thalweg_core::error::Error as CoreError;
use thalweg_core::id::{BundleId, Epoch, KeyGroup, StageId, StateId};
use thalweg_core::port::store::{NullStore, StateStore as _};
use thalweg_core::port::worker::{Command, Event, Worker};
use thalweg_core::state::{CellKey, CellValue, Kind, StateView};
use thalweg_core::testing::{CountingRead, FakeStore};
use thalweg_wasm::{
    Binding, Callee, Failures, HostCalls, Limits, NativeFunction, StagePlan, Step, Target, Task, WasmWorker,
};

const ENTRIES: u32 = 30_000;
/// Far above what the walk takes; a walk that reads all entries for every page takes minutes.
const DEADLINE: Duration = Duration::from_secs(20);

const WALKER: &str = r#"{"functions":[{"name":"f","kind":"dofn",
    "input":{"urn":"beam:coder:kv:v1","components":[{"urn":"beam:coder:bytes:v1"},{"urn":"beam:coder:varint:v1"}]},
    "outputs":[{"name":"main","coder":{"urn":"beam:coder:bytes:v1"}}],
    "slots":[{"name":"m","kind":"map","key":{"urn":"beam:coder:bytes:v1"},"coder":{"urn":"beam:coder:bytes:v1"}},
        {"name":"b","kind":"bag","coder":{"urn":"beam:coder:bytes:v1"}}]}]}"#;

/// The places of its state.
const STATES: [(&str, StateId); 2] = [("m", StateId(1)), ("b", StateId(2))];
/// A frame without rows.
const NOTHING: [u32; 4] = [1, 8, 1, 0];

/// A worker that runs the function over its state.
fn worker(function: NativeFunction) -> Result<WasmWorker, CoreError> {
    let binding = Binding { states: &STATES, ..Binding::default() };
    let (task, outputs) = (Task::Process, vec![vec![Target::Output(0)]]);
    let step = Step::new("T", Callee::Native(function), task, binding, outputs, Failures::FailBundle)?;
    Ok(WasmWorker::new([(StageId(0), StagePlan::new(vec![step])?)]))
}

#[test]
fn pages_of_stored_entries_and_bags_read_as_much_of_the_store_as_they_have() -> Result<(), CoreError> {
    let (input, groups) = keyed(&[("a", 1)]);
    let group = &groups[0];
    let key = |id, sub: &[u8]| {
        let prefix = CellKey::new(KeyGroup::of_hash(group.hash), Kind::User, id);
        prefix.part(&group.key).window(&group.window).last(sub).finish()
    };
    let entry = |i: u32| (key(StateId(1), &i.to_be_bytes()), Some(Bytes::from_static(b"entry")));
    let chunk = |i: u32| {
        (key(StateId(2), &[&[0; 8][..], &i.to_be_bytes()].concat()), Some(Bytes::from_static(b"\x03one\x03two")))
    };
    let cells: Vec<_> = (0..ENTRIES / 10).flat_map(|i| [entry(i), chunk(i)]).collect();
    let mut stored = FakeStore::new();
    stored.commit(Epoch(1), &cells, &[])?;
    let (read, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (count, seen) = (Arc::clone(&read), Arc::clone(&told));
    let function = NativeFunction::new(WALKER, "f", Limits::default(), move |host: HostCalls| {
        let (count, seen) = (Arc::clone(&count), Arc::clone(&seen));
        Ok(Box::new(move |_, _: &[u8]| {
            for slot in [0, 1] {
                let next = host.scan(slot, 0, &[], None, 1000).1;
                let first = count.swap(0, Relaxed);
                let _page = host.scan(slot, 0, &next.unwrap_or_default(), None, 1000);
                seen.lock().map_err(|_| ("LOCK".to_owned(), String::new()))?.extend([first, count.swap(0, Relaxed)]);
            }
            Ok(NOTHING.iter().flat_map(|word| word.to_le_bytes()).collect())
        }))
    })?;
    let mut worker = worker(function)?;
    let counting = Arc::new(CountingRead::new(stored.reader(), read));
    worker
        .submit(Command::Start(Box::new(bundle(input, StateView::new(BundleId(1), groups, Vec::new(), counting)))))?;
    let mut events = Vec::new();
    worker.poll(&mut events);
    assert!(matches!(events.last(), Some(Event::Done { .. })), "{events:?}");
    let told = told.lock().map_err(|_| CoreError::internal("TEST", "a lock"))?;
    // a page has 40 entries; one of a bag has as many elements, of half as many chunks
    assert!(told.len() == 4 && told.iter().all(|cells| (15..=45).contains(cells)), "{told:?}");
    Ok(())
}

/// A frame that removes an entry: SUBCELL_OPS with one op on slot 0, group 0.
fn remove(subkey: &[u8]) -> Vec<u8> {
    let words = [26, 8 + 24 + subkey.len() as u32, 0, 1, 0, 2, 0, subkey.len() as u32, 0, 0];
    let mut frame: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    frame.extend(subkey);
    frame.resize(frame.len().next_multiple_of(8), 0);
    frame
}

#[test]
fn a_walk_in_pages_of_one_entry_is_linear_and_sees_its_own_changes() -> Result<(), CoreError> {
    let seen = Arc::new(Mutex::new((0u32, 0u32)));
    let told = Arc::clone(&seen);
    let function = NativeFunction::new(WALKER, "f", Limits::default(), |host: HostCalls| {
        Ok(Box::new(move |_, _: &[u8]| {
            let (mut at, mut pages, mut removed) = (Vec::new(), 0u32, 0u32);
            loop {
                let (_, next) = host.scan(0, 0, &at, None, 1);
                pages += 1;
                let Some(next) = next else { break };
                // every thousandth entry goes before the walk comes to it
                if pages.is_multiple_of(1000) {
                    host.write(remove(&next));
                    removed += 1;
                }
                at = next;
            }
            *told.lock().map_err(|_| ("LOCK".to_owned(), String::new()))? = (pages, removed);
            Ok(NOTHING.iter().flat_map(|word| word.to_le_bytes()).collect())
        }))
    })?;
    let mut worker = worker(function)?;
    let (input, groups) = keyed(&[("a", 1)]);
    let mut state = StateView::new(BundleId(1), groups, Vec::new(), Arc::new(NullStore::default()));
    for i in 0..ENTRIES {
        state.put(0, StateId(1), &i.to_be_bytes(), Some(CellValue::copy(b"entry")))?;
    }
    let start = Instant::now();
    worker.submit(Command::Start(Box::new(bundle(input, state))))?;
    let took = start.elapsed();
    let mut events = Vec::new();
    worker.poll(&mut events);
    assert!(matches!(events.last(), Some(Event::Done { .. })), "{events:?}");
    let (pages, removed) = *seen.lock().map_err(|_| CoreError::internal("TEST", "a lock"))?;
    assert_eq!((pages, removed), (ENTRIES - removed, 29));
    assert!(took < DEADLINE, "the walk took {took:?}");
    Ok(())
}
