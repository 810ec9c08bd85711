//! All kinds of state, by commands: `map.put a 1`, `multi.get k`, `fail set.add x`. What is asked for comes out as a text.

use thalweg_udf::{
    BagSlot, CombineFn, CombiningSlot, Context, DoFn, EventTime, Failure, Kv, MapSlot, MultimapSlot, OrderedListSlot,
    Output, OutputSpec, SetSlot, SlotSpec, ValueSlot,
};

/// The answers.
pub const ANSWERS: Output<Kv<String, String>> = Output::new(0, "answers");
const VALUE: ValueSlot<String> = ValueSlot::lazy(0, "value");
const SUM: CombiningSlot<Sum> = CombiningSlot::eager(1, "sum");
const BAG: BagSlot<String> = BagSlot::new(2, "bag");
const MAP: MapSlot<String, i64> = MapSlot::new(3, "map");
const SET: SetSlot<String> = SetSlot::new(4, "set");
const MULTI: MultimapSlot<String, String> = MultimapSlot::new(5, "multi");
const LIST: OrderedListSlot<String> = OrderedListSlot::new(6, "list");

/// A sum.
#[derive(Default)]
pub struct Sum;

impl CombineFn for Sum {
    type In = i64;
    type Accumulator = i64;
    type Out = i64;

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }
    fn create(&self) -> i64 {
        0
    }
    fn add(&self, sum: &mut i64, value: i64) -> Result<(), Failure> {
        *sum = sum.checked_add(value).ok_or(Failure::new("OVERFLOW", "the sum is too large"))?;
        Ok(())
    }
    fn merge(&self, sum: &mut i64, other: i64) {
        *sum = sum.wrapping_add(other);
    }
    fn extract(&self, sum: i64) -> i64 {
        sum
    }
}

/// Runs commands on its state.
pub struct Ledger;

impl DoFn for Ledger {
    type In = Kv<String, String>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&ANSWERS];
    const SLOTS: &'static [&'static dyn SlotSpec] = &[&VALUE, &SUM, &BAG, &MAP, &SET, &MULTI, &LIST];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, (key, command): (&str, &str), ctx: &mut Context) -> Result<(), Failure> {
        for command in command.split("; ") {
            let (command, fails) = match command.strip_prefix("fail ") {
                Some(command) => (command, true),
                None => (command, false),
            };
            let mut words = command.split(' ');
            let verb = words.next().unwrap_or_default();
            let (a, b) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let answer = match verb.split_once('.') {
                Some(("map", verb)) => map(ctx, verb, a, b)?,
                Some(("list", verb)) => list(ctx, verb, a, b)?,
                Some((kind, verb)) => rest(ctx, kind, verb, a, b)?,
                None => return Err(unknown(verb)),
            };
            if let Some(answer) = answer {
                ctx.emit(&ANSWERS, (key, &answer));
            }
            if fails {
                return Err(Failure::new("FAIL", "as it was told"));
            }
        }
        Ok(())
    }
}

fn unknown(verb: &str) -> Failure {
    Failure::new("COMMAND", format!("{verb:?} is no command"))
}

fn number(text: &str) -> Result<i64, Failure> {
    text.parse().map_err(|_| Failure::new("NUMBER", format!("{text:?} is no number")))
}

type Answer = Result<Option<String>, Failure>;

fn map(ctx: &mut Context, verb: &str, a: &str, b: &str) -> Answer {
    let mut map = ctx.map(&MAP);
    match verb {
        "put" => map.put(a, number(b)?),
        "remove" => map.remove(a),
        "clear" => map.clear(),
        "fetch" => map.prefetch([a, b]),
        "has" => return Ok(Some(map.contains(a).to_string())),
        "get" => return Ok(Some(format!("{:?}", map.get(a)?))),
        "all" => return Ok(Some(format!("{:?}", map.entries().iter().collect::<Result<Vec<_>, _>>()?))),
        _ => return Err(unknown(verb)),
    }
    Ok(None)
}

fn list(ctx: &mut Context, verb: &str, a: &str, b: &str) -> Answer {
    let mut list = ctx.ordered_list(&LIST);
    match verb {
        "add" => list.add(EventTime(number(a)?), b),
        "drop" => list.remove_range(EventTime(number(a)?), EventTime(number(b)?)),
        "clear" => list.clear(),
        "range" | "all" => {
            let all = if verb == "all" { list.all() } else { list.range(EventTime(number(a)?), EventTime(number(b)?)) };
            let texts = all.iter().map(|item| item.map(|(time, text)| format!("{}:{text}", time.0)));
            return Ok(Some(texts.collect::<Result<Vec<_>, _>>()?.join(",")));
        }
        _ => return Err(unknown(verb)),
    }
    Ok(None)
}

fn rest(ctx: &mut Context, kind: &str, verb: &str, a: &str, b: &str) -> Answer {
    match (kind, verb) {
        ("value", "set") => ctx.set(&VALUE, a),
        ("value", "clear") => ctx.clear(&VALUE),
        ("value", "get") => return Ok(Some(format!("{:?}", ctx.get(&VALUE)?))),
        ("sum", "add") => ctx.combine(&SUM, number(a)?)?,
        ("sum", "clear") => ctx.clear(&SUM),
        ("sum", "get") => return Ok(Some(ctx.combined(&SUM)?.to_string())),
        ("bag", "add") => ctx.add(&BAG, a),
        ("bag", "clear") => ctx.clear(&BAG),
        ("bag", "all") => return Ok(Some(ctx.items(&BAG).collect::<Result<Vec<_>, _>>()?.join(","))),
        ("bag", "walk") => {
            let (mut walk, mut texts) = (ctx.walk(&BAG), Vec::new());
            while let Some(text) = walk.next() {
                texts.push(text?.to_owned());
            }
            return Ok(Some(texts.join(",")));
        }
        // what is added on the way is not in the walk
        ("bag", "sizes") => {
            let (mut walk, mut count, mut bytes) = (ctx.walk(&BAG), 0, 0);
            while let Some(text) = walk.next() {
                bytes += text?.len();
                count += 1;
                if count == 1 {
                    ctx.add(&BAG, a);
                }
            }
            return Ok(Some(format!("{count} of {bytes} bytes")));
        }
        ("set", "add") => ctx.set_of(&SET).insert(a),
        ("set", "remove") => ctx.set_of(&SET).remove(a),
        ("set", "clear") => ctx.clear(&SET),
        ("set", "has") => return Ok(Some(ctx.set_of(&SET).contains(a).to_string())),
        ("set", "all") => {
            let all = ctx.set_of(&SET).elements();
            return Ok(Some(all.iter().map(|e| e.map(|(text, _)| text)).collect::<Result<Vec<_>, _>>()?.join(",")));
        }
        ("multi", "add") => ctx.multimap(&MULTI).add(a, b),
        ("multi", "remove") => ctx.multimap(&MULTI).remove(a),
        ("multi", "clear") => ctx.multimap(&MULTI).clear(),
        ("multi", "get") => return Ok(Some(ctx.multimap(&MULTI).get(a).collect::<Result<Vec<_>, _>>()?.join(","))),
        ("multi", "all") => {
            let (all, mut texts) = (ctx.multimap(&MULTI).entries(), Vec::new());
            for entry in all.iter() {
                let (key, values) = entry?;
                texts.push(format!("{key}:{}", values.collect::<Result<Vec<_>, _>>()?.join("+")));
            }
            return Ok(Some(texts.join(",")));
        }
        _ => return Err(unknown(verb)),
    }
    Ok(None)
}

/// Elements of key and command, and the answers that have to come of them, in order.
pub type Batch = (&'static [(&'static str, &'static str)], &'static [&'static str]);

/// Batches that follow each other.
pub const SCRIPT: &[Batch] = &[
    (
        &[
            ("a", "value.set one; sum.add 4; bag.add x; bag.add y; map.put m 1; map.put n 2; set.add s; set.add t"),
            ("a", "multi.add k 1; multi.add k 2; multi.add l 3; list.add 20 late; list.add 10 early; list.add 10 twin"),
            ("a", "value.get; sum.get; bag.all; map.all; set.all; multi.all; list.all"),
            ("b", "value.get; sum.get; bag.all; map.get m; set.has s; multi.get k; list.range 0 99"),
        ],
        &[
            "Some(\"one\")",
            "4",
            "x,y",
            "[(\"m\", 1), (\"n\", 2)]",
            "s,t",
            "k:1+2,l:3",
            "10:early,10:twin,20:late",
            "None",
            "0",
            "",
            "None",
            "false",
            "",
            "",
        ],
    ),
    (
        &[
            ("a", "fail value.set bad; sum.get"),
            (
                "a",
                "sum.add 5; bag.add bad; map.put m 9; map.remove n; set.clear; multi.add k bad; list.drop 0 15; fail multi.clear",
            ),
            ("a", "value.get; sum.get; bag.all; map.all; set.all; multi.all; list.all"),
            (
                "a",
                "map.fetch m zz; map.get m; map.get zz; map.remove m; map.put o 3; map.all; multi.add k 4; multi.get k",
            ),
            ("a", "list.drop 0 15; list.add 12 new; list.all; set.remove s; set.has s; multi.remove l; fail map.clear"),
            (
                "a",
                "list.drop 0 15; list.add 12 new; list.all; set.remove s; set.has s; multi.remove l; value.clear; bag.clear",
            ),
        ],
        &[
            "Some(\"one\")",
            "4",
            "x,y",
            "[(\"m\", 1), (\"n\", 2)]",
            "s,t",
            "k:1+2,l:3",
            "10:early,10:twin,20:late",
            "Some(1)",
            "None",
            "[(\"n\", 2), (\"o\", 3)]",
            "1,2,4",
            "12:new,20:late",
            "false",
        ],
    ),
    (
        &[
            ("a", "value.get; sum.get; bag.all; map.all; set.all; multi.all; list.all"),
            (
                "a",
                "map.clear; map.put p 5; map.all; multi.clear; multi.add k z; multi.all; sum.clear; sum.get; list.range 12 20",
            ),
            ("a", "list.clear; list.all; map.has n; map.has p"),
        ],
        &[
            "None",
            "4",
            "",
            "[(\"n\", 2), (\"o\", 3)]",
            "t",
            "k:1+2+4",
            "12:new,20:late",
            "[(\"p\", 5)]",
            "k:z",
            "0",
            "12:new",
            "",
            "false",
            "true",
        ],
    ),
    (&[("a", "map.all; multi.all; list.all; sum.get")], &["[(\"p\", 5)]", "k:z", "", "0"]),
];

/// Batches that read a bag by page, which functions of an earlier contract did not. `sizes` adds what it is told to while it walks.
pub const WALKS: &[Batch] = &[
    (
        &[
            ("a", "bag.walk; bag.add 1; bag.add 2; bag.walk; bag.add 3"),
            ("a", "bag.add bad; fail bag.walk"),
            ("a", "bag.walk"),
            ("b", "bag.walk; bag.add z; bag.sizes y; bag.walk"),
            ("c", "bag.walk"),
        ],
        &["", "1,2", "1,2,3", "", "1 of 1 bytes", "z,y", ""],
    ),
    (
        &[
            ("a", "bag.add 4; bag.walk; fail bag.clear"),
            ("a", "bag.add 5; bag.add 6; bag.add 7; bag.walk; bag.all; bag.walk; bag.sizes 8"),
            ("b", "bag.clear; bag.walk; bag.add x; bag.walk"),
        ],
        &["1,2,3,5,6,7", "1,2,3,5,6,7", "1,2,3,5,6,7", "6 of 6 bytes", "", "x"],
    ),
    (&[("a", "bag.walk; bag.clear; bag.walk"), ("b", "bag.walk")], &["1,2,3,5,6,7,8", "", "x"]),
    (&[("a", "bag.walk")], &[""]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_udf::testing::Kit;

    #[test]
    fn every_kind_of_state_is_kept_by_key_and_a_failed_element_leaves_none() -> Result<(), Failure> {
        for script in [SCRIPT, WALKS] {
            let mut kit = Kit::<Ledger>::open("")?;
            for (batch, expected) in script {
                let outcome = kit.run(batch.iter().map(|element| (EventTime(0), *element)))?;
                let answers: Vec<_> = outcome.elements(&ANSWERS)?.into_iter().map(|(_, (_, answer))| answer).collect();
                assert_eq!(answers, *expected);
            }
        }
        Ok(())
    }

    #[test]
    fn several_keys_of_a_map_are_fetched_by_one_call() -> Result<(), Failure> {
        let mut kit = Kit::<Ledger>::open("")?;
        kit.run([(EventTime(0), ("a", "map.put m 1; map.put n 2"))])?;
        let before = kit.state_calls();
        kit.run([(EventTime(0), ("a", "map.fetch m n; map.get m; map.get n"))])?;
        assert_eq!(kit.state_calls() - before, 1);
        Ok(())
    }
}
