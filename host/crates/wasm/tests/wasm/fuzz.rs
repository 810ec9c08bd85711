//! The decoder of frames against random ones: sections put together by a generator that knows the layout, and the golden frames, both damaged.
//! Whatever comes, the decoder returns, and what it takes for sound is sound. A failure prints the seed that finds it again:
//! `THALWEG_FUZZ_SEED`; `THALWEG_FUZZ_ROUNDS` makes it run for longer.

use crate::handmade::{header, pair, section};
use crate::support::root;
use std::time::{Duration, Instant};
use thalweg_core::batch::{Row, Span};
use thalweg_core::testing::SplitMix64;
use thalweg_core::time::EventTime;
use thalweg_wasm::frame::{FrameError, OutputFrame, RowSet, Shape, changes, subkeys};

/// Frames of a usual run: some seconds on a loaded machine.
const ROUNDS: u64 = 60_000;
/// How long a small frame may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// Numbers at which counts, ranges and lengths go wrong.
const EDGES: [u32; 12] = [0, 1, 2, 3, 7, 8, 16, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_fff8, u32::MAX];

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn edge(random: &mut SplitMix64) -> u32 {
    match random.below(3) {
        0 => EDGES.get(random.below(EDGES.len())).copied().unwrap_or_default(),
        1 => random.below(40) as u32,
        _ => random.next() as u32,
    }
}

/// A number that may well be right.
fn small(random: &mut SplitMix64, most: usize) -> u32 {
    if random.permille(950) { random.below(most + 1) as u32 } else { edge(random) }
}

fn range(random: &mut SplitMix64, bytes: usize) -> Vec<u8> {
    let start = random.below(bytes + 1);
    let end = start + random.below(bytes + 1 - start);
    if random.permille(960) { pair(start as u32, end as u32) } else { pair(edge(random), edge(random)) }
}

fn noise(random: &mut SplitMix64, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|_| if random.permille(700) { b'a' + random.below(26) as u8 } else { random.next() as u8 }).collect()
}

/// `count` entries made of numbers and ranges, behind a head, before the bytes that they point into.
fn table(random: &mut SplitMix64, head: Vec<u8>, count: usize, shape: &[bool]) -> Vec<u8> {
    let bytes = random.below(60);
    let mut payload = head;
    for _ in 0..count {
        for is_range in shape {
            payload.extend(if *is_range { range(random, bytes) } else { pair(small(random, 4), small(random, 3)) });
        }
    }
    payload.extend(noise(random, bytes));
    payload
}

/// The column or table of a section.
fn payload(random: &mut SplitMix64, id: u32, rows: usize, arena: usize) -> Vec<u8> {
    let rows = if random.permille(970) { rows } else { random.below(9) };
    let count = random.below(5);
    let slot = small(random, 3);
    let counted = if random.permille(970) { count as u32 } else { edge(random) };
    match id {
        4 => (0..rows)
            .flat_map(|_| {
                if random.permille(900) { i64::from(edge(random)) } else { random.next().cast_signed() }.to_le_bytes()
            })
            .collect(),
        7 | 8 => (0..rows).flat_map(|_| range(random, arena)).collect(),
        5 | 10 | 11 | 14 => (0..rows).flat_map(|_| small(random, 3).to_le_bytes()).collect(),
        9 => noise(random, arena),
        16 => {
            let mut window = pair(8 + 1, 0)[..4].to_vec();
            window.extend([0x80, 0, 0, 0, 0, 0, 0, random.below(99) as u8, random.below(120) as u8]);
            let ends: Vec<u8> = (0..count).flat_map(|i| pair((i * 13) as u32, (i * 13 + 13) as u32)).collect();
            [pair(counted, 0), ends, window.repeat(count)].concat()
        }
        20 => table(random, pair(slot, counted), count, &[false, true]),
        21 => table(random, pair(counted, 0), count, &[false, false, false, false, true]),
        22 => table(random, pair(counted, 0), count, &[false, true]),
        24 => table(random, pair(counted, 0), count, &[false, true, true]),
        25 => table(random, pair(counted, 0), count, &[false, true, false, false, false, false]),
        26 => table(random, pair(slot, counted), count, &[false, true, true]),
        _ => {
            let bytes = random.below(40);
            noise(random, bytes)
        }
    }
}

/// A frame that has the form of one.
fn generated(random: &mut SplitMix64) -> Vec<u8> {
    const IDS: [u32; 15] = [4, 5, 7, 8, 9, 10, 11, 14, 16, 20, 21, 22, 24, 25, 26];
    let (rows, arena) = (random.below(6), random.below(80));
    let mut frame = header(rows as u32);
    for id in IDS {
        if random.permille(if id == 8 || id == 9 { 900 } else { 350 }) {
            frame.extend(section(id, &payload(random, id, rows, arena)));
        }
    }
    if random.permille(30) {
        let id = edge(random);
        frame.extend(section(id, &noise(random, 8)));
    }
    frame
}

/// Does harm in some places.
fn damage(random: &mut SplitMix64, frame: &mut Vec<u8>) {
    for _ in 0..random.below(4) {
        let at = random.below(frame.len().max(1));
        match random.below(5) {
            0 => frame.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
            1 => {
                let value = edge(random).to_le_bytes();
                frame.iter_mut().skip(at & !3).zip(value).for_each(|(byte, new)| *byte = new);
            }
            2 => frame.truncate(at),
            3 => {
                let copied: Vec<u8> = frame.iter().skip(at & !7).take(random.below(64)).copied().collect();
                frame.extend(copied);
            }
            _ => drop(frame.drain(at & !7..(at | 7).min(frame.len()))),
        }
    }
}

/// Reads all of a frame; what it gives must be sound.
fn read(frame: &[u8]) -> Result<(), FrameError> {
    let source =
        |n: i64| Row { key: Span::default(), value: Span::default(), time: EventTime(n), hash: 0, windows: 0, pane: 0 };
    let sources = [source(1), source(2), source(3)];
    let shape = Shape { sources: &sources, outputs: &[false, true], window_sets: 1, pane: 1 };
    let told = changes(frame, |change| {
        assert!(change.bytes() <= frame.len() * 2, "a change is longer than its frame");
        Ok::<_, FrameError>(())
    });
    let parsed = OutputFrame::parse(frame)?;
    let failed = parsed.failed(&shape)?;
    assert!(failed.iter().all(|row| (row.row as usize) < sources.len()));
    assert!(parsed.metrics()?.len() <= 1_000);
    let windows = parsed.own_windows()?;
    assert!(windows.iter().all(|set| !set.is_empty()));
    let rows = parsed.rows(&shape, &RowSet::of(&failed))?;
    for row in rows.outputs.iter().flatten() {
        for span in [row.key, row.value] {
            assert!(span.start <= span.end && span.end as usize <= parsed.arena().len());
        }
        assert!(row.time >= EventTime::MIN && row.time <= EventTime::MAX);
        assert!((row.windows as usize) < windows.len() + 1, "a window set that is nowhere");
    }
    if let Ok(targets) = parsed.targets(sources.len()) {
        assert!(targets.iter().all(|to| (*to as usize) < parsed.len()));
    }
    if let Ok(asked) = subkeys(frame) {
        assert!(asked.len() * 16 <= frame.len());
    }
    told
}

#[test]
fn random_frames_are_refused_or_sound() {
    let golden = std::fs::read_dir(root().join("wit/golden")).expect("golden frames");
    let golden: Vec<Vec<u8>> = golden
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "frame"))
        .map(|path| std::fs::read(path).expect("a frame"))
        .collect();
    assert!(golden.len() >= 3, "the corpus is not there");
    let seed = number("THALWEG_FUZZ_SEED", 1);
    let (mut sound, mut refused) = (0u64, 0u64);
    for round in 0..number("THALWEG_FUZZ_ROUNDS", ROUNDS) {
        let mut random = SplitMix64::new(seed.wrapping_add(round));
        let mut frame = match random.below(4) {
            0 => golden.get(random.below(golden.len())).cloned().unwrap_or_default(),
            _ => generated(&mut random),
        };
        if random.permille(600) {
            damage(&mut random, &mut frame);
        }
        let start = Instant::now();
        let caught = std::panic::catch_unwind(|| read(&frame));
        let Ok(told) = caught else { panic!("THALWEG_FUZZ_SEED={} THALWEG_FUZZ_ROUNDS=1", seed.wrapping_add(round)) };
        assert!(start.elapsed() < DEADLINE, "seed {} takes {:?}", seed.wrapping_add(round), start.elapsed());
        if told.is_ok() { sound += 1 } else { refused += 1 }
    }
    // a generator that makes nothing but rubbish, or nothing wrong, would find nothing
    assert!(sound > ROUNDS / 200 && refused > ROUNDS / 10, "{sound} sound, {refused} refused");
}
