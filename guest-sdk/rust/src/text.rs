//! Texts in pieces. In Wasm a search costs by its turns, because at each of them the sandbox asks whether the call may go on; so these
//! look at eight bytes a turn, where the standard library looks at one.

use crate::wire::word_of;

/// The lowest bit, and all bits but the highest, of every byte of a word.
const LOW: u64 = 0x0101_0101_0101_0101;
const REST: u64 = 0x7f7f_7f7f_7f7f_7f7f;

/// The pieces of a text between the delimiters, like [`str::split`]: a text with n of them has n + 1 pieces, and some may be empty.
/// The delimiter is an ASCII character; a text has no other byte that could be meant.
///
/// ```
/// use thalweg_udf::text;
/// let mut columns = text::split("JFK\t\t17", b'\t');
/// assert_eq!((columns.next(), columns.next(), columns.next(), columns.next()), (Some("JFK"), Some(""), Some("17"), None));
/// ```
#[must_use]
#[inline(always)]
pub fn split(text: &str, delimiter: u8) -> Split<'_> {
    let next = if delimiter.is_ascii() { 0 } else { text.len() };
    Split { text, pattern: u64::from(delimiter) * LOW, start: Some(0), base: 0, next, found: 0 }
}

/// The pieces of a text; made by [`split`].
#[derive(Clone, Debug)]
pub struct Split<'a> {
    text: &'a str,
    /// The delimiter in every byte.
    pattern: u64,
    /// Where the next piece begins; none when all have been given.
    start: Option<usize>,
    /// The place of the word in which delimiters were found last.
    base: usize,
    /// The place of the word to look at next.
    next: usize,
    /// The highest bit of every byte of that word which is a delimiter and has not been given yet.
    found: u64,
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a str;

    #[inline(always)]
    fn next(&mut self) -> Option<&'a str> {
        let start = self.start?;
        while self.found == 0 {
            let Some(rest) = self.text.as_bytes().get(self.next..).filter(|rest| !rest.is_empty()) else {
                self.start = None;
                return self.text.get(start..);
            };
            self.found = match rest.first_chunk() {
                Some(word) => zeros(u64::from_le_bytes(*word) ^ self.pattern),
                None => zeros(word_of(rest) ^ self.pattern) & ((1 << (8 * rest.len())) - 1),
            };
            (self.base, self.next) = (self.next, self.next + 8);
        }
        let end = self.base + self.found.trailing_zeros() as usize / 8;
        self.found &= self.found - 1;
        self.start = Some(end + 1);
        self.text.get(start..end)
    }
}

/// The highest bit of every byte that is zero.
#[inline(always)]
fn zeros(word: u64) -> u64 {
    !(((word & REST) + REST) | word | REST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_those_of_the_standard_library() {
        let mut random = 7u64;
        for length in (0..40).cycle().take(4000) {
            let text: String = (0..length)
                .map(|_| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    [' ', ' ', 'a', '!', '\0', '\u{7f}', 'ß', '€', '😀', '\u{a0}'][(random >> 33) as usize % 10]
                })
                .collect();
            for delimiter in [' ', '!', '\0', '\u{7f}', 'x'] {
                let pieces: Vec<_> = split(&text, delimiter as u8).collect();
                assert_eq!(pieces, text.split(delimiter).collect::<Vec<_>>(), "{text:?}");
            }
        }
    }

    #[test]
    fn what_is_no_ascii_character_delimits_nothing() {
        assert_eq!(split("ß €", 0x9f).collect::<Vec<_>>(), ["ß €"]);
    }
}
