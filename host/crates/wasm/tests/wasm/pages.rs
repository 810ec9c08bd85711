//! Grouped values that reach a function by page: in every language the same as when they are whole, and larger than its memory.

use crate::handmade::Guest;
use crate::stage::{Ran, Stage};
use crate::support::{bundle, in_every_language};
use bytes::Bytes;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use thalweg_core::batch::{Batch, BatchBuilder, Large, Pane};
use thalweg_core::error::Error as CoreError;
use thalweg_core::id::{BundleId, StageId, StateId, key_hash};
use thalweg_core::port::scratch::{Chunk, Scratch};
use thalweg_core::port::store::NullStore;
use thalweg_core::port::worker::{Command, Event, Group, Input, Item, Worker};
use thalweg_core::state::StateView;
use thalweg_core::testing::MemoryScratch;
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_wasm::{
    Binding, Callee, Failures, HostCalls, Limits, NativeFunction, Pool, StagePlan, Step, Target, Task, WasmWorker,
};

type Fallible = Result<(), Box<dyn std::error::Error>>;

/// Encoded values, each of so many bytes.
fn elements(sizes: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    for size in sizes {
        thalweg_core::coder::write_varint(&mut out, *size as u64);
        out.resize(out.len() + size, b'x');
    }
    out
}

/// A list as it stands in an arena.
fn list(sizes: &[usize]) -> Vec<u8> {
    [&(sizes.len() as i32).to_be_bytes()[..], &elements(sizes)].concat()
}

/// A value in so many equal pieces that were put away, and a rest.
fn put_away(piece: &[usize], pieces: usize, rest: &[usize]) -> Large {
    let scratch: Arc<dyn Scratch> = Arc::new(MemoryScratch::default());
    let piece = Arc::new(Chunk::put(&scratch, &elements(piece)).expect("a chunk"));
    Large { pieces: Arc::new(vec![piece; pieces]), rest: elements(rest).into() }
}

/// Rows of one key each, in the global window: values in the arena, or put away.
fn rows(rows: Vec<(&str, Result<Vec<u8>, Large>)>) -> Batch {
    let mut builder = BatchBuilder::new();
    for (key, value) in rows {
        let (key, windows) = (key.as_bytes(), [Window::Global]);
        match value {
            Ok(value) => builder.push(key, &value, EventTime(0), &windows),
            Err(large) => builder.push_large(key, key_hash(key), EventTime(0), &windows, Pane::NO_FIRING, large),
        }
    }
    builder.finish()
}

/// The same as input of a function with state.
fn keyed(batch: Batch) -> Input {
    let group = |row: &thalweg_core::batch::Row| Group::new(batch.key(row), Window::Global);
    let groups = batch.rows().iter().map(group).collect();
    let items = (0..batch.len() as u32).map(|row| Item::Row { group: row, batch: 0, row }).collect();
    Input::Keyed { groups, batches: vec![batch], items }
}

fn walks(guest: &str, limits: Limits, failures: Failures) -> Result<Stage, thalweg_wasm::Error> {
    Stage::limited(guest, "walks", limits, Binding { states: &[("seen", StateId(1))], ..Binding::default() }, failures)
}

fn texts(ran: &Ran) -> Vec<String> {
    ran.rows(0).into_iter().map(|(key, text, _)| format!("{key}: {text}")).collect()
}

#[test]
fn values_are_the_same_by_page_as_they_are_whole_and_may_be_walked_over_again() -> Fallible {
    in_every_language("conformance", |guest| -> Fallible {
        for page_bytes in [256 << 10, 1000, 1] {
            let limits = Limits::default().page_bytes(page_bytes);
            let mut stage = walks(guest, limits, Failures::FailBundle)?;
            let many = [100, 0, 7].repeat(40);
            let ran = stage.run(keyed(rows(vec![
                ("a", Ok(list(&many))),
                ("b", Ok(list(&[]))),
                ("c", Err(put_away(&[3, 700_000], 2, &[2]))),
                ("d", Err(put_away(&[9], 1, &[]))),
                ("e", Ok(list(&[5]))),
            ])))?;
            let expected = [
                "a: 120 of 4280 bytes, the first of 100, 120 again, 120 seen",
                "b: 0 of 0 bytes, the first of 0, 0 again, 0 seen",
                "c: 5 of 1400008 bytes, the first of 3, 5 again, 5 seen",
                "d: 1 of 9 bytes, the first of 9, 1 again, 1 seen",
                "e: 1 of 5 bytes, the first of 5, 1 again, 1 seen",
            ];
            assert_eq!(texts(&ran), expected, "pages of {page_bytes}");
        }
        Ok(())
    })
}

#[test]
fn a_value_larger_than_the_guests_memory_is_read_in_every_language() -> Fallible {
    in_every_language("conformance", |guest| -> Fallible {
        // an interpreter has tens of megabytes before it begins
        let limits = Limits::default().memory_bytes(128 << 20).cpu_soft(Duration::from_secs(60));
        let mut stage = walks(guest, limits, Failures::FailBundle)?;
        let ran = stage.run(keyed(rows(vec![("a", Err(put_away(&[1 << 20; 4], 40, &[1])))])))?;
        assert_eq!(texts(&ran), ["a: 161 of 167772161 bytes, the first of 1048576, 161 again, 161 seen"]);
        Ok(())
    })
}

#[test]
fn two_hundred_megabytes_are_summed_up_within_64() -> Fallible {
    let limits = Limits::default().memory_bytes(64 << 20).cpu_soft(Duration::from_secs(60));
    let mut stage = Stage::limited("conformance", "total", limits, Binding::default(), Failures::FailBundle)?;
    // numbers of two bytes
    let scratch: Arc<dyn Scratch> = Arc::new(MemoryScratch::default());
    let piece = Arc::new(Chunk::put(&scratch, &[0xac, 0x02].repeat(1_000_000))?);
    let value = Large { pieces: Arc::new(vec![piece; 100]), rest: Bytes::from_static(&[7]) };
    let ran = stage.run(Input::Elements { batches: vec![(0, rows(vec![("a", Err(value))]))] })?;
    let [(0, batch)] = ran.outputs.as_slice() else { return Err("one output".into()) };
    let mut sum = Vec::new();
    thalweg_core::coder::write_varint(&mut sum, 300 * 100_000_000 + 7);
    assert_eq!(batch.value(&batch.rows()[0]), sum);
    Ok(())
}

#[test]
fn the_dead_letter_of_a_paged_value_has_all_of_it() -> Fallible {
    in_every_language("conformance", |guest| -> Fallible {
        let letters = || Failures::DeadLetter(vec![Target::Output(1)]);
        let mut stage = walks(guest, Limits::default(), letters())?;
        let (piece, rest) = ([100_000; 2], [100_000; 3]);
        let ran = stage.run(keyed(rows(vec![("a", Ok(list(&[1]))), ("bad", Err(put_away(&piece, 2, &rest)))])))?;
        assert_eq!(texts(&ran).len(), 1);
        let letter = ran.outputs.iter().find(|(output, _)| *output == 1).map(|(_, batch)| batch).expect("a letter");
        let element = [&b"\x03\x00\x03bad"[..], &list(&[100_000; 7])].concat();
        assert!(letter.value(&letter.rows()[0]).starts_with(&element));
        // one that fits into no letter fails the bundle, and is not cut
        let mut stage = walks(guest, Limits::default(), letters())?;
        let huge = put_away(&[1 << 20; 16], 20, &[]);
        let error = stage.run(keyed(rows(vec![("bad", Err(huge))]))).err().map(|e| e.code);
        assert_eq!(error, Some("WASM_MEMORY_LIMIT"));
        Ok(())
    })
}

/// A description of a function of pairs of bytes and lists of bytes.
const LISTS: &str = r#"{"functions":[{"name":"f","kind":"dofn",
    "input":{"urn":"beam:coder:kv:v1","components":[{"urn":"beam:coder:bytes:v1"},
        {"urn":"beam:coder:iterable:v1","components":[{"urn":"beam:coder:bytes:v1"}]}]},
    "outputs":[{"name":"main","coder":{"urn":"beam:coder:bytes:v1"}}],PAGES}]}"#;

/// Runs a list through a step; gives what the bundle says last.
fn run(callee: Callee, value: Result<Vec<u8>, Large>) -> Result<Option<Event>, CoreError> {
    let targets = vec![vec![Target::Output(0)]];
    let step = Step::new("T", callee, Task::Process, Binding::default(), targets, Failures::FailBundle)?;
    let mut worker = WasmWorker::new([(StageId(0), StagePlan::new(vec![step])?)]);
    let input = Input::Elements { batches: vec![(0, rows(vec![("k", value)]))] };
    let state = StateView::empty(BundleId(1), Arc::new(NullStore::default()));
    worker.submit(Command::Start(Box::new(bundle(input, state))))?;
    let mut events = Vec::new();
    worker.poll(&mut events);
    Ok(events.pop())
}

/// The frames that a function gets for a list: one that describes `pages`.
fn frames(pages: &str, value: Result<Vec<u8>, Large>) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let inner = Arc::clone(&seen);
    let description = LISTS.replace("PAGES", pages);
    let function = NativeFunction::new(&description, "f", Limits::default(), move |_: HostCalls| {
        Ok(Box::new(move |_, input: &[u8]| {
            inner.lock().expect("a lock").push(input.to_vec());
            Ok(crate::handmade::frame(&[crate::handmade::header(0)]))
        }))
    })?;
    run(Callee::Native(function), value)?;
    let seen = seen.lock().expect("a lock").clone();
    Ok(seen)
}

#[test]
fn a_function_that_does_not_say_that_it_reads_pages_gets_its_values_whole() -> Fallible {
    let large = [1000; 600];
    let has = |frame: &[u8], bytes: &[u8]| frame.windows(bytes.len()).any(|part| part == bytes);
    for pages in [r#""pages":[]"#, r#""pages":["what a later version knows"]"#] {
        for value in [Ok(list(&large)), Err(put_away(&large[..300], 2, &[]))] {
            let frames = frames(pages, value)?;
            assert!(frames.len() == 1 && has(&frames[0], &list(&large)));
        }
    }
    for value in [Ok(list(&large)), Err(put_away(&large[..300], 2, &[]))] {
        let frames = frames(r#""pages":["values"]"#, value)?;
        assert!(frames.len() == 1 && frames[0].len() < 270_000, "{}", frames[0].len());
    }
    Ok(())
}

/// A guest that asks for a page by a token of its own making.
fn forger(token: [u8; 12]) -> Guest {
    let token: String = token.iter().map(|byte| format!("\\{byte:02x}")).collect();
    Guest {
        imports: r#"(import "thalweg:udf/iterables@1.0.0" "read" (func $read (param i32 i32 i32 i32)))"#,
        extra: Box::leak(format!(r#"(data (i32.const 512) "{token}")"#).into_boxed_str()),
        call: Box::leak(
            format!(
                "(call $read (i32.const 512) (i32.const 12) (i32.const 1000) (i32.const 32)) {}",
                crate::handmade::OK
            )
            .into_boxed_str(),
        ),
        description: Box::leak(LISTS.replace("PAGES", r#""pages":["values"]"#).into_boxed_str()),
        ..Guest::default()
    }
}

#[test]
fn a_guest_reads_by_the_tokens_that_it_was_given_and_by_no_others() -> Fallible {
    let token =
        |numbers: [u32; 3]| -> [u8; 12] { numbers.map(u32::to_le_bytes).concat().try_into().expect("three numbers") };
    let read = |numbers| -> Result<Option<Event>, Box<dyn std::error::Error>> {
        let component = forger(token(numbers)).load()?;
        let pool = Pool::new(&component, "f", "T", "", Limits::default())?;
        Ok(run(Callee::Wasm(pool), Err(put_away(&[100; 10], 2, &[1])))?)
    };
    assert!(matches!(read([0, 0, 0])?, Some(Event::Done { .. })), "the one of the frame");
    for forged in [[0, 0, 101], [0, 0, 50], [0, 1, 0], [1, 0, 0], [0, 2, 0], [u32::MAX; 3]] {
        match read(forged)? {
            Some(Event::Failed { error, .. }) => assert_eq!(error.code, "WASM_STATE_DENIED", "{forged:?}"),
            other => return Err(format!("{forged:?}: {other:?}").into()),
        }
    }
    Ok(())
}
