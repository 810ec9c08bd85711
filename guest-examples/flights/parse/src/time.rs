//! `YYYY-MM-DDTHH:MM:SSZ`, a real time of the years 1 to 9999, as milliseconds since 1970.

/// Reads a time.
pub fn milliseconds(text: &str) -> Option<i64> {
    let b: &[u8; 20] = text.as_bytes().try_into().ok()?;
    if [b[4], b[7], b[10], b[13], b[16], b[19]] != *b"--T::Z" {
        return None;
    }
    let (year, month, day) = (number(&b[0..4])?, number(&b[5..7])?, number(&b[8..10])?);
    let (hour, minute, second) = (number(&b[11..13])?, number(&b[14..16])?, number(&b[17..19])?);
    let real = year >= 1 && (1..=12).contains(&month) && (1..=days_of_month(year, month)).contains(&day);
    if !real || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some((((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

fn days_of_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the Gregorian calendar. The year is taken to begin in March, so that the leap day is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    // 719468 days lie between 0000-03-01 and 1970-01-01; the years here are never negative.
    year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn real_times_are_read() {
        assert_eq!(milliseconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(milliseconds("2013-01-01T10:00:00Z"), Some(1_357_034_400_000));
        assert_eq!(milliseconds("2000-02-29T23:59:59Z"), Some(951_868_799_000));
        assert_eq!(milliseconds("0001-01-01T00:00:00Z"), Some(-62_135_596_800_000));
        assert_eq!(milliseconds("9999-12-31T23:59:59Z"), Some(253_402_300_799_000));
    }

    #[test]
    fn what_is_no_time_is_not() {
        for text in [
            "",
            "never",
            "2013-01-01 10:00:00Z",
            "2013-02-29T10:00:00Z",
            "2013-13-01T10:00:00Z",
            "2013-01-01T24:00:00Z",
            "2013-01-01T23:60:00Z",
            "2013-01-01T23:00:60Z",
            "0000-01-01T00:00:00Z",
            "2013-01-01T10:00:00+",
            "+013-01-01T10:00:00Z",
            "2013-01-01T10:00:00Z ",
        ] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }
}
