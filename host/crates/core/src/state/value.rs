//! The bytes of a cell: small ones inline, so that a counter costs no allocation.

use bytes::Bytes;
use std::fmt;

/// Longest value kept inline. With its length and the tag this fills the 32 bytes that `Bytes` needs anyway.
const INLINE: usize = 30;

/// A cell's value.
#[derive(Clone)]
pub enum CellValue {
    /// Length and bytes.
    Inline(u8, [u8; INLINE]),
    /// A longer value, shared.
    Shared(Bytes),
}

impl CellValue {
    /// Copies `bytes`. A value never borrows a frame or a message: one small survivor would keep all of it alive.
    #[must_use]
    pub fn copy(bytes: &[u8]) -> Self {
        let mut inline = [0; INLINE];
        match inline.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Self::Inline(bytes.len() as u8, inline)
            }
            None => Self::Shared(Bytes::copy_from_slice(bytes)),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline(n, bytes) => bytes.get(..usize::from(*n)).unwrap_or_default(),
            Self::Shared(bytes) => bytes,
        }
    }

    /// The bytes, shared where they can be.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Inline(..) => Bytes::copy_from_slice(self.as_slice()),
            Self::Shared(bytes) => bytes.clone(),
        }
    }
}

impl From<Bytes> for CellValue {
    fn from(bytes: Bytes) -> Self {
        if bytes.len() <= INLINE { Self::copy(&bytes) } else { Self::Shared(bytes) }
    }
}

impl PartialEq for CellValue {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for CellValue {}

impl fmt::Debug for CellValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Bytes::copy_from_slice(self.as_slice()))
    }
}
