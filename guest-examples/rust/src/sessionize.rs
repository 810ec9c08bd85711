//! Sessions of a user, made by state and timers: events that follow each other within a gap belong together. In: pairs of
//! user and amount. Out: a row per session, when it is over.

use crate::{config, positive};
use serde::Deserialize;
use thalweg_udf::{
    Context, DoFn, EventTime, Failure, Field, Fired, Kv, Malformed, OrderedListSlot, Output, OutputSpec, Row,
    RowReader, RowWriter, SlotSpec, Timer, ValueSlot,
};

/// The sessions.
pub const SESSIONS: Output<Session<'static>> = Output::new(0, "sessions");
/// When the timer is set for.
const NEXT: ValueSlot<i64> = ValueSlot::eager(0, "next");
/// The amounts of the events, by their time.
const SEEN: OrderedListSlot<i64> = OrderedListSlot::new(1, "seen");
const GAP: Timer = Timer::event(0, "gap");

/// Events of one user without a gap between them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session<'a> {
    /// Whose they are.
    pub user: &'a str,
    /// Time of the first.
    pub start: i64,
    /// Time of the last, and the gap behind it.
    pub end: i64,
    /// How many there are.
    pub events: i64,
    /// Sum of their amounts.
    pub total: i64,
}

impl Row for Session<'static> {
    type View<'a> = Session<'a>;
    const FIELDS: &'static [Field] = &[
        Field::of::<String>("user"),
        Field::of::<i64>("start"),
        Field::of::<i64>("end"),
        Field::of::<i64>("events"),
        Field::of::<i64>("total"),
    ];

    fn read<'a>(from: &mut RowReader<'a>) -> Result<Session<'a>, Malformed> {
        Ok(Session {
            user: from.get::<String>()?,
            start: from.get::<i64>()?,
            end: from.get::<i64>()?,
            events: from.get::<i64>()?,
            total: from.get::<i64>()?,
        })
    }
    fn write(row: &Session<'_>, to: &mut RowWriter<'_>) {
        to.put::<String>(&row.user);
        to.put::<i64>(&row.start);
        to.put::<i64>(&row.end);
        to.put::<i64>(&row.events);
        to.put::<i64>(&row.total);
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct Config {
    gap_ms: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self { gap_ms: 5000 }
    }
}

/// Makes sessions.
pub struct Sessionize {
    gap: i64,
}

impl DoFn for Sessionize {
    type In = Kv<String, i64>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&SESSIONS];
    const SLOTS: &'static [&'static dyn SlotSpec] = &[&NEXT, &SEEN];
    const TIMERS: &'static [Timer] = &[GAP];

    fn open(text: &str) -> Result<Self, Failure> {
        let Config { gap_ms } = config(text)?;
        Ok(Self { gap: positive("gap_ms", gap_ms)? })
    }

    fn process(&mut self, (_, amount): (&str, i64), ctx: &mut Context) -> Result<(), Failure> {
        if amount < 0 {
            return Err(Failure::new("AMOUNT", format!("{amount} is negative")));
        }
        let (time, due) = (ctx.time(), ctx.time().0 + self.gap);
        ctx.ordered_list(&SEEN).add(time, amount);
        if ctx.get(&NEXT)?.is_none_or(|next| due < next) {
            self.wait(due, ctx);
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: Fired<'_>, ctx: &mut Context) -> Result<(), Failure> {
        let user = timer.key::<String>()?;
        ctx.clear(&NEXT);
        let seen = ctx.ordered_list(&SEEN).all();
        let seen = seen.iter().collect::<Result<Vec<_>, _>>()?;
        for events in seen.chunk_by(|a, b| b.0.0 - a.0.0 < self.gap) {
            let [(first, _), ..] = events else { continue };
            let last = events.last().map_or(first.0, |(time, _)| time.0);
            let end = last + self.gap;
            if end > timer.fire_ms() {
                self.wait(end, ctx);
                break;
            }
            ctx.ordered_list(&SEEN).remove_range(*first, EventTime(last + 1));
            let total = events.iter().map(|(_, amount)| amount).sum();
            ctx.emit(&SESSIONS, Session { user, start: first.0, end, events: events.len() as i64, total });
        }
        Ok(())
    }
}

impl Sessionize {
    fn wait(&self, due: i64, ctx: &mut Context) {
        ctx.timer(&GAP).set(due);
        ctx.set(&NEXT, due);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_udf::testing::Kit;

    #[test]
    fn sessions_leave_when_they_are_over_in_whatever_order_their_events_came() -> Result<(), Failure> {
        let mut kit = Kit::<Sessionize>::open("")?;
        let events = [(9000, 3), (1000, 1), (3000, 2)].map(|(time, n)| (EventTime(time), ("ann", n)));
        assert!(kit.run(events)?.elements(&SESSIONS)?.is_empty());
        let session = |start, end, events, total| Session { user: "ann", start, end, events, total };
        let over = kit.advance_watermark(EventTime(13_999))?;
        assert_eq!(over.elements(&SESSIONS)?, [(EventTime(8000), session(1000, 8000, 2, 3))]);
        let over = kit.advance_watermark(EventTime(14_000))?;
        assert_eq!(over.elements(&SESSIONS)?, [(EventTime(14_000), session(9000, 14_000, 1, 3))]);
        assert!(kit.timers().is_empty());
        let failed = kit.run([(EventTime(20_000), ("ann", -1))])?;
        assert_eq!(failed.failures()[0].1.code, "AMOUNT");
        assert!(Kit::<Sessionize>::open(r#"{"gap_ms": 0}"#).is_err());
        Ok(())
    }
}
