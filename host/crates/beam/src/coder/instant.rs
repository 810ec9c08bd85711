//! Timestamps on the wire: eight bytes, big end first, shifted so that unsigned order is order of time.
//!
//! Unit: milliseconds since the Unix epoch, inside Beam's limits. Source: `beam:coder:windowed_value:v1`.

use thalweg_core::coder::take;
use thalweg_core::error::Result;
use thalweg_core::time::EventTime;

/// Turns the signed order into the unsigned one.
const SIGN: u64 = 1 << 63;

/// Reads a timestamp; returns it and what follows. Values outside Beam's range are brought to its ends, as SDKs do.
///
/// # Errors
/// `CODER_MALFORMED` when it is cut off.
pub fn read(bytes: &[u8]) -> Result<(EventTime, &[u8])> {
    let (millis, rest) = read_millis(bytes)?;
    Ok((EventTime(millis).clamped(), rest))
}

/// Reads the milliseconds of a timestamp as they are: a timer's firing time may be of processing time.
///
/// # Errors
/// `CODER_MALFORMED` when it is cut off.
pub fn read_millis(bytes: &[u8]) -> Result<(i64, &[u8])> {
    let (head, rest) = take(bytes, 8)?;
    let mut raw = [0; 8];
    raw.copy_from_slice(head);
    Ok(((u64::from_be_bytes(raw) ^ SIGN).cast_signed(), rest))
}

/// Appends a timestamp.
pub fn write(time: EventTime, out: &mut Vec<u8>) {
    write_millis(time.clamped().0, out);
}

/// Appends milliseconds as they are.
pub fn write_millis(millis: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&(millis.cast_unsigned() ^ SIGN).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsigned_order_is_order_of_time() -> Result<()> {
        let times = [EventTime::MIN, EventTime(-1), EventTime(0), EventTime(1), EventTime::MAX];
        let mut last = Vec::new();
        for time in times {
            let mut bytes = Vec::new();
            write(time, &mut bytes);
            assert!(bytes > last);
            assert_eq!(read(&bytes)?, (time, &[][..]));
            last = bytes;
        }
        Ok(())
    }
}
