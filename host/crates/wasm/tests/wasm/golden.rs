//! The golden frames of the contract, `wit/golden/`: the host writes the input frame byte for byte, and reads the output frame that
//! every SDK gives for it. Damaged output frames are refused by the section, or are sound as far as they are read.

use crate::support::root;
use bytes::Bytes;
use std::path::PathBuf;
use thalweg_core::batch::{Pane, Row, Span, Timing};
use thalweg_core::port::worker::Group;
use thalweg_core::time::{EventTime, ProcessingTime};
use thalweg_core::window::{Window, WindowSet};
use thalweg_wasm::describe::Description;
use thalweg_wasm::frame::{
    Encoder, FrameError, Keyed, Moment, OutputFrame, RowSet, Shape, cells, changes, plan, section, sub_cells, subkeys,
};

type Fallible = Result<(), Box<dyn std::error::Error>>;

fn path(name: &str) -> PathBuf {
    root().join("wit/golden").join(name)
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).expect("a golden frame")
}

/// Compares with the file, or writes it.
fn is_golden(name: &str, bytes: &[u8]) {
    if std::env::var_os("THALWEG_GOLDEN").is_some() {
        std::fs::write(path(name), bytes).expect("a written frame");
    }
    assert!(bytes == golden(name), "{name} is another one");
}

fn window(start: i64, end: i64) -> Window {
    Window::Interval { start: EventTime(start), end: EventTime(end) }
}

/// Two elements, the second of which fails, and a timer of the key `a`; an element and the end of the window of `b`.
fn rows() -> Vec<Row> {
    let row = |time, windows, pane| {
        let (key, value) = (Span::default(), Span::default());
        Row { key, value, time: EventTime(time), hash: 0, windows, pane }
    };
    vec![row(1, 0, 0), row(2, 0, 1), row(3, 0, 1), row(12, 1, 1), row(19, 1, 1)]
}

fn input() -> Vec<u8> {
    let late = Pane { timing: Timing::Late, first: false, last: true, index: 300, non_speculative: 1 };
    let group = |key: &'static str, window| Group::new(key.as_bytes(), window);
    let (a, b) = (group("a", window(0, 10)), group("b", window(10, 20)));
    let mut sections = Vec::new();
    let cell = |i: usize, out: &mut Vec<u8>| {
        out.extend([[40].as_slice(), &[]][i]);
        Ok::<_, FrameError>(())
    };
    cells(0, 2, &mut sections, cell).expect("cells");
    let entry = |i: usize, out: &mut Vec<u8>| {
        out.extend_from_slice(if i < 3 { b"Ann" } else { b"" });
        Ok::<_, FrameError>(i < 3)
    };
    sub_cells(section::TABLE_CELLS, Some(0), 5, &mut sections, entry).expect("cells of a table");
    let minus = [255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
    let input = Keyed {
        values: &[&[5], &minus, b"t", &[7], b""],
        sources: &rows(),
        kinds: &[0, 0, 1, 0, 255],
        fires: &[0, 0, 9, 0, 19],
        group_of: &[0, 0, 0, 1, 1],
        groups: &[&a, &b],
        window_sets: &[WindowSet::from_iter([window(0, 10)]), WindowSet::from_iter([window(10, 20)])],
        window_of: &[0, 1],
        panes: &[late, Pane::NO_FIRING],
        sections: &sections,
    };
    let moment = Moment { now: ProcessingTime(77), seed: 99 };
    Encoder::default().keyed(&input, moment).as_slice().to_vec()
}

#[test]
fn the_host_writes_the_golden_input_and_plan() {
    is_golden("input.frame", &input());
    is_golden("plan.frame", plan(r#"{"a":1}"#).as_slice());
}

#[test]
fn the_host_reads_the_golden_description() -> Fallible {
    let description = Description::parse("golden", &String::from_utf8(golden("description.json"))?)?;
    let function = description.function("golden").ok_or("no function")?;
    assert_eq!((function.slots.len(), function.timers.len(), function.tables.len()), (2, 1, 1));
    assert!(function.is_keyed() && function.on_window_expiration && function.unsupported().is_none());
    Ok(())
}

#[test]
fn the_host_reads_the_golden_output() -> Fallible {
    let (bytes, sources) = (golden("output.frame"), rows());
    let frame = OutputFrame::parse(&bytes).map_err(|e| e.to_string())?;
    let shape = Shape { sources: &sources, outputs: &[true, false], window_sets: 2, pane: 1 };
    let failed = frame.failed(&shape).map_err(|e| e.to_string())?;
    assert_eq!((failed.len(), failed[0].row, failed[0].code.as_str()), (1, 1, "NEGATIVE"));
    let rows = frame.rows(&shape, &RowSet::of(&failed)).map_err(|e| e.to_string())?;
    let cut = |span: Span| frame.arena()[span.start as usize..span.end as usize].to_vec();
    let main: Vec<_> = rows.outputs[0].iter().map(|r| (cut(r.key), cut(r.value), r.time.0, r.windows)).collect();
    let minus = vec![255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
    let expected = [(b"a".to_vec(), vec![45], 1, 0), (b"b".to_vec(), vec![7], 12, 1), (b"b".to_vec(), minus, 19, 2)];
    assert_eq!(main, expected);
    assert_eq!(rows.window_sets[0].as_slice(), [window(20, 30), Window::Global]);
    let notes: Vec<_> =
        rows.outputs[1].iter().map(|r| (r.time.0, String::from_utf8_lossy(&cut(r.value)).into_owned())).collect();
    assert_eq!(notes.iter().map(|(time, _)| *time).collect::<Vec<_>>(), [77, 3, 77]);
    assert!(
        notes[0].1.starts_with("Ann Interval(") && notes[1].1 == "t 9" && notes[2].1.starts_with("- "),
        "{notes:?}"
    );
    let mut seen = Vec::new();
    changes(&bytes, |change| {
        seen.push(format!("{change:?}"));
        Ok::<_, FrameError>(())
    })
    .map_err(|e| e.to_string())?;
    let expected = [
        "Cell(0, 0, Set([45]))",
        "Cell(0, 1, Clear)",
        "Entry(1, 0, Put([110], [5]))",
        "Entry(1, 1, Clear)",
        "Timer(TimerOp { group: 0, family: 0, row: 0, tag: [116], set: Some((9, Some(3ms))) })",
        "Timer(TimerOp { group: 0, family: 0, row: 2, tag: [116], set: None })",
        "Timer(TimerOp { group: 1, family: 0, row: 3, tag: [116], set: Some((20, Some(3ms))) })",
    ];
    assert_eq!(seen, expected);
    assert_eq!(frame.metrics().map_err(|e| e.to_string())?.len(), 2);
    Ok(())
}

/// Reads all of a frame; what is accepted lies where it may.
fn read(bytes: &[u8]) -> Result<(), FrameError> {
    let sources = rows();
    let frame = OutputFrame::parse(bytes)?;
    let shape = Shape { sources: &sources, outputs: &[true, false], window_sets: 2, pane: 1 };
    let failed = frame.failed(&shape)?;
    assert!(failed.iter().all(|row| (row.row as usize) < sources.len()));
    let rows = frame.rows(&shape, &RowSet::of(&failed))?;
    for row in rows.outputs.iter().flatten() {
        for span in [row.key, row.value] {
            assert!(span.start <= span.end && span.end as usize <= frame.arena().len());
        }
        assert!(row.time >= EventTime::MIN && row.time <= EventTime::MAX);
        assert!((row.windows as usize) < 2 + rows.window_sets.len());
    }
    for window in rows.window_sets.iter().flatten() {
        assert!(matches!(window, Window::Global) || matches!(window, Window::Interval { start, end } if start < end));
    }
    frame.metrics()?;
    let _ = (frame.targets(sources.len()), subkeys(bytes));
    changes(bytes, |_| Ok(()))
}

#[test]
fn damaged_output_frames_are_refused_or_sound() {
    let whole = golden("output.frame");
    assert_eq!(read(&whole), Ok(()));
    let mut refused = 0;
    for end in 0..whole.len() {
        refused += usize::from(read(&whole[..end]).is_err());
    }
    // every byte, made small, large, and another sign
    for at in 0..whole.len() {
        for with in [0, 1, 127, 128, 254, 255] {
            let mut frame = whole.clone();
            frame[at] = with;
            refused += usize::from(read(&frame).is_err());
        }
    }
    let mut random = 1u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for _ in 0..100_000 {
        let mut frame = whole.clone();
        for _ in 0..1 + next(6) {
            let at = next(frame.len());
            match next(4) {
                0 => frame[at] = next(256) as u8,
                1 => frame.truncate(at.next_multiple_of(8)),
                2 => {
                    // a piece of it once more, somewhere else
                    let to = next(frame.len());
                    let length = next(64).min(frame.len() - at.max(to));
                    frame.copy_within(at..at + length, to);
                }
                _ => {
                    let word = [0u32, 1, 7, 0xffff, 0x7fff_ffff, u32::MAX][next(6)];
                    let at = at / 4 * 4;
                    if let Some(place) = frame.get_mut(at..at + 4) {
                        place.copy_from_slice(&word.to_le_bytes());
                    }
                }
            }
            if frame.is_empty() {
                break;
            }
        }
        refused += usize::from(read(&frame).is_err());
    }
    assert!(refused > 20_000, "{refused}");
}

#[test]
fn bytes_that_are_no_frame_at_all_are_refused() {
    let mut random = 7u64;
    for length in 0..4096usize {
        let noise: Bytes = (0..length % 512)
            .map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 56) as u8
            })
            .collect();
        assert!(read(&noise).is_err());
    }
}
