//! State requests: bags and multimaps of the bundle's keys, and side inputs, answered from the bundle's own view.
//!
//! In: a `StateRequest`. Out: bytes in the worker's coders, cut into pages that never cut an element (SDKs read each page
//! by itself). Bags are chunks as they were appended, so nothing is decoded; keys and windows are turned from the
//! form of state keys into the engine's.
//!
//! Source: `BeamFnState`; the Python SDK names keys in nested encoding and windows in their bare encoding.

use super::bundle::{Bundle, Cells};
use super::chunks::Chunks;
use super::ordered;
use crate::coder::WindowCoder;
use crate::descriptor::SideWire;
use bytes::Bytes;
use thalweg_core::coder::Coder;
use thalweg_core::error::{Domain, Error, Result};
use thalweg_core::id::StateId;
use thalweg_core::state::layout::behind;
use thalweg_core::state::{CellValue, SideWindow, StateView};
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_proto::fn_execution::{
    StateAppendResponse, StateClearResponse, StateGetResponse, StateKey, state_key, state_request, state_response,
};

/// One operation on one bundle's state.
pub(super) fn serve(
    bundle: &Bundle,
    key: Option<StateKey>,
    request: Option<state_request::Request>,
    page_bytes: usize,
) -> Result<state_response::Response> {
    let (Some(key), Some(request)) = (key.and_then(|key| key.r#type), request) else {
        return Err(unsupported("a request without key or operation"));
    };
    use state_key::Type;
    match key {
        Type::BagUserState(k) => {
            let place = Place::find(bundle, &k.transform_id, &k.user_state_id, &k.key, &k.window)?;
            bundle.with_cells(|cells| bag(cells, &place, request, page_bytes))
        }
        Type::MultimapUserState(k) => {
            let place = Place::find(bundle, &k.transform_id, &k.user_state_id, &k.key, &k.window)?;
            bundle.with_cells(|cells| multimap(cells, bundle, &place, &k.map_key, request, page_bytes))
        }
        Type::MultimapKeysUserState(k) => {
            let place = Place::find(bundle, &k.transform_id, &k.user_state_id, &k.key, &k.window)?;
            let read = |view: &mut _, all: Chunks<'_>, token: &[u8]| multimap_keys(view, all, token);
            bundle.with_cells(|cells| whole_multimap(cells, &place, (request, page_bytes), "keys", read))
        }
        Type::MultimapEntriesUserState(k) => {
            let place = Place::find(bundle, &k.transform_id, &k.user_state_id, &k.key, &k.window)?;
            let read = |view: &mut _, all: Chunks<'_>, token: &[u8]| multimap_entries(view, all, place.value, token);
            bundle.with_cells(|cells| whole_multimap(cells, &place, (request, page_bytes), "entries", read))
        }
        Type::IterableSideInput(k) => {
            let (side, window) = side(bundle, &k.transform_id, &k.side_input_id, &k.window)?;
            read_side(request, |token| elements(&window.values, &side.value, token, page_bytes))
        }
        Type::MultimapSideInput(k) => {
            let (side, window) = side(bundle, &k.transform_id, &k.side_input_id, &k.window)?;
            let key = side.key.content(&k.key)?;
            let values = window.by_key.get(key).map(Vec::as_slice).unwrap_or_default();
            read_side(request, |token| elements(values, &side.value, token, page_bytes))
        }
        Type::MultimapKeysSideInput(k) => {
            let (side, window) = side(bundle, &k.transform_id, &k.side_input_id, &k.window)?;
            read_side(request, |token| side_keys(side, &window, token, page_bytes))
        }
        Type::MultimapKeysValuesSideInput(k) => {
            let (side, window) = side(bundle, &k.transform_id, &k.side_input_id, &k.window)?;
            read_side(request, |token| side_entries(side, &window, token, page_bytes))
        }
        Type::OrderedListUserState(k) => {
            let place = Place::find(bundle, &k.transform_id, &k.user_state_id, &k.key, &k.window)?;
            bundle.with_cells(|cells| {
                let at = (place.group(cells)?, place.id);
                ordered::serve(cells, bundle, at, k.range, request, page_bytes)
            })
        }
        Type::Runner(k) => {
            let state_request::Request::Get(get) = request else {
                return Err(unsupported("writing to a grouped value"));
            };
            let (data, next) = bundle.page(&k.key, &get.continuation_token, page_bytes)?;
            Ok(page(data, next))
        }
    }
}

fn unsupported(what: &str) -> Error {
    Error::user("STATE_UNSUPPORTED", format!("{what} is not served"))
}

/// A bundle's state that a request is about.
struct Place<'b> {
    id: StateId,
    /// Values of a map, if they can be told apart.
    value: Option<&'b Coder>,
    /// `None`: the bundle's only one.
    key: Option<Bytes>,
    window: Window,
}

impl<'b> Place<'b> {
    fn find(bundle: &'b Bundle, transform: &str, name: &str, key: &Bytes, window: &Bytes) -> Result<Self> {
        let state = bundle.stage.state(transform, name).ok_or_else(|| {
            let message = format!("transform {transform} has no state {name} in this stage");
            Error::new("STATE_UNKNOWN", Domain::Guest, message)
        })?;
        let (id, value) = (state.id, state.value.as_deref());
        let window = window_of(bundle.stage.window, window)?;
        if bundle.stage.lone_keys && key.is_empty() {
            return Ok(Self { id, value, key: None, window });
        }
        let outer = bundle.stage.key.content(key)?;
        Ok(Self { id, value, key: Some(key.slice_ref(outer)), window })
    }

    fn group(&self, cells: &mut Cells) -> Result<u32> {
        cells.group(self.key.as_deref(), self.window.clone())
    }
}

/// A window as state keys name it.
fn window_of(coder: WindowCoder, bytes: &Bytes) -> Result<Window> {
    match coder {
        WindowCoder::Custom => Ok(Window::Custom { max: EventTime::MAX, encoded: bytes.clone() }),
        _ => Ok(coder.read(bytes)?.0),
    }
}

pub(super) fn page(data: impl Into<Bytes>, continuation_token: Bytes) -> state_response::Response {
    state_response::Response::Get(StateGetResponse { continuation_token, data: data.into() })
}

pub(super) fn appended() -> state_response::Response {
    state_response::Response::Append(StateAppendResponse {})
}

pub(super) fn cleared() -> state_response::Response {
    state_response::Response::Clear(StateClearResponse {})
}

fn bag(
    cells: &mut Cells,
    place: &Place<'_>,
    request: state_request::Request,
    page_bytes: usize,
) -> Result<state_response::Response> {
    let group = place.group(cells)?;
    Ok(match request {
        state_request::Request::Get(get) => Chunks { of: (group, place.id), range: (b"", None), page_bytes }
            .read(&mut cells.view, &get.continuation_token)?,
        state_request::Request::Append(append) => {
            cells.view.append(group, place.id, CellValue::copy(&append.data))?;
            appended()
        }
        state_request::Request::Clear(_) => {
            cells.view.clear(group, place.id)?;
            cleared()
        }
    })
}

/// Sub-keys of a multimap: length of the map key, the map key, then what makes the chunk the last one so far.
fn map_prefix(map_key: &[u8]) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(map_key.len() + 16);
    prefix.extend_from_slice(&(map_key.len() as u32).to_be_bytes());
    prefix.extend_from_slice(map_key);
    prefix
}

/// The map key of a sub-key.
fn map_key_of(sub: &Bytes) -> Option<Bytes> {
    let (length, rest) = sub.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    (rest.len() >= length).then(|| sub.slice(4..4 + length))
}

fn multimap(
    cells: &mut Cells,
    bundle: &Bundle,
    place: &Place<'_>,
    map_key: &[u8],
    request: state_request::Request,
    page_bytes: usize,
) -> Result<state_response::Response> {
    let group = place.group(cells)?;
    let mut sub = map_prefix(map_key);
    Ok(match request {
        state_request::Request::Get(get) => {
            Chunks { of: (group, place.id), range: (&sub, behind(&sub).as_deref()), page_bytes }
                .read(&mut cells.view, &get.continuation_token)?
        }
        state_request::Request::Append(append) => {
            sub.extend_from_slice(&bundle.id.0.to_be_bytes());
            sub.extend_from_slice(&cells.appended.to_be_bytes());
            cells.appended += 1;
            cells.view.put(group, place.id, &sub, Some(CellValue::copy(&append.data)))?;
            appended()
        }
        state_request::Request::Clear(_) => {
            for (cell, _) in cells.view.range(group, place.id, &sub, behind(&sub).as_deref())? {
                cells.view.put(group, place.id, &cell, None)?;
            }
            cleared()
        }
    })
}

/// A request about all of a multimap: `read` makes a page of its cells, from a token on.
fn whole_multimap(
    cells: &mut Cells,
    place: &Place<'_>,
    (request, page_bytes): (state_request::Request, usize),
    parts: &str,
    read: impl FnOnce(&mut StateView, Chunks<'_>, &[u8]) -> Result<state_response::Response>,
) -> Result<state_response::Response> {
    let group = place.group(cells)?;
    match request {
        state_request::Request::Get(get) => {
            let all = Chunks { of: (group, place.id), range: (b"", None), page_bytes };
            read(&mut cells.view, all, &get.continuation_token)
        }
        state_request::Request::Clear(_) => {
            cells.view.clear(group, place.id)?;
            Ok(cleared())
        }
        state_request::Request::Append(_) => Err(unsupported(&format!("appending to the {parts} of a multimap"))),
    }
}

/// All keys of a multimap; the token is the sub-key of the key that begins the next page. Sub-keys are in the order of their keys, so the chunks of
/// one stand together.
fn multimap_keys(view: &mut StateView, all: Chunks<'_>, token: &[u8]) -> Result<state_response::Response> {
    let (mut data, mut last, mut next) = (Vec::new(), None, Bytes::new());
    all.walk(view, token, |sub, _| {
        let Some(key) = map_key_of(&sub).filter(|key| last.as_ref() != Some(key)) else { return Ok(true) };
        if !data.is_empty() && data.len() + key.len() > all.page_bytes {
            next = map_prefix(&key).into();
            return Ok(false);
        }
        data.extend_from_slice(&key);
        last = Some(key);
        Ok(true)
    })?;
    Ok(page(data, next))
}

/// All entries of a multimap: per chunk its map key, the number of its values and the values, so a map key may come more than once.
/// The token is the sub-key of the chunk that begins the next page.
///
/// Source: `MultimapUserState` of Java's harness, which reads pairs of a key and an iterable.
fn multimap_entries(
    view: &mut StateView,
    all: Chunks<'_>,
    coder: Option<&Coder>,
    token: &[u8],
) -> Result<state_response::Response> {
    let what = "reading all entries of a multimap whose values only the SDK can tell apart";
    let coder = coder.ok_or_else(|| unsupported(what))?;
    let (mut data, mut next) = (Vec::new(), Bytes::new());
    all.walk(view, token, |sub, chunk| {
        let values = chunk.as_slice();
        if !data.is_empty() && data.len() + values.len() > all.page_bytes {
            next = sub;
            return Ok(false);
        }
        data.extend_from_slice(&map_key_of(&sub).unwrap_or_default());
        data.extend_from_slice(&count(values, coder)?.to_be_bytes());
        data.extend_from_slice(values);
        Ok(true)
    })?;
    Ok(page(data, next))
}

/// How many elements stand one behind the other.
fn count(elements: &[u8], coder: &Coder) -> Result<u32> {
    let (mut count, mut rest) = (0, elements);
    while !rest.is_empty() {
        let next = coder.skip(rest)?;
        if next.len() == rest.len() {
            break; // elements without bytes cannot be counted
        }
        rest = next;
        count += 1;
    }
    Ok(count)
}

/// The side input a request is about, and the contents of the window.
fn side<'b>(
    bundle: &'b Bundle,
    transform: &str,
    name: &str,
    window: &Bytes,
) -> Result<(&'b SideWire, std::sync::Arc<SideWindow>)> {
    let found = bundle.stage.side(transform, name);
    let wire = found.and_then(|i| bundle.stage.sides.get(i));
    let view = found.and_then(|i| bundle.sides.get(i));
    let (Some(wire), Some(view)) = (wire, view) else {
        let message = format!("transform {transform} has no side input {name} in this stage");
        return Err(Error::new("STATE_UNKNOWN", Domain::Guest, message));
    };
    let contents = match window_of(wire.window, window)? {
        Window::Custom { encoded: wanted, .. } => view.windows.iter().find_map(|(window, contents)| match window {
            Window::Custom { encoded, .. } if *encoded == wanted => Some(contents),
            _ => None,
        }),
        window => view.windows.get(&window),
    };
    Ok((wire, contents.cloned().unwrap_or_default()))
}

/// Side inputs can only be read.
fn read_side(
    request: state_request::Request,
    read: impl FnOnce(usize) -> Result<(Vec<u8>, Option<usize>)>,
) -> Result<state_response::Response> {
    let state_request::Request::Get(get) = request else { return Err(unsupported("writing to a side input")) };
    let token = match <[u8; 8]>::try_from(get.continuation_token.as_ref()) {
        Ok(token) => u64::from_be_bytes(token) as usize,
        Err(_) => 0,
    };
    let (data, next) = read(token)?;
    let next = next.map(|at| Bytes::copy_from_slice(&(at as u64).to_be_bytes())).unwrap_or_default();
    Ok(page(data, next))
}

/// A page of elements from byte `from` on, and where the next one begins.
fn elements(all: &[u8], coder: &Coder, from: usize, page_bytes: usize) -> Result<(Vec<u8>, Option<usize>)> {
    let rest = all.get(from..).unwrap_or_default();
    if rest.len() <= page_bytes {
        return Ok((rest.to_vec(), None));
    }
    let mut after = rest;
    while !after.is_empty() && rest.len() - after.len() < page_bytes {
        let next = coder.skip(after)?;
        if next.len() == after.len() {
            return Ok((rest.to_vec(), None)); // elements without bytes cannot be told apart
        }
        after = next;
    }
    let taken = rest.len() - after.len();
    let next = (!after.is_empty()).then_some(from + taken);
    Ok((rest.get(..taken).unwrap_or_default().to_vec(), next))
}

/// A page of keys, from the key of that number on.
fn side_keys(side: &SideWire, window: &SideWindow, from: usize, page_bytes: usize) -> Result<(Vec<u8>, Option<usize>)> {
    let mut data = Vec::new();
    for (i, key) in window.keys.iter().enumerate().skip(from) {
        if data.len() >= page_bytes {
            return Ok((data, Some(i)));
        }
        side.key.write_nested(&mut data, key);
    }
    Ok((data, None))
}

/// A page of keys with their values, each an iterable of known length.
fn side_entries(
    side: &SideWire,
    window: &SideWindow,
    from: usize,
    page_bytes: usize,
) -> Result<(Vec<u8>, Option<usize>)> {
    let mut data = Vec::new();
    for (i, key) in window.keys.iter().enumerate().skip(from) {
        if data.len() >= page_bytes {
            return Ok((data, Some(i)));
        }
        let values = window.by_key.get(key).map(Vec::as_slice).unwrap_or_default();
        side.key.write_nested(&mut data, key);
        data.extend_from_slice(&count(values, &side.value)?.to_be_bytes());
        data.extend_from_slice(values);
    }
    Ok((data, None))
}
