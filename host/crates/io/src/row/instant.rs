//! Instants as RFC 3339 in UTC: `2013-01-01T10:00:00Z`, with a fraction only where there is one.

/// Appends an instant given in milliseconds since the Unix epoch.
///
/// ```
/// let mut out = Vec::new();
/// thalweg_io::row::write_millis(&mut out, 1_357_034_400_000);
/// assert_eq!(out, b"2013-01-01T10:00:00Z");
/// ```
pub fn write_millis(out: &mut Vec<u8>, millis: i64) {
    write(out, millis.div_euclid(1000), millis.rem_euclid(1000) as u64, 3);
}

/// Appends an instant given in microseconds since the Unix epoch.
pub fn write_micros(out: &mut Vec<u8>, micros: i64) {
    write_parts(out, 0, micros);
}

/// Appends an instant given in seconds and microseconds since the Unix epoch, which together may be beyond 64 bits: windows
/// around the ends of time begin and end outside.
pub(super) fn write_parts(out: &mut Vec<u8>, seconds: i64, micros: i64) {
    let seconds = seconds.saturating_add(micros.div_euclid(1_000_000));
    write(out, seconds, micros.rem_euclid(1_000_000) as u64, 6);
}

fn write(out: &mut Vec<u8>, seconds: i64, fraction: u64, digits: usize) {
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400) as u64;
    if year < 0 {
        out.push(b'-');
    }
    number(out, year.unsigned_abs(), 4);
    for (mark, value) in
        [(b'-', month), (b'-', day), (b'T', second / 3600), (b':', second / 60 % 60), (b':', second % 60)]
    {
        out.push(mark);
        number(out, value, 2);
    }
    if fraction != 0 {
        out.push(b'.');
        number(out, fraction, digits);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    out.push(b'Z');
}

/// Appends a number with at least `width` digits.
fn number(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let start = out.len();
    while value != 0 || out.len() - start < width {
        out.push(b'0' + (value % 10) as u8);
        value /= 10;
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
fn civil(days: i64) -> (i64, u64, u64) {
    let z = days + 719_468; // days since 0000-03-01
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153; // months since March
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u64, day as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(ms: i64) -> String {
        let mut out = Vec::new();
        write_millis(&mut out, ms);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn instants_read_as_rfc_3339() {
        assert_eq!(millis(0), "1970-01-01T00:00:00Z");
        assert_eq!(millis(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(millis(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(millis(1_709_164_799_500), "2024-02-28T23:59:59.5Z");
        assert_eq!(millis(4_107_542_400_000), "2100-03-01T00:00:00Z");
        let mut out = Vec::new();
        write_micros(&mut out, 1_000_001);
        assert_eq!(out, b"1970-01-01T00:00:01.000001Z");
    }

    #[test]
    fn the_ends_of_time_are_written_too() {
        assert_eq!(millis(9_223_372_036_854_775), "294247-01-10T04:00:54.775Z");
        assert_eq!(millis(-9_223_372_036_854_775), "-290308-12-21T19:59:05.225Z");
        assert!(millis(i64::MAX).ends_with('Z') && millis(i64::MIN).ends_with('Z'));
        for end in [i64::MIN, i64::MAX] {
            let mut out = Vec::new();
            write_parts(&mut out, end, end);
            assert!(out.ends_with(b"Z"));
        }
    }
}
