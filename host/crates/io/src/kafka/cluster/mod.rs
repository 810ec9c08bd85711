//! A job on its own Kafka cluster: many processes, and nothing distributed but Kafka.
//!
//! A job has a few topics of its own ([`JobTopics`]). Processes that read its *members* topic as one consumer group own the job's
//! partitions as they are assigned ([`Members`]). What a partition keeps is in the *changelog* ([`Changelog`]); what it sends to others goes
//! through *exchanges* ([`ExchangeSink`], [`ExchangeSource`]); both become visible with the partition's epoch, in one transaction that also
//! holds the commit record ([`Epochs`]). Jobs and what becomes of them are told in two topics of the cluster ([`Journal`]). Source: KIP-98, KIP-429, KIP-447.

mod changelog;
mod commits;
mod ends;
mod epochs;
mod exchange;
mod follow;
mod group;
mod hanging;
mod journal;
mod members;
mod predecessor;
mod reader;
mod remove;
mod seed;
mod sink;
mod sizes;
mod topics;
mod transaction;
mod walk;

pub use changelog::{Changelog, Restored};
pub use epochs::{EpochPart, Epochs, EpochsConfig, Tenure};
pub use exchange::{ExchangeSink, ExchangeSource};
pub use follow::{Follower, Step};
pub use group::GroupMembers;
pub use journal::{Entry, Journal, Page, Told};
pub use members::{Members, MembersConfig, Ownership};
pub use reader::LogReader;
pub use remove::Remover;
pub use seed::Seeder;
pub use sink::{ClusterSink, ClusterSinkConfig};
pub use topics::{JobTopics, Trimmer};
pub use walk::{Standstill, on_its_way};
