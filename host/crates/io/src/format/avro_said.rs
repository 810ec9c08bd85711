//! What the Avro library says, in bounds.
//!
//! In: its errors, which quote whole records and schemas. Out: sentences of a bounded length, without the value that they are about where
//! that can be told.

use apache_avro::Error;
use apache_avro::error::Details;
use apache_avro::types::ValueKind;
use std::fmt::{self, Display, Write};

/// Characters of a text that are repeated.
const SAID_MAX: usize = 300;

/// An error of the library, without the value that it says it of.
pub(super) fn said(error: &Error) -> String {
    if let Details::FindUnionVariant { value, .. } = error.details() {
        return format!("no type of the union fits what is of the type {:?}", ValueKind::from(value));
    }
    let text = cut(error);
    // `expected, got: String("...")`, of which the type is of use
    let value = text.find(", got").and_then(|at| Some(at + text.get(at..)?.find('(')?));
    value.and_then(|at| text.get(..at)).map_or_else(|| text.clone(), str::to_owned)
}

/// The beginning of a text, [`SAID_MAX`] characters of it. Costs no more, however long the text would be.
pub(super) fn cut(text: &impl Display) -> String {
    let mut begin = Begin { text: String::new(), left: SAID_MAX };
    if write!(begin, "{text}").is_err() {
        begin.text.push('…');
    }
    begin.text
}

/// Takes so much of a text, and then no more.
struct Begin {
    text: String,
    left: usize,
}

impl Write for Begin {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        for c in part.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            self.text.push(c);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_its_characters() {
        assert_eq!(cut(&"é".repeat(SAID_MAX)), "é".repeat(SAID_MAX));
        assert_eq!(cut(&"é".repeat(1000)), "é".repeat(SAID_MAX) + "…");
    }
}
