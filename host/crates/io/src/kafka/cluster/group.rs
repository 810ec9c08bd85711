//! Who takes part in a job just now, as the brokers tell.

use super::super::client::{KafkaClientConfig, Reports, listen, made};
use super::super::error;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::groups::GroupMemberInfo;
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_core::error::Result;

/// What brokers put behind the name of a process to make a member's id of it: a hyphen and a UUID.
const MEMBER_SUFFIX: usize = 37;

/// Asks for the members of a group, without being one.
pub struct GroupMembers {
    consumer: Arc<BaseConsumer<Reports>>,
    client: KafkaClientConfig,
    group: String,
}

impl std::fmt::Debug for GroupMembers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupMembers").field("group", &self.group).finish_non_exhaustive()
    }
}

impl GroupMembers {
    /// Those of a group; it connects in the background.
    ///
    /// # Errors
    /// `KAFKA_CONFIG`, `KAFKA_PROPERTY_REFUSED`.
    pub fn of(client: &KafkaClientConfig, group: &str) -> Result<Self> {
        let mut settings = client.client()?;
        settings.remove("group.instance.id");
        settings.set("group.id", group).set("enable.auto.commit", "false");
        let consumer = made(&settings, Reports::default())?;
        Ok(Self { consumer, client: client.clone(), group: group.to_owned() })
    }

    /// The names of the processes that take part, in order. Who has died is among them until its session is over. Cost: a request to
    /// every broker.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_AUTH`.
    pub fn processes(&self) -> Result<Vec<String>> {
        self.each(|member| process(member.id()).to_owned())
    }

    /// What those subscribed with who take part under the name of a process; empty while brokers do not tell.
    ///
    /// # Errors
    /// As for [`GroupMembers::processes`].
    pub(super) fn subscriptions(&self, name: &str) -> Result<Vec<Vec<u8>>> {
        let of_it = |member: &GroupMemberInfo| {
            (process(member.id()) == name).then(|| member.metadata().unwrap_or_default().to_vec())
        };
        Ok(self.each(of_it)?.into_iter().flatten().collect())
    }

    /// The process that owns each partition just now; none where nobody does.
    ///
    /// # Errors
    /// As for [`GroupMembers::processes`].
    pub fn owners(&self) -> Result<BTreeMap<u16, String>> {
        let all =
            self.each(|member| (process(member.id()).to_owned(), assigned(member.assignment().unwrap_or_default())))?;
        let by_partition = |(name, owned): (String, Vec<u32>)| {
            owned.into_iter().filter_map(move |p| Some((u16::try_from(p).ok()?, name.clone())))
        };
        Ok(all.into_iter().flat_map(by_partition).collect())
    }

    /// Something of every member, in order.
    fn each<T: Ord>(&self, of: impl Fn(&GroupMemberInfo) -> T) -> Result<Vec<T>> {
        let found = self.consumer.fetch_group_list(Some(&self.group), self.client.connect_timeout()).map_err(|e| {
            listen(&self.consumer);
            let reason = self.consumer.context().reason();
            error::talking(&e, "ask who takes part in a job", &self.client.bootstrap, &reason)
        })?;
        let members =
            found.groups().iter().filter(|group| group.name() == self.group).flat_map(|group| group.members());
        let mut all: Vec<T> = members.map(of).collect();
        all.sort();
        Ok(all)
    }
}

/// The name in a member's id.
fn process(member: &str) -> &str {
    let name = member.len().checked_sub(MEMBER_SUFFIX).and_then(|at| member.split_at_checked(at));
    name.filter(|(_, suffix)| suffix.starts_with('-')).map_or(member, |(name, _)| name)
}

/// The partitions in a member's assignment: `version (2) | topics (4) | name (2, bytes) | partitions (4) | each (4)`. What cannot be read is none.
///
/// Source: Kafka's `ConsumerProtocolAssignment`.
fn assigned(bytes: &[u8]) -> Vec<u32> {
    fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
        bytes.split_first_chunk::<4>().map(|(n, rest)| (u32::from_be_bytes(*n), rest))
    }
    let read = || {
        let (topics, mut rest) = number(bytes.get(2..)?)?;
        let mut found = Vec::new();
        for _ in 0..topics {
            let (length, named) = rest.split_first_chunk::<2>()?;
            let (count, mut behind) = number(named.get(usize::from(u16::from_be_bytes(*length))..)?)?;
            for _ in 0..count {
                let (partition, more) = number(behind)?;
                found.push(partition);
                behind = more;
            }
            rest = behind;
        }
        Some(found)
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_is_what_stands_before_the_uuid() {
        assert_eq!(process("one-2-6f1ed002-ab5f-4c17-9e0d-8b5f2d0f6a11"), "one-2");
        assert_eq!(process("short"), "short");
        assert_eq!(process("ü".repeat(18).as_str()), "ü".repeat(18));
    }

    #[test]
    fn an_assignment_is_read_whole_or_not_at_all() {
        let bytes = b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\x03\0\0\0\x07\0\x02bc\0\0\0\x01\0\0\0\x01\0\0\0\0";
        assert_eq!(assigned(bytes), [3, 7, 1]);
        for n in 0..bytes.len() - 4 {
            assert_eq!(assigned(&bytes[..n]), [0; 0], "cut at {n}");
        }
    }
}
