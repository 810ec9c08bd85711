//! W5: a pair of key and value in; if the table has the key, the pair of key and product goes out.

use thalweg_udf::{Context, DoFn, Failure, Kv, Output, OutputSpec, Table, TableSpec};

/// The joined pairs.
pub const JOINED: Output<Kv<String, i64>> = Output::new(0, "joined");
/// Factors by key, looked up before the call.
pub const FACTORS: Table<String, i64> = Table::by_key(0, "factors");

/// Joins with the table.
pub struct Join;

impl DoFn for Join {
    type In = Kv<String, i64>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&JOINED];
    const TABLES: &'static [&'static dyn TableSpec] = &[&FACTORS];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, (key, value): (&str, i64), ctx: &mut Context) -> Result<(), Failure> {
        if let Some(factor) = ctx.joined(&FACTORS)? {
            ctx.emit(&JOINED, (key, value.wrapping_mul(factor)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_udf::{EventTime, testing::Kit};

    #[test]
    fn pairs_are_multiplied_by_what_the_table_has_and_others_end() -> Result<(), Failure> {
        let mut kit = Kit::<Join>::open("")?;
        kit.fill_table(&FACTORS, [("a", 3)]);
        let outcome = kit.run([("a", 5), ("b", 6)].map(|element| (EventTime(0), element)))?;
        assert_eq!(outcome.elements(&JOINED)?, [(EventTime(0), ("a", 15))]);
        Ok(())
    }
}
