//! Panes on the wire: one byte, for later panes of a window followed by one or two indices.
//!
//! Low half of the byte: bit 0 first, bit 1 last, bits 2 and 3 the timing. High half: how many indices follow.
//! Source: `beam:coder:windowed_value:v1`.

use thalweg_core::batch::{Pane, Timing};
use thalweg_core::coder::{read_varint, take, write_varint};
use thalweg_core::error::{Domain, Error, Result};

/// The byte of [`Pane::NO_FIRING`].
pub const NO_FIRING: u8 = 0x0f;

/// Reads a pane; returns it and what follows.
///
/// # Errors
/// `CODER_MALFORMED` when it is cut off or of an unknown form.
pub fn read(bytes: &[u8]) -> Result<(Pane, &[u8])> {
    let (head, mut rest) = take(bytes, 1)?;
    let head = head.first().copied().unwrap_or(NO_FIRING);
    let timing = match (head >> 2) & 3 {
        0 => Timing::Early,
        1 => Timing::OnTime,
        2 => Timing::Late,
        _ => Timing::Unknown,
    };
    let mut pane = Pane {
        timing,
        first: head & 1 != 0,
        last: head & 2 != 0,
        index: 0,
        non_speculative: if timing == Timing::Early { -1 } else { 0 },
    };
    match head >> 4 {
        0 => {}
        1 => {
            (pane.index, rest) = read_varint(rest)?;
            if timing != Timing::Early {
                pane.non_speculative = pane.index.cast_signed();
            }
        }
        2 => {
            (pane.index, rest) = read_varint(rest)?;
            let (index, after) = read_varint(rest)?;
            pane.non_speculative = index.cast_signed();
            rest = after;
        }
        _ => return Err(Error::new("CODER_MALFORMED", Domain::Guest, "malformed element: a pane of unknown form")),
    }
    Ok((pane, rest))
}

/// Appends a pane.
pub fn write(pane: &Pane, out: &mut Vec<u8>) {
    let timing = match pane.timing {
        Timing::Early => 0,
        Timing::OnTime => 1,
        Timing::Late => 2,
        Timing::Unknown => 3,
    };
    let head = u8::from(pane.first) | u8::from(pane.last) << 1 | timing << 2;
    let early = pane.timing == Timing::Early;
    let implied = if early { pane.non_speculative == -1 } else { pane.index.cast_signed() == pane.non_speculative };
    // an early one has no index that is not speculative, which Go takes for 0 where none follows
    if pane.timing == Timing::Unknown || pane.index == 0 && implied && !early {
        out.push(head);
    } else if implied {
        out.push(head | 1 << 4);
        write_varint(out, pane.index);
    } else {
        out.push(head | 2 << 4);
        write_varint(out, pane.index);
        write_varint(out, pane.non_speculative.cast_unsigned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_pane_comes_back() -> Result<()> {
        for timing in [Timing::Early, Timing::OnTime, Timing::Late] {
            for (index, non_speculative) in [(0, 0), (0, -1), (3, 3), (300, -1), (7, 2)] {
                for first in [false, true] {
                    let pane = Pane { timing, first, last: !first, index, non_speculative };
                    let mut bytes = Vec::new();
                    write(&pane, &mut bytes);
                    bytes.push(99);
                    assert_eq!(read(&bytes)?, (pane, &[99][..]));
                }
            }
        }
        let mut bytes = Vec::new();
        let early = Pane { timing: Timing::Early, first: true, last: false, index: 0, non_speculative: -1 };
        write(&early, &mut bytes);
        assert_eq!(bytes, [0x11, 0], "as PaneInfoCoder writes it: first, early, one index");
        bytes.clear();
        write(&Pane::NO_FIRING, &mut bytes);
        assert_eq!(bytes, [NO_FIRING]);
        assert_eq!(read(&bytes)?.0, Pane::NO_FIRING);
        Ok(())
    }
}
