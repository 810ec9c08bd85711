//! Ends what the last owner of a partition left open when it died.
//!
//! A process that was killed in a transaction holds up all who read its topics, until the brokers end the transaction: ten to twenty
//! seconds, minutes if it is a large one ([`super::sizes`]), longer than it takes them to give its partitions to others. Who takes over the partition knows from the commit record who had it. If
//! the group does not know that process any more, its transactional id is taken for a moment, which ends the transaction at once. A process that lives after
//! all is fenced by that, and had lost its partitions before: it takes its id again and learns so. Source: KIP-98, KIP-447.

use super::commits::CommitRecords;
use super::epochs::{EpochsConfig, producer};
use super::group::GroupMembers;
use super::hanging::{Hanging, Told};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use thalweg_core::error::Result;

/// How long each question may take: longer, and the brokers end the transaction themselves.
const WITHIN: Duration = Duration::from_secs(3);
/// After a question that nobody answered they are asked again, if somebody still waits: large transactions have more time.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

pub(super) struct Predecessors {
    config: EpochsConfig,
    records: CommitRecords,
    hanging: Hanging,
    /// The round of the group, who took part in it, once that was asked, and whose transactions were ended in it.
    seen: (u64, Option<Vec<String>>, BTreeSet<String>),
    /// When a question of this round had no answer.
    failed: Option<Instant>,
}

impl Predecessors {
    pub fn new(config: &EpochsConfig) -> Result<Self> {
        let mut config = EpochsConfig { timeout: config.timeout.min(WITHIN), ..config.clone() };
        config.client.connect_timeout_ms = config.client.connect_timeout_ms.min(WITHIN.as_millis() as u32);
        let (records, hanging) = (CommitRecords::so_far(&config)?, Hanging::new(&config)?);
        Ok(Self { config, records, hanging, seen: Default::default(), failed: None })
    }

    /// Ends what the last owner of a partition left open, as far as the commit record names it, unless it takes part in this round of the group. What
    /// cannot be ended so ends by its timeout. Every question is asked once a round, or now and then while it has no answer: many partitions may wait.
    pub fn end(&mut self, partition: u16, round: u64) {
        if let Err(error) = self.try_to_end(partition, round) {
            tracing::info!(target: "kafka", "what another process left open ends by its timeout: {error}");
            self.failed.get_or_insert_with(Instant::now);
        }
    }

    fn try_to_end(&mut self, partition: u16, round: u64) -> Result<()> {
        if self.seen.0 != round || self.failed.is_some_and(|at| at.elapsed() > AGAIN_AFTER) {
            (self.seen, self.failed) = ((round, None, BTreeSet::new()), None);
        }
        let (_, members, ended) = &mut self.seen;
        let last = self.records.last(partition)?.process;
        if last.is_empty() || last == self.config.process || ended.contains(&last) {
            return Ok(());
        }
        let members = match members {
            Some(members) => members,
            unknown => {
                *unknown = Some(Vec::new()); // a list that nobody gives says nothing
                unknown.insert(GroupMembers::of(&self.config.client, &self.config.group)?.processes()?)
            }
        };
        if is_gone(&last, &self.config.process, members) {
            ended.insert(last.clone());
            let theirs = producer(&self.config, &last, self.config.timeout)?;
            self.hanging.end(&theirs, std::iter::empty(), &Told::default())?;
            tracing::info!(process = last, "what it may have left open is ended");
        }
        Ok(())
    }
}

/// Whether a process takes no part any more: a list without this process itself says nothing.
fn is_gone(process: &str, own: &str, members: &[String]) -> bool {
    members.iter().any(|member| member == own) && !members.iter().any(|member| member == process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_no_member_is_gone_if_the_list_is_whole() {
        let members = ["one".to_owned(), "two".to_owned()];
        assert!(is_gone("three", "one", &members));
        assert!(!is_gone("two", "one", &members));
        assert!(!is_gone("three", "four", &members), "this process should be among them");
        assert!(!is_gone("three", "one", &[]));
    }
}
