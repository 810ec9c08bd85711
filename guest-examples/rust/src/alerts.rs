//! Alerts that are limited in their rate: after an alert of a sensor there is silence for a while; what would have been an alert
//! meanwhile is told as one when the silence ends. In: pairs of sensor and reading.

use crate::{config, positive};
use serde::Deserialize;
use thalweg_udf::{
    Context, DoFn, Failure, Field, Fired, Kv, Malformed, Output, OutputSpec, Row, RowReader, RowWriter, SlotSpec,
    Timer, ValueSlot,
};

/// The alerts.
pub const ALERTS: Output<Alert<'static>> = Output::new(0, "alerts");
/// How many alerts were held back; there is a value while there is silence.
const MISSED: ValueSlot<i64> = ValueSlot::eager(0, "missed");
/// The largest reading of them.
const WORST: ValueSlot<f64> = ValueSlot::eager(1, "worst");
const SILENCE: Timer = Timer::event(0, "silence");

/// A reading over the limit, or several.
#[derive(Clone, PartialEq, Debug)]
pub struct Alert<'a> {
    /// Whose it is.
    pub sensor: &'a str,
    /// The reading, or the largest of them.
    pub value: f64,
    /// How many readings it stands for that were held back; 0 if it is the first.
    pub missed: i64,
}

impl Row for Alert<'static> {
    type View<'a> = Alert<'a>;
    const FIELDS: &'static [Field] =
        &[Field::of::<String>("sensor"), Field::of::<f64>("value"), Field::of::<i64>("missed")];

    fn read<'a>(from: &mut RowReader<'a>) -> Result<Alert<'a>, Malformed> {
        Ok(Alert { sensor: from.get::<String>()?, value: from.get::<f64>()?, missed: from.get::<i64>()? })
    }
    fn write(row: &Alert<'_>, to: &mut RowWriter<'_>) {
        to.put::<String>(&row.sensor);
        to.put::<f64>(&row.value);
        to.put::<i64>(&row.missed);
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct Config {
    limit: f64,
    silence_ms: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self { limit: 30.0, silence_ms: 60_000 }
    }
}

/// Tells what is over the limit.
pub struct Alerts {
    limit: f64,
    silence: i64,
}

impl DoFn for Alerts {
    type In = Kv<String, f64>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&ALERTS];
    const SLOTS: &'static [&'static dyn SlotSpec] = &[&MISSED, &WORST];
    const TIMERS: &'static [Timer] = &[SILENCE];

    fn open(text: &str) -> Result<Self, Failure> {
        let Config { limit, silence_ms } = config(text)?;
        Ok(Self { limit, silence: positive("silence_ms", silence_ms)? })
    }

    fn process(&mut self, (sensor, value): (&str, f64), ctx: &mut Context) -> Result<(), Failure> {
        if value <= self.limit {
            return Ok(());
        }
        if let Some(missed) = ctx.get(&MISSED)? {
            ctx.set(&MISSED, missed + 1);
            let worst = ctx.get(&WORST)?.map_or(value, |worst| worst.max(value));
            ctx.set(&WORST, worst);
            return Ok(());
        }
        let until = ctx.time().0 + self.silence;
        ctx.emit(&ALERTS, Alert { sensor, value, missed: 0 });
        ctx.set(&MISSED, 0);
        ctx.timer(&SILENCE).set(until);
        Ok(())
    }

    fn on_timer(&mut self, timer: Fired<'_>, ctx: &mut Context) -> Result<(), Failure> {
        let (missed, worst) = (ctx.get(&MISSED)?.unwrap_or(0), ctx.get(&WORST)?);
        ctx.clear(&WORST);
        let Some(value) = worst else {
            ctx.clear(&MISSED);
            return Ok(());
        };
        ctx.emit(&ALERTS, Alert { sensor: timer.key::<String>()?, value, missed });
        ctx.set(&MISSED, 0);
        ctx.timer(&SILENCE).set(timer.fire_ms() + self.silence);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_udf::EventTime;
    use thalweg_udf::testing::Kit;

    #[test]
    fn one_alert_stands_for_what_was_held_back() -> Result<(), Failure> {
        let mut kit = Kit::<Alerts>::open("")?;
        let readings = [(0, 31.5), (10, 30.0), (20, 40.0), (30, 33.0)].map(|(t, v)| (EventTime(t), ("s", v)));
        let first = kit.run(readings)?;
        assert_eq!(first.elements(&ALERTS)?, [(EventTime(0), Alert { sensor: "s", value: 31.5, missed: 0 })]);
        let later = kit.advance_watermark(EventTime(60_000))?;
        assert_eq!(later.elements(&ALERTS)?, [(EventTime(60_000), Alert { sensor: "s", value: 40.0, missed: 2 })]);
        assert!(kit.advance_watermark(EventTime(999_000))?.elements(&ALERTS)?.is_empty());
        assert!(kit.timers().is_empty(), "silence ends");
        let again = kit.run([(EventTime(999_000), ("s", 31.0))])?;
        assert_eq!(again.elements(&ALERTS)?.len(), 1);
        Ok(())
    }
}
