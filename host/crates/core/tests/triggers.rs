//! Groupings under every trigger of Beam, driven by a TestStream: which panes come, with what in them, when, and how they are numbered.

mod topologies;

use thalweg_core::batch::Timing;
use thalweg_core::engine::{Config, Outcome};
use thalweg_core::error::Result;
use thalweg_core::graph::ScriptEvent;
use thalweg_core::testing::{Driver, SplitMix64, Topology, User, Work};
use thalweg_core::time::EventTime;
use thalweg_core::window::{
    Accumulation, AfterFinish, OutputTime, Speaks, TimestampTransform, Trigger, Window, WindowFn, Windowing,
};
use topologies::{batch, by_letter, choose, config, out, tens, text, texts, written};

use Trigger::{AfterAll, AfterAny, AfterEach, AfterProcessingTime, Always, ElementCount, Never};

fn elements(rows: &[(&str, i64)]) -> ScriptEvent {
    ScriptEvent::Elements { output: 0, batch: batch(rows) }
}

fn watermark(to: i64) -> ScriptEvent {
    ScriptEvent::Watermark { output: 0, to: EventTime(to) }
}

fn clock(ms: i64) -> ScriptEvent {
    ScriptEvent::ProcessingTime(ms)
}

fn repeat(part: Trigger) -> Trigger {
    Trigger::Repeat(Box::new(part))
}

fn delay(ms: i64) -> Trigger {
    AfterProcessingTime(vec![TimestampTransform::Delay(ms)])
}

fn end_of_window(early: Option<Trigger>, late: Option<Trigger>) -> Trigger {
    Trigger::AfterEndOfWindow { early: early.map(Box::new), late: late.map(Box::new) }
}

fn accumulating(windowing: Windowing) -> Windowing {
    Windowing { accumulation: Accumulation::Accumulating, ..windowing }
}

fn lateness(windowing: Windowing, ms: i64) -> Windowing {
    Windowing { allowed_lateness: ms, ..windowing }
}

/// The values of an iterable of bytes shorter than 128.
fn values(mut bytes: &[u8]) -> String {
    let mut told = Vec::new();
    bytes = &bytes[4..];
    while let Some((n, rest)) = bytes.split_first() {
        told.push(text(&rest[..usize::from(*n)]));
        bytes = &rest[usize::from(*n)..];
    }
    told.join(" ")
}

/// A grouping by first letter. The sink gets a line per pane: `key window timing index/timely index @time: values`.
fn grouping(windowing: &Windowing, config: Config, events: Vec<ScriptEvent>) -> Result<Driver> {
    let mut t = Topology::new();
    t.epoch_ms = 20;
    let (lines, keyed) = (t.plain("lines", &Windowing::global()), t.keyed("keyed", windowing));
    t.script("script", events, lines);
    t.user(by_letter("by letter", windowing), &[lines], &[keyed]);
    let grouped = t.group("group", keyed);
    let told = t.plain("told", &Windowing::global());
    t.user(User::new("tell", tell), &[grouped], &[told]);
    out(&mut t, told);
    t.driver(config)
}

fn tell(work: &mut Work) -> Result<()> {
    for e in work.elements() {
        let timing = match e.pane.timing {
            Timing::Early => "early",
            Timing::OnTime => "on time",
            Timing::Late => "late",
            Timing::Unknown => "unknown",
        };
        let last = if e.pane.last { " last" } else { "" };
        assert_eq!(e.pane.first, e.pane.index == 0);
        let window = match &e.windows[0] {
            Window::Interval { start, end } => format!("{}-{}", start.0, end.0),
            _ => "all".to_owned(),
        };
        let (key, index, timely) = (text(&e.key), e.pane.index, e.pane.non_speculative);
        let line = format!("{key} {window} {timing} {index}/{timely}{last} @{}: {}", e.time.0, values(&e.value));
        work.emit(0, b"", line.as_bytes(), e.time, &e.windows);
    }
    Ok(())
}

/// The panes of a grouping on one shard, in the order in which they were fired.
fn panes(windowing: &Windowing, events: Vec<ScriptEvent>) -> Result<Vec<String>> {
    let mut driver = grouping(windowing, config(1), events)?;
    assert_eq!(driver.run_to_end(), Outcome::Done);
    Ok(written(&driver))
}

#[test]
fn a_count_fires_once_and_what_comes_later_is_dropped_and_counted() -> Result<()> {
    let events = || vec![elements(&[("a1", 1), ("a2", 2), ("a3", 3), ("b1", 4)]), elements(&[("a4", 4)])];
    let windowing = tens().with_trigger(ElementCount(2));
    let mut driver = grouping(&windowing, config(1), events())?;
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(written(&driver), ["a 0-10 early 0/-1 last @9: a1 a2", "b 0-10 on time 0/0 last @9: b1"]);
    let dropped = |sums: &thalweg_core::metric::Metrics| {
        let named =
            sums.0.iter().find(|(key, _)| key.labels.get("NAME").is_some_and(|n| n == "droppedDueToClosedWindow"));
        named.map(|(_, value)| value.clone())
    };
    assert_eq!(dropped(&driver.sums.committed), Some(thalweg_core::metric::MetricValue::Sum(2)));
    // of a bounded collection nothing is lost
    let keeping = Windowing { after_finish: AfterFinish::Keep, ..windowing };
    let told = panes(&keeping, events())?;
    assert_eq!(
        told,
        ["a 0-10 early 0/-1 @9: a1 a2", "a 0-10 on time 1/0 last @9: a3 a4", "b 0-10 on time 0/0 last @9: b1"]
    );
    Ok(())
}

#[test]
fn a_repeated_count_fires_again_and_the_rest_when_the_window_expires() -> Result<()> {
    let events = || vec![elements(&[("a1", 1), ("a2", 2), ("a3", 3), ("a4", 4), ("a5", 5)])];
    let windowing = tens().with_trigger(repeat(ElementCount(2)));
    let discarded = panes(&windowing, events())?;
    assert_eq!(
        discarded,
        ["a 0-10 early 0/-1 @9: a1 a2", "a 0-10 early 1/-1 @9: a3 a4", "a 0-10 on time 2/0 last @9: a5"]
    );
    let accumulated = panes(&accumulating(windowing), events())?;
    assert_eq!(accumulated[2], "a 0-10 on time 2/0 last @9: a1 a2 a3 a4 a5");
    Ok(())
}

#[test]
fn always_fires_every_element_and_never_none_before_the_window_expires() -> Result<()> {
    let events = || vec![elements(&[("a1", 1), ("a2", 2)]), watermark(11), elements(&[("a3", 3)]), watermark(40)];
    let always = panes(&lateness(tens().with_trigger(Always), 20), events())?;
    assert_eq!(
        always,
        ["a 0-10 early 0/-1 @9: a1", "a 0-10 early 1/-1 @9: a2", "a 0-10 late 2/0 @9: a3"],
        "no empty pane where no trigger looks at the end of the window"
    );
    let never = panes(&lateness(tens().with_trigger(Never), 20), events())?;
    assert_eq!(never, ["a 0-10 on time 0/0 last @9: a1 a2 a3"]);
    Ok(())
}

#[test]
fn an_end_of_window_has_early_timely_and_late_panes() -> Result<()> {
    let trigger = end_of_window(Some(ElementCount(2)), Some(ElementCount(1)));
    let events = || {
        vec![
            elements(&[("a1", 1), ("a2", 2), ("a3", 3)]),
            watermark(10),
            elements(&[("a4", 4), ("c1", 5)]),
            watermark(30),
            elements(&[("a5", 5)]), // expired
        ]
    };
    let told = panes(&accumulating(lateness(tens().with_trigger(trigger.clone()), 15)), events())?;
    assert_eq!(
        told,
        [
            "a 0-10 early 0/-1 @9: a1 a2",
            "a 0-10 on time 1/0 @9: a1 a2 a3",
            "a 0-10 late 2/1 @9: a1 a2 a3 a4",
            "c 0-10 late 0/0 @9: c1"
        ]
    );
    let told = panes(&tens().with_trigger(trigger), events())?;
    assert_eq!(told, ["a 0-10 early 0/-1 @9: a1 a2", "a 0-10 on time 1/0 last @9: a3"]);
    Ok(())
}

#[test]
fn the_pane_on_time_is_fired_even_if_it_is_empty_unless_asked_otherwise() -> Result<()> {
    let events = || vec![elements(&[("a1", 1), ("a2", 2)]), watermark(10)];
    let windowing = lateness(tens().with_trigger(end_of_window(Some(ElementCount(2)), Some(ElementCount(1)))), 5);
    let early = "a 0-10 early 0/-1 @9: a1 a2";
    assert_eq!(panes(&windowing, events())?, [early, "a 0-10 on time 1/0 @9: "]);
    let silent = Windowing { on_time: Speaks::IfNonempty, ..windowing.clone() };
    assert_eq!(panes(&silent, events())?, [early]);
    let closing = Windowing { closing: Speaks::Always, ..windowing };
    assert_eq!(panes(&closing, events())?, [early, "a 0-10 on time 1/0 @9: ", "a 0-10 late 2/1 last @9: "]);
    Ok(())
}

#[test]
fn what_comes_behind_a_silent_end_of_a_window_is_late() -> Result<()> {
    let early_and_late = end_of_window(Some(repeat(ElementCount(1))), Some(ElementCount(1)));
    let windowing = Windowing { on_time: Speaks::IfNonempty, ..lateness(tens().with_trigger(early_and_late), 10) };
    let events = vec![elements(&[("a1", 1)]), watermark(12), elements(&[("a2", 2)])];
    assert_eq!(panes(&windowing, events)?, ["a 0-10 early 0/-1 @9: a1", "a 0-10 late 1/0 @9: a2"]);
    Ok(())
}

#[test]
fn a_default_trigger_closes_its_windows_if_asked_to() -> Result<()> {
    let windowing = Windowing { closing: Speaks::Always, ..lateness(tens(), 5) };
    let told = panes(&windowing, vec![elements(&[("a1", 1)]), watermark(10), elements(&[("a2", 2)]), watermark(30)])?;
    assert_eq!(told, ["a 0-10 on time 0/0 @9: a1", "a 0-10 late 1/1 @9: a2", "a 0-10 late 2/2 last @9: "]);
    Ok(())
}

#[test]
fn processing_time_fires_by_the_clock_of_the_script() -> Result<()> {
    let events = || {
        vec![
            elements(&[("a1", 1)]),
            clock(3),
            elements(&[("a2", 2)]),
            clock(2),
            elements(&[("a3", 3)]),
            clock(5),
            elements(&[("a4", 4)]),
        ]
    };
    let once = panes(&tens().with_trigger(delay(5)), events())?;
    assert_eq!(once, ["a 0-10 early 0/-1 last @9: a1 a2"]);
    let again = panes(&tens().with_trigger(repeat(delay(5))), events())?;
    assert_eq!(
        again,
        ["a 0-10 early 0/-1 @9: a1 a2", "a 0-10 early 1/-1 @9: a3", "a 0-10 on time 2/0 last @9: a4"],
        "what waits for the clock at the end of time goes out"
    );
    Ok(())
}

#[test]
fn processing_time_fires_by_the_clock_of_the_process_and_the_end_waits_for_none() -> Result<()> {
    for (wait, told) in [(50, "a all early 0/-1 last @"), (i64::MAX / 2, "a all on time 0/0 last @")] {
        let mut t = Topology::new();
        let windowing = Windowing::global().with_trigger(delay(wait));
        let split = thalweg_core::testing::ScriptedSplit::of(&[("a1", 1), ("a2", 2)]);
        let split = if wait == 50 { split.endless() } else { split };
        let keyed = topologies::keyed_lines(&mut t, vec![split], &windowing);
        let grouped = t.group("group", keyed);
        let lines = t.plain("told", &Windowing::global());
        t.user(User::new("tell", tell), &[grouped], &[lines]);
        out(&mut t, lines);
        let mut driver = t.driver(config(1))?;
        driver.pass(40);
        if wait == 50 {
            assert!(written(&driver).is_empty(), "the clock has not come so far");
            driver.pass(400);
        } else {
            assert_eq!(driver.run_to_end(), Outcome::Done);
        }
        let have = written(&driver);
        assert!(have.len() == 1 && have[0].starts_with(told) && have[0].ends_with(": a1 a2"), "{have:?}");
    }
    Ok(())
}

#[test]
fn synchronized_time_takes_together_what_arrives_together() -> Result<()> {
    let windowing = tens().with_trigger(repeat(Trigger::AfterSynchronizedProcessingTime));
    let told = panes(&windowing, vec![elements(&[("a1", 1), ("a2", 2)]), elements(&[("a3", 3)])])?;
    assert_eq!(told, ["a 0-10 early 0/-1 @9: a1 a2", "a 0-10 early 1/-1 @9: a3"]);
    Ok(())
}

#[test]
fn combinations_fire_when_their_parts_do() -> Result<()> {
    let events = || vec![elements(&[("a1", 1), ("a2", 2)]), clock(5), elements(&[("a3", 3)]), elements(&[("a4", 4)])];
    let of = |trigger: Trigger| panes(&tens().with_trigger(trigger), events());
    assert_eq!(of(AfterAll(vec![ElementCount(3), delay(5)]))?, ["a 0-10 early 0/-1 last @9: a1 a2 a3"]);
    assert_eq!(of(AfterAny(vec![ElementCount(3), delay(5)]))?, ["a 0-10 early 0/-1 last @9: a1 a2"]);
    assert_eq!(
        of(AfterEach(vec![ElementCount(1), ElementCount(2), end_of_window(None, None)]))?,
        ["a 0-10 early 0/-1 @9: a1", "a 0-10 early 1/-1 @9: a2 a3", "a 0-10 on time 2/0 last @9: a4"]
    );
    let or = Trigger::OrFinally { main: Box::new(repeat(ElementCount(1))), finally: Box::new(ElementCount(3)) };
    assert_eq!(of(or)?, ["a 0-10 early 0/-1 @9: a1", "a 0-10 early 1/-1 @9: a2", "a 0-10 early 2/-1 last @9: a3"]);
    Ok(())
}

#[test]
fn sessions_merge_their_triggers_and_number_their_panes_anew() -> Result<()> {
    let trigger = end_of_window(Some(ElementCount(2)), Some(ElementCount(3)));
    let sessions = Windowing::of(WindowFn::Sessions { gap: 10 }).with_trigger(trigger);
    let told = panes(
        &accumulating(lateness(sessions, 100)),
        vec![
            elements(&[("a1", 1), ("a2", 2)]),
            elements(&[("a3", 3)]),
            elements(&[("a4", 4)]),
            elements(&[("a5", 5)]),
            watermark(100),
            elements(&[("a6", 1)]),
            elements(&[("a7", 3), ("a8", 4)]),
        ],
    )?;
    assert_eq!(
        told,
        [
            "a 1-12 early 0/-1 @11: a1 a2",
            "a 1-14 early 0/-1 @13: a1 a2 a3 a4",
            "a 1-15 on time 0/0 @14: a1 a2 a3 a4 a5",
            "a 1-15 late 1/1 @14: a6 a1 a2 a3 a4 a5 a7 a8"
        ]
    );
    Ok(())
}

#[test]
fn a_session_that_has_finished_takes_what_merges_into_it_with_it() -> Result<()> {
    let sessions = Windowing::of(WindowFn::Sessions { gap: 10 }).with_trigger(ElementCount(2));
    let told = panes(&sessions, vec![elements(&[("a1", 1), ("a2", 2), ("a3", 3), ("a4", 30)])])?;
    assert_eq!(told, ["a 1-12 early 0/-1 last @11: a1 a2", "a 30-40 on time 0/0 last @39: a4"]);
    Ok(())
}

#[test]
fn panes_have_the_time_that_was_still_to_be_held() -> Result<()> {
    let early = |output_time| Windowing { output_time, ..tens() };
    let events = || vec![watermark(5), elements(&[("a1", 2), ("a2", 7), ("a3", 8), ("b1", 3)]), watermark(11)];
    for (output_time, time) in [(OutputTime::Earliest, 7), (OutputTime::Latest, 8), (OutputTime::EndOfWindow, 9)] {
        let told = panes(&early(output_time), events())?;
        let first = format!("a 0-10 on time 0/0 last @{time}: a1 a2 a3");
        assert_eq!(told, [first.as_str(), "b 0-10 on time 0/0 last @9: b1"], "{output_time:?}");
    }
    Ok(())
}

/// What comes behind a grouping is late if the grouping's watermark has passed it.
#[test]
fn what_a_trigger_has_still_to_say_holds_the_watermark() -> Result<()> {
    let of = |output_time, trigger: Trigger| -> Result<Vec<String>> {
        let windowing = Windowing { output_time, ..Windowing::of(WindowFn::Fixed { size: 100, offset: 0 }) };
        let windowing = windowing.with_trigger(trigger);
        let mut t = Topology::new();
        let (lines, keyed) = (t.plain("lines", &Windowing::global()), t.keyed("keyed", &windowing));
        let events = vec![elements(&[("a1", 11), ("a2", 15)]), watermark(50), clock(9), watermark(90)];
        t.script("script", events, lines);
        t.user(by_letter("by letter", &windowing), &[lines], &[keyed]);
        let grouped = t.group("group", keyed);
        let told = t.keyed("told", &tens());
        let tell = User::new("tell", |work: &mut Work| {
            for e in work.elements() {
                work.emit(0, b"k", format!("n{}", e.value[3]).as_bytes(), e.time, &tens().window_fn.assign(e.time));
            }
            Ok(())
        });
        t.user(tell, &[grouped], &[told]);
        let again = t.group("again", told);
        let lines = t.plain("lines again", &Windowing::global());
        t.user(User::new("tell again", self::tell), &[again], &[lines]);
        out(&mut t, lines);
        let mut driver = t.driver(config(1))?;
        assert_eq!(driver.run_to_end(), Outcome::Done);
        Ok(written(&driver))
    };
    assert_eq!(of(OutputTime::Earliest, delay(9))?, ["k 10-20 on time 0/0 last @19: n2"]);
    assert_eq!(of(OutputTime::Latest, repeat(delay(9)))?, ["k 10-20 on time 0/0 last @19: n2"]);
    assert_eq!(of(OutputTime::EndOfWindow, delay(9))?, ["k 90-100 on time 0/0 last @99: n2"]);
    Ok(())
}

fn everything() -> Vec<(&'static str, Windowing)> {
    let count = |n| repeat(ElementCount(n));
    let sessions = || Windowing::of(WindowFn::Sessions { gap: 4 });
    let either = end_of_window(Some(AfterAny(vec![ElementCount(3), delay(5)])), Some(ElementCount(2)));
    let or = Trigger::OrFinally { main: Box::new(count(1)), finally: Box::new(ElementCount(4)) };
    vec![
        ("count", tens().with_trigger(ElementCount(2))),
        ("kept", Windowing { after_finish: AfterFinish::Keep, ..tens().with_trigger(ElementCount(2)) }),
        ("counts", accumulating(tens().with_trigger(count(2)))),
        ("always", tens().with_trigger(Always)),
        ("never", tens().with_trigger(Never)),
        ("time", tens().with_trigger(repeat(delay(5)))),
        ("all", tens().with_trigger(repeat(AfterAll(vec![ElementCount(2), delay(3)])))),
        ("each", tens().with_trigger(AfterEach(vec![ElementCount(1), ElementCount(2), end_of_window(None, None)]))),
        ("or", tens().with_trigger(or)),
        ("early and late", lateness(accumulating(tens().with_trigger(either.clone())), 25)),
        ("earliest", Windowing { output_time: OutputTime::Earliest, ..tens().with_trigger(either.clone()) }),
        ("closing", Windowing { closing: Speaks::Always, ..lateness(tens().with_trigger(count(2)), 25) }),
        ("sessions", lateness(accumulating(sessions().with_trigger(either)), 25)),
        ("counted sessions", sessions().with_trigger(count(2))),
    ]
}

fn long_script() -> Vec<ScriptEvent> {
    vec![
        elements(&[("a1", 1), ("b1", 2), ("a2", 3), ("c1", 2)]),
        clock(2),
        elements(&[("a3", 12), ("b2", 5), ("a4", 4)]),
        watermark(6),
        clock(4),
        elements(&[("a5", 7), ("c2", 9), ("b3", 16)]),
        watermark(12),
        elements(&[("a6", 9), ("b4", 8), ("d1", 3), ("a7", 14)]),
        clock(6),
        watermark(22),
        elements(&[("a8", 8), ("b5", 15), ("a9", 24)]),
        watermark(60),
    ]
}

/// Beside a crash at any moment, with another number of shards afterwards, what waits between two events makes no difference.
#[test]
fn panes_are_the_same_through_crashes_and_on_any_number_of_shards() -> Result<()> {
    for (name, windowing) in everything() {
        let mut straight = grouping(&windowing, config(1), long_script())?;
        assert_eq!(straight.run_to_end(), Outcome::Done);
        let expected = texts(&straight);
        assert!(expected.len() > 4, "{name}: {expected:?}");
        for seed in 0..25 {
            let mut rng = SplitMix64::new(seed);
            let bounds = Config { queue_bytes_max: [1, 1 << 20][rng.below(2)], ..config(1 + rng.below(3) as u16) };
            let mut driver = grouping(&windowing, bounds, long_script())?;
            let mut crashes = 0;
            while !driver.is_over() {
                driver.take(choose(&mut rng, &driver));
                if rng.permille(8) && crashes < 6 && driver.outcome().is_none() {
                    crashes += 1;
                    driver.crash(1 + rng.below(4) as u16)?;
                }
            }
            assert_eq!(driver.outcome(), Some(Outcome::Done), "{name}, seed {seed}");
            assert_eq!(texts(&driver), expected, "{name}, seed {seed}");
            let kinds = [thalweg_core::state::layout::Kind::Buffer, thalweg_core::state::layout::Kind::Pane];
            let left = driver.store.cells().into_iter().filter(|(key, _)| {
                let kind = thalweg_core::state::layout::KeyReader::open(key).map(|(_, kind, ..)| kind);
                kinds.iter().any(|k| kind == Some(*k as u8))
            });
            assert_eq!(left.count(), 0, "{name}, seed {seed}: something is left behind");
        }
    }
    Ok(())
}
