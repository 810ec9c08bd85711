//! `parse` over single lines: a good one, and one for every reason.

use super::*;
use thalweg_udf::testing::Kit;

const GOOD: &str = "2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z";

fn reason(line: &str) -> Result<String, Failure> {
    let outcome = Kit::<Parse>::open("")?.run([(EventTime(9), Line { line, row: 1 })])?;
    let letters = outcome.elements(&DEAD_LETTERS)?;
    Ok(letters.first().map_or_else(String::new, |(time, letter)| {
        assert_eq!((*time, letter.row), (EventTime(9), 1));
        letter.reason.to_owned()
    }))
}

/// `GOOD` with another text in column `i`.
fn with(i: usize, text: &str) -> String {
    let mut columns: Vec<&str> = GOOD.split(',').collect();
    columns[i] = text;
    columns.join(",")
}

#[test]
fn a_good_line_becomes_a_flight_at_its_scheduled_minute() -> Result<(), Failure> {
    let outcome = Kit::<Parse>::open("")?.run([(EventTime(0), Line { line: GOOD, row: 1 })])?;
    let flight = Flight { carrier: "UA", origin: "EWR", dest: "IAH", dep_delay: 2, distance: 1400, hour: 5 };
    assert_eq!(outcome.elements(&FLIGHTS)?, [(EventTime(1_357_034_400_000 + 15 * 60_000), flight)]);
    assert_eq!(outcome.elements(&DEAD_LETTERS)?, []);
    Ok(())
}

#[test]
fn every_flaw_has_its_reason() -> Result<(), Failure> {
    let cases = [
        ("", "malformed: row: expected 19 columns, found 1"),
        (&with(3, "NA"), "cancelled"),
        (&with(3, ""), "cancelled"),
        (&with(3, "whatever"), ""),
        (&with(5, "NA"), "malformed: dep_delay: missing"),
        (&with(5, "+2"), "malformed: dep_delay: not a whole number"),
        (&with(5, "-"), "malformed: dep_delay: not a whole number"),
        (&with(5, "2.5"), "malformed: dep_delay: not a whole number"),
        (&with(5, "-10001"), "malformed: dep_delay: out of range"),
        (&with(5, "99999999999999999999999"), "malformed: dep_delay: out of range"),
        (&with(9, "ua"), "malformed: carrier: not a code"),
        (&with(9, "UAL"), "malformed: carrier: not a code"),
        (&with(12, ""), "malformed: origin: missing"),
        (&with(13, "IA\u{c4}"), "malformed: dest: not a code"),
        (&with(15, "-1"), "malformed: distance: out of range"),
        (&with(15, "-0"), ""),
        (&with(16, "24"), "malformed: hour: out of range"),
        (&with(17, "60"), "malformed: minute: out of range"),
        (&with(18, "NA"), "malformed: time_hour: missing"),
        (&with(18, "2013-02-30T10:00:00Z"), "malformed: time_hour: not a time"),
    ];
    for (line, expected) in cases {
        assert_eq!(reason(line)?, expected, "{line}");
    }
    Ok(())
}

#[test]
fn the_first_bad_column_from_the_left_is_named() -> Result<(), Failure> {
    let line = with(12, "?").replace(",5,15,", ",99,99,");
    assert_eq!(reason(&line)?, "malformed: origin: not a code");
    Ok(())
}

#[test]
fn counters_count() -> Result<(), Failure> {
    let lines = [GOOD, "", ","].map(|line| (EventTime(0), Line { line, row: 1 }));
    let outcome = Kit::<Parse>::open("")?.run(lines)?;
    assert_eq!(outcome.metric("malformed"), Some([2, 0, 0, 0]));
    assert_eq!(outcome.metric("cancelled"), None);
    Ok(())
}
