//! What stands in frames beside their rows, of any size: frames are cut so that they stay about as large as they should be.

use crate::handmade::{Guest, OK, frame, header, section};
use crate::support::bundle;
use bytes::Bytes;
use std::sync::Arc;
use thalweg_core::batch::BatchBuilder;
use thalweg_core::error::Error as CoreError;
use thalweg_core::id::{BundleId, StageId, StateId};
use thalweg_core::port::store::NullStore;
use thalweg_core::port::worker::{Command, Event, Group, Input, Item, Worker};
use thalweg_core::state::{CellValue, StateView};
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_wasm::{Binding, Callee, Failures, Limits, Pool, StagePlan, Step, Table, Target, Task, WasmWorker};

const LOOKS_UP: &str = r#"{"functions":[{"name":"f","kind":"dofn",
    "input":{"urn":"beam:coder:kv:v1","components":[{"urn":"beam:coder:bytes:v1"},{"urn":"beam:coder:bytes:v1"}]},
    "outputs":[{"name":"main","coder":{"urn":"beam:coder:bytes:v1"}}],
    "tables":[{"name":"t","key":{"urn":"beam:coder:bytes:v1"},"value":{"urn":"beam:coder:bytes:v1"},"lookup":"key"}]}]}"#;

/// A guest that traps when its frame is larger than 400,000 bytes, and puts a row out for each row that it gets, up to 64.
fn guest() -> Guest {
    // the first rows of a frame with rows enough: HEADER, SOURCE and VALUE are of this call's rows, and the rest is of no section that is known
    let call = format!(
        "(if (i32.gt_u (local.get 3) (i32.const 400000)) (then unreachable))
        (i32.store (i32.const 16396) (i32.load (i32.add (local.get 2) (i32.const 12))))
        (i32.store (i32.const 16404) (i32.mul (i32.const 4) (i32.load (i32.const 16396))))
        (global.set $at (i32.and (i32.add (i32.const 16415) (i32.load (i32.const 16404))) (i32.const -8)))
        (i32.store (global.get $at) (i32.const 99))
        (i32.store (i32.add (global.get $at) (i32.const 4)) (i32.sub (i32.add (i32.const 16384) (global.get $frame_bytes))
            (i32.add (global.get $at) (i32.const 8)))) {OK}"
    );
    let sources = section(11, &(0..64u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    let frame = frame(&[header(0), sources, section(99, &[0; 64])]);
    let extra = "(global $at (mut i32) (i32.const 0))";
    Guest { call: call.leak(), extra, frame, ..Guest::default() }
}

/// Runs rows of keys of their own; gives how many calls there were, and the rows that they put out.
fn run(guest: &Guest, binding: Binding<'_>, keys: usize, cell: Option<usize>) -> Result<(usize, usize), CoreError> {
    let pool = Pool::new(&guest.load()?, "f", "T", "", Limits::default().memory_bytes(8 << 20))?;
    let outputs = vec![vec![Target::Output(0)]];
    let step = Step::new("T", Callee::Wasm(pool), Task::Process, binding, outputs, Failures::FailBundle)?;
    let mut worker = WasmWorker::new([(StageId(0), StagePlan::new(vec![step])?)]);
    let (mut builder, mut items, mut groups) = (BatchBuilder::new(), Vec::new(), Vec::new());
    for key in 0..keys as u32 {
        builder.push(&key.to_be_bytes(), b"value", EventTime(0), &[Window::Global]);
        groups.push(Group::new(&key.to_be_bytes(), Window::Global));
        items.push(Item::Row { group: key, batch: 0, row: key });
    }
    let groups: Arc<[Group]> = groups.into();
    let mut state = StateView::new(BundleId(1), Arc::clone(&groups), Vec::new(), Arc::new(NullStore::default()));
    let input = match cell {
        Some(bytes) => {
            for key in 0..keys as u32 {
                state.put(key, StateId(1), &[], Some(CellValue::copy(&vec![7; bytes])))?;
            }
            Input::Keyed { groups, batches: vec![builder.finish()], items }
        }
        None => Input::Elements { batches: vec![(0, builder.finish())] },
    };
    worker.submit(Command::Start(Box::new(bundle(input, state))))?;
    let (mut events, mut batches) = (Vec::new(), Vec::new());
    worker.poll(&mut events);
    for event in events {
        match event {
            Event::Output { batch, .. } => batches.push(batch.len()),
            Event::Failed { error, .. } => return Err(error),
            _ => {}
        }
    }
    Ok((batches.len(), batches.iter().sum()))
}

#[test]
fn eager_cells_of_many_keys_come_in_as_many_frames_as_they_need() -> Result<(), CoreError> {
    let states = [("n", StateId(1)), ("bag", StateId(2))];
    let binding = || Binding { states: &states, ..Binding::default() };
    assert_eq!(run(&guest(), binding(), 60, Some(100))?, (1, 60), "small ones are all in one frame");
    assert_eq!(run(&guest(), binding(), 60, Some(80_000))?, (20, 60), "three have room in 256 KiB");
    assert_eq!(run(&guest(), binding(), 5, Some(300_000))?, (5, 5), "one has a frame of its own, however large");
    Ok(())
}

#[test]
fn a_cell_that_no_guest_could_hold_is_refused_by_name() {
    let states = [("n", StateId(1)), ("bag", StateId(2))];
    let ran = run(&guest(), Binding { states: &states, ..Binding::default() }, 2, Some(9 << 20));
    assert_eq!(ran.map_err(|error| error.code), Err("WASM_MEMORY_LIMIT"));
}

/// Has so much for every key.
#[derive(Debug)]
struct Wide(usize);

impl Table for Wide {
    fn get(&self, _key: &[u8]) -> Option<Bytes> {
        Some(Bytes::from(vec![7; self.0]))
    }
}

#[test]
fn what_tables_have_for_the_rows_counts_towards_their_frame() -> Result<(), CoreError> {
    let guest = Guest { description: LOOKS_UP, ..guest() };
    let binding = |bytes| Binding { tables: vec![Arc::new(Wide(bytes))], ..Binding::default() };
    assert_eq!(run(&guest, binding(100), 60, None)?, (1, 60));
    assert_eq!(run(&guest, binding(80_000), 60, None)?.1, 60);
    assert!(run(&guest, binding(80_000), 60, None)?.0 >= 20);
    Ok(())
}
