//! What a harness is asked beside bundles, and what its answers do: progress, splits, samples, metrics and the names of metrics, the news of
//! a commit.

use super::{Bundle, Link, Phase, Session};
use crate::fnapi::{lock, samples, split};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use thalweg_core::id::BundleId;
use thalweg_core::port::worker::{Event, SplitReply};
use thalweg_proto::fn_execution::{
    HarnessMonitoringInfosRequest, InstructionResponse, MonitoringInfosMetadataRequest, ProcessBundleProgressResponse,
    ProcessBundleResponse, SampleDataRequest, instruction_request, instruction_response,
};
use thalweg_proto::pipeline::MonitoringInfo;

/// An instruction that waits for its answer, other than a bundle.
pub(super) enum Call {
    Progress(BundleId, Arc<Link>),
    /// Progress whose metrics have to be named first.
    ProgressNames(BundleId, Arc<Link>, Box<ProcessBundleProgressResponse>),
    /// Metrics of the harness itself; the second time they are named.
    Harness(Arc<Link>),
    HarnessNames(Arc<Link>, BTreeMap<String, Bytes>),
    Samples,
    Split(Arc<Bundle>),
    Finalize(BundleId),
    Names(Arc<Bundle>, Box<ProcessBundleResponse>),
}

impl Session {
    /// Sends an instruction whose answer `call` is for.
    pub(super) fn call(&self, call: Call, request: instruction_request::Request) {
        let instruction = self.next.fetch_add(1, Ordering::Relaxed);
        let mut open = lock(&self.open);
        if !open.closed {
            open.calls.insert(instruction, call);
            drop(open);
            self.instruct(instruction, request);
        }
    }

    /// Asks how far a bundle is.
    pub fn progress(&self, bundle: &Bundle) {
        let call = Call::Progress(bundle.id, Arc::clone(bundle.link()));
        self.call(call, split::progress_request(bundle.instruction));
    }

    async fn progressed(&self, bundle: BundleId, link: &Link, progress: &ProcessBundleProgressResponse) {
        let (consumed, metrics) = self.names.metrics(&progress.monitoring_data, &progress.monitoring_infos);
        link.send(Event::Progress { bundle, consumed, metrics }).await;
    }

    /// What has to be asked before metrics can be understood. Infos in full need no names.
    fn unknown(
        &self,
        data: &BTreeMap<String, Bytes>,
        infos: &[MonitoringInfo],
    ) -> Option<instruction_request::Request> {
        let unknown = if infos.is_empty() { self.names.unknown(data) } else { Vec::new() };
        let request = MonitoringInfosMetadataRequest { monitoring_info_id: unknown };
        (!request.monitoring_info_id.is_empty()).then_some(instruction_request::Request::MonitoringInfos(request))
    }

    fn learn(&self, names: Option<instruction_response::Response>) {
        if let Some(instruction_response::Response::MonitoringInfos(names)) = names {
            self.names.learn(names.monitoring_info);
        }
    }

    /// Asks for the metrics of the harness itself, for the shard of `link`.
    pub fn harness_metrics(&self, link: Arc<Link>) {
        let request = HarnessMonitoringInfosRequest {};
        self.call(Call::Harness(link), instruction_request::Request::HarnessMonitoringInfos(request));
    }

    async fn harness_told(&self, link: &Link, data: &BTreeMap<String, Bytes>) {
        let (_, metrics) = self.names.metrics(data, &[]);
        if !metrics.is_empty() {
            link.send(Event::Harness { metrics }).await;
        }
    }

    /// Asks for elements that the harness has seen, if the job wants samples taken. They are logged.
    pub fn sample(&self) {
        if self.provision.samples() {
            let request = SampleDataRequest { pcollection_ids: Vec::new() };
            self.call(Call::Samples, instruction_request::Request::SampleData(request));
        }
    }

    /// Asks for a part of a bundle of `elements` elements.
    pub fn split(&self, bundle: &Arc<Bundle>, fraction: f64, elements: usize) {
        bundle.splitting();
        let request = split::split_request(bundle, fraction, elements);
        self.call(Call::Split(Arc::clone(bundle)), request);
    }

    /// Tells that a bundle's epoch is committed.
    pub fn finalize(&self, bundle: &Bundle) {
        self.finalizing.send_modify(|waiting| *waiting += 1);
        self.call(Call::Finalize(bundle.id), split::finalize_request(bundle.instruction));
    }

    /// Waits until every bundle that was told of its commit has answered, or the session has ended.
    pub async fn finalized(&self) {
        let (mut phase, mut waiting) = (self.phase(), self.finalizing.subscribe());
        tokio::select! {
            _ = phase.wait_for(|phase| matches!(phase, Phase::Closed(_))) => {}
            _ = waiting.wait_for(|waiting| *waiting == 0) => {}
        }
    }

    pub(super) async fn answer_call(&self, call: Call, response: InstructionResponse) {
        use instruction_response::Response;
        let failed = (!response.error.is_empty()).then_some(response.error);
        match (call, response.response) {
            (Call::Names(bundle, answer), names) => {
                self.learn(names);
                let next = self.complete(&bundle, *answer).await;
                self.after(&bundle, next);
            }
            (Call::Progress(bundle, link), Some(Response::ProcessBundleProgress(progress))) => {
                match self.unknown(&progress.monitoring_data, &progress.monitoring_infos) {
                    Some(ask) => self.call(Call::ProgressNames(bundle, link, Box::new(progress)), ask),
                    None => self.progressed(bundle, &link, &progress).await,
                }
            }
            (Call::ProgressNames(bundle, link, progress), names) => {
                self.learn(names);
                self.progressed(bundle, &link, &progress).await;
            }
            (Call::Harness(link), Some(Response::HarnessMonitoringInfos(infos))) => {
                match self.unknown(&infos.monitoring_data, &[]) {
                    Some(ask) => self.call(Call::HarnessNames(link, infos.monitoring_data), ask),
                    None => self.harness_told(&link, &infos.monitoring_data).await,
                }
            }
            (Call::HarnessNames(link, data), names) => {
                self.learn(names);
                self.harness_told(&link, &data).await;
            }
            (Call::Samples, Some(Response::SampleData(samples))) => {
                samples::tell(self.server.logs(), &self.worker, samples);
            }
            (Call::Split(bundle), Some(Response::ProcessBundleSplit(reply))) => {
                let next = match split::reply(&bundle.stage, reply) {
                    Ok(reply) => bundle.split(reply).await,
                    Err(error) => bundle.fail(error).await,
                };
                self.after(&bundle, next);
            }
            (Call::Split(bundle), _) => {
                // it could not: an answer all the same, so that nobody waits for one
                let next = bundle.split(SplitReply::default()).await;
                self.after(&bundle, next);
            }
            (Call::Finalize(bundle), _) => {
                self.finalizing.send_modify(|waiting| *waiting -= 1);
                if let Some(failed) = failed {
                    // what is committed stays so: callbacks are best effort
                    tracing::warn!(worker = self.worker, bundle = bundle.0, failed, "a bundle could not be finalized");
                }
            }
            // nobody waits for these
            (Call::Progress(..) | Call::Harness(_) | Call::Samples, _) => {}
        }
    }
}
