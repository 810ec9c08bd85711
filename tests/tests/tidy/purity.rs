//! The core is pure: time and randomness enter with events, data leaves with effects, and nothing else happens.

use crate::source::{Finding, Source};
use crate::words::places;

/// What core code must not name, and what it uses instead.
const BANNED: [(&str, &str); 14] = [
    ("SystemTime", "time enters with events as `ProcessingTime`"),
    ("Instant", "time enters with events as `ProcessingTime`"),
    ("std::fs", "files belong to the crates io and state"),
    ("std::net", "networks belong to the crates io and beam"),
    ("std::env", "configuration is the host's business"),
    ("std::process", "processes belong to the crate beam and the host"),
    ("std::thread", "threads belong to the host's runtime"),
    ("thread_local", "state belongs to the machines"),
    ("tokio", "the core is not async"),
    ("prost", "protos end in the crate beam"),
    ("tonic", "protos end in the crate beam"),
    ("RandomState", "randomness enters with events: use foldhash's `FixedState`"),
    ("println!", "the core has no console: return an effect"),
    ("eprintln!", "the core has no console: return an effect"),
];
/// Collections of the standard library whose order differs from run to run.
const RANDOM_ORDER: [&str; 2] = ["HashMap", "HashSet"];

/// Core sources name nothing impure; tests of the core may. The subject of an exception is `path:word`.
pub fn purity(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|s| s.path.starts_with("host/crates/core/src/") && !s.is_test()) {
        let code = source.masked.without_tests();
        for (word, instead) in BANNED {
            findings.extend(places(&code, word).into_iter().map(|offset| impure(source, offset, word, instead)));
        }
        for offset in places(&code, "std::collections") {
            let imported = code[offset..].split(';').next().unwrap_or_default();
            for word in RANDOM_ORDER.into_iter().filter(|word| !places(imported, word).is_empty()) {
                findings.push(impure(source, offset, word, "use hashbrown's with foldhash's `FixedState`, or a BTree"));
            }
        }
    }
    findings
}

fn impure(source: &Source, offset: usize, word: &str, instead: &str) -> Finding {
    let message = format!("{}:{}: no `{word}` in the core: {instead}", source.path, source.line(offset));
    Finding::new(format!("{}:{word}", source.path), message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::subjects;

    #[test]
    fn impure_words_are_found_in_core_code_only() {
        let core = |name: &str, text: &str| Source::rust(&format!("host/crates/core/src/{name}.rs"), text);
        let sources = [
            core("a", "fn f() { std::time::Instant::now() }"),
            core("b", "use std::collections::{BTreeMap, HashMap};"),
            core("c", "use hashbrown::HashMap; // tokio\nfn f() -> &'static str { \"prost\" }"),
            core("d", "#[cfg(test)]\nmod tests { use std::thread; }"),
            core(
                "e",
                "use hashbrown::HashTable; use std::collections::BTreeMap;\nfn f(m: std::collections::HashMap<u8, u8>) {}",
            ),
            Source::rust("host/src/f.rs", "use std::thread;"),
        ];
        let expected = ["a.rs:Instant", "b.rs:HashMap", "e.rs:HashMap"];
        assert_eq!(subjects(&purity(&sources)), expected.map(|e| format!("host/crates/core/src/{e}")));
    }
}
