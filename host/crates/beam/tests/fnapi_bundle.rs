//! A bundle as a conversation with a scripted SDK: what is sent, what comes back, in which order, and how it may end.
#![cfg(feature = "fn-api")]

mod fnapi_support;

use bytes::Bytes;
use fnapi_support::{FakeSdk, Scene, batch, coder};
use std::collections::BTreeMap;
use thalweg_beam::fnapi::FnApiConfig;
use thalweg_core::batch::Batch;
use thalweg_core::error::Domain;
use thalweg_core::id::BundleId;
use thalweg_core::metric::MetricValue;
use thalweg_core::port::worker::{Command, Event, Input, Worker};
use thalweg_core::time::EventTime;
use thalweg_proto::fn_execution::*;
use thalweg_proto::pipeline::MonitoringInfo;

fn wire(batch: &Batch) -> Bytes {
    let mut out = Vec::new();
    coder().encode(batch, batch.rows(), &mut out);
    out.into()
}

fn elements(n: u64) -> Input {
    Input::Elements { batches: vec![(0, batch(n))] }
}

fn application(element: Bytes) -> BundleApplication {
    let at = prost_types::Timestamp { seconds: 7, nanos: 5_000_000 };
    BundleApplication {
        transform_id: "Fn".to_owned(),
        input_id: "in".to_owned(),
        element,
        output_watermarks: BTreeMap::from([("out".to_owned(), at)]),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_is_sent_in_chunks_and_closed_by_an_empty_entry() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig { chunk_bytes: 4096, ..FnApiConfig::default() }).await?;
    let mut sdk = scene.up().await;
    let input = batch(1000);
    scene.start(1, Input::Elements { batches: vec![(0, input.clone())] }, Vec::new());
    let (id, request) = sdk.bundle().await;
    assert_eq!(request.process_bundle_descriptor_id, "stage-3");
    assert_eq!(request.cache_tokens.len(), 1);
    let messages = sdk.input().await;
    assert!(messages.len() > 3, "{} messages", messages.len());
    let entries: Vec<_> = messages.iter().flat_map(|m| &m.data).collect();
    let (last, data) = entries.split_last().expect("entries");
    assert!(last.is_last && last.data.is_empty());
    assert!(data.iter().all(|d| !d.is_last && d.instruction_id == id && d.transform_id == "source"));
    assert!(data.iter().all(|d| d.data.len() < 8192));
    assert_eq!(Bytes::from(data.iter().flat_map(|d| d.data.to_vec()).collect::<Vec<_>>()), wire(&input));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_is_done_when_it_is_answered_and_every_stream_is_closed() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig::default()).await?;
    let mut sdk = scene.up().await;
    scene.start(1, elements(3), Vec::new());
    let (id, _) = sdk.bundle().await;
    sdk.input().await;
    let element = wire(&batch(1));
    let response = ProcessBundleResponse {
        residual_roots: vec![DelayedBundleApplication {
            application: Some(application(element.clone())),
            requested_time_delay: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
        }],
        requires_finalization: true,
        monitoring_data: BTreeMap::from([("1".to_owned(), Bytes::from_static(&[42]))]),
        ..Default::default()
    };
    // the answer overtakes the data, and its short id must be asked for first
    sdk.done(&id, response).await;
    let (asked, request) = sdk.instruction().await;
    assert!(matches!(request, instruction_request::Request::MonitoringInfos(r) if r.monitoring_info_id == ["1"]));
    let info = MonitoringInfo {
        urn: "beam:metric:user:sum_int64:v1".to_owned(),
        r#type: "beam:metrics:sum_int64:v1".to_owned(),
        ..Default::default()
    };
    let names = MonitoringInfosMetadataResponse { monitoring_info: BTreeMap::from([("1".to_owned(), info)]) };
    sdk.respond(&asked, instruction_response::Response::MonitoringInfos(names)).await;
    sdk.send(&id, "sink-b", Some(wire(&batch(2)))).await;
    sdk.close(&id).await;

    let Event::Output { bundle: BundleId(1), output: 1, batch: out } = scene.event().await else {
        unreachable!("the output comes first")
    };
    assert_eq!((out.len(), out.value(&out.rows()[1])), (2, &b"v1"[..]));
    let Event::Done { bundle: BundleId(1), result } = scene.event().await else { unreachable!("then it is done") };
    assert!(result.finalize);
    assert_eq!(result.residuals.len(), 1);
    let residual = &result.residuals[0];
    assert_eq!((residual.entry, residual.delay_ms, residual.watermark), (0, 2000, Some(EventTime(7005))));
    assert_eq!(residual.batch.len(), 1);
    assert_eq!(result.metrics.0.values().collect::<Vec<_>>(), [&MetricValue::Sum(42)]);

    scene.worker.submit(Command::Finalize(BundleId(1)))?;
    let (_, request) = sdk.instruction().await;
    assert!(matches!(request, instruction_request::Request::FinalizeBundle(r) if r.instruction_id == id));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_carries_the_workers_own_trace() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig::default()).await?;
    let mut sdk = scene.up().await;
    scene.start(1, elements(1), Vec::new());
    let (id, _) = sdk.bundle().await;
    sdk.fail(&id, "Traceback (most recent call last):\n  File \"x\"\nKeyError: 'a' [while running 'Fn']\n").await;
    let Event::Failed { bundle: BundleId(1), error } = scene.event().await else { unreachable!("it failed") };
    assert_eq!((error.code, error.domain), ("UDF_FAILED", Domain::Guest));
    assert_eq!((error.message.as_str(), error.transform.as_str()), ("KeyError: 'a'", "Fn"));
    assert!(error.trace.starts_with("Traceback"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_elements_fail_the_bundle() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig::default()).await?;
    let mut sdk = scene.up().await;
    scene.start(1, elements(1), Vec::new());
    let (id, _) = sdk.bundle().await;
    sdk.send(&id, "sink-a", Some(Bytes::from_static(b"no element"))).await;
    let Event::Failed { error, .. } = scene.event().await else { unreachable!("it failed") };
    assert_eq!(error.code, "CODER_MALFORMED");
    Ok(())
}

async fn split_of(scene: &mut Scene, sdk: &mut FakeSdk, reply: Option<ProcessBundleSplitResponse>) -> Event {
    scene.worker.submit(Command::Split(BundleId(1), 0.25)).expect("up");
    let (asked, request) = sdk.instruction().await;
    let instruction_request::Request::ProcessBundleSplit(request) = request else { unreachable!("a split") };
    let desired = &request.desired_splits["source"];
    assert_eq!((desired.fraction_of_remainder, desired.estimated_input_elements), (0.75, 10));
    match reply {
        Some(reply) => sdk.respond(&asked, instruction_response::Response::ProcessBundleSplit(reply)).await,
        None => sdk.fail(&asked, "not now").await,
    }
    scene.event().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_says_what_stays_and_what_comes_back() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig::default()).await?;
    let mut sdk = scene.up().await;
    scene.start(1, elements(10), Vec::new());
    sdk.bundle().await;
    let element = wire(&batch(1));
    let reply = ProcessBundleSplitResponse {
        primary_roots: vec![application(element.clone())],
        residual_roots: vec![DelayedBundleApplication {
            application: Some(application(element)),
            requested_time_delay: None,
        }],
        channel_splits: vec![process_bundle_split_response::ChannelSplit {
            transform_id: "source".to_owned(),
            last_primary_element: 3,
            first_residual_element: 5,
        }],
    };
    let Event::Split { reply, .. } = split_of(&mut scene, &mut sdk, Some(reply)).await else { unreachable!("a split") };
    assert_eq!(reply.keep, Some(4));
    assert_eq!(reply.primary.map(|p| p.len()), Some(1));
    assert_eq!(reply.residuals.len(), 1);
    let Event::Split { reply, .. } = split_of(&mut scene, &mut sdk, None).await else { unreachable!("an answer") };
    assert_eq!((reply.keep, reply.primary.is_none(), reply.residuals.len()), (None, true, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_gives_back_after_its_last_word_is_taken() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig::default()).await?;
    let mut sdk = scene.up().await;
    scene.start(1, elements(10), Vec::new());
    let (id, _) = sdk.bundle().await;
    scene.worker.submit(Command::Split(BundleId(1), 0.25)).expect("up");
    let (asked, _) = sdk.instruction().await;
    sdk.close(&id).await;
    sdk.done(&id, ProcessBundleResponse::default()).await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let root = DelayedBundleApplication { application: Some(application(wire(&batch(1)))), requested_time_delay: None };
    let reply = ProcessBundleSplitResponse { residual_roots: vec![root], ..Default::default() };
    sdk.respond(&asked, instruction_response::Response::ProcessBundleSplit(reply)).await;
    let Event::Split { reply, .. } = scene.event().await else { unreachable!("a split first") };
    assert_eq!(reply.residuals.len(), 1);
    let Event::Done { .. } = scene.event().await else { unreachable!("then done") };
    Ok(())
}
