//! Timers of both clocks, by commands: `event 100`, `event 100 tag`, `event 100 tag 50` (the time of what it puts out),
//! `processing 5`, `clear tag`; the end of windows; and a function that gathers elements until its bundle ends.

use thalweg_udf::{
    BundleContext, Context, DoFn, EventTime, Expired, Failure, Fired, Kv, Output, OutputSpec, SlotSpec, Timer,
    ValueSlot, Window,
};

/// What fired.
pub const FIRED: Output<Kv<String, String>> = Output::new(0, "fired");
const EVENT: Timer = Timer::event(0, "event");
const CLOCK: Timer = Timer::processing(1, "clock");
const SEEN: ValueSlot<i64> = ValueSlot::eager(0, "seen");

/// Sets timers.
pub struct Timers;

fn number(text: Option<&str>) -> Result<i64, Failure> {
    let number = text.and_then(|text| text.parse().ok());
    number.ok_or_else(|| Failure::new("NUMBER", format!("{text:?} is no number")))
}

impl DoFn for Timers {
    type In = Kv<String, String>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&FIRED];
    const SLOTS: &'static [&'static dyn SlotSpec] = &[&SEEN];
    const TIMERS: &'static [Timer] = &[EVENT, CLOCK];
    const EXPIRES: bool = true;

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, (_, command): (&str, &str), ctx: &mut Context) -> Result<(), Failure> {
        let seen = ctx.get(&SEEN)?.unwrap_or(0);
        ctx.set(&SEEN, seen + 1);
        let mut words = command.split(' ');
        match words.next() {
            Some("event") => {
                let (at, tag) = (number(words.next())?, words.next().unwrap_or_default());
                let timer = ctx.timer(&EVENT).tag(tag);
                match words.next() {
                    None => timer.set(at),
                    Some(hold) => timer.output_at(EventTime(number(Some(hold))?)).set(at),
                }
            }
            Some("processing") => ctx.timer(&CLOCK).set(number(words.next())?),
            Some("clear") => ctx.timer(&EVENT).tag(words.next().unwrap_or_default()).clear(),
            Some("fail") => {
                ctx.timer(&EVENT).set(1);
                return Err(Failure::new("FAIL", "as it was told"));
            }
            _ => return Err(Failure::new("COMMAND", format!("{command:?} is no command"))),
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: Fired<'_>, ctx: &mut Context) -> Result<(), Failure> {
        let family = if timer.is(&EVENT) { "event" } else { "clock" };
        let seen = ctx.get(&SEEN)?.unwrap_or(0);
        if timer.tag() == "again" && timer.fire_ms() < 1000 {
            ctx.timer(&EVENT).tag("again").set(timer.fire_ms() + 500);
        }
        let text = format!("{family} {:?} at {} time {} seen {seen}", timer.tag(), timer.fire_ms(), ctx.time().0);
        ctx.emit(&FIRED, (timer.key::<String>()?, &text));
        Ok(())
    }

    fn on_window_expiration(&mut self, expired: Expired<'_>, ctx: &mut Context) -> Result<(), Failure> {
        let text = format!("over seen {}", ctx.get(&SEEN)?.unwrap_or(0));
        ctx.emit(&FIRED, (expired.key::<String>()?, &text));
        Ok(())
    }
}

/// The sums.
pub const SUMS: Output<i64> = Output::new(0, "sums");

/// Sums up the numbers of a bundle.
pub struct Buffer {
    sum: Option<i64>,
}

impl DoFn for Buffer {
    type In = i64;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&SUMS];
    const BUNDLES: bool = true;

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self { sum: None })
    }

    fn process(&mut self, number: i64, _ctx: &mut Context) -> Result<(), Failure> {
        let sum = self.sum.as_mut().ok_or(Failure::new("NO_BUNDLE", "an element outside of a bundle"))?;
        *sum += number;
        Ok(())
    }

    fn start_bundle(&mut self, _ctx: &mut BundleContext<'_>) -> Result<(), Failure> {
        self.sum = Some(0);
        Ok(())
    }

    fn finish_bundle(&mut self, ctx: &mut BundleContext<'_>) -> Result<(), Failure> {
        if let Some(sum) = self.sum.take() {
            ctx.emit(&SUMS, EventTime(5), &Window::Global, sum);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_udf::Interval;
    use thalweg_udf::testing::{Kit, Outcome};

    fn texts(outcome: &Outcome) -> Result<Vec<String>, Failure> {
        Ok(outcome
            .elements(&FIRED)?
            .into_iter()
            .map(|(time, (key, text))| format!("{key}@{}: {text}", time.0))
            .collect())
    }

    #[test]
    fn timers_fire_in_order_once_and_where_they_were_set() -> Result<(), Failure> {
        let mut kit = Kit::<Timers>::open("")?;
        let window = Window::Interval(Interval::new(0, 5000));
        let commands =
            ["event 300", "event 100 x", "event 200 y 50", "event 100 gone", "clear gone", "fail", "processing 9"];
        let outcome = kit.run_in(&window, commands.map(|command| (EventTime(10), ("k", command))))?;
        assert_eq!(outcome.failures().len(), 1);
        assert_eq!(kit.timers().len(), 4);
        let fired = kit.advance_watermark(EventTime(250))?;
        assert_eq!(
            texts(&fired)?,
            ["k@100: event \"x\" at 100 time 100 seen 6", "k@50: event \"y\" at 200 time 50 seen 6"]
        );
        assert!(texts(&kit.advance_clock(8)?)?.is_empty());
        assert_eq!(texts(&kit.advance_clock(9)?)?, ["k@10: clock \"\" at 9 time 10 seen 6"]);
        kit.run_in(&window, [(EventTime(10), ("k", "event 400"))])?; // moves the one at 300
        let fired = kit.advance_watermark(EventTime(4999))?;
        assert_eq!(texts(&fired)?, ["k@400: event \"\" at 400 time 400 seen 7"]);
        assert_eq!(texts(&kit.advance_watermark(EventTime(5000))?)?, ["k@4999: over seen 7"]);
        assert!(texts(&kit.advance_watermark(EventTime(6000))?)?.is_empty());
        Ok(())
    }

    #[test]
    fn a_timer_may_set_itself_again() -> Result<(), Failure> {
        let mut kit = Kit::<Timers>::open("")?;
        kit.run([(EventTime(0), ("k", "event 100 again"))])?;
        let fired = kit.advance_watermark(EventTime(2000))?;
        let times: Vec<i64> = fired.elements(&FIRED)?.iter().map(|(time, _)| time.0).collect();
        assert_eq!(times, [100, 600, 1100]);
        Ok(())
    }

    #[test]
    fn what_a_bundle_gathers_leaves_when_it_ends() -> Result<(), Failure> {
        let mut kit = Kit::<Buffer>::open("")?;
        for _ in 0..2 {
            let outcome = kit.run([1, 2, 3].map(|n| (EventTime(0), n)))?;
            assert_eq!(outcome.windowed(&SUMS)?, [(EventTime(5), vec![Window::Global], 6)]);
        }
        Ok(())
    }
}
