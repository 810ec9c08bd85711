//! Harnesses that go away: what the shard hears, and that nothing of their bundles is left.
#![cfg(feature = "fn-api")]

mod fnapi_support;

use bytes::Bytes;
use fnapi_support::{Scene, batch, coder};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thalweg_beam::fnapi::{FnApiConfig, FnApiWorker};
use thalweg_core::id::BundleId;
use thalweg_core::port::worker::{Command, Event, Input, Worker};
use thalweg_proto::fn_execution::{state_key, state_request};

fn elements(n: u64) -> Input {
    Input::Elements { batches: vec![(0, batch(n))] }
}

fn wire(n: u64) -> Bytes {
    let (mut out, batch) = (Vec::new(), batch(n));
    coder().encode(&batch, batch.rows(), &mut out);
    out.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_harness_is_told_and_started_again() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig::default()).await?;
    let sdk = scene.up().await;
    scene.start(1, elements(3), Vec::new());
    let first = sdk.worker.clone();
    drop(sdk);
    let Event::Lost { error } = scene.event().await else { unreachable!("lost") };
    assert_eq!(error.code, "WORKER_LOST");
    let mut sdk = scene.up().await;
    assert_ne!(sdk.worker, first);
    scene.start(2, elements(3), Vec::new());
    let (id, _) = sdk.bundle().await;
    sdk.input().await;
    sdk.close(&id).await;
    sdk.done(&id, Default::default()).await;
    assert!(matches!(scene.event().await, Event::Done { bundle: BundleId(2), .. }));
    scene.harness.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_harness_that_dies_again_and_again_fails_the_job() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig { restarts_max: 1, ..FnApiConfig::default() }).await?;
    drop(scene.up().await);
    assert!(matches!(scene.event().await, Event::Lost { .. }));
    drop(scene.up().await);
    assert!(matches!(scene.event().await, Event::Lost { .. }));
    assert!(matches!(scene.event().await, Event::Credit { .. }), "so that the engine asks once more and is told");
    let refused = scene.worker.submit(Command::Progress(BundleId(1))).expect_err("it will stay so");
    assert_eq!(refused.code, "WORKER_LOST");
    assert_eq!(scene.harness.failure().map(|e| e.code), Some("WORKER_LOST"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_harness_that_dies_now_and_then_and_works_between_is_started_again_for_ever() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig { restarts_max: 1, ..FnApiConfig::default() }).await?;
    for life in 1..=4 {
        // one that is given up never comes up
        let mut sdk = tokio::time::timeout(Duration::from_secs(30), scene.up()).await?;
        scene.start(life, elements(3), Vec::new());
        let (id, _) = sdk.bundle().await;
        sdk.input().await;
        sdk.close(&id).await;
        sdk.done(&id, Default::default()).await;
        let event = scene.event().await;
        assert!(matches!(event, Event::Done { bundle, .. } if bundle == BundleId(life)), "{event:?}");
        drop(sdk);
        assert!(matches!(scene.event().await, Event::Lost { .. }), "life {life}");
    }
    assert_eq!(scene.harness.failure(), None);
    scene.harness.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_bundle_gets_no_state_and_says_nothing() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig::default()).await?;
    let mut sdk = scene.up().await;
    scene.start(1, elements(1), Vec::new());
    let (id, _) = sdk.bundle().await;
    scene.worker.submit(Command::Abandon(BundleId(1)))?;
    let key = state_key::Type::IterableSideInput(Default::default());
    let reply = sdk.state(&id, key, state_request::Request::Get(Default::default())).await;
    assert!(reply.error.starts_with("STATE_BUNDLE_OVER"), "{}", reply.error);
    sdk.close(&id).await;
    sdk.done(&id, Default::default()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut events = Vec::new();
    scene.worker.poll(&mut events);
    assert!(events.is_empty(), "{events:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_new_worker_was_given_before_the_shard_heard_of_the_loss_is_abandoned() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig::default()).await?;
    drop(scene.up().await);
    let mut sdk = scene.sdk().await;
    tokio::time::timeout(Duration::from_secs(30), async {
        while !scene.harness.is_up() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await?;
    scene.start(7, elements(1), Vec::new());
    let (id, _) = sdk.bundle().await;
    assert!(matches!(scene.event().await, Event::Lost { .. }));
    let key = state_key::Type::IterableSideInput(Default::default());
    let reply = sdk.state(&id, key, state_request::Request::Get(Default::default())).await;
    assert!(reply.error.starts_with("STATE_BUNDLE_OVER"), "{}", reply.error);
    scene.harness.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_a_workers_conversation_is_its_end() -> anyhow::Result<()> {
    for stream in ["data", "control"] {
        let mut scene = Scene::set(FnApiConfig::default()).await?;
        let sdk = scene.up().await;
        // whoever tells the shard something panics, once
        let armed = Arc::new(AtomicBool::new(false));
        let fires = Arc::clone(&armed);
        let waker = move || assert!(!fires.swap(false, Ordering::SeqCst), "as the test wants");
        scene.worker = FnApiWorker::new(&scene.harness, Arc::new(waker));
        assert!(matches!(scene.event().await, Event::Credit { .. }));
        let mut sdk = sdk;
        scene.start(1, elements(1), Vec::new());
        let (id, _) = sdk.bundle().await;
        armed.store(true, Ordering::SeqCst);
        match stream {
            "data" => sdk.send(&id, "sink-a", Some(wire(1))).await,
            _ => sdk.fail(&id, "no").await,
        }
        let error = loop {
            match scene.event().await {
                Event::Lost { error } => break error,
                Event::Output { .. } | Event::Failed { .. } => {}
                other => unreachable!("{other:?}"),
            }
        };
        assert!(!armed.load(Ordering::SeqCst));
        assert_eq!(error.code, "WORKER_LOST");
        assert!(error.message.contains(&format!("its {stream} stream has panicked")), "{error}");
        scene.harness.stop().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_is_not_there_fails_the_job_with_what_to_do() -> anyhow::Result<()> {
    use std::collections::BTreeMap;
    use thalweg_beam::fnapi::{Environment, FnApiServer, HarnessSpec, Provision};
    let config = FnApiConfig { pool_timeout: Duration::from_millis(300), ..FnApiConfig::default() };
    let server = FnApiServer::start(&tokio::runtime::Handle::current(), config, Arc::new(|_| {}))?;
    let harness = server.harness(HarnessSpec {
        name: "nobody".to_owned(),
        environment: Environment::External { pool: "127.0.0.1:1".to_owned(), params: BTreeMap::new() },
        provision: Provision::default(),
        stages: BTreeMap::new(),
        windows: Default::default(),
    });
    let mut worker = FnApiWorker::new(&harness, Arc::new(|| {}));
    let mut events = Vec::new();
    while events.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        worker.poll(&mut events);
    }
    let Some(Event::Lost { error }) = events.first() else { unreachable!("{events:?}") };
    assert_eq!(error.code, "WORKER_START_FAILED");
    assert!(error.help.contains("LOOPBACK"), "{}", error.help);
    Ok(())
}
