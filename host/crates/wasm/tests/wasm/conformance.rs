//! The DoFns of the conformance guests as components: the scripts that the tests of the Rust guest run by the test kit give the same
//! here, in every language.

use crate::stage::Stage;
use crate::support::{in_every_language, in_the_languages_of_today};
use bytes::Bytes;
use conformance::ledger::{Batch, SCRIPT, WALKS};
use std::sync::Arc;
use thalweg_core::batch::{BatchBuilder, Pane};
use thalweg_core::coder::Coder as CoreCoder;
use thalweg_core::id::StateId;
use thalweg_core::port::worker::{DueTimer, Group, Input, Item, TimerSet};
use thalweg_core::state::{SideView, SideWindow};
use thalweg_core::time::EventTime;
use thalweg_core::window::{Window, WindowFn};
use thalweg_wasm::describe::Access;
use thalweg_wasm::{Binding, Failures, Limits, Side, Table, Target};

type Fallible = Result<(), Box<dyn std::error::Error>>;

fn stage(guest: &str, function: &str, binding: Binding<'_>, dead_letters: bool) -> Result<Stage, thalweg_wasm::Error> {
    let failures = if dead_letters { Failures::DeadLetter(vec![Target::Output(1)]) } else { Failures::FailBundle };
    Stage::of(guest, function, "", binding, failures)
}

fn window() -> Window {
    Window::Interval { start: EventTime(0), end: EventTime(5000) }
}

/// Rows of key and value at time 10, by key.
fn elements(rows: &[(&str, &str)]) -> Input {
    let (mut builder, mut groups, mut items) = (BatchBuilder::new(), Vec::<Group>::new(), Vec::new());
    for (row, (key, value)) in rows.iter().enumerate() {
        builder.push(key.as_bytes(), value.as_bytes(), EventTime(10), &[window()]);
        if groups.last().is_none_or(|group| *group.key != *key.as_bytes()) {
            groups.push(Group::new(key.as_bytes(), window()));
        }
        items.push(Item::Row { group: groups.len() as u32 - 1, batch: 0, row: row as u32 });
    }
    Input::Keyed { groups: groups.into(), batches: vec![builder.finish()], items }
}

/// The slots of the ledger.
const STATES: [&str; 7] = ["value", "sum", "bag", "map", "set", "multi", "list"];

fn ledger(guest: &str, dead_letters: bool) -> Result<Stage, thalweg_wasm::Error> {
    let states: Vec<_> = STATES.iter().zip(1..).map(|(name, id)| (*name, StateId(id))).collect();
    stage(guest, "ledger", Binding { states: &states, ..Binding::default() }, dead_letters)
}

/// A script gives in one frame and in many what the test kit gives.
fn plays(guest: &str, script: &[Batch]) -> Fallible {
    for together in [true, false] {
        let mut stage = ledger(guest, true)?;
        for (batch, expected) in script {
            let (mut answers, mut failed) = (Vec::new(), 0);
            for part in batch.chunks(if together { batch.len() } else { 1 }) {
                let ran = stage.run(elements(part))?;
                answers.extend(ran.rows(0).into_iter().map(|(_, answer, _)| answer));
                failed += ran.rows(1).len();
            }
            assert_eq!(answers, *expected, "together: {together}");
            assert_eq!(failed, batch.iter().filter(|(_, commands)| commands.contains("fail ")).count());
        }
    }
    Ok(())
}

#[test]
fn every_kind_of_state_gives_what_the_test_kit_gives_in_one_frame_and_in_many() -> Fallible {
    in_every_language("conformance", |guest| plays(guest, SCRIPT))
}

#[test]
fn bags_are_read_by_page_as_in_the_test_kit() -> Fallible {
    in_the_languages_of_today("conformance", |guest| plays(guest, WALKS))
}

#[test]
fn a_bag_that_no_call_may_get_whole_is_read_by_page() -> Fallible {
    in_the_languages_of_today("conformance", |guest| {
        // 40 additions of 100 texts of 256 bytes are 1 MiB: four of the SDKs' pages
        let limits = Limits::default().output_bytes(600 << 10);
        let states: Vec<_> = STATES.iter().zip(1..).map(|(name, id)| (*name, StateId(id))).collect();
        let binding = Binding { states: &states, ..Binding::default() };
        let mut stage = Stage::limited(guest, "ledger", limits, binding, Failures::FailBundle)?;
        let add = vec![format!("bag.add {}", "x".repeat(256)); 100].join("; ");
        for _ in 0..40 {
            stage.run(elements(&[("a", &add)]))?;
        }
        let ran = stage.run(elements(&[("a", "bag.sizes y; bag.sizes z")]))?;
        let answers: Vec<_> = ran.rows(0).into_iter().map(|(_, answer, _)| answer).collect();
        assert_eq!(answers, ["4000 of 1024000 bytes", "4001 of 1024001 bytes"]);
        let error = stage.run(elements(&[("a", "bag.all")])).err();
        assert_eq!(error.map(|e| e.code), Some("WASM_STATE_LIMIT"));
        Ok(())
    })
}

#[test]
fn a_failed_element_without_a_place_for_it_fails_the_bundle() -> Fallible {
    in_every_language("conformance", |guest| {
        let error = ledger(guest, false)?.run(elements(&[("a", "value.set x"), ("a", "fail value.set y")])).err();
        assert_eq!(error.map(|e| e.code), Some("WASM_ROW_FAILED"));
        Ok(())
    })
}

/// The families as a pipeline declares them: in another order than the function.
const FAMILIES: [Option<&str>; 3] = [None, Some("clock"), Some("event")];

fn timers(guest: &str) -> Result<Stage, thalweg_wasm::Error> {
    let binding = Binding { states: &[("seen", StateId(1))], timers: &FAMILIES, ..Binding::default() };
    stage(guest, "timers", binding, true)
}

fn due(family: u32, tag: &str, fire: i64, hold: i64) -> Input {
    let group = Group::new(b"k", window());
    let tag = Bytes::copy_from_slice(tag.as_bytes());
    let timer = DueTimer { family, tag, fire, hold: EventTime(hold), pane: Pane::NO_FIRING };
    Input::Keyed {
        groups: [group].into(),
        batches: Vec::new(),
        items: vec![Item::Timer { group: 0, timer: Box::new(timer) }],
    }
}

#[test]
fn timers_are_set_and_cleared_by_family_tag_and_clock() -> Fallible {
    in_every_language("conformance", |guest| {
        let commands = ["event 300", "event 100 x", "event 200 y 50", "clear x", "fail", "processing 9"]
            .map(|command| ("k", command));
        let ran = timers(guest)?.run(elements(&commands))?;
        let set = |fire, hold| Some(TimerSet { fire, hold: EventTime(hold), pane: Pane::NO_FIRING });
        let updates: Vec<_> =
            ran.result.timers.iter().map(|t| (t.family, String::from_utf8_lossy(&t.tag).into_owned(), t.set)).collect();
        let expected = [
            (2, String::new(), set(300, 300)),
            (2, "x".to_owned(), set(100, 100)),
            (2, "y".to_owned(), set(200, 50)),
            (2, "x".to_owned(), None),
            (1, String::new(), set(9, 10)),
        ];
        assert_eq!(updates, expected);
        assert_eq!(ran.rows(1).len(), 1, "the row that failed set no timer");
        Ok(())
    })
}

#[test]
fn timers_fire_with_their_tag_time_and_state_and_windows_end() -> Fallible {
    in_every_language("conformance", |guest| {
        let mut stage = timers(guest)?;
        stage.run(elements(&[("k", "event 100 x"), ("k", "processing 9")]))?;
        let ran = stage.run(due(2, "x", 100, 50))?;
        assert_eq!(ran.rows(0), [("k".to_owned(), "event \"x\" at 100 time 50 seen 2".to_owned(), 50)]);
        let ran = stage.run(due(1, "", 9, 10))?;
        assert_eq!(ran.rows(0)[0].1, "clock \"\" at 9 time 10 seen 2");
        let ran = stage.run(due(2, "again", 100, 100))?;
        assert_eq!(ran.result.timers[0].set.map(|set| set.fire), Some(600), "a timer sets one");
        let ran = stage.run(due(0, "", 4999, 4999))?;
        assert_eq!(ran.rows(0), [("k".to_owned(), "over seen 2".to_owned(), 4999)]);
        Ok(())
    })
}

#[test]
fn what_a_bundle_gathers_leaves_at_its_end_in_the_window_it_names() -> Fallible {
    in_every_language("conformance", |guest| {
        let mut stage = stage(guest, "buffer", Binding::default(), false)?;
        for _ in 0..2 {
            let mut builder = BatchBuilder::new();
            (1..=3).for_each(|n| builder.push(&[], &[n], EventTime(0), &[Window::Global]));
            let ran = stage.run(Input::Elements { batches: vec![(0, builder.finish())] })?;
            let [(0, batch)] = ran.outputs.as_slice() else { return Err("one output".into()) };
            let row = &batch.rows()[0];
            assert_eq!(
                (batch.value(row), row.time, batch.windows(row)),
                (&[6][..], EventTime(5), &[Window::Global][..])
            );
        }
        Ok(())
    })
}

#[derive(Debug)]
struct Fixed(&'static [(&'static [u8], &'static [u8])]);

impl Table for Fixed {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.0.iter().find(|(k, _)| *k == key).map(|(_, value)| Bytes::from_static(value))
    }
}

fn side(values: Vec<u8>, by_key: &[(&'static str, &[u8])]) -> Arc<SideView> {
    let mut contents = SideWindow { values, ..SideWindow::default() };
    for (key, values) in by_key {
        contents.by_key.insert(Bytes::from_static(key.as_bytes()), values.to_vec());
        contents.keys.push(Bytes::from_static(key.as_bytes()));
    }
    let mut view = SideView::default();
    view.windows.insert(Window::Global, Arc::new(contents));
    Arc::new(view)
}

#[test]
fn side_inputs_and_tables_are_read_in_pages_and_before_the_call() -> Fallible {
    in_every_language("conformance", |guest| {
        let text = Arc::new(CoreCoder::StringUtf8);
        let pairs = CoreCoder::Kv(Arc::clone(&text), text);
        let sides = [(Access::Iterable, CoreCoder::VarInt), (Access::Multimap, pairs)];
        let sides = sides.map(|(access, coder)| Side { access, coder, window_fn: WindowFn::Global }).into();
        let tables: Vec<Arc<dyn Table>> = vec![Arc::new(Fixed(&[(b"a", b"A")])), Arc::new(Fixed(&[(b"z", &[26])]))];
        let mut stage = stage(guest, "lookups", Binding { sides, tables, ..Binding::default() }, false)?;
        // 60,000 numbers are more than a page
        stage.sides =
            vec![side(vec![1; 60_000], &[]), side(Vec::new(), &[("a", b"\x03Ann\x03Ada"), ("b", b"\x03Bea")])];
        let mut builder = BatchBuilder::new();
        for (key, value) in [("a", "z"), ("c", "y")] {
            builder.push(key.as_bytes(), value.as_bytes(), EventTime(0), &[Window::Global]);
        }
        // once for each window
        let early = Window::Interval { start: EventTime(0), end: EventTime(10) };
        builder.push(b"b", b"y", EventTime(0), &[early, window()]);
        let ran = stage.run(Input::Elements { batches: vec![(0, builder.finish())] })?;
        let found: Vec<_> = ran.rows(0).into_iter().map(|(_, text, _)| text).collect();
        let expected = [
            "a: sum 60000, names Ann+Ada of 2, own A, other Some(26)",
            "c: sum 60000, names  of 2, own none, other None",
            "b: sum 60000, names Bea of 2, own none, other None",
            "b: sum 60000, names Bea of 2, own none, other None",
        ];
        assert_eq!(found, expected);
        Ok(())
    })
}
