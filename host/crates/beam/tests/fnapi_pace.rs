//! What a runner asks of a worker beside its bundles: progress, truncation, its own metrics, its status, samples of its data.
#![cfg(feature = "fn-api")]

mod fnapi_support;

use bytes::Bytes;
use fnapi_support::{FakeSdk, Scene, batch, coder, sampled};
use std::collections::BTreeMap;
use std::time::Duration;
use thalweg_beam::fnapi::FnApiConfig;
use thalweg_core::id::BundleId;
use thalweg_core::metric::MetricValue;
use thalweg_core::port::worker::{Command, Event, Input, Worker};
use thalweg_proto::fn_execution::beam_fn_worker_status_client::BeamFnWorkerStatusClient;
use thalweg_proto::fn_execution::instruction_request::Request as Ask;
use thalweg_proto::fn_execution::instruction_response::Response as Answer;
use thalweg_proto::fn_execution::*;
use thalweg_proto::pipeline::MonitoringInfo;
use tokio_stream::StreamExt as _;

fn input(n: u64) -> Input {
    Input::Elements { batches: vec![(0, batch(n))] }
}

fn sum(urn: &str) -> MonitoringInfo {
    MonitoringInfo { urn: urn.to_owned(), r#type: "beam:metrics:sum_int64:v1".to_owned(), ..Default::default() }
}

/// Answers the question what short ids mean.
async fn name(sdk: &mut FakeSdk, ids: &[(&str, MonitoringInfo)]) {
    let (asked, request) = sdk.instruction().await;
    let Ask::MonitoringInfos(request) = request else { unreachable!("not a question about names: {request:?}") };
    assert_eq!(request.monitoring_info_id.len(), ids.len());
    let monitoring_info = ids.iter().map(|(id, info)| ((*id).to_owned(), info.clone())).collect();
    sdk.respond(&asked, Answer::MonitoringInfos(MonitoringInfosMetadataResponse { monitoring_info })).await;
}

fn data(ids: &[(&str, u8)]) -> BTreeMap<String, Bytes> {
    ids.iter().map(|(id, n)| ((*id).to_owned(), Bytes::from(vec![*n]))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_is_told_once_its_short_ids_are_named() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig::default()).await?;
    let mut sdk = scene.up().await;
    scene.start(1, input(3), Vec::new());
    let (id, _) = sdk.bundle().await;
    scene.worker.submit(Command::Progress(BundleId(1)))?;
    let (asked, request) = sdk.instruction().await;
    assert!(matches!(request, Ask::ProcessBundleProgress(r) if r.instruction_id == id));
    let monitoring_data = data(&[("a", 1), ("b", 42)]);
    let progress = ProcessBundleProgressResponse { monitoring_data, ..Default::default() };
    sdk.respond(&asked, Answer::ProcessBundleProgress(progress)).await;
    let index = sum("beam:metric:data_channel:read_index:v1");
    name(&mut sdk, &[("a", index), ("b", sum("beam:metric:user:sum_int64:v1"))]).await;
    let Event::Progress { bundle: BundleId(1), consumed: 2, metrics } = scene.event().await else {
        unreachable!("the elements 0 and 1 are taken")
    };
    let user = metrics.0.iter().find(|(key, _)| key.urn.contains("user")).map(|(_, value)| value);
    assert_eq!(user, Some(&MetricValue::Sum(42)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_that_later_answers_leave_out_are_as_the_earlier_ones_said() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig::default()).await?;
    let mut sdk = scene.up().await;
    scene.start(1, input(3), Vec::new());
    let (id, _) = sdk.bundle().await;
    let user = sum("beam:metric:user:sum_int64:v1");
    let count = sum("beam:metric:element_count:v1");
    let left = MonitoringInfo {
        urn: "beam:metric:ptransform_progress:remaining:v1".to_owned(),
        r#type: "beam:metrics:progress:v1".to_owned(),
        ..Default::default()
    };
    let values = |metrics: &thalweg_core::metric::Metrics| {
        let of = |word: &str| metrics.0.iter().find(|(key, _)| key.urn.contains(word)).map(|(_, value)| value.clone());
        (of("user"), of("element_count"), of("progress"))
    };
    let (sum_of, nothing) = (|n| Some(MetricValue::Sum(n)), Some(MetricValue::Progress(Vec::new())));

    let told =
        async |scene: &mut Scene, sdk: &mut FakeSdk, data: BTreeMap<String, Bytes>, ids: &[(&str, MonitoringInfo)]| {
            scene.worker.submit(Command::Progress(BundleId(1))).expect("up");
            let (asked, _) = sdk.instruction().await;
            let progress = ProcessBundleProgressResponse { monitoring_data: data, ..Default::default() };
            sdk.respond(&asked, Answer::ProcessBundleProgress(progress)).await;
            if !ids.is_empty() {
                name(sdk, ids).await;
            }
            let Event::Progress { metrics, .. } = scene.event().await else { unreachable!("progress") };
            metrics
        };
    let mut first = data(&[("u", 5), ("c", 7)]);
    first.insert("p".to_owned(), Bytes::from_static(&[0; 4]));
    let names = [("u", user), ("c", count), ("p", left)];
    let metrics = told(&mut scene, &mut sdk, first, &names).await;
    assert_eq!(values(&metrics), (sum_of(5), sum_of(7), nothing.clone()));
    let metrics = told(&mut scene, &mut sdk, data(&[("c", 9)]), &[]).await;
    assert_eq!(values(&metrics), (sum_of(5), sum_of(9), nothing));

    sdk.close(&id).await;
    sdk.done(&id, ProcessBundleResponse { monitoring_data: data(&[("c", 11)]), ..Default::default() }).await;
    let Event::Done { result, .. } = scene.event().await else { unreachable!("done") };
    assert_eq!(values(&result.metrics), (sum_of(5), sum_of(11), None), "of a bundle that is done nothing is left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_does_not_answer_is_asked_how_far_it_is_only_once() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig::default()).await?;
    let mut sdk = scene.up().await;
    scene.start(1, input(3), Vec::new());
    sdk.bundle().await;
    for _ in 0..5 {
        scene.worker.submit(Command::Progress(BundleId(1)))?;
    }
    scene.start(2, input(1), Vec::new());
    let (asked, request) = sdk.instruction().await;
    assert!(matches!(request, Ask::ProcessBundleProgress(_)));
    sdk.bundle().await; // nothing stands between
    sdk.respond(&asked, Answer::ProcessBundleProgress(ProcessBundleProgressResponse::default())).await;
    assert!(matches!(scene.event().await, Event::Progress { bundle: BundleId(1), .. }));
    scene.worker.submit(Command::Progress(BundleId(1)))?;
    let (asked, request) = sdk.instruction().await;
    assert!(matches!(request, Ask::ProcessBundleProgress(_)), "it is asked again when it has answered");
    sdk.fail(&asked, "not now").await;
    let again = async {
        loop {
            scene.worker.submit(Command::Progress(BundleId(1))).expect("up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        (_, request) = sdk.instruction() => assert!(matches!(request, Ask::ProcessBundleProgress(_))),
        () = again => {}
        () = tokio::time::sleep(Duration::from_secs(10)) => unreachable!("a failure is an answer, too"),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_harness_that_does_not_answer_is_asked_for_its_metrics_only_once() -> anyhow::Result<()> {
    let config = FnApiConfig { harness_metrics_every: Duration::from_millis(10), ..FnApiConfig::default() };
    let mut scene = Scene::set(config).await?;
    let mut sdk = scene.up().await;
    for fails in [true, false] {
        let (asked, request) = sdk.instruction().await;
        assert!(matches!(request, Ask::HarnessMonitoringInfos(_)));
        let more = tokio::time::timeout(Duration::from_millis(200), sdk.instruction()).await;
        assert!(more.is_err(), "{more:?}");
        if fails {
            sdk.fail(&asked, "not now").await;
        } else {
            sdk.respond(&asked, Answer::HarnessMonitoringInfos(HarnessMonitoringInfosResponse::default())).await;
        }
    }
    let (_, request) = sdk.instruction().await;
    assert!(matches!(request, Ask::HarnessMonitoringInfos(_)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_truncation_leaves_is_given_back() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig::default()).await?;
    let mut sdk = scene.up().await;
    scene.begin(1, input(3), Vec::new(), true);
    let (id, request) = sdk.bundle().await;
    assert_eq!(request.process_bundle_descriptor_id, "stage-3-truncate");
    let (mut left, two) = (Vec::new(), batch(2));
    coder().encode(&two, two.rows(), &mut left);
    sdk.send(&id, "left", Some(left.into())).await;
    sdk.send(&id, "left", None).await;
    sdk.done(&id, ProcessBundleResponse::default()).await;
    let Event::Done { bundle: BundleId(1), result } = scene.event().await else { unreachable!("nothing is put out") };
    assert_eq!(result.residuals.iter().map(|r| (r.entry, r.batch.len())).collect::<Vec<_>>(), [(0, 2)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_harness_is_asked_for_metrics_of_its_own() -> anyhow::Result<()> {
    let config = FnApiConfig { harness_metrics_every: Duration::from_millis(20), ..FnApiConfig::default() };
    let mut scene = Scene::set(config).await?;
    let mut sdk = scene.up().await;
    let (asked, request) = sdk.instruction().await;
    assert!(matches!(request, Ask::HarnessMonitoringInfos(_)));
    let infos = HarnessMonitoringInfosResponse { monitoring_data: data(&[("x", 9)]) };
    sdk.respond(&asked, Answer::HarnessMonitoringInfos(infos)).await;
    // it may have been asked again meanwhile
    loop {
        match sdk.instruction().await {
            (asked, Ask::MonitoringInfos(_)) => {
                let info = sum("beam:metric:io:api_request_count:v1");
                let monitoring_info = BTreeMap::from([("x".to_owned(), info)]);
                let names = MonitoringInfosMetadataResponse { monitoring_info };
                sdk.respond(&asked, Answer::MonitoringInfos(names)).await;
                break;
            }
            (_, other) => assert!(matches!(other, Ask::HarnessMonitoringInfos(_))),
        }
    }
    let Event::Harness { metrics } = scene.event().await else { unreachable!("it has told them") };
    assert_eq!(metrics.0.values().collect::<Vec<_>>(), [&MetricValue::Sum(9)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_bundle_is_reported_once_with_what_its_worker_says() -> anyhow::Result<()> {
    let config = FnApiConfig { stuck_after: Duration::ZERO, ..FnApiConfig::default() };
    let mut scene = Scene::set(config).await?;
    let mut sdk = scene.up().await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", sdk.endpoint))?.connect().await?;
    let (reports, outgoing) = tokio::sync::mpsc::channel(4);
    let mut stream = tonic::Request::new(tokio_stream::wrappers::ReceiverStream::new(outgoing));
    stream.metadata_mut().insert("worker_id", sdk.worker.parse()?);
    let mut questions = BeamFnWorkerStatusClient::new(channel).worker_status(stream).await?.into_inner();
    scene.start(1, input(1), Vec::new());
    sdk.bundle().await;
    scene.worker.submit(Command::Progress(BundleId(1)))?;
    scene.worker.submit(Command::Progress(BundleId(1)))?;
    let WorkerStatusRequest { id } = questions.next().await.expect("a question")?;
    let status_info = "stuck in read()".to_owned();
    reports.send(WorkerStatusResponse { id, error: String::new(), status_info }).await?;
    let said = told(&scene, "stuck in read()").await;
    assert!(said.contains("has taken no element"), "{said}");
    let questions_more = tokio::time::timeout(Duration::from_millis(50), questions.next()).await;
    assert!(questions_more.is_err(), "it is asked once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_bundle_of_a_job_that_wants_samples_shows_what_it_was_given() -> anyhow::Result<()> {
    let mut scene = Scene::with(FnApiConfig::default(), sampled()).await?;
    let mut sdk = scene.up().await;
    scene.start(1, input(1), Vec::new());
    let (id, _) = sdk.bundle().await;
    sdk.fail(&id, "ValueError: no").await;
    let (asked, request) = sdk.instruction().await;
    assert!(matches!(request, Ask::SampleData(_)));
    let element = SampledElement {
        element: Bytes::from_static(b"bad line"),
        exception: Some(sampled_element::Exception { transform_id: "Fn".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let list = sample_data_response::ElementList { elements: vec![element] };
    let element_samples = BTreeMap::from([("lines".to_owned(), list)]);
    sdk.respond(&asked, Answer::SampleData(SampleDataResponse { element_samples })).await;
    told(&scene, "bad line").await;
    Ok(())
}

/// The first record with these words.
async fn told(scene: &Scene, words: &str) -> String {
    for _ in 0..1000 {
        let logs = scene.logs.lock().expect("nobody panics with it").clone();
        if let Some(record) = logs.iter().find(|record| record.message.contains(words)) {
            return record.message.clone();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    unreachable!("nobody says {words:?}")
}
