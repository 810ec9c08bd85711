//! The 19 columns of a line, and the tests a column has to pass. A line is split at every comma.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use thalweg_udf::text;

const COLUMNS: usize = 19;
const DEP_TIME: usize = 3;

/// Why a line gives no flight.
#[derive(PartialEq, Eq, Debug)]
pub enum Flaw {
    /// It never departed.
    Cancelled,
    /// A column is not what it must be.
    Malformed {
        /// Name of the column.
        column: &'static str,
        /// What is wrong with it.
        why: Cow<'static, str>,
    },
}

impl Flaw {
    /// A malformed column.
    pub const fn of(column: &'static str, why: &'static str) -> Self {
        Self::Malformed { column, why: Cow::Borrowed(why) }
    }
}

/// The columns of one line.
pub struct Columns<'a>([&'a str; COLUMNS]);

impl<'a> Columns<'a> {
    /// Splits a line.
    pub fn of(line: &'a str) -> Result<Self, Flaw> {
        let mut columns = [""; COLUMNS];
        let mut found = 0;
        for text in text::split(line, b',') {
            if let Some(column) = columns.get_mut(found) {
                *column = text;
            }
            found += 1;
        }
        if found == COLUMNS {
            return Ok(Self(columns));
        }
        let why = format!("expected {COLUMNS} columns, found {found}");
        Err(Flaw::Malformed { column: "row", why: why.into() })
    }

    /// Whether the flight departed.
    pub fn departed(&self) -> Result<(), Flaw> {
        if absent(self.0[DEP_TIME]) { Err(Flaw::Cancelled) } else { Ok(()) }
    }

    /// A column that is not empty.
    pub fn present(&self, i: usize, name: &'static str) -> Result<&'a str, Flaw> {
        let text = self.0[i];
        if absent(text) { Err(Flaw::of(name, "missing")) } else { Ok(text) }
    }

    /// A code of `length` capital letters and digits.
    pub fn code(&self, i: usize, name: &'static str, length: usize) -> Result<&'a str, Flaw> {
        let text = self.present(i, name)?;
        let letters = text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if letters && text.len() == length { Ok(text) } else { Err(Flaw::of(name, "not a code")) }
    }

    /// A whole number in a range: an optional minus and digits.
    pub fn whole(&self, i: usize, name: &'static str, range: RangeInclusive<i64>) -> Result<i64, Flaw> {
        let text = self.present(i, name)?;
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Flaw::of(name, "not a whole number"));
        }
        // Digits that do not parse are too many for 64 bits.
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or(Flaw::of(name, "out of range"))
    }
}

fn absent(text: &str) -> bool {
    text.is_empty() || text == "NA"
}
