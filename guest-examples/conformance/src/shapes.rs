//! The kinds of functions that are no DoFns, and a DoFn of grouped values.

use thalweg_udf::{
    CombineFn, Context, DoFn, EventTime, Failure, Interval, KeySelector, Kv, Many, Output, OutputSpec, SlotSpec,
    ValueSlot, Values, WindowFn,
};

/// The totals.
pub const TOTALS: Output<Kv<String, i64>> = Output::new(0, "totals");

/// Sums up the grouped values of a key.
pub struct Total;

impl DoFn for Total {
    type In = Kv<String, Many<i64>>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&TOTALS];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, (key, values): (&str, Values<'_, i64>), ctx: &mut Context) -> Result<(), Failure> {
        ctx.emit(&TOTALS, (key, values.sum::<Result<i64, _>>()?));
        Ok(())
    }
}

/// What a walk found.
pub const WALKED: Output<Kv<String, String>> = Output::new(0, "walked");
/// How many values were seen.
pub const SEEN: ValueSlot<i64> = ValueSlot::eager(0, "seen");

/// Goes over the grouped values of a key: to the first, to the last, and once more. It keeps how many it saw.
pub struct Walks;

impl DoFn for Walks {
    type In = Kv<String, Many<Vec<u8>>>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&WALKED];
    const SLOTS: &'static [&'static dyn SlotSpec] = &[&SEEN];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    /// Tells what it found. The key "bad" fails behind the last value.
    fn process(&mut self, (key, mut values): (&str, Values<'_, Vec<u8>>), ctx: &mut Context) -> Result<(), Failure> {
        let first = values.again().next().transpose()?.map_or(0, <[u8]>::len);
        let (mut count, mut bytes) = (0, 0);
        while let Some(value) = values.next() {
            bytes += value?.len();
            count += 1;
        }
        let (mut walk, mut again) = (values.again(), 0);
        while let Some(value) = walk.next() {
            value?;
            again += 1;
        }
        if key == "bad" {
            return Err(Failure::new("BAD", "the key is bad"));
        }
        let seen = ctx.get(&SEEN)?.unwrap_or_default() + count;
        ctx.set(&SEEN, seen);
        let text = format!("{count} of {bytes} bytes, the first of {first}, {again} again, {seen} seen");
        ctx.emit(&WALKED, (key, &text));
        Ok(())
    }
}

/// The largest numbers, the largest first. Configuration: how many, `{"n": 5}`; 3 without one.
pub struct Top(usize);

impl CombineFn for Top {
    type In = i64;
    type Accumulator = Vec<i64>;
    type Out = Vec<i64>;

    fn open(config: &str) -> Result<Self, Failure> {
        let digits: String = config.chars().filter(char::is_ascii_digit).collect();
        let count = if digits.is_empty() { Ok(3) } else { digits.parse() };
        count.map(Self).map_err(|_| Failure::new("CONFIG", "the number is too large"))
    }
    fn create(&self) -> Vec<i64> {
        Vec::new()
    }
    fn add(&self, top: &mut Vec<i64>, number: i64) -> Result<(), Failure> {
        if number < 0 {
            return Err(Failure::new("NEGATIVE", format!("{number} is negative")));
        }
        top.push(number);
        Ok(())
    }
    fn merge(&self, top: &mut Vec<i64>, other: Vec<i64>) {
        top.extend(other);
    }
    fn compact(&self, mut top: Vec<i64>) -> Vec<i64> {
        top.sort_unstable_by(|a, b| b.cmp(a));
        top.truncate(self.0);
        top
    }
    fn extract(&self, top: Vec<i64>) -> Vec<i64> {
        self.compact(top)
    }
}

/// Sessions: a window of ten milliseconds per element, merged where they overlap.
pub struct Sessions;

impl WindowFn for Sessions {
    type In = Vec<u8>;
    const MERGES: bool = true;

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }
    fn assign(&mut self, time: EventTime, _: Option<&[u8]>, windows: &mut Vec<Interval>) -> Result<(), Failure> {
        windows.push(Interval::new(time.0, time.0 + 10));
        Ok(())
    }
}

/// Two windows per element, as long as its value says and twice that.
pub struct Spans;

impl WindowFn for Spans {
    type In = Kv<String, i64>;
    const SEES_ELEMENTS: bool = true;

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }
    fn assign(
        &mut self,
        time: EventTime,
        element: Option<(&str, i64)>,
        windows: &mut Vec<Interval>,
    ) -> Result<(), Failure> {
        let (_, length) = element.filter(|(_, n)| *n > 0).ok_or(Failure::new("LENGTH", "there is no length"))?;
        windows.extend([1, 2].map(|n| Interval::new(time.0, time.0 + n * length)));
        Ok(())
    }
}

/// The first word of a line.
pub struct FirstWord;

impl KeySelector for FirstWord {
    type In = String;
    type Key = String;

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }
    fn key<'a>(&'a mut self, line: &'a str) -> Result<&'a str, Failure> {
        line.split_whitespace().next().ok_or(Failure::new("EMPTY", "the line has no word"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_udf::testing::{CombineKit, KeyKit, Kit, WindowKit};
    use thalweg_udf::{Element, Malformed};

    #[test]
    fn grouped_values_come_by_page_and_may_be_walked_over_again() -> Result<(), Box<dyn std::error::Error>> {
        let values: Vec<&[u8]> = [&b"abc"[..], b"", b"de"].repeat(7);
        let [long, short, none] = [&values[..], &[b"abcdef"], &[]].map(|v| Many::<Vec<u8>>::encoded(v.iter().copied()));
        let of = |bytes| Many::<Vec<u8>>::decode(bytes).map_err(|Malformed(what)| what);
        let rows = [("a", of(&long)?), ("b", of(&short)?), ("a", of(&none)?), ("bad", of(&long)?)];
        let mut kit = Kit::<Walks>::open("")?;
        kit.page_bytes(8);
        let outcome = kit.run(rows.map(|(key, values)| (EventTime(0), (key, values))))?;
        let texts: Vec<_> = outcome.elements(&WALKED)?.into_iter().map(|(_, (_, text))| text).collect();
        let expected = [
            "21 of 35 bytes, the first of 3, 21 again, 21 seen",
            "0 of 0 bytes, the first of 0, 0 again, 21 seen",
            "1 of 6 bytes, the first of 6, 1 again, 1 seen",
        ];
        assert_eq!((texts.as_slice(), outcome.failures().len()), (&expected[..], 1));
        let numbers = Many::<i64>::encoded([1, 300, 5]);
        let mut kit = Kit::<Total>::open("")?;
        kit.page_bytes(1);
        let outcome = kit.run([(EventTime(0), ("a", Many::<i64>::decode(&numbers).map_err(|e| e.0)?))])?;
        assert_eq!(outcome.elements(&TOTALS)?, [(EventTime(0), ("a", 306))]);
        Ok(())
    }

    #[test]
    fn the_largest_are_the_same_in_whatever_parts_they_come() -> Result<(), Failure> {
        let mut kit = CombineKit::<Top>::open("")?;
        assert_eq!(kit.combine([5, 1, 9, 7, 9, 2])?, [9, 9, 7]);
        assert_eq!(kit.combine([4])?, [4]);
        assert_eq!(kit.combine([])?, Vec::<i64>::new());
        assert_eq!(kit.combine([1, -1]).map_err(|f| f.code), Err("NEGATIVE".into()));
        assert_eq!(CombineKit::<Top>::open(r#"{"n": 1}"#)?.combine([5, 6])?, [6]);
        Ok(())
    }

    #[test]
    fn windows_are_assigned_and_merged() -> Result<(), Failure> {
        let mut kit = WindowKit::<Sessions>::open("")?;
        assert_eq!(kit.assign(EventTime(3), b"")?, [Interval::new(3, 13)]);
        let windows = [Interval::new(0, 10), Interval::new(50, 60), Interval::new(9, 19)];
        assert_eq!(kit.merge(&windows)?, [(Interval::new(0, 19), vec![0, 2]), (Interval::new(50, 60), vec![1])]);
        let mut kit = WindowKit::<Spans>::open("")?;
        assert_eq!(kit.assign(EventTime(1), ("k", 4))?, [Interval::new(1, 5), Interval::new(1, 9)]);
        assert_eq!(kit.assign(EventTime(1), ("k", 0)).map_err(|f| f.code), Err("LENGTH".into()));
        Ok(())
    }

    #[test]
    fn elements_get_their_keys() -> Result<(), Failure> {
        let mut kit = KeyKit::<FirstWord>::open("")?;
        assert_eq!(kit.keys(["to be", "or"])?, ["to", "or"]);
        assert_eq!(kit.keys(["x", " "]).map_err(|f| f.code), Err("EMPTY".into()));
        Ok(())
    }
}
