//! How far a job's topics are written. Offsets only grow: a topic that was deleted and made again begins anew, and gives itself away
//! by the first record that is written to it.
//!
//! In: offsets of records that are under way, before their transaction is committed. Out: a word when one lies before what was known.

use super::super::client::Written;
use std::collections::BTreeMap;
use thalweg_core::error::{Error, Result};

/// What a process knows of the ends of internal topics, by topic and partition.
#[derive(Debug, Default)]
pub(super) struct Ends(BTreeMap<String, BTreeMap<i32, i64>>);

impl Ends {
    /// A partition is known to reach to before this offset.
    pub(super) fn reached(&mut self, topic: &str, partition: i32, next: i64) {
        if !self.0.contains_key(topic) {
            self.0.insert(topic.to_owned(), BTreeMap::new());
        }
        if let Some(partitions) = self.0.get_mut(topic) {
            let end = partitions.entry(partition).or_insert(next);
            *end = next.max(*end);
        }
    }

    /// Checks records that were written, and notes them.
    ///
    /// # Errors
    /// `CLUSTER_TOPIC` when one stands where others stood before.
    pub(super) fn take(&mut self, written: &Written) -> Result<()> {
        for (topic, partitions) in written {
            for (partition, (first, last)) in partitions {
                let known = self.0.get(topic).and_then(|ends| ends.get(partition)).copied().unwrap_or_default();
                if *first < known {
                    let what = format!("{topic:?} {partition} reached to {known}, and a new record stands at {first}");
                    return Err(Error::external(
                        "CLUSTER_TOPIC",
                        format!("{what}: the topic was deleted and made again"),
                    )
                    .help("what it held is lost; submit the job under another name to begin anew"));
                }
                self.reached(topic, *partition, last + 1);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_before_the_known_end_tells_of_a_new_topic() {
        let written = |first, last| Written::from([("x".to_owned(), BTreeMap::from([(2, (first, last))]))]);
        let mut ends = Ends::default();
        assert_eq!(ends.take(&written(0, 4)), Ok(()));
        assert_eq!(ends.take(&written(5, 5)), Ok(()));
        assert_eq!(ends.take(&written(0, 9)).map_err(|e| e.code), Err("CLUSTER_TOPIC"));
        ends.reached("x", 2, 100);
        ends.reached("x", 2, 50);
        assert_eq!(ends.take(&written(99, 120)).map_err(|e| e.code), Err("CLUSTER_TOPIC"));
        assert_eq!(ends.take(&written(107, 120)), Ok(()));
    }
}
