//! Hostile output frames, one attack per case, and honest ones beside them.

use super::super::{INHERIT, NONE, pack};
use super::*;
use thalweg_core::id::key_hash;

fn section(id: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = pack(id, payload.len() as u32).to_vec();
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn header(rows: u32) -> Vec<u8> {
    section(section::HEADER, &pack(1, rows))
}

fn source(n: i64) -> Row {
    Row { key: Span::default(), value: Span::default(), time: EventTime(n), hash: 0, windows: n as u32, pane: 0 }
}

/// Decodes against an input of three rows and two outputs, the second keyed.
fn decode(frame: &[u8]) -> Result<Vec<Vec<Row>>, FrameError> {
    let sources = [source(10), source(11), source(12)];
    let shape = Shape { sources: &sources, outputs: &[false, true], window_sets: 20, pane: 3 };
    let parsed = OutputFrame::parse(frame)?;
    let failed = parsed.failed(&shape)?;
    parsed.metrics()?;
    parsed.own_windows()?;
    parsed.rows(&shape, &RowSet::of(&failed)).map(|rows| rows.outputs)
}

fn what(frame: &[u8]) -> (&'static str, &'static str) {
    decode(frame).err().map_or(("", ""), |e| (e.section, e.what))
}

#[test]
fn an_honest_frame_gives_its_rows() -> Result<(), FrameError> {
    let frame = [
        header(3),
        section(9, b"keyvalue"),
        section(11, &[0u32, 2, 2].map(u32::to_le_bytes).concat()),
        section(10, &[0u32, 1, 0].map(u32::to_le_bytes).concat()),
        section(8, &[pack(3, 8), pack(3, 8), pack(8, 8)].concat()),
        section(7, &[pack(0, 0), pack(0, 3), pack(0, 0)].concat()),
        section(4, &[INHERIT, 5, INHERIT].map(i64::to_le_bytes).concat()),
        section(77, b"of a later version"),
    ];
    let rows = decode(&frame.concat())?;
    assert_eq!(
        rows[0].iter().map(|r| (r.time.0, r.windows, r.value.len())).collect::<Vec<_>>(),
        [(10, 10, 5), (12, 12, 0)]
    );
    assert_eq!(rows[1].len(), 1);
    assert_eq!((rows[1][0].time.0, rows[1][0].windows, rows[1][0].hash), (5, 12, key_hash(b"key")));
    Ok(())
}

/// Decodes for a function with one output, whose elements have no keys.
fn decode_plain(frame: &[u8]) -> Result<Vec<Row>, FrameError> {
    let sources = [source(10), source(11), source(12)];
    let shape = Shape { sources: &sources, outputs: &[false], window_sets: 20, pane: 3 };
    let parsed = OutputFrame::parse(frame)?;
    parsed.rows(&shape, &RowSet::of(&parsed.failed(&shape)?)).map(|rows| rows.outputs.concat())
}

#[test]
fn rows_that_inherit_everything_are_the_same_whether_their_columns_say_so_or_are_absent() {
    let frame = |from: [u32; 2], values: [[u8; 8]; 2], more: &[u8]| {
        let from = section(11, &from.map(u32::to_le_bytes).concat());
        [&header(2), &section(9, b"abc"), &from, &section(8, &values.concat()), more].concat()
    };
    let values = [pack(0, 2), pack(2, 3)];
    let columns = [section(10, &[0; 8]), section(4, &INHERIT.to_le_bytes().repeat(2)), section(5, &[255; 8])];
    let spans = [Span { start: 0, end: 2 }, Span { start: 2, end: 3 }];
    for more in [&[], columns[0].as_slice(), &columns[1], &columns[2], &columns.concat()] {
        let rows = decode_plain(&frame([2, 0], values, more));
        assert_eq!(rows, Ok(vec![Row { value: spans[0], ..source(12) }, Row { value: spans[1], ..source(10) }]));
        for (from, wrong) in [(3, "SOURCE"), (NONE, "WINDOWS")] {
            assert_eq!(decode_plain(&frame([0, from], values, more)).map_err(|e| e.section), Err(wrong));
        }
        for wrong in [pack(2, 4), pack(2, 1)] {
            let refused = decode_plain(&frame([0, 1], [values[0], wrong], more));
            assert_eq!(refused.map_err(|e| e.section), Err("VALUE"));
        }
    }
    // a row that failed takes what it put out with it
    let failed = [pack(1, 0), pack(2, 0), pack(0, 0), pack(0, 0)].concat();
    let rows = decode_plain(&frame([2, 0], values, &section(24, &failed)));
    assert_eq!(rows.map(|rows| rows.iter().map(|row| row.time.0).collect::<Vec<_>>()), Ok(vec![10]));
}

#[test]
fn rows_of_failed_rows_are_left_out() -> Result<(), FrameError> {
    let failed = [pack(1, 0), pack(1, 0), pack(0, 3), pack(3, 6)].concat();
    let frame = [
        header(2),
        section(11, &[1u32, 0].map(u32::to_le_bytes).concat()),
        section(24, &[failed.as_slice(), b"BADwhy"].concat()),
    ];
    let frame = frame.concat();
    assert_eq!(decode(&frame)?[0].len(), 1);
    let shape = Shape { sources: &[source(0), source(0)], outputs: &[false], window_sets: 1, pane: 0 };
    let expected = FailedRow { row: 1, code: "BAD".into(), message: "why".into() };
    assert_eq!(OutputFrame::parse(&frame)?.failed(&shape)?, [expected]);
    Ok(())
}

#[test]
fn metrics_are_read() -> Result<(), FrameError> {
    let values: Vec<u8> = [7i64, 0, 0, 0, 2, 30, 10, 20].map(i64::to_le_bytes).concat();
    let entries = [&pack(0, 0)[..], &pack(0, 1), &values[..32], &pack(1, 0), &pack(1, 2), &values[32..]].concat();
    let frame = [header(0), section(25, &[&pack(2, 0)[..], &entries, b"nd"].concat())].concat();
    let expected = [
        MetricDelta::Counter { name: "n".into(), value: 7 },
        MetricDelta::Distribution { name: "d".into(), values: [2, 30, 10, 20] },
    ];
    assert_eq!(OutputFrame::parse(&frame)?.metrics()?, expected);
    Ok(())
}

#[test]
fn every_cut_of_a_frame_is_refused_or_loses_whole_sections() {
    let whole = [header(1), section(9, b"abc"), section(8, &pack(0, 3))].concat();
    for end in 0..whole.len() {
        let refused = decode(&whole[..end]).is_err();
        assert!(refused || end == header(1).len() + section(9, b"abc").len(), "cut at {end}");
    }
}

#[test]
fn a_section_longer_than_the_frame_is_refused() {
    for length in [1, 9, u32::MAX - 7, u32::MAX] {
        let frame = [header(0), pack(9, length).to_vec()].concat();
        assert_eq!(what(&frame).0, "FRAME", "{length}");
    }
}

#[test]
fn counts_that_lie_are_refused() {
    assert_eq!(what(&header(u32::MAX)).0, "HEADER");
    assert_eq!(what(&[header(u32::MAX), section(8, &pack(0, 0))].concat()), ("VALUE", "has not one entry per row"));
    assert_eq!(what(&[header(1), section(8, &[0; 12])].concat()), ("VALUE", "has not one entry per row"));
    assert_eq!(what(&[header(0), section(24, &pack(u32::MAX, 0))].concat()).0, "FAILED");
    assert_eq!(what(&[header(0), section(25, &pack(u32::MAX, 0))].concat()).0, "METRICS");
    let many = [pack(1001, 0).to_vec(), vec![0; 1001 * 48]].concat();
    assert_eq!(what(&[header(0), section(25, &many)].concat()), ("METRICS", "lists more than 1,000 metrics"));
}

#[test]
fn ranges_outside_the_arena_and_falling_ones_are_refused() {
    for range in [pack(0, 4), pack(4, 4), pack(2, 1), pack(u32::MAX, u32::MAX), pack(0, u32::MAX)] {
        let frame = [header(1), section(9, b"abc"), section(8, &range)].concat();
        assert_eq!(what(&frame).0, "VALUE", "{range:?}");
        let output = section(10, &1u32.to_le_bytes());
        let frame = [header(1), section(9, b"abc"), output, section(8, &pack(0, 3)), section(7, &range)].concat();
        assert_eq!(what(&frame).0, "KEY", "{range:?}");
    }
}

#[test]
fn ranges_may_share_bytes() {
    let frame = [header(2), section(9, b"abc"), section(8, &[pack(0, 3), pack(1, 2)].concat())];
    assert!(decode(&frame.concat()).is_ok());
}

#[test]
fn foreign_rows_and_outputs_are_refused() {
    let value = section(8, &pack(0, 0));
    let frame = [header(1), value.clone(), section(11, &3u32.to_le_bytes())].concat();
    assert_eq!(what(&frame).0, "SOURCE");
    let frame = [header(4), section(8, &[0; 32])].concat();
    assert_eq!(what(&frame).0, "SOURCE");
    let frame = [header(1), value, section(10, &2u32.to_le_bytes())].concat();
    assert_eq!(what(&frame).0, "OUTPUT");
    let failed = [pack(1, 0), pack(3, 0), pack(0, 0), pack(0, 0)].concat();
    assert_eq!(what(&[header(0), section(24, &failed)].concat()).0, "FAILED");
}

#[test]
fn times_at_both_ends_are_taken_and_those_beyond_refused() {
    let at = |time: i64| [header(1), section(8, &pack(0, 0)), section(4, &time.to_le_bytes())].concat();
    assert!(decode(&at(EventTime::MIN.0)).is_ok() && decode(&at(EventTime::MAX.0)).is_ok());
    assert_eq!(what(&at(EventTime::MIN.0 - 1)).0, "TIME");
    assert_eq!(what(&at(i64::MAX)).0, "TIME");
}

/// A window set of one interval window, as a dictionary of one.
fn set_of(window: &Window) -> Vec<u8> {
    let window = crate::frame::window(window);
    let set = [&(window.len() as u32).to_le_bytes()[..], &window].concat();
    [&pack(1, 0)[..], &pack(0, set.len() as u32), &set].concat()
}

#[test]
fn rows_with_windows_of_their_own_need_no_source() -> Result<(), FrameError> {
    let hour = Window::Interval { start: EventTime(0), end: EventTime(3_600_000) };
    let frame = |windows: u32, source: u32| {
        let parts = [
            header(1),
            section(8, &pack(0, 0)),
            section(4, &7i64.to_le_bytes()),
            section(5, &windows.to_le_bytes()),
            section(11, &source.to_le_bytes()),
            section(16, &set_of(&hour)),
        ];
        parts.concat()
    };
    let row = decode(&frame(0, NONE))?[0][0];
    assert_eq!((row.windows, row.pane, row.time), (20, 3, EventTime(7)));
    let row = decode(&frame(0, 1))?[0][0];
    assert_eq!((row.windows, row.pane), (20, 0));
    assert_eq!(decode(&frame(NONE, 1))?[0][0].windows, 11);
    assert_eq!(what(&frame(NONE, NONE)).0, "WINDOWS");
    assert_eq!(what(&frame(1, 1)).0, "WINDOWS");
    assert_eq!(OutputFrame::parse(&frame(0, 0))?.own_windows()?, [WindowSet::from_elem(hour, 1)]);
    Ok(())
}

/// A dictionary of one set that has a window so often.
fn set_of_many(window: &Window, count: usize) -> Vec<u8> {
    let window = crate::frame::window(window);
    let set = [&(window.len() as u32).to_le_bytes()[..], &window].concat().repeat(count);
    [&pack(1, 0)[..], &pack(0, set.len() as u32), &set].concat()
}

#[test]
fn an_element_is_in_so_many_windows_and_no_more() {
    let hour = Window::Interval { start: EventTime(0), end: EventTime(3_600_000) };
    for window in [Window::Global, hour] {
        let frame = |count| [header(0), section(16, &set_of_many(&window, count))].concat();
        assert_eq!(what(&frame(10_000)), ("", ""));
        assert_eq!(what(&frame(10_001)), ("WINDOW_SETS", "a set has more than 10,000 windows"));
    }
}

#[test]
fn windows_that_rows_share_count_for_each_of_them() -> Result<(), FrameError> {
    let hour = Window::Interval { start: EventTime(0), end: EventTime(3_600_000) };
    let set = set_of_many(&hour, 100);
    let bytes = |named: &[u32]| {
        let windows = named.iter().flat_map(|set| set.to_le_bytes()).collect::<Vec<_>>();
        let values = section(8, &pack(0, 0).repeat(named.len()));
        let frame = [header(named.len() as u32), values, section(5, &windows), section(16, &set)].concat();
        OutputFrame::parse(&frame).map(|parsed| parsed.logical_bytes())
    };
    let one = set.len() - 16;
    assert_eq!((bytes(&[0])?, bytes(&[0; 7])?, bytes(&[0, NONE, 1, 0])?), (one, 7 * one, 2 * one));
    Ok(())
}

#[test]
fn a_row_fails_once() {
    let failed = |rows: &[u32]| {
        let entries = rows.iter().flat_map(|row| [pack(*row, 0), pack(0, 0), pack(0, 0)].concat());
        let payload = [pack(rows.len() as u32, 0).to_vec(), entries.collect()].concat();
        what(&[header(0), section(24, &payload)].concat())
    };
    assert_eq!(failed(&[2, 0, 1]), ("", ""));
    assert_eq!(failed(&[2, 2]), ("FAILED", "names a row twice"));
    assert_eq!(failed(&[0, 1, 0]), ("FAILED", "names a row twice"));
}

#[test]
fn windows_that_are_no_intervals_are_refused() {
    let after = |span: &[u8]| {
        let window = [&(1u64 << 63).to_be_bytes()[..], span].concat();
        let set = [&(window.len() as u32).to_le_bytes()[..], &window].concat();
        let payload = [&pack(1, 0)[..], &pack(0, set.len() as u32), &set].concat();
        what(&[header(0), section(16, &payload)].concat())
    };
    assert_eq!(after(&[1]), ("", ""));
    for span in [&[0][..], &[0x80], &[1, 1], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]] {
        assert_eq!(after(span).0, "WINDOW_SETS", "{span:?}");
    }
    assert_eq!(what(&[header(0), section(16, &[&pack(1, 0)[..], &pack(0, 0)].concat())].concat()).0, "WINDOW_SETS");
}

#[test]
fn targets_of_a_merge_are_checked() -> Result<(), FrameError> {
    let frame = [header(1), section(8, &pack(0, 0)), section(14, &[0u32, 0].map(u32::to_le_bytes).concat())].concat();
    assert_eq!(OutputFrame::parse(&frame)?.targets(2)?, [0, 0]);
    assert!(OutputFrame::parse(&frame)?.targets(3).is_err());
    let frame = [header(1), section(8, &pack(0, 0)), section(14, &1u32.to_le_bytes())].concat();
    assert!(OutputFrame::parse(&frame)?.targets(1).is_err());
    Ok(())
}

#[test]
fn repeated_sections_and_other_layouts_are_refused() {
    assert_eq!(what(&[header(0), header(0)].concat()), ("HEADER", "stands twice"));
    assert_eq!(what(&[header(0), section(9, b""), section(9, b"")].concat()), ("ARENA", "stands twice"));
    assert_eq!(what(&[header(0), section(8, b""), section(8, b"")].concat()), ("VALUE", "stands twice"));
    assert_eq!(what(&section(section::HEADER, &pack(2, 0))).0, "HEADER");
    assert_eq!(what(&section(9, b"")).0, "HEADER");
    assert_eq!(what(b"").0, "HEADER");
}

#[test]
fn texts_that_are_not_utf_8_are_refused() {
    let failed = [pack(1, 0), pack(0, 0), pack(0, 1), pack(0, 0)].concat();
    let frame = [header(0), section(24, &[failed.as_slice(), b"\xff"].concat())].concat();
    assert_eq!(what(&frame), ("FAILED", "a text is not UTF-8"));
    let metric = [&pack(1, 0)[..], &pack(0, 0), &pack(0, 1), &[0; 32], b"\xff"].concat();
    assert_eq!(what(&[header(0), section(25, &metric)].concat()), ("METRICS", "a text is not UTF-8"));
}
