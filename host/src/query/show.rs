//! Entries in JSON, by the kind of their state.
//!
//! | kind | value |
//! |---|---|
//! | value, combining | the value; a list if an SDK has not merged its accumulators yet |
//! | bag, set | a list |
//! | map | a list of `{"key": .., "value": ..}` |
//! | multimap | a list of `{"key": .., "values": [..]}` |
//! | ordered list | a list of `{"order": .., "value": ..}` |
//!
//! In: cells of one key and window. Out: what they mean. Nothing fails: what cannot be read is shown as its bytes.

use super::catalog::{Cells, Kind, Known};
use super::coder::{Noted, hex};
use super::walk::Entry;
use super::{Found, shown};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use thalweg_core::coder::{read_varint, take_prefixed};

/// What a state holds for one key and window.
pub fn entry(known: &Known, entry: &Entry) -> Found {
    let cells = &entry.cells;
    let value = match (known.kind, known.cells) {
        (Kind::Map, Cells::Keyed | Cells::Entries) => {
            let one = |(key, mut values): (Value, Vec<Value>)| json!({ "key": key, "value": values.pop() });
            keyed(known, cells).into_iter().map(one).collect()
        }
        (Kind::Multimap, Cells::Keyed | Cells::Entries) => {
            keyed(known, cells).into_iter().map(|(key, values)| json!({ "key": key, "values": values })).collect()
        }
        (Kind::Set, Cells::Keyed | Cells::Entries) => keyed(known, cells).into_iter().map(|(key, _)| key).collect(),
        (Kind::OrderedList, cells_are) => cells.iter().flat_map(|cell| numbered(known, cells_are, cell)).collect(),
        (kind, _) => {
            let bytes: Vec<u8> = cells.iter().flat_map(|(_, value)| value.iter().copied()).collect();
            one_or_many(kind, known.value.show_all(&bytes))
        }
    };
    Found { key: known.key.show(&entry.key), window: shown(&entry.window), value, cut: entry.cut }
}

/// What stands in the chunks of a state without keys.
fn one_or_many(kind: Kind, mut values: Vec<Value>) -> Value {
    match kind {
        Kind::Value | Kind::Combining if values.len() < 2 => values.pop().unwrap_or(Value::Null),
        Kind::Set => {
            // an SDK may add an element again and sort it out when it reads
            let mut seen = BTreeSet::new();
            values.retain(|value| seen.insert(value.to_string()));
            Value::Array(values)
        }
        _ => Value::Array(values),
    }
}

/// Keys with their values, in stored order.
fn keyed(known: &Known, cells: &[(Vec<u8>, Vec<u8>)]) -> Vec<(Value, Vec<Value>)> {
    let nothing = Noted::default();
    let key_coder = known.map_key.as_ref().unwrap_or(if known.kind == Kind::Set { &known.value } else { &nothing });
    if known.cells == Cells::Entries {
        let values = |value: &[u8]| match known.kind {
            Kind::Multimap => known.value.show_all(value),
            Kind::Set => Vec::new(),
            _ => vec![known.value.show(value)],
        };
        return cells.iter().map(|(sub, value)| (key_coder.show(sub), values(value))).collect();
    }
    let mut found: Vec<(&[u8], Vec<u8>)> = Vec::new();
    for (sub, value) in cells {
        let key = map_key(sub).unwrap_or(sub);
        match found.last_mut().filter(|(last, _)| *last == key) {
            Some((_, values)) => values.extend_from_slice(value),
            None => found.push((key, value.clone())),
        }
    }
    // SDKs send keys nested
    let shown = |key: &[u8]| key_coder.show_all(key).pop().unwrap_or(Value::Null);
    found.into_iter().map(|(key, values)| (shown(key), known.value.show_all(&values))).collect()
}

/// The key in a sub-key that an SDK's map state is stored under.
fn map_key(sub: &[u8]) -> Option<&[u8]> {
    let (length, rest) = sub.split_first_chunk::<4>()?;
    rest.get(..u32::from_be_bytes(*length) as usize)
}

fn numbered(known: &Known, cells: Cells, (sub, value): &(Vec<u8>, Vec<u8>)) -> Vec<Value> {
    let order = |sub: &[u8]| sub.first_chunk::<8>().map(|n| (u64::from_be_bytes(*n) ^ (1 << 63)).cast_signed());
    let unread = || vec![json!({ "order": order(sub), "value": { "coder": known.value.urn, "hex": hex(value) } })];
    if cells == Cells::Entries {
        return known.value.show_all(value).into_iter().map(|v| json!({ "order": order(sub), "value": v })).collect();
    }
    let Ok((number, rest)) = read_varint(value) else { return unread() };
    let Ok((content, _)) = take_prefixed(rest) else { return unread() };
    vec![json!({ "order": number.cast_signed(), "value": known.value.show(content) })]
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_core::window::Window;

    fn coder(name: &str) -> Noted {
        Noted { urn: format!("beam:coder:{name}:v1"), ..Noted::default() }
    }

    fn show(kind: Kind, cells: Cells, stored: &[(&[u8], &[u8])]) -> Value {
        let map_key = matches!(kind, Kind::Map | Kind::Multimap).then(|| coder("string_utf8"));
        let value = if kind == Kind::Set { coder("string_utf8") } else { coder("varint") };
        let known = Known {
            transform: String::new(),
            state: String::new(),
            id: 0,
            kind,
            cells,
            key: coder("string_utf8"),
            value,
            map_key,
            ttl_ms: None,
        };
        let cells = stored.iter().map(|(sub, value)| (sub.to_vec(), value.to_vec())).collect();
        entry(&known, &Entry::of(b"k", Window::Global, cells)).value
    }

    #[test]
    fn every_kind_is_shown_as_it_is_stored_by_components() {
        assert_eq!(show(Kind::Value, Cells::Chunks, &[(b"", b"\x07")]), json!(7));
        assert_eq!(show(Kind::Value, Cells::Chunks, &[(b"", b"")]), json!(null));
        assert_eq!(show(Kind::Bag, Cells::Chunks, &[(b"a", b"\x01\x02"), (b"b", b"\x03")]), json!([1, 2, 3]));
        let entries = Cells::Entries;
        assert_eq!(
            show(Kind::Map, entries, &[(b"a", b"\x01"), (b"b", b"\x02")]),
            json!([{"key": "a", "value": 1}, {"key": "b", "value": 2}])
        );
        assert_eq!(show(Kind::Multimap, entries, &[(b"a", b"\x01\x02")]), json!([{"key": "a", "values": [1, 2]}]));
        assert_eq!(show(Kind::Set, entries, &[(b"a", b""), (b"b", b"")]), json!(["a", "b"]));
        let five = (5u64 ^ (1 << 63)).to_be_bytes();
        let listed = show(Kind::OrderedList, entries, &[(&five, b"\x01\x02")]);
        assert_eq!(listed, json!([{"order": 5, "value": 1}, {"order": 5, "value": 2}]));
    }

    #[test]
    fn every_kind_is_shown_as_sdks_store_it() {
        assert_eq!(show(Kind::Combining, Cells::Chunks, &[(b"1", b"\x01")]), json!(1));
        assert_eq!(show(Kind::Combining, Cells::Chunks, &[(b"1", b"\x01"), (b"2", b"\x02")]), json!([1, 2]));
        assert_eq!(show(Kind::Set, Cells::Chunks, &[(b"1", b"\x01a\x01b\x01a")]), json!(["a", "b"]));
        let sub = |key: &str, n: u8| [&(key.len() as u32).to_be_bytes(), key.as_bytes(), &[n; 12]].concat();
        let (one, two, other) = (sub("\x01a", 1), sub("\x01a", 2), sub("\x02bc", 3));
        let stored: [(&[u8], &[u8]); 3] = [(&one, b"\x01"), (&two, b"\x02"), (&other, b"\x03")];
        assert_eq!(
            show(Kind::Multimap, Cells::Keyed, &stored),
            json!([{"key": "a", "values": [1, 2]}, {"key": "bc", "values": [3]}])
        );
        assert_eq!(
            show(Kind::Map, Cells::Keyed, &stored[1..]),
            json!([{"key": "a", "value": 2}, {"key": "bc", "value": 3}])
        );
        assert_eq!(show(Kind::Set, Cells::Keyed, &[(&one, b""), (&other, b"")]), json!(["a", "bc"]));
        let listed = show(Kind::OrderedList, Cells::Numbered, &[(&[0; 20], b"\x05\x01\x07")]);
        assert_eq!(listed, json!([{"order": 5, "value": 7}]));
    }

    #[test]
    fn a_set_of_very_many_elements_is_shown_in_a_moment() {
        let elements: Vec<u8> = (0..100_000_u32)
            .flat_map(|n| [format!("\u{6}{n:06}"), "\u{1}x".to_owned()].concat().into_bytes())
            .collect();
        let begun = std::time::Instant::now();
        let shown = show(Kind::Set, Cells::Chunks, &[(b"1", &elements)]);
        assert_eq!(shown.as_array().map(Vec::len), Some(100_001));
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    }

    #[test]
    fn what_is_damaged_is_shown_as_its_bytes() {
        assert_eq!(
            show(Kind::Value, Cells::Chunks, &[(b"", b"\xff")]),
            json!({"coder": "beam:coder:varint:v1", "hex": "ff"})
        );
        let listed = show(Kind::OrderedList, Cells::Numbered, &[(b"x", b"\x05\x09")]);
        assert_eq!(listed, json!([{"order": null, "value": {"coder": "beam:coder:varint:v1", "hex": "0509"}}]));
    }
}
