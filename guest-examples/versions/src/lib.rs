//! Versions of one function that counts per key: what takes its place in a running job and what does not, what fails, what keeps
//! more. In: pairs of key and text. Out: texts `KEY COUNT VERSION`; the stateless ones take and give texts.

use thalweg_udf::{Context, DoFn, Failure, Fired, Kv, Output, OutputSpec, SlotSpec, Timer, ValueSlot};

const COUNTS: Output<String> = Output::new(0, "counts");
const SEEN: ValueSlot<i64> = ValueSlot::eager(0, "n");

/// Counts an element of a key and says which version did.
fn count(key: &str, version: &str, ctx: &mut Context) -> Result<i64, Failure> {
    let seen = ctx.get(&SEEN)?.unwrap_or(0) + 1;
    ctx.set(&SEEN, seen);
    ctx.emit(&COUNTS, &format!("{key} {seen} {version}"));
    Ok(seen)
}

/// The first version. Its configuration, if it has any, stands for its name.
struct One(String);

impl DoFn for One {
    type In = Kv<String, String>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&COUNTS];
    const SLOTS: &'static [&'static dyn SlotSpec] = &[&SEEN];

    fn open(config: &str) -> Result<Self, Failure> {
        match config {
            "" | "{}" => Ok(Self("one".to_owned())),
            "\"bad\"" => Err(Failure::new("BAD", "a configuration that no version takes")),
            other => Ok(Self(other.trim_matches('"').to_owned())),
        }
    }

    fn process(&mut self, (key, _): (&str, &str), ctx: &mut Context) -> Result<(), Failure> {
        count(key, &self.0, ctx).map(drop)
    }
}

/// The second version.
struct Two;

impl DoFn for Two {
    type In = Kv<String, String>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&COUNTS];
    const SLOTS: &'static [&'static dyn SlotSpec] = &[&SEEN];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, (key, _): (&str, &str), ctx: &mut Context) -> Result<(), Failure> {
        count(key, "two", ctx).map(drop)
    }
}

/// A version that traps.
struct Traps;

impl DoFn for Traps {
    type In = Kv<String, String>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&COUNTS];
    const SLOTS: &'static [&'static dyn SlotSpec] = &[&SEEN];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, (key, _): (&str, &str), ctx: &mut Context) -> Result<(), Failure> {
        count(key, "trapping", ctx)?;
        std::process::abort()
    }
}

const LAST: ValueSlot<String> = ValueSlot::lazy(1, "last");
const LATER: Timer = Timer::processing(0, "later");

/// A version that keeps more, and sets timers.
struct More;

impl DoFn for More {
    type In = Kv<String, String>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&COUNTS];
    const SLOTS: &'static [&'static dyn SlotSpec] = &[&SEEN, &LAST];
    const TIMERS: &'static [Timer] = &[LATER];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, (key, value): (&str, &str), ctx: &mut Context) -> Result<(), Failure> {
        let seen = count(key, "more", ctx)?;
        ctx.set(&LAST, &format!("{value}@{seen}"));
        let now = ctx.now_ms();
        ctx.timer(&LATER).set(now);
        Ok(())
    }

    fn on_timer(&mut self, timer: Fired<'_>, ctx: &mut Context) -> Result<(), Failure> {
        let key = timer.key::<String>()?.to_owned();
        let last = ctx.get(&LAST)?.map(|text| text.to_owned()).unwrap_or_default();
        ctx.emit(&COUNTS, &format!("{key} {last} later"));
        Ok(())
    }
}

const SEEN_AS_TEXT: ValueSlot<String> = ValueSlot::eager(0, "n");

/// A version that keeps its count in another form.
struct Texts;

impl DoFn for Texts {
    type In = Kv<String, String>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&COUNTS];
    const SLOTS: &'static [&'static dyn SlotSpec] = &[&SEEN_AS_TEXT];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, (key, _): (&str, &str), ctx: &mut Context) -> Result<(), Failure> {
        let seen = ctx.get(&SEEN_AS_TEXT)?.map(|text| text.to_owned()).unwrap_or_default() + "I";
        ctx.set(&SEEN_AS_TEXT, &seen);
        ctx.emit(&COUNTS, &format!("{key} {seen} texts"));
        Ok(())
    }
}

/// A version that keeps nothing: one of several, by its configuration.
struct Plain(String);

impl DoFn for Plain {
    type In = Kv<String, String>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&COUNTS];

    fn open(config: &str) -> Result<Self, Failure> {
        Ok(Self(config.trim_matches('"').to_owned()))
    }

    fn process(&mut self, (key, value): (&str, &str), ctx: &mut Context) -> Result<(), Failure> {
        if self.0 == "traps" {
            std::process::abort();
        }
        ctx.emit(&COUNTS, &format!("{key} {value} plain{}", self.0));
        Ok(())
    }
}

thalweg_udf::export!(
    "one" => One,
    "two" => Two,
    "traps" => Traps,
    "more" => More,
    "texts" => Texts,
    "plain" => Plain
);
