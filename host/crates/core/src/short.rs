//! Bytes that are mostly few: keys of groups and values of cells. Few stand where their owner stands, so that a counter costs no
//! allocation, and neither copying a key nor comparing one goes to another place in memory.

use bytes::Bytes;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// Most bytes kept inline. With its length and the tag this fills the 32 bytes that `Bytes` needs anyway.
const INLINE: usize = 30;

/// Bytes, up to 30 of them inline.
#[derive(Clone)]
pub enum ShortBytes {
    /// Length and bytes.
    Inline(u8, [u8; INLINE]),
    /// More bytes, shared.
    Shared(Bytes),
}

impl ShortBytes {
    /// Copies `bytes`. They never borrow a frame or a message: one small survivor would keep all of it alive.
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

impl From<Bytes> for ShortBytes {
    fn from(bytes: Bytes) -> Self {
        if bytes.len() <= INLINE { Self::copy(&bytes) } else { Self::Shared(bytes) }
    }
}

// equal, ordered and hashed as the bytes are
impl Borrow<[u8]> for ShortBytes {
    fn borrow(&self) -> &[u8] {
        self.as_slice()
    }
}

impl PartialEq for ShortBytes {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for ShortBytes {}

impl PartialOrd for ShortBytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ShortBytes {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl Hash for ShortBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl Default for ShortBytes {
    fn default() -> Self {
        Self::Inline(0, [0; INLINE])
    }
}

impl Deref for ShortBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for ShortBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Bytes::copy_from_slice(self.as_slice()))
    }
}
