//! Where a text source stands in a file, as it is stored.
//!
//! `format (1) = 1 | hash of the path (8) | offset of the next byte (8) | number of the next row (8)`, numbers big end first.

use std::path::Path;
use thalweg_core::id::key_hash;

const FORMAT: u8 = 1;

/// A position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Position {
    /// Hash of the path: a list of files may have changed its order.
    pub file: u64,
    /// Offset of the first byte that was not read.
    pub offset: u64,
    /// Number of the row that begins there.
    pub row: u64,
}

/// The hash of a path.
pub(super) fn file_id(path: &Path) -> u64 {
    key_hash(path.as_os_str().as_encoded_bytes())
}

impl Position {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(25);
        bytes.push(FORMAT);
        for n in [self.file, self.offset, self.row] {
            bytes.extend_from_slice(&n.to_be_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (FORMAT, rest) = bytes.split_first().map(|(f, rest)| (*f, rest))? else { return None };
        let mut numbers = rest.chunks_exact(8).map(|c| u64::from_be_bytes(c.try_into().unwrap_or_default()));
        let position = Self { file: numbers.next()?, offset: numbers.next()?, row: numbers.next()? };
        (rest.len() == 24).then_some(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_frozen() {
        let position = Position { file: 1, offset: 258, row: 3 };
        let bytes = position.encode();
        assert_eq!(bytes, b"\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\x03");
        assert_eq!(Position::decode(&bytes), Some(position));
        assert_eq!(Position::decode(&bytes[..24]), None);
        assert_eq!(Position::decode(&[2; 25]), None);
    }
}
