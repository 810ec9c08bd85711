//! What a worker asks before anything else: pipeline options, endpoints and artifacts.
//!
//! Source: `ProvisionService.GetProvisionInfo`.

use prost_types::Struct;
use prost_types::value::Kind;
use thalweg_proto::fn_execution::ProvisionInfo;
use thalweg_proto::pipeline::{ApiServiceDescriptor, ArtifactInformation};

/// What this runner can do beyond the first version of the protocol.
///
/// Short ids: metrics of a bundle may name themselves by number. Keys and values: a map side input may be read at once.
pub(super) const CAPABILITIES: [&str; 2] =
    ["beam:protocol:monitoring_info_short_ids:v1", "beam:protocol:multimap_keys_values_side_input:v1"];

/// Facts about the job that its workers are told.
#[derive(Clone, Default, Debug)]
pub struct Provision {
    /// The pipeline's options, as submitted.
    pub options: Option<Struct>,
    /// Names the staged artifacts for the legacy retrieval service; may be empty.
    pub retrieval_token: String,
    /// Where artifacts are retrieved, `host:port`; empty means the server's own endpoint.
    pub artifact_endpoint: String,
    /// Artifacts of the environment.
    pub dependencies: Vec<ArtifactInformation>,
}

impl Provision {
    /// The answer for a worker that reaches our services at `endpoint`.
    pub(super) fn info(&self, endpoint: &str) -> ProvisionInfo {
        let services = || Some(ApiServiceDescriptor { url: endpoint.to_owned(), ..Default::default() });
        ProvisionInfo {
            pipeline_options: Some(self.options.clone().unwrap_or_default()),
            retrieval_token: self.retrieval_token.clone(),
            status_endpoint: services(),
            logging_endpoint: services(),
            artifact_endpoint: Some(ApiServiceDescriptor {
                url: self.artifacts(endpoint).to_owned(),
                ..Default::default()
            }),
            control_endpoint: services(),
            dependencies: self.dependencies.clone(),
            runner_capabilities: CAPABILITIES.map(str::to_owned).to_vec(),
            ..Default::default()
        }
    }

    /// Whether the job wants samples of its data.
    pub(super) fn samples(&self) -> bool {
        let experiments = self.options.as_ref().and_then(|o| o.fields.get("beam:option:experiments:v1"));
        let Some(Kind::ListValue(list)) = experiments.and_then(|e| e.kind.as_ref()) else { return false };
        let wanted = |kind: &Kind| matches!(kind, Kind::StringValue(s) if s == "enable_data_sampling");
        list.values.iter().filter_map(|v| v.kind.as_ref()).any(wanted)
    }

    /// Where artifacts are retrieved.
    pub(super) fn artifacts<'a>(&'a self, endpoint: &'a str) -> &'a str {
        if self.artifact_endpoint.is_empty() { endpoint } else { &self.artifact_endpoint }
    }
}
