//! A function with everything: outputs, times, both kinds of slot, metrics, logs, failures; run by the test kit.

use thalweg_udf::{
    BagSlot, Context, Counter, Distribution, DoFn, EventTime, Failure, Kv, Level, Output, OutputSpec, SlotSpec,
    ValueSlot, testing::Kit,
};

const MAIN: Output<Kv<String, i64>> = Output::new(0, "main");
const SEEN: Output<String> = Output::new(1, "seen");
const TOTAL: ValueSlot<i64> = ValueSlot::eager(0, "total");
const LAST: ValueSlot<String> = ValueSlot::lazy(1, "last");
const ALL: BagSlot<i64> = BagSlot::new(2, "all");
const GOOD: Counter = Counter::new("good");
const SIZES: Distribution = Distribution::new("sizes");

/// Sums per key; 0 lists what the bag holds and empties it; a negative number does much and then fails.
struct Sum;

impl DoFn for Sum {
    type In = Kv<String, i64>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&MAIN, &SEEN];
    const SLOTS: &'static [&'static dyn SlotSpec] = &[&TOTAL, &LAST, &ALL];

    fn open(config: &str) -> Result<Self, Failure> {
        if config == "bad" { Err(Failure::new("CONFIG", "it is bad")) } else { Ok(Self) }
    }

    fn process(&mut self, (key, n): (&str, i64), ctx: &mut Context) -> Result<(), Failure> {
        if n == 0 {
            let all = ctx.items(&ALL).collect::<Result<Vec<i64>, _>>()?;
            let last = ctx.get(&LAST)?.unwrap_or("none").to_owned();
            ctx.emit(&SEEN, &format!("{key}: {all:?} last {last}"));
            ctx.clear(&ALL);
            return Ok(());
        }
        let total = ctx.get(&TOTAL)?.unwrap_or(0) + n;
        ctx.set(&TOTAL, total);
        ctx.add(&ALL, n);
        ctx.set(&LAST, &format!("{key}{n}"));
        ctx.emit_at(&MAIN, EventTime(n), (key, total));
        if n < 0 {
            ctx.clear(&ALL);
            ctx.clear(&TOTAL);
            ctx.log(Level::Warn, "negative");
            return Err(Failure::new("NEGATIVE", format!("{n} is negative")));
        }
        ctx.count(GOOD, 1);
        ctx.report(SIZES, n);
        Ok(())
    }
}

fn kit() -> Result<Kit<Sum>, Failure> {
    Kit::open("")
}

fn batch<'a>(elements: &'a [(&'a str, i64)]) -> Vec<(EventTime, (&'a str, i64))> {
    elements.iter().map(|(key, n)| (EventTime(100), (*key, *n))).collect()
}

#[test]
fn outputs_have_their_times_and_names() -> Result<(), Failure> {
    let outcome = kit()?.run(batch(&[("a", 1), ("a", 0), ("a", 2)]))?;
    assert_eq!(outcome.elements(&MAIN)?, [(EventTime(1), ("a", 1)), (EventTime(2), ("a", 3))]);
    assert_eq!(outcome.elements(&SEEN)?, [(EventTime(100), "a: [1] last a1")]);
    Ok(())
}

#[test]
fn state_lives_on_and_stays_with_its_key() -> Result<(), Failure> {
    let mut kit = kit()?;
    kit.run(batch(&[("a", 1), ("b", 10), ("a", 2)]))?;
    let outcome = kit.run(batch(&[("b", 5), ("a", 0), ("b", 0), ("c", 0)]))?;
    assert_eq!(outcome.elements(&MAIN)?, [(EventTime(5), ("b", 15))]);
    let seen: Vec<_> = outcome.elements(&SEEN)?.into_iter().map(|(_, text)| text).collect();
    assert_eq!(seen, ["a: [1, 2] last a2", "b: [10, 5] last b5", "c: [] last none"]);
    let outcome = kit.run(batch(&[("a", 0)]))?;
    assert_eq!(outcome.elements(&SEEN)?[0].1, "a: [] last a2");
    Ok(())
}

#[test]
fn a_failed_element_leaves_no_trace_but_its_failure() -> Result<(), Failure> {
    let mut kit = kit()?;
    kit.run(batch(&[("a", 1)]))?;
    // the failing element comes first, between and after others of its key
    let outcome = kit.run(batch(&[("a", -1), ("a", 2), ("a", -2), ("a", 0), ("a", 3), ("a", -3)]))?;
    assert_eq!(outcome.elements(&MAIN)?, [(EventTime(2), ("a", 3)), (EventTime(3), ("a", 6))]);
    assert_eq!(outcome.elements(&SEEN)?[0].1, "a: [1, 2] last a2");
    let failed: Vec<_> = outcome.failures().into_iter().map(|(row, f)| (row, f.to_string())).collect();
    let expected = [(0, -1), (2, -2), (5, -3)].map(|(row, n)| (row, format!("NEGATIVE: {n} is negative")));
    assert_eq!(failed, expected);
    assert_eq!(outcome.logs().len(), 3);
    let outcome = kit.run(batch(&[("a", 0), ("a", 1)]))?;
    assert_eq!(outcome.elements(&SEEN)?[0].1, "a: [3] last a3");
    assert_eq!(outcome.elements(&MAIN)?, [(EventTime(1), ("a", 7))]);
    Ok(())
}

#[test]
fn metrics_are_deltas_of_the_batch() -> Result<(), Failure> {
    let mut kit = kit()?;
    let outcome = kit.run(batch(&[("a", 4), ("b", 6)]))?;
    assert_eq!(outcome.metric("good"), Some([2, 0, 0, 0]));
    assert_eq!(outcome.metric("sizes"), Some([2, 10, 4, 6]));
    let outcome = kit.run(batch(&[("a", 1)]))?;
    assert_eq!(outcome.metric("good"), Some([1, 0, 0, 0]));
    assert_eq!(kit.run(batch(&[("a", 0)]))?.metric("good"), None);
    Ok(())
}

#[test]
fn lazy_cells_are_read_a_page_at_a_time_and_written_without_a_call() -> Result<(), Failure> {
    let mut kit = kit()?;
    let keys: Vec<String> = (100..300).map(|i| i.to_string()).collect();
    let zeros: Vec<(&str, i64)> = keys.iter().map(|key| (key.as_str(), 0)).collect();
    kit.run(batch(&zeros))?;
    // 200 groups in pages of 64, for the bag and for the lazy value; changes leave with the result
    assert_eq!(kit.state_calls(), 4 + 4);
    Ok(())
}

#[test]
fn outputs_of_one_element_may_be_many() -> Result<(), Failure> {
    const BIG: Output<Vec<u8>> = Output::new(0, "main");
    struct Many;
    impl DoFn for Many {
        type In = i64;
        const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&BIG];
        fn open(_config: &str) -> Result<Self, Failure> {
            Ok(Self)
        }
        fn process(&mut self, n: i64, ctx: &mut Context) -> Result<(), Failure> {
            for i in 0..2000u32 {
                ctx.emit(&BIG, &[i.to_le_bytes(); 100].concat());
            }
            if n == 1 { Err(Failure::new("LATE", "after all the outputs")) } else { Ok(()) }
        }
    }
    let mut kit = Kit::<Many>::open("")?;
    let outcome = kit.run([(EventTime(0), 0), (EventTime(0), 1), (EventTime(0), 2)])?;
    let first: Vec<u8> = outcome.elements(&BIG)?.iter().map(|(_, bytes)| bytes[0]).collect();
    assert_eq!(first.len(), 4000, "the outputs of the failed element are dropped");
    assert_eq!(first[..3], [0, 1, 2]);
    Ok(())
}

#[test]
fn a_bad_configuration_is_refused() {
    assert_eq!(Kit::<Sum>::open("bad").err().map(|f| f.code), Some("CONFIG".into()));
}
