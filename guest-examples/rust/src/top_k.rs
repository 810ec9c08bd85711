//! The k best of a key, by a CombineFn: pairs of name and score in, an iterable of pairs out, the best first.

use crate::{config, positive};
use serde::Deserialize;
use thalweg_udf::{CombineFn, Failure, Kv};

#[derive(Deserialize)]
#[serde(default)]
struct Config {
    k: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self { k: 3 }
    }
}

/// Keeps the k best.
pub struct TopK(usize);

impl CombineFn for TopK {
    type In = Kv<String, i64>;
    type Accumulator = Vec<(String, i64)>;
    type Out = Vec<(String, i64)>;

    fn open(text: &str) -> Result<Self, Failure> {
        let Config { k } = config(text)?;
        Ok(Self(usize::try_from(positive("k", k)?).unwrap_or(usize::MAX)))
    }
    fn create(&self) -> Self::Accumulator {
        Vec::new()
    }
    fn add(&self, best: &mut Self::Accumulator, (name, score): (&str, i64)) -> Result<(), Failure> {
        if score < 0 {
            return Err(Failure::new("SCORE", format!("{score} is negative")));
        }
        best.push((name.to_owned(), score));
        if best.len() > 2 * self.0.min(1 << 20) {
            self.keep(best);
        }
        Ok(())
    }
    fn merge(&self, best: &mut Self::Accumulator, other: Self::Accumulator) {
        best.extend(other);
    }
    fn compact(&self, mut best: Self::Accumulator) -> Self::Accumulator {
        self.keep(&mut best);
        best
    }
    fn extract(&self, best: Self::Accumulator) -> Self::Out {
        self.compact(best)
    }
}

impl TopK {
    /// The largest score first; of equal ones the first name.
    fn keep(&self, best: &mut Vec<(String, i64)>) {
        best.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        best.truncate(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_udf::testing::CombineKit;

    #[test]
    fn the_best_are_kept_in_whatever_parts_they_come() -> Result<(), Failure> {
        let mut kit = CombineKit::<TopK>::open(r#"{"k": 2}"#)?;
        let best = kit.combine([("ann", 3), ("bob", 9), ("cid", 3), ("dan", 1)])?;
        assert_eq!(best, [("bob".to_owned(), 9), ("ann".to_owned(), 3)]);
        assert_eq!(kit.combine([("ann", -1)]).map_err(|f| f.code), Err("SCORE".into()));
        Ok(())
    }
}
