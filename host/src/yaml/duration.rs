//! Durations as Beam YAML writes them: `1h`, `90s`, `500ms`, a bare number for seconds.

use super::node::{Node, Value};
use thalweg_core::error::Result;

/// Units and their milliseconds.
const UNITS: [(&str, f64); 5] = [("ms", 1.0), ("s", 1e3), ("m", 6e4), ("h", 3.6e6), ("d", 8.64e7)];

/// A duration in milliseconds.
///
/// # Errors
/// `YAML_DURATION` for what is none, or not of whole milliseconds.
pub fn millis(node: &Node) -> Result<i64> {
    let read = match &node.value {
        Value::Int(n) => n.checked_mul(1000),
        Value::Float(x) => whole(x * 1e3),
        Value::Text(text) => parse(text),
        _ => None,
    };
    read.ok_or_else(|| {
        let error = node.place.error("YAML_DURATION", format!("expected a duration, found {}", node.describe()));
        error.help("write a number and one of the units ms, s, m, h, d: `1h`, `90s`")
    })
}

/// The milliseconds of a text like `90s`.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).filter(|u| !u.is_empty()).unwrap_or("s");
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let digits = digits.trim_end();
    match digits.parse::<i64>() {
        Ok(n) => n.checked_mul(*factor as i64),
        Err(_) => whole(digits.parse::<f64>().ok()? * factor),
    }
}

/// The same as it would be written, in the largest unit that makes a whole number of it.
pub fn show(ms: i64) -> String {
    let mut units = UNITS.iter().rev().filter(|(_, factor)| ms % (*factor as i64) == 0);
    let (unit, factor) = units.next().copied().unwrap_or(("ms", 1.0));
    format!("{}{unit}", ms / factor as i64)
}

fn whole(ms: f64) -> Option<i64> {
    // below 2^53 every whole number of milliseconds has a double of its own
    (ms.fract() == 0.0 && ms.abs() < 9e15).then_some(ms as i64)
}

#[cfg(test)]
mod tests {
    use super::{parse, show};

    #[test]
    fn durations_read_in_every_unit() {
        for (text, ms) in
            [("1h", 3_600_000), ("90 s", 90_000), ("5m", 300_000), ("250ms", 250), ("1.5", 1500), ("2d", 172_800_000)]
        {
            assert_eq!(parse(text), Some(ms), "{text}");
        }
        for text in ["", "h", "1y", "0.0001s", "1h30m", "99999999999999999h"] {
            assert_eq!(parse(text), None, "{text}");
        }
        for text in ["7d", "36h", "90s", "1500ms", "2m"] {
            assert_eq!(parse(text).map(show).as_deref(), Some(text));
        }
    }
}
