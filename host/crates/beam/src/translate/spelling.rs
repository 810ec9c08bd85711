//! Coders in words, by which a job knows from run to run whether its state is still encoded as it was.
//!
//! In: a coder of the pipeline. Out: its URN with those of its components; for one of the SDK's own with a hash of what it is made of. What would
//! be too long to read is a hash altogether: components that several coders share would make a few coders endless.

use crate::coder::table::Coders;
use std::collections::BTreeMap;
use thalweg_core::id::key_hash;

/// Coders in coders, beyond which nobody looks.
const CODER_DEPTH_MAX: usize = 20;

/// Bytes of a spelling. One of a hundred components has 3 KiB.
const SPELLED_BYTES_MAX: usize = 16 << 10;

/// How coders are spelled; remembers what it had to look at.
#[derive(Default)]
pub(super) struct Spelling {
    /// Hashes of coders that are part of a long one, by id and depth.
    hashes: BTreeMap<(String, usize), u64>,
}

impl Spelling {
    /// A coder of these. Cost: its length; for what is too long once per coder and depth.
    pub(super) fn of(&mut self, coders: &Coders, id: &str) -> String {
        let mut out = String::new();
        if spell(coders, id, 0, &mut out) {
            return out;
        }
        format!("#{:016x}", self.hash(coders, id, 0))
    }

    fn hash(&mut self, coders: &Coders, id: &str, depth: usize) -> u64 {
        let Some(coder) = coders.get(id).filter(|_| depth < CODER_DEPTH_MAX) else { return 0 };
        if let Some(known) = self.hashes.get(&(id.to_owned(), depth)) {
            return *known;
        }
        let spec = coder.spec.clone().unwrap_or_default();
        let mut all = [key_hash(spec.urn.as_bytes()).to_be_bytes(), key_hash(&spec.payload).to_be_bytes()].concat();
        for part in &coder.component_coder_ids {
            all.extend_from_slice(&self.hash(coders, part, depth + 1).to_be_bytes());
        }
        let hash = key_hash(&all);
        self.hashes.insert((id.to_owned(), depth), hash);
        hash
    }
}

/// Appends a coder; whether it is not too long. Each coder it comes by has some bytes in `out`, so a few are not walked through for ever.
fn spell(coders: &Coders, id: &str, depth: usize, out: &mut String) -> bool {
    let Some(coder) = coders.get(id).filter(|_| depth < CODER_DEPTH_MAX) else {
        out.push('?');
        return out.len() <= SPELLED_BYTES_MAX;
    };
    if let Some(spec) = &coder.spec {
        out.push_str(&spec.urn);
        if !spec.payload.is_empty() {
            out.push_str(&format!("#{:016x}", key_hash(&spec.payload)));
        }
    }
    out.push('(');
    for (i, part) in coder.component_coder_ids.iter().enumerate() {
        out.push_str(if i == 0 { "" } else { ", " });
        if !spell(coders, part, depth + 1, out) {
            return false;
        }
    }
    out.push(')');
    out.len() <= SPELLED_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coder::table::proto;

    /// A chain of so many coders, each twice in the one before; the last is of this URN.
    fn doubling(levels: usize, last: &str) -> Coders {
        let pair = |i: usize| {
            let next = format!("c{}", i + 1);
            (format!("c{i}"), proto("kv", &[&next, &next]))
        };
        (0..levels).map(pair).chain([(format!("c{levels}"), proto(last, &[]))]).collect()
    }

    fn spelled(coders: &Coders) -> String {
        Spelling::default().of(coders, "c0")
    }

    #[test]
    fn a_coder_is_spelled_with_its_components() {
        assert_eq!(spelled(&doubling(2, "b")), "kv(kv(b(), b()), kv(b(), b()))");
        let mut own = doubling(1, "own");
        own.values_mut().last().and_then(|c| c.spec.as_mut()).expect("a coder").payload = vec![7].into();
        let hash = key_hash(&[7]);
        assert_eq!(spelled(&own), format!("kv(own#{hash:016x}(), own#{hash:016x}())"));
        own.remove("c1");
        assert_eq!(spelled(&own), "kv(?, ?)");
    }

    #[test]
    fn a_few_coders_that_would_be_endless_are_a_hash_of_what_they_are() {
        let mut wide = doubling(19, "b");
        wide.values_mut().for_each(|c| {
            c.component_coder_ids = [c.component_coder_ids.clone(), c.component_coder_ids.clone()].concat()
        });
        let hash = spelled(&wide);
        assert_eq!((hash.len(), hash.starts_with('#')), (17, true), "{hash}");
        assert_ne!(spelled(&doubling(19, "b")), spelled(&doubling(19, "d")), "the deepest counts");
        assert_ne!(spelled(&doubling(19, "b")), hash);
        wide.insert("c19".to_owned(), proto("kv", &["c0"]));
        assert_eq!(spelled(&wide).len(), 17, "also where it contains itself");
    }
}
