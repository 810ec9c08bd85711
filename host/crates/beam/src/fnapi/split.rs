//! Instructions about a running bundle, and the work that comes back: residuals of an answer, replies to a split.
//!
//! In: messages of the control stream. Out: the engine's residuals and split replies. An element that comes back is in
//! the wire form of the input it belongs to, so it becomes a batch of one row without being understood.

use super::bundle::Bundle;
use super::wiring::StageWire;
use std::collections::BTreeMap;
use thalweg_core::batch::{Batch, BatchBuilder};
use thalweg_core::error::{Domain, Error, Result};
use thalweg_core::port::worker::{Residual, SplitReply};
use thalweg_core::time::EventTime;
use thalweg_proto::fn_execution::instruction_request::Request;
use thalweg_proto::fn_execution::process_bundle_split_request::DesiredSplit;
use thalweg_proto::fn_execution::{
    BundleApplication, DelayedBundleApplication, FinalizeBundleRequest, ProcessBundleProgressRequest,
    ProcessBundleSplitRequest, ProcessBundleSplitResponse,
};

/// Asks how far a bundle is.
pub(super) fn progress_request(instruction: u64) -> Request {
    Request::ProcessBundleProgress(ProcessBundleProgressRequest { instruction_id: instruction.to_string() })
}

/// Tells that a bundle is committed.
pub(super) fn finalize_request(instruction: u64) -> Request {
    Request::FinalizeBundle(FinalizeBundleRequest { instruction_id: instruction.to_string() })
}

/// Asks a bundle of `elements` elements to give back `fraction` of what is left.
pub(super) fn split_request(bundle: &Bundle, fraction: f64, elements: usize) -> Request {
    // the protocol names the share to keep
    let desired = DesiredSplit {
        fraction_of_remainder: (1.0 - fraction).clamp(0.0, 1.0),
        allowed_split_points: Vec::new(),
        estimated_input_elements: i64::try_from(elements).unwrap_or(i64::MAX),
    };
    let desired_splits: BTreeMap<_, _> =
        bundle.stage.inputs.iter().map(|i| (i.source.clone(), desired.clone())).collect();
    Request::ProcessBundleSplit(ProcessBundleSplitRequest {
        instruction_id: bundle.instruction.to_string(),
        desired_splits,
    })
}

/// The work a bundle gave back.
///
/// # Errors
/// `WORKER_PROTOCOL` for work of a transform that no input feeds, `CODER_MALFORMED` for bytes that are no element.
pub(super) fn residuals(stage: &StageWire, roots: Vec<DelayedBundleApplication>) -> Result<Vec<Residual>> {
    roots.into_iter().map(|root| residual(stage, root)).collect()
}

fn residual(stage: &StageWire, root: DelayedBundleApplication) -> Result<Residual> {
    let application = root.application.unwrap_or_default();
    // the lower bound of all outputs holds the stage
    let watermark = application.output_watermarks.values().map(millis).min();
    // rounded up: not before the time asked for
    let delay_ms = root.requested_time_delay.map_or(0, |delay| {
        delay.seconds.saturating_mul(1000).saturating_add((i64::from(delay.nanos) + 999_999) / 1_000_000)
    });
    let (entry, batch) = applied(stage, application)?;
    Ok(Residual { entry, batch, delay_ms: delay_ms.max(0), watermark })
}

fn millis(time: &prost_types::Timestamp) -> EventTime {
    EventTime(time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000)).clamped()
}

/// The input an element belongs to, and the element.
fn applied(stage: &StageWire, application: BundleApplication) -> Result<(u32, Batch)> {
    let entry = stage.entry(&application.transform_id, &application.input_id);
    let wire = entry.and_then(|entry| stage.inputs.get(entry));
    let (Some(entry), Some(wire)) = (entry, wire) else {
        let message = format!(
            "the worker gave back work of {} (input {}), which no input of its stage feeds",
            application.transform_id, application.input_id
        );
        return Err(Error::new("WORKER_PROTOCOL", Domain::Guest, message).in_transform(&application.transform_id));
    };
    Ok((entry as u32, wire.coder.decode(application.element)?))
}

/// What a split left with the bundle and what it gave back.
///
/// Elements up to `last_primary_element` stay whole. When the next one is split, its primary stays instead of it and its
/// residual comes back; then `primary` is set, even if it is empty. Elements behind come back by themselves.
///
/// # Errors
/// As for [`residuals`].
pub(super) fn reply(stage: &StageWire, reply: ProcessBundleSplitResponse) -> Result<SplitReply> {
    let Some(channel) = reply.channel_splits.first() else {
        // without a channel split only work of the current element came back, or nothing at all
        let residuals = residuals(stage, reply.residual_roots)?;
        return Ok(SplitReply { keep: None, primary: None, residuals });
    };
    let keep = usize::try_from(channel.last_primary_element.saturating_add(1)).unwrap_or(0);
    let whole_from = usize::try_from(channel.first_residual_element).unwrap_or(0);
    let primary = if whole_from > keep { Some(primary(stage, reply.primary_roots)?) } else { None };
    Ok(SplitReply { keep: Some(keep), primary, residuals: residuals(stage, reply.residual_roots)? })
}

/// The parts that stay, as one batch. There is nearly always one, which is taken as it is.
fn primary(stage: &StageWire, roots: Vec<BundleApplication>) -> Result<Batch> {
    let mut parts = Vec::with_capacity(roots.len());
    for root in roots {
        parts.push(applied(stage, root)?.1);
    }
    if parts.len() == 1
        && let Some(only) = parts.pop()
    {
        return Ok(only);
    }
    let mut all = BatchBuilder::new();
    for part in &parts {
        for row in part.rows() {
            all.push_in_pane(part.key(row), part.value(row), row.time, part.windows(row), part.pane(row));
        }
    }
    Ok(all.finish())
}
