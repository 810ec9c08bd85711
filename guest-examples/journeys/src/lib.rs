//! Functions for tests of pipeline files: rows that say their own event time, and destinations of flights that are counted in map
//! state until a timer tells them.

use thalweg_udf::{
    Context, DoFn, EventTime, Failure, Field, Fired, Kv, Malformed, MapSlot, Output, OutputSpec, Row, RowReader,
    RowWriter, SlotSpec, Timer, ValueSlot,
};

/// Something that happened.
#[derive(PartialEq, Eq, Debug)]
pub struct Event<'a> {
    /// To whom.
    pub who: &'a str,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// How much.
    pub n: i64,
}

impl Row for Event<'static> {
    type View<'a> = Event<'a>;
    const FIELDS: &'static [Field] = &[Field::of::<String>("who"), Field::of::<i64>("at"), Field::of::<i64>("n")];

    fn read<'a>(from: &mut RowReader<'a>) -> Result<Event<'a>, Malformed> {
        Ok(Event { who: from.get::<String>()?, at: from.get::<i64>()?, n: from.get::<i64>()? })
    }
    fn write(row: &Event<'_>, to: &mut RowWriter<'_>) {
        to.put::<String>(&row.who);
        to.put::<i64>(&row.at);
        to.put::<i64>(&row.n);
    }
}

/// Events at their time.
pub const STAMPED: Output<Event<'static>> = Output::new(0, "stamped");

/// Gives events the time that they say.
pub struct Stamp;

impl DoFn for Stamp {
    type In = Event<'static>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&STAMPED];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, event: Event<'_>, ctx: &mut Context) -> Result<(), Failure> {
        let at = EventTime(event.at);
        ctx.emit_at(&STAMPED, at, event);
        Ok(())
    }
}

/// A flight, as far as it is looked at.
#[derive(PartialEq, Eq, Debug)]
pub struct Flight<'a> {
    /// Where it went.
    pub dest: &'a str,
    /// Minutes of delay at departure.
    pub dep_delay: i64,
}

impl Row for Flight<'static> {
    type View<'a> = Flight<'a>;
    const FIELDS: &'static [Field] = &[Field::of::<String>("dest"), Field::of::<i64>("dep_delay")];

    fn read<'a>(from: &mut RowReader<'a>) -> Result<Flight<'a>, Malformed> {
        Ok(Flight { dest: from.get::<String>()?, dep_delay: from.get::<i64>()? })
    }
    fn write(row: &Flight<'_>, to: &mut RowWriter<'_>) {
        to.put::<String>(&row.dest);
        to.put::<i64>(&row.dep_delay);
    }
}

/// What is told of a day.
#[derive(PartialEq, Eq, Debug)]
pub struct Told<'a> {
    /// The day, counted from 1970.
    pub day: i64,
    /// Where flights went.
    pub dest: &'a str,
    /// How many.
    pub flights: i64,
    /// Sum of their delays.
    pub delay: i64,
}

impl Row for Told<'static> {
    type View<'a> = Told<'a>;
    const FIELDS: &'static [Field] =
        &[Field::of::<i64>("day"), Field::of::<String>("dest"), Field::of::<i64>("flights"), Field::of::<i64>("delay")];

    fn read<'a>(from: &mut RowReader<'a>) -> Result<Told<'a>, Malformed> {
        Ok(Told {
            day: from.get::<i64>()?,
            dest: from.get::<String>()?,
            flights: from.get::<i64>()?,
            delay: from.get::<i64>()?,
        })
    }
    fn write(row: &Told<'_>, to: &mut RowWriter<'_>) {
        to.put::<i64>(&row.day);
        to.put::<String>(&row.dest);
        to.put::<i64>(&row.flights);
        to.put::<i64>(&row.delay);
    }
}

/// What the days' ends tell.
pub const TOLD: Output<Kv<String, Told<'static>>> = Output::new(0, "told");
/// Flights that were very late, at once.
pub const LATE: Output<Kv<String, i64>> = Output::new(1, "late");
const FLIGHTS: MapSlot<String, i64> = MapSlot::new(0, "flights");
const DELAYS: MapSlot<String, i64> = MapSlot::new(1, "delays");
const SEEN: ValueSlot<i64> = ValueSlot::eager(2, "seen");
const DAY: Timer = Timer::event(0, "day");
const DAY_MS: i64 = 86_400_000;

/// Counts the destinations of a carrier day by day; a timer per day tells them and forgets them. Delays over a limit are told at once:
/// configuration `{"late": 300}` in minutes, 300 without it.
pub struct Destinations(i64);

impl DoFn for Destinations {
    type In = Kv<String, Flight<'static>>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&TOLD, &LATE];
    const SLOTS: &'static [&'static dyn SlotSpec] = &[&FLIGHTS, &DELAYS, &SEEN];
    const TIMERS: &'static [Timer] = &[DAY];

    fn open(config: &str) -> Result<Self, Failure> {
        let digits: String = config.chars().filter(char::is_ascii_digit).collect();
        let late = if digits.is_empty() { Ok(300) } else { digits.parse() };
        late.map(Self).map_err(|_| Failure::new("CONFIG", "the limit is too large"))
    }

    fn process(&mut self, (carrier, flight): (&str, Flight<'_>), ctx: &mut Context) -> Result<(), Failure> {
        let day = ctx.time().0.div_euclid(DAY_MS);
        let name = format!("{day:06} {}", flight.dest);
        let flights = ctx.map(&FLIGHTS).get(&name)?.unwrap_or(0);
        ctx.map(&FLIGHTS).put(&name, flights + 1);
        let delay = ctx.map(&DELAYS).get(&name)?.unwrap_or(0);
        ctx.map(&DELAYS).put(&name, delay + flight.dep_delay);
        let seen = ctx.get(&SEEN)?.unwrap_or(0);
        ctx.set(&SEEN, seen + 1);
        ctx.timer(&DAY).tag(&day.to_string()).set((day + 1) * DAY_MS);
        if flight.dep_delay > self.0 {
            ctx.emit(&LATE, (carrier, flight.dep_delay));
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: Fired<'_>, ctx: &mut Context) -> Result<(), Failure> {
        let day = timer.tag().parse().map_err(|_| Failure::new("TAG", "a timer has no day"))?;
        let carrier = timer.key::<String>()?.to_owned();
        let entries = ctx.map(&FLIGHTS).entries();
        let mut told = Vec::new();
        for entry in entries.iter() {
            let (name, flights) = entry?;
            if let Some(dest) = name.strip_prefix(&format!("{day:06} ")) {
                told.push((name.to_owned(), dest.to_owned(), flights));
            }
        }
        for (name, dest, flights) in told {
            let delay = ctx.map(&DELAYS).get(&name)?.unwrap_or(0);
            ctx.map(&FLIGHTS).remove(&name);
            ctx.map(&DELAYS).remove(&name);
            ctx.emit(&TOLD, (carrier.as_str(), Told { day, dest: &dest, flights, delay }));
        }
        Ok(())
    }
}

thalweg_udf::export!(
    "stamp" => Stamp,
    "destinations" => Destinations,
);

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_udf::testing::Kit;

    #[test]
    fn a_day_is_told_when_it_is_over() -> Result<(), Failure> {
        let mut kit = Kit::<Destinations>::open("")?;
        let flight = |day: i64, dest, dep_delay| (EventTime(day * DAY_MS + 5), ("AA", Flight { dest, dep_delay }));
        let outcome =
            kit.run([flight(3, "BOS", 5), flight(3, "ATL", 301), flight(4, "BOS", 1), flight(3, "BOS", -2)])?;
        assert_eq!(outcome.elements(&LATE)?.len(), 1);
        assert_eq!(outcome.elements(&TOLD)?.len(), 0);
        Ok(())
    }
}
