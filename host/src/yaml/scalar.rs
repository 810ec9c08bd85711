//! Scalars without quotes that YAML 1.1 and YAML 1.2 read differently.
//!
//! In: what the parser, which follows 1.2, made of a scalar, and how it stands in the file. Out: the same, or what Beam makes of
//! it where that is plain, or why it has to be written in another way. Beam reads files by PyYAML, which follows 1.1: without
//! this, one file would have other data here than there, and nobody would be told.
//!
//! Dates and times (`2024-01-01`, `12:30:45`) stay texts, though 1.1 has types for them. Source: <https://yaml.org/type/>, and
//! PyYAML's `resolver.py`, which is stricter there.

use super::node::Value;

/// A value as both versions read it, or what to say against it.
///
/// `text` is the scalar as it stands in the file; where that has quotes or a tag, nothing is in doubt.
pub fn settled(value: Value, text: &str) -> Result<Value, String> {
    let wrong = |why: &str| Err(format!("`{text}` {why}"));
    match &value {
        Value::Int(_) | Value::Float(_) => {
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
                return Ok(value); // a tag stands before it
            }
            if is_padded(digits) {
                return wrong("begins with a zero, which some take for octal and others for text");
            }
            match (&value, is_int(digits)) {
                (Value::Int(_), true) => Ok(value),
                (_, true) => wrong("is a whole number beyond 64 bits"),
                (Value::Float(_), false) if is_float(text) => Ok(value),
                _ => wrong("is a number in YAML 1.2 and a text in YAML 1.1, which Beam reads"),
            }
        }
        Value::Text(read) if read == text => match text {
            "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Ok(Value::Bool(true)),
            "no" | "No" | "NO" | "off" | "Off" | "OFF" => Ok(Value::Bool(false)),
            _ if is_int(text.strip_prefix(['+', '-']).unwrap_or(text)) || is_float(text) => {
                wrong("is a text in YAML 1.2 and a number in YAML 1.1, which Beam reads")
            }
            _ => Ok(value),
        },
        _ => Ok(value),
    }
}

/// Digits behind a zero: octal in YAML 1.1 if none of them is 8 or 9, else a text.
fn is_padded(digits: &str) -> bool {
    digits.strip_prefix('0').is_some_and(|rest| !rest.is_empty() && all(rest, |c| c.is_ascii_digit()))
}

/// Whether YAML 1.1 takes it, without its sign, for a whole number. A number of base 60 (`12:30`) is none here.
fn is_int(digits: &str) -> bool {
    if let Some(binary) = digits.strip_prefix("0b") {
        return !binary.is_empty() && all(binary, |c| matches!(c, '0' | '1'));
    }
    if let Some(hex) = digits.strip_prefix("0x") {
        return !hex.is_empty() && all(hex, |c| c.is_ascii_hexdigit());
    }
    digits.starts_with(|c: char| c.is_ascii_digit()) && all(digits, |c| c.is_ascii_digit())
}

/// Whether PyYAML takes it for another number: it wants a dot, in an exponent a sign, and before a bare dot none.
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let Some((whole, rest)) = unsigned.split_once('.') else { return false };
    let (fraction, exponent) = match rest.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, Some(exponent)),
        None => (rest, None),
    };
    let exponent = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']);
        digits.is_some_and(|d| !d.is_empty() && d.chars().all(|c| c.is_ascii_digit()))
    });
    let front = match whole.chars().next() {
        Some(first) => first.is_ascii_digit() && all(whole, |c| c.is_ascii_digit()),
        None => unsigned == text && fraction.starts_with(|c: char| c.is_ascii_digit()),
    };
    front && exponent && all(fraction, |c| c.is_ascii_digit())
}

/// Whether all characters but the `_` between them are of a kind.
fn all(text: &str, kind: impl Fn(char) -> bool) -> bool {
    text.chars().all(|c| c == '_' || kind(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_the_same_to_all_stay() {
        let int = ["0", "7", "-7", "+7", "1_000", "0x1F", "0b101", "-0x1f", "!!int 010", "*alias"];
        assert!(int.iter().all(|text| settled(Value::Int(1), text).is_ok()));
        let float = ["1.5", "-1.5", "1.", ".5", "00.5", "1.5e+3", "1.5E-3", ".inf", "-.INF", ".nan", "!!float 1e3"];
        assert!(float.iter().all(|text| settled(Value::Float(1.0), text).is_ok()));
    }

    #[test]
    fn numbers_that_are_not_are_refused() {
        let says = |value: Value, text: &str| settled(value, text).err().unwrap_or_default();
        for text in ["08540", "010", "-010", "0_7", "00"] {
            assert!(says(Value::Float(1.0), text).contains("begins with a zero"), "{text}");
        }
        for text in
            ["9223372036854775808", "-9223372036854775809", "0xFFFFFFFFFFFFFFFF", "123456789012345678901234567890"]
        {
            assert!(says(Value::Float(1.0), text).contains("beyond 64 bits"), "{text}");
        }
        for text in ["1e3", "1E3", "1.5e3", "-.5", "+.nan"] {
            assert!(says(Value::Float(1.0), text).contains("a text in YAML 1.1"), "{text}");
        }
        for text in ["0o17", "0X1F", "0B1"] {
            assert!(says(Value::Int(1), text).contains("a text in YAML 1.1"), "{text}");
        }
        for text in ["1_0.5", "1__0"] {
            assert!(says(Value::Text(text.to_owned()), text).contains("a number in YAML 1.1"), "{text}");
        }
    }

    #[test]
    fn truth_values_are_as_beam_reads_them_and_other_texts_stay() {
        for (text, truth) in [("yes", true), ("On", true), ("NO", false), ("off", false)] {
            assert!(matches!(settled(Value::Text(text.to_owned()), text), Ok(Value::Bool(b)) if b == truth), "{text}");
        }
        for text in ["y", "yES", "2024-01-01", "12:30:45", "1.2.3", "a", "-", "", ".", "e", "0x"] {
            assert!(matches!(settled(Value::Text(text.to_owned()), text), Ok(Value::Text(_))), "{text}");
        }
        for quoted in ["'yes'", "\"yes\"", "!!str yes", "|\n  yes"] {
            assert!(matches!(settled(Value::Text("yes".to_owned()), quoted), Ok(Value::Text(_))), "{quoted}");
        }
    }
}
