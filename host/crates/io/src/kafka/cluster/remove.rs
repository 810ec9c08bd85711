//! Deletes topics of jobs that are over.

use super::super::client::KafkaClientConfig;
use super::super::error;
use super::topics::{Admin, JobTopics, admin, wait};
use rdkafka::admin::AdminOptions;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::sync::Arc;
use thalweg_core::error::Result;

/// Deletes what a job has on the brokers.
pub struct Remover {
    admin: Arc<Admin>,
    client: KafkaClientConfig,
}

impl std::fmt::Debug for Remover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remover").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Remover {
    /// One for a cluster; it connects in the background.
    ///
    /// # Errors
    /// `KAFKA_CONFIG`, `KAFKA_PROPERTY_REFUSED`.
    pub fn new(client: &KafkaClientConfig) -> Result<Self> {
        Ok(Self { admin: admin(client)?, client: client.clone() })
    }

    /// Which of these jobs have topics. Cost: the names of all topics of the cluster.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_AUTH`.
    pub fn left(&self, jobs: Vec<JobTopics>) -> Result<Vec<JobTopics>> {
        let names = self.names()?;
        Ok(jobs.into_iter().filter(|job| names.iter().any(|name| job.owns(name))).collect())
    }

    /// Deletes the topics of a job and its group, which nobody may be a member of any more. What is gone already is passed over.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_AUTH`: what is left stays until the next call.
    pub fn remove(&self, job: &JobTopics) -> Result<()> {
        let names: Vec<String> = self.names()?.into_iter().filter(|name| job.owns(name)).collect();
        let options = AdminOptions::new().operation_timeout(Some(self.client.connect_timeout()));
        if !names.is_empty() {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let deleted = wait(self.admin.delete_topics(&names, &options));
            for result in deleted.map_err(|e| self.failed(&e))? {
                match result {
                    Ok(_) | Err((_, Code::UnknownTopicOrPartition | Code::UnknownTopic)) => {}
                    Err((_, code)) => return Err(self.failed(&KafkaError::AdminOp(code))),
                }
            }
        }
        // a group without topics goes of itself, somewhat later
        let group = wait(self.admin.delete_groups(&[job.prefix()], &options));
        group.map(drop).unwrap_or_else(|e| tracing::debug!(target: "kafka", "{e}"));
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>> {
        let found = self.admin.inner().fetch_metadata(None, self.client.connect_timeout());
        let found = found.map_err(|e| self.failed(&e))?;
        Ok(found.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    fn failed(&self, e: &KafkaError) -> thalweg_core::error::Error {
        let reason = self.admin.inner().context().reason();
        error::talking(e, "delete the topics of a job that is over", &self.client.bootstrap, &reason)
    }
}
