//! The flights example: lines of the flights table become rows with their event time. What cannot be used goes to the
//! output `dead_letters` with its reason. The table of reasons is in the README of the example.

mod columns;
mod time;

use columns::{Columns, Flaw};
use thalweg_udf::{
    Context, Counter, DoFn, EventTime, Failure, Field, Malformed, Output, OutputSpec, Row, RowReader, RowWriter,
};

/// Flights that departed.
pub const FLIGHTS: Output<Flight<'static>> = Output::new(0, "flights");
/// What is no flight that departed.
pub const DEAD_LETTERS: Output<DeadLetter<'static>> = Output::new(1, "dead_letters");

const CANCELLED: Counter = Counter::new("cancelled");
const MALFORMED: Counter = Counter::new("malformed");

/// One line of the table.
pub struct Line<'a> {
    /// The line without its end.
    pub line: &'a str,
    /// Its number; the first one after the header is 1.
    pub row: i64,
}

/// A flight that departed.
#[derive(PartialEq, Eq, Debug)]
pub struct Flight<'a> {
    /// Airline.
    pub carrier: &'a str,
    /// Airport it left.
    pub origin: &'a str,
    /// Airport it went to.
    pub dest: &'a str,
    /// Departure delay in minutes; negative if early.
    pub dep_delay: i64,
    /// In miles.
    pub distance: i64,
    /// Scheduled local hour of departure.
    pub hour: i64,
}

/// A line that gave no flight.
#[derive(PartialEq, Eq, Debug)]
pub struct DeadLetter<'a> {
    /// Number of the line.
    pub row: i64,
    /// `cancelled`, or `malformed: <column>: <why>`.
    pub reason: &'a str,
}

impl Row for Line<'static> {
    type View<'a> = Line<'a>;
    const FIELDS: &'static [Field] = &[Field::of::<String>("line"), Field::of::<i64>("row")];

    fn read<'a>(from: &mut RowReader<'a>) -> Result<Line<'a>, Malformed> {
        Ok(Line { line: from.get::<String>()?, row: from.get::<i64>()? })
    }
    fn write(row: &Line<'_>, to: &mut RowWriter<'_>) {
        to.put::<String>(&row.line);
        to.put::<i64>(&row.row);
    }
}

impl Row for Flight<'static> {
    type View<'a> = Flight<'a>;
    const FIELDS: &'static [Field] = &[
        Field::of::<String>("carrier"),
        Field::of::<String>("origin"),
        Field::of::<String>("dest"),
        Field::of::<i64>("dep_delay"),
        Field::of::<i64>("distance"),
        Field::of::<i64>("hour"),
    ];

    fn read<'a>(from: &mut RowReader<'a>) -> Result<Flight<'a>, Malformed> {
        Ok(Flight {
            carrier: from.get::<String>()?,
            origin: from.get::<String>()?,
            dest: from.get::<String>()?,
            dep_delay: from.get::<i64>()?,
            distance: from.get::<i64>()?,
            hour: from.get::<i64>()?,
        })
    }
    fn write(row: &Flight<'_>, to: &mut RowWriter<'_>) {
        to.put::<String>(&row.carrier);
        to.put::<String>(&row.origin);
        to.put::<String>(&row.dest);
        to.put::<i64>(&row.dep_delay);
        to.put::<i64>(&row.distance);
        to.put::<i64>(&row.hour);
    }
}

impl Row for DeadLetter<'static> {
    type View<'a> = DeadLetter<'a>;
    const FIELDS: &'static [Field] = &[Field::of::<i64>("row"), Field::of::<String>("reason")];

    fn read<'a>(from: &mut RowReader<'a>) -> Result<DeadLetter<'a>, Malformed> {
        Ok(DeadLetter { row: from.get::<i64>()?, reason: from.get::<String>()? })
    }
    fn write(row: &DeadLetter<'_>, to: &mut RowWriter<'_>) {
        to.put::<i64>(&row.row);
        to.put::<String>(&row.reason);
    }
}

/// The function.
pub struct Parse;

impl DoFn for Parse {
    type In = Line<'static>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&FLIGHTS, &DEAD_LETTERS];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, Line { line, row }: Line<'_>, ctx: &mut Context) -> Result<(), Failure> {
        match flight(line) {
            Ok((time, flight)) => ctx.emit_at(&FLIGHTS, time, flight),
            Err(Flaw::Cancelled) => {
                ctx.count(CANCELLED, 1);
                ctx.emit(&DEAD_LETTERS, DeadLetter { row, reason: "cancelled" });
            }
            Err(Flaw::Malformed { column, why }) => {
                ctx.count(MALFORMED, 1);
                let reason = format!("malformed: {column}: {why}");
                ctx.emit(&DEAD_LETTERS, DeadLetter { row, reason: &reason });
            }
        }
        Ok(())
    }
}

fn flight(line: &str) -> Result<(EventTime, Flight<'_>), Flaw> {
    let columns = Columns::of(line)?;
    columns.departed()?;
    let flight = Flight {
        dep_delay: columns.whole(5, "dep_delay", -10_000..=10_000)?,
        carrier: columns.code(9, "carrier", 2)?,
        origin: columns.code(12, "origin", 3)?,
        dest: columns.code(13, "dest", 3)?,
        distance: columns.whole(15, "distance", 0..=100_000)?,
        hour: columns.whole(16, "hour", 0..=23)?,
    };
    let minute = columns.whole(17, "minute", 0..=59)?;
    let hour = time::milliseconds(columns.present(18, "time_hour")?);
    let hour = hour.ok_or(Flaw::of("time_hour", "not a time"))?;
    Ok((EventTime(hour + minute * 60_000), flight))
}

thalweg_udf::export!("parse" => Parse);

#[cfg(test)]
mod tests;
