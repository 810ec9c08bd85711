//! State, timers and side inputs of a bundle, as a scripted SDK asks for them.
#![cfg(feature = "fn-api")]

mod fnapi_support;

use bytes::Bytes;
use fnapi_support::{COUNT, FakeSdk, Scene, WINDOW, batch, coder, group, timer_coder};
use std::sync::Arc;
use thalweg_beam::coder::WireTimer;
use thalweg_beam::fnapi::{FnApiConfig, Provision};
use thalweg_core::batch::Pane;
use thalweg_core::port::worker::{DueTimer, Event, Input, Item, TimerSet, TimerUpdate};
use thalweg_core::state::{SideView, SideWindow};
use thalweg_core::time::EventTime;
use thalweg_proto::fn_execution::state_request::Request;
use thalweg_proto::fn_execution::*;

/// A key as the SDK names it: with its length before it.
fn nested(key: &str) -> Bytes {
    let mut bytes = vec![key.len() as u8];
    bytes.extend_from_slice(key.as_bytes());
    bytes.into()
}

fn bag(key: &str) -> state_key::Type {
    state_key::Type::BagUserState(state_key::BagUserState {
        transform_id: "Fn".to_owned(),
        user_state_id: "count".to_owned(),
        window: Bytes::new(),
        key: nested(key),
    })
}

fn multimap(key: &str, map_key: &str) -> state_key::Type {
    state_key::Type::MultimapUserState(state_key::MultimapUserState {
        transform_id: "Fn".to_owned(),
        user_state_id: "count".to_owned(),
        window: Bytes::new(),
        key: nested(key),
        map_key: nested(map_key),
    })
}

fn append(data: &'static [u8]) -> Request {
    Request::Append(StateAppendRequest { data: Bytes::from_static(data) })
}

fn get() -> Request {
    Request::Get(StateGetRequest::default())
}

fn clear() -> Request {
    Request::Clear(StateClearRequest {})
}

fn data(reply: StateResponse) -> Bytes {
    assert_eq!(reply.error, "");
    match reply.response {
        Some(state_response::Response::Get(get)) => {
            assert!(get.continuation_token.is_empty());
            get.data
        }
        other => unreachable!("not a reply to a read: {other:?}"),
    }
}

/// Reads page by page; each must end where an element ends.
async fn pages(sdk: &mut FakeSdk, id: &str, key: state_key::Type) -> Vec<Bytes> {
    let (mut all, mut continuation_token) = (Vec::new(), Bytes::new());
    loop {
        let reply = sdk.state(id, key.clone(), Request::Get(StateGetRequest { continuation_token })).await;
        assert_eq!(reply.error, "");
        let Some(state_response::Response::Get(get)) = reply.response else { unreachable!("a read") };
        all.push(get.data);
        continuation_token = get.continuation_token;
        if continuation_token.is_empty() {
            return all;
        }
    }
}

fn keyed() -> Input {
    let timer =
        DueTimer { family: 0, tag: Bytes::from_static(b"tag"), fire: 11, hold: EventTime(10), pane: Pane::NO_FIRING };
    Input::Keyed {
        groups: Arc::from([group("k0"), group("k2")]),
        batches: vec![batch(3)],
        items: vec![Item::Row { group: 0, batch: 0, row: 0 }, Item::Timer { group: 1, timer: Box::new(timer) }],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bag_is_read_appended_and_cleared_and_its_delta_is_the_bundles() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig::default()).await?;
    let mut sdk = scene.up().await;
    scene.start(5, keyed(), Vec::new());
    let (id, _) = sdk.bundle().await;
    sdk.input().await;
    assert_eq!(data(sdk.state(&id, bag("k0"), get()).await), "");
    for chunk in [&b"a"[..], b"b"] {
        assert_eq!(sdk.state(&id, bag("k0"), append(chunk)).await.error, "");
    }
    assert_eq!(data(sdk.state(&id, bag("k0"), get()).await), "ab");
    assert_eq!(data(sdk.state(&id, bag("k2"), get()).await), "");
    sdk.state(&id, bag("k0"), clear()).await;
    sdk.state(&id, bag("k0"), append(b"c")).await;
    assert_eq!(data(sdk.state(&id, bag("k0"), get()).await), "c");
    let foreign = sdk.state(&id, bag("k1"), get()).await;
    assert!(foreign.error.starts_with("STATE_FOREIGN_KEY"), "{}", foreign.error);
    let unknown = state_key::Type::BagUserState(state_key::BagUserState::default());
    assert!(sdk.state(&id, unknown, get()).await.error.starts_with("STATE_UNKNOWN"));
    let of_runner = state_key::Type::Runner(state_key::Runner::default());
    let of_runner = sdk.state(&id, of_runner, get()).await.error;
    assert!(of_runner.starts_with("STATE_UNKNOWN"), "{of_runner}");
    sdk.close(&id).await;
    sdk.done(&id, ProcessBundleResponse::default()).await;
    let Event::Done { result, .. } = scene.event().await else { unreachable!("done") };
    let left: Vec<_> =
        result.state.groups[0].changes.iter().filter_map(|c| c.value.as_ref().map(|v| (c.id, v))).collect();
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].0, left[0].1.as_slice()), (COUNT, &b"c"[..]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_multimap_keeps_its_map_keys_apart() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig::default()).await?;
    let mut sdk = scene.up().await;
    scene.start(5, keyed(), Vec::new());
    let (id, _) = sdk.bundle().await;
    for (map_key, value) in [("x", &b"1"[..]), ("xy", b"2"), ("x", b"3")] {
        assert_eq!(sdk.state(&id, multimap("k0", map_key), append(value)).await.error, "");
    }
    assert_eq!(data(sdk.state(&id, multimap("k0", "x"), get()).await), "13");
    let keys = state_key::Type::MultimapKeysUserState(state_key::MultimapKeysUserState {
        transform_id: "Fn".to_owned(),
        user_state_id: "count".to_owned(),
        window: Bytes::new(),
        key: nested("k0"),
    });
    assert_eq!(data(sdk.state(&id, keys.clone(), get()).await), "\x01x\x02xy");
    sdk.state(&id, multimap("k0", "x"), clear()).await;
    assert_eq!(data(sdk.state(&id, multimap("k0", "x"), get()).await), "");
    assert_eq!(data(sdk.state(&id, multimap("k0", "xy"), get()).await), "2");
    sdk.state(&id, keys.clone(), clear()).await;
    assert_eq!(data(sdk.state(&id, keys, get()).await), "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_entries_of_a_multimap_are_read_at_once_with_how_many_values_each_has() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig { state_page_bytes: 16, ..FnApiConfig::default() }).await?;
    let mut sdk = scene.up().await;
    scene.start(5, keyed(), Vec::new());
    let (id, _) = sdk.bundle().await;
    for (map_key, values) in [("x", &b"\x01a\x01b"[..]), ("xy", b"\x01c"), ("x", b"\x01d")] {
        assert_eq!(sdk.state(&id, multimap("k0", map_key), append(values)).await.error, "");
    }
    let entries = state_key::Type::MultimapEntriesUserState(state_key::MultimapEntriesUserState {
        transform_id: "Fn".to_owned(),
        user_state_id: "count".to_owned(),
        window: Bytes::new(),
        key: nested("k0"),
    });
    let read = pages(&mut sdk, &id, entries.clone()).await;
    assert_eq!(read, [&b"\x01x\0\0\0\x02\x01a\x01b\x01x\0\0\0\x01\x01d"[..], b"\x02xy\0\0\0\x01\x01c"]);
    assert!(sdk.state(&id, entries.clone(), append(b"z")).await.error.starts_with("STATE_UNSUPPORTED"));
    sdk.state(&id, entries.clone(), clear()).await;
    assert_eq!(data(sdk.state(&id, entries, get()).await), "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_go_worker_is_not_told_of_snapshots_of_side_inputs_which_it_would_confuse() -> anyhow::Result<()> {
    let go = vec!["beam:version:sdk_base:go:apache/beam_go_sdk:2.77.0"];
    let mut scene = Scene::of(FnApiConfig::default(), Provision::default(), go).await?;
    let mut sdk = scene.up().await;
    let view = || Arc::new(SideView::default());
    scene.start(5, Input::Elements { batches: vec![(0, batch(1))] }, vec![view(), view()]);
    let (_, request) = sdk.bundle().await;
    let told: Vec<_> = request.cache_tokens.iter().map(|token| &token.r#type).collect();
    assert!(matches!(told.as_slice(), [Some(process_bundle_request::cache_token::Type::UserState(_))]), "{told:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordered_list_is_read_and_cleared_by_range() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig::default()).await?;
    let mut sdk = scene.up().await;
    scene.start(5, keyed(), Vec::new());
    let (id, _) = sdk.bundle().await;
    let list = |range: Option<(i64, i64)>| {
        state_key::Type::OrderedListUserState(state_key::OrderedListUserState {
            transform_id: "Fn".to_owned(),
            user_state_id: "count".to_owned(),
            window: Bytes::new(),
            key: nested("k0"),
            range: range.map(|(start, end)| OrderedListRange { start, end }),
        })
    };
    // 300, 5 and 5 again, then -1: a varint of ten bytes
    sdk.state(&id, list(None), append(b"\xac\x02\x01c\x05\x01a\x05\x01b")).await;
    sdk.state(&id, list(None), append(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01z")).await;
    assert_eq!(data(sdk.state(&id, list(Some((0, 301))), get()).await), &b"\x05\x01a\x05\x01b\xac\x02\x01c"[..]);
    assert_eq!(data(sdk.state(&id, list(Some((-1, 5))), get()).await).len(), 12);
    sdk.state(&id, list(Some((5, 6))), clear()).await;
    assert_eq!(data(sdk.state(&id, list(Some((0, i64::MAX))), get()).await), &b"\xac\x02\x01c"[..]);
    sdk.state(&id, list(None), clear()).await;
    assert_eq!(data(sdk.state(&id, list(None), get()).await), "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_go_out_with_their_key_and_come_back_with_their_group() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig::default()).await?;
    let mut sdk = scene.up().await;
    scene.start(5, keyed(), Vec::new());
    let (id, _) = sdk.bundle().await;
    let sent = sdk.input().await;
    let rows: Bytes = sent.iter().flat_map(|m| &m.data).flat_map(|d| d.data.to_vec()).collect::<Vec<_>>().into();
    let rows = coder().decode(rows)?;
    assert_eq!((rows.len(), rows.key(&rows.rows()[0])), (1, &b"k0"[..]));
    let bytes: Bytes = sent.iter().flat_map(|m| &m.timers).flat_map(|t| t.timers.to_vec()).collect::<Vec<_>>().into();
    let set = |fire, hold| Some(TimerSet { fire, hold: EventTime(hold), pane: Pane::NO_FIRING });
    let timer = |key: &'static [u8], tag: &'static [u8], set| WireTimer {
        key: Bytes::from_static(key),
        tag: Bytes::from_static(tag),
        windows: [WINDOW].into_iter().collect(),
        set,
    };
    assert_eq!(timer_coder().decode(&bytes)?, [timer(b"k2", b"tag", set(11, 10))]);

    let mut back = Vec::new();
    timer_coder().encode(&timer(b"k2", b"", set(99, 50)), &mut back);
    timer_coder().encode(&timer(b"k0", b"t", None), &mut back);
    sdk.send_timers(&id, back.into()).await;
    sdk.send(&id, "sink-a", None).await;
    sdk.send(&id, "sink-b", None).await;
    sdk.done(&id, ProcessBundleResponse::default()).await;
    let Event::Done { result, .. } = scene.event().await else { unreachable!("done") };
    let update = |group, tag: &'static [u8], set| TimerUpdate { group, family: 0, tag: Bytes::from_static(tag), set };
    assert_eq!(result.timers, [update(1, b"", set(99, 50)), update(0, b"t", None)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_of_a_foreign_key_fails_the_bundle() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig::default()).await?;
    let mut sdk = scene.up().await;
    scene.start(5, keyed(), Vec::new());
    let (id, _) = sdk.bundle().await;
    let mut bytes = Vec::new();
    let timer = WireTimer {
        key: Bytes::from_static(b"k9"),
        tag: Bytes::new(),
        windows: [WINDOW].into_iter().collect(),
        set: None,
    };
    timer_coder().encode(&timer, &mut bytes);
    sdk.send_timers(&id, bytes.into()).await;
    let Event::Failed { error, .. } = scene.event().await else { unreachable!("failed") };
    assert_eq!(error.code, "STATE_FOREIGN_KEY");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn side_inputs_are_read_in_pages_that_cut_no_element() -> anyhow::Result<()> {
    let mut scene = Scene::set(FnApiConfig { state_page_bytes: 10, ..FnApiConfig::default() }).await?;
    let mut sdk = scene.up().await;
    let values: Vec<u8> = (0..20).flat_map(|i| nested(&format!("value{i}"))).collect();
    let list = SideWindow { values: values.clone(), ..SideWindow::default() };
    let mut map = SideWindow::default();
    for key in ["a", "bb", "ccc", "dddd", "eeeee"] {
        map.by_key.insert(Bytes::from_static(key.as_bytes()), nested(key).to_vec());
        map.keys.push(Bytes::from_static(key.as_bytes()));
    }
    let view = |window: SideWindow| {
        let mut view = SideView::default();
        view.windows.insert(WINDOW, Arc::new(window));
        Arc::new(view)
    };
    scene.start(5, Input::Elements { batches: vec![(0, batch(1))] }, vec![view(list), view(map)]);
    let (id, request) = sdk.bundle().await;
    assert_eq!(request.cache_tokens.len(), 3);
    let (transform_id, window) = ("Fn".to_owned(), Bytes::new());

    let key = state_key::Type::IterableSideInput(state_key::IterableSideInput {
        transform_id: transform_id.clone(),
        side_input_id: "list".to_owned(),
        window: window.clone(),
    });
    let read = pages(&mut sdk, &id, key).await;
    assert!(read.len() > 5 && read.iter().all(|page| page.ends_with(&page[page.len() - 6..])));
    assert!(read.iter().all(|page| page[0] == 6 || page[0] == 7), "every page begins with an element");
    assert_eq!(read.concat(), values);

    let of_key = |key: &str| {
        state_key::Type::MultimapSideInput(state_key::MultimapSideInput {
            transform_id: transform_id.clone(),
            side_input_id: "map".to_owned(),
            window: window.clone(),
            key: nested(key),
        })
    };
    assert_eq!(pages(&mut sdk, &id, of_key("ccc")).await.concat(), nested("ccc"));
    assert_eq!(pages(&mut sdk, &id, of_key("zzz")).await.concat(), b"");

    let keys = state_key::Type::MultimapKeysSideInput(state_key::MultimapKeysSideInput {
        transform_id: transform_id.clone(),
        side_input_id: "map".to_owned(),
        window: window.clone(),
    });
    assert_eq!(pages(&mut sdk, &id, keys).await.concat(), b"\x01a\x02bb\x03ccc\x04dddd\x05eeeee");

    let entries = state_key::Type::MultimapKeysValuesSideInput(state_key::MultimapKeysValuesSideInput {
        transform_id,
        side_input_id: "map".to_owned(),
        window,
    });
    let read = pages(&mut sdk, &id, entries).await;
    assert!(read.len() > 1 && read[0].starts_with(b"\x01a\0\0\0\x01\x01a"));
    Ok(())
}

/// A scene whose shard may hold 64 KiB of state and timers, with a bundle under way.
async fn narrow() -> anyhow::Result<(Scene, FakeSdk, String)> {
    let mut scene = Scene::set(FnApiConfig { state_bytes_max: 64 << 10, ..FnApiConfig::default() }).await?;
    let mut sdk = scene.up().await;
    scene.start(5, keyed(), Vec::new());
    let (id, _) = sdk.bundle().await;
    Ok((scene, sdk, id))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_writes_too_much_state_is_refused_and_fails_by_name() -> anyhow::Result<()> {
    for obeys in [true, false] {
        let (mut scene, mut sdk, id) = narrow().await?;
        // what is written again is there once
        for _ in 0..100 {
            assert_eq!(sdk.state(&id, bag("k0"), append(&[7; 10_000])).await.error, "");
            assert_eq!(sdk.state(&id, bag("k0"), clear()).await.error, "");
        }
        for _ in 0..4 {
            assert_eq!(sdk.state(&id, multimap("k2", "x"), append(&[7; 10_000])).await.error, "");
        }
        let refused = sdk.state(&id, bag("k2"), append(&[7; 20_000])).await;
        assert!(refused.error.starts_with("BUNDLE_STATE_TOO_LARGE"), "{}", refused.error);
        assert!(sdk.state(&id, bag("k0"), append(b"a")).await.error.starts_with("BUNDLE_STATE_TOO_LARGE"));
        if obeys {
            sdk.fail(&id, "RuntimeError: something with state").await;
        } else {
            sdk.close(&id).await;
            sdk.done(&id, ProcessBundleResponse::default()).await;
        }
        let Event::Failed { error, .. } = scene.event().await else { unreachable!("failed") };
        assert_eq!(error.code, "BUNDLE_STATE_TOO_LARGE");
        // what it held is free again
        scene.start(6, keyed(), Vec::new());
        let (id, _) = sdk.bundle().await;
        assert_eq!(sdk.state(&id, bag("k0"), append(&[7; 60_000])).await.error, "");
        scene.harness.stop().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_sets_too_many_timers_fails_by_name() -> anyhow::Result<()> {
    let (mut scene, sdk, id) = narrow().await?;
    let mut bytes = Vec::new();
    for i in 0..2000u32 {
        let timer = WireTimer {
            key: Bytes::from_static(b"k0"),
            tag: Bytes::copy_from_slice(&i.to_be_bytes()),
            windows: [WINDOW].into_iter().collect(),
            set: Some(TimerSet { fire: 9, hold: EventTime(9), pane: Pane::NO_FIRING }),
        };
        timer_coder().encode(&timer, &mut bytes);
    }
    sdk.send_timers(&id, bytes.into()).await;
    let Event::Failed { error, .. } = scene.event().await else { unreachable!("failed") };
    assert_eq!(error.code, "BUNDLE_STATE_TOO_LARGE");
    Ok(())
}
