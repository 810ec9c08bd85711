//! What a harness is asked beside bundles, and what its answers do: progress, splits, samples, metrics and the names of metrics, the news of
//! a commit.

use super::{Bundle, Link, Phase, Session};
use crate::fnapi::{lock, samples, split};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use thalweg_core::id::BundleId;
use thalweg_core::port::worker::{Event, SplitReply};
use thalweg_proto::fn_execution::{
    HarnessMonitoringInfosRequest, InstructionResponse, MonitoringInfosMetadataRequest, ProcessBundleProgressResponse,
    ProcessBundleResponse, SampleDataRequest, instruction_request, instruction_response,
};
use thalweg_proto::pipeline::MonitoringInfo;

/// An instruction that waits for its answer, other than a bundle.
pub(super) enum Call {
    /// Of a bundle that may be over before it is answered: what it had is not kept for that.
    Progress(Weak<Bundle>),
    /// Progress whose metrics have to be named first.
    ProgressNames(Weak<Bundle>, Box<ProcessBundleProgressResponse>),
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

    /// Asks how far a bundle is, unless the last question is still open.
    pub fn progress(&self, bundle: &Arc<Bundle>) {
        if bundle.told.may_ask() {
            self.call(Call::Progress(Arc::downgrade(bundle)), split::progress_request(bundle.instruction));
        }
    }

    /// Takes an answer to that, whose names may have to be asked for first.
    async fn progress_told(&self, bundle: &Arc<Bundle>, mut progress: Box<ProcessBundleProgressResponse>) {
        progress.monitoring_data =
            bundle.told.all(std::mem::take(&mut progress.monitoring_data), &progress.monitoring_infos);
        match self.unknown(&progress.monitoring_data, &progress.monitoring_infos) {
            Some(ask) => self.call(Call::ProgressNames(Arc::downgrade(bundle), progress), ask),
            None => self.progressed(bundle, &progress).await,
        }
    }

    async fn progressed(&self, bundle: &Bundle, progress: &ProcessBundleProgressResponse) {
        let (consumed, metrics) = self.names.metrics(&progress.monitoring_data, &progress.monitoring_infos);
        bundle.told.answered();
        bundle.link().send(Event::Progress { bundle: bundle.id, consumed, metrics }).await;
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

    /// Asks for the metrics of the harness itself, for the shard of `link`, unless the last question is still open.
    pub fn harness_metrics(&self, link: Arc<Link>) {
        if !self.metrics_asked.swap(true, Ordering::Relaxed) {
            let request = HarnessMonitoringInfosRequest {};
            self.call(Call::Harness(link), instruction_request::Request::HarnessMonitoringInfos(request));
        }
    }

    async fn harness_told(&self, link: &Link, data: &BTreeMap<String, Bytes>) {
        self.metrics_asked.store(false, Ordering::Relaxed);
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
            (Call::Progress(bundle), answer) => match (bundle.upgrade(), answer) {
                (Some(bundle), Some(Response::ProcessBundleProgress(progress))) => {
                    self.progress_told(&bundle, Box::new(progress)).await;
                }
                (Some(bundle), _) => bundle.told.answered(),
                (None, _) => {}
            },
            (Call::ProgressNames(bundle, progress), names) => {
                self.learn(names);
                if let Some(bundle) = bundle.upgrade() {
                    self.progressed(&bundle, &progress).await;
                }
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
            (Call::Harness(_), _) => self.metrics_asked.store(false, Ordering::Relaxed),
            (Call::Samples, _) => {} // nobody waits for them
        }
    }
}
