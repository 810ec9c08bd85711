//! Who takes part in a job just now, as the brokers tell.

use super::super::client::{KafkaClientConfig, Reports, listen, made};
use super::super::error;
use rdkafka::consumer::{BaseConsumer, Consumer};
use thalweg_core::error::Result;

/// What brokers put behind the name of a process to make a member's id of it: a hyphen and a UUID.
const MEMBER_SUFFIX: usize = 37;

/// Asks for the members of a group, without being one.
pub struct GroupMembers {
    consumer: BaseConsumer<Reports>,
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
        let consumer = made(settings.create_with_context(Reports::default()))?;
        Ok(Self { consumer, client: client.clone(), group: group.to_owned() })
    }

    /// The names of the processes that take part, in order. Who has died is among them until its session is over. Cost: a request to
    /// every broker.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_AUTH`.
    pub fn processes(&self) -> Result<Vec<String>> {
        let found = self.consumer.fetch_group_list(Some(&self.group), self.client.connect_timeout()).map_err(|e| {
            listen(&self.consumer);
            let reason = self.consumer.context().reason();
            error::talking(&e, "ask who takes part in a job", &self.client.bootstrap, &reason)
        })?;
        let members =
            found.groups().iter().filter(|group| group.name() == self.group).flat_map(|group| group.members());
        let mut names: Vec<String> = members.map(|member| process(member.id()).to_owned()).collect();
        names.sort();
        Ok(names)
    }
}

/// The name in a member's id.
fn process(member: &str) -> &str {
    let name = member.len().checked_sub(MEMBER_SUFFIX).and_then(|at| member.split_at_checked(at));
    name.filter(|(_, suffix)| suffix.starts_with('-')).map_or(member, |(name, _)| name)
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
}
