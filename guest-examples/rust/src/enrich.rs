//! Enrichment by a table: the name of an airline is looked up by the element's key before the call. In: pairs of airline and delay.

use thalweg_udf::{
    Context, DoFn, Failure, Field, Kv, Malformed, Output, OutputSpec, Row, RowReader, RowWriter, Table, TableSpec,
};

/// Delays with the airline's name.
pub const NAMED: Output<Delay<'static>> = Output::new(0, "named");
/// Elements whose airline the table does not know.
pub const UNKNOWN: Output<Kv<String, i64>> = Output::new(1, "unknown");
/// Names by code.
pub const AIRLINES: Table<String, String> = Table::by_key(0, "airlines");

/// A delay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delay<'a> {
    /// Code of the airline.
    pub carrier: &'a str,
    /// Its name.
    pub name: &'a str,
    /// In minutes.
    pub delay: i64,
}

impl Row for Delay<'static> {
    type View<'a> = Delay<'a>;
    const FIELDS: &'static [Field] =
        &[Field::of::<String>("carrier"), Field::of::<String>("name"), Field::of::<i64>("delay")];

    fn read<'a>(from: &mut RowReader<'a>) -> Result<Delay<'a>, Malformed> {
        Ok(Delay { carrier: from.get::<String>()?, name: from.get::<String>()?, delay: from.get::<i64>()? })
    }
    fn write(row: &Delay<'_>, to: &mut RowWriter<'_>) {
        to.put::<String>(&row.carrier);
        to.put::<String>(&row.name);
        to.put::<i64>(&row.delay);
    }
}

/// Adds the names.
pub struct Enrich;

impl DoFn for Enrich {
    type In = Kv<String, i64>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&NAMED, &UNKNOWN];
    const TABLES: &'static [&'static dyn TableSpec] = &[&AIRLINES];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, (carrier, delay): (&str, i64), ctx: &mut Context) -> Result<(), Failure> {
        match ctx.joined(&AIRLINES)?.map(str::to_owned) {
            Some(name) => ctx.emit(&NAMED, Delay { carrier, name: &name, delay }),
            None => ctx.emit(&UNKNOWN, (carrier, delay)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_udf::EventTime;
    use thalweg_udf::testing::Kit;

    #[test]
    fn names_are_added_and_unknown_airlines_set_apart() -> Result<(), Failure> {
        let mut kit = Kit::<Enrich>::open("")?;
        kit.fill_table(&AIRLINES, [("UA", "United Air Lines Inc.")]);
        let outcome = kit.run([("UA", 2), ("XX", 3)].map(|element| (EventTime(0), element)))?;
        let named = Delay { carrier: "UA", name: "United Air Lines Inc.", delay: 2 };
        assert_eq!(outcome.elements(&NAMED)?, [(EventTime(0), named)]);
        assert_eq!(outcome.elements(&UNKNOWN)?, [(EventTime(0), ("XX", 3))]);
        Ok(())
    }
}
