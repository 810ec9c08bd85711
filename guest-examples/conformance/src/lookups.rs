//! Side inputs and tables.

use thalweg_udf::{Context, DoFn, Failure, Kv, Output, OutputSpec, SideList, SideMultimap, SideSpec, Table, TableSpec};

/// What was found.
pub const FOUND: Output<String> = Output::new(0, "found");
/// Numbers.
pub const NUMBERS: SideList<i64> = SideList::new(0, "numbers");
/// Names by key.
pub const NAMES: SideMultimap<String, String> = SideMultimap::new(1, "names");
/// Looked up by the element's key before the call.
pub const OWN: Table<String, String> = Table::by_key(0, "own");
/// Asked when needed.
pub const OTHER: Table<String, i64> = Table::on_demand(1, "other");

/// Looks everything up.
pub struct Lookups;

impl DoFn for Lookups {
    type In = Kv<String, String>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&FOUND];
    const SIDE_INPUTS: &'static [&'static dyn SideSpec] = &[&NUMBERS, &NAMES];
    const TABLES: &'static [&'static dyn TableSpec] = &[&OWN, &OTHER];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, (key, other): (&str, &str), ctx: &mut Context) -> Result<(), Failure> {
        let sum: i64 = ctx.side(&NUMBERS).iter().sum::<Result<i64, _>>()?;
        let names = ctx.side_values(&NAMES, key);
        let names = names.iter().collect::<Result<Vec<_>, _>>()?.join("+");
        let keys = ctx.side_keys(&NAMES).iter().count();
        let own = ctx.joined(&OWN)?.unwrap_or("none").to_owned();
        ctx.prefetch(&OTHER, [other, "never"]);
        let other = ctx.lookup(&OTHER, other)?;
        ctx.emit(&FOUND, &format!("{key}: sum {sum}, names {names} of {keys}, own {own}, other {other:?}"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_udf::{EventTime, testing::Kit};

    #[test]
    fn side_inputs_and_tables_are_read() -> Result<(), Failure> {
        let mut kit = Kit::<Lookups>::open("")?;
        kit.fill_list(&NUMBERS, 1..=10);
        kit.fill_multimap(&NAMES, [("a", "Ann"), ("b", "Bea"), ("a", "Ada")]);
        kit.fill_table(&OWN, [("a", "A")]);
        kit.fill_table(&OTHER, [("z", 26)]);
        let outcome = kit.run([("a", "z"), ("c", "y")].map(|element| (EventTime(0), element)))?;
        let found: Vec<_> = outcome.elements(&FOUND)?.into_iter().map(|(_, text)| text).collect();
        let expected =
            ["a: sum 55, names Ann+Ada of 2, own A, other Some(26)", "c: sum 55, names  of 2, own none, other None"];
        assert_eq!(found, expected);
        Ok(())
    }
}
