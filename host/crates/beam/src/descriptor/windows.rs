//! Asking an SDK about windows of its own functions: merging those of a grouping, mapping those of a side input.
//!
//! In: the windows. Out: a descriptor with nothing but source, `merge_windows` or `map_windows`, and sink; the messages
//! for it, and what its answers say. A question is a pair of a number, which comes back with the answer, and a list of
//! windows or a window. Values travel behind their length, so that neither side needs a coder for what the other one
//! makes. Source: `beam:transform:merge_windows:v1`, `beam:transform:map_windows:v1`.

use super::Endpoints;
use crate::coder::table::{add, proto};
use crate::coder::{WindowCoder, WireCoder};
use crate::error::{Result, invalid, payload};
use crate::translate::Translation;
use crate::translate::global_strategy;
use crate::urn::{coder, transform as urn, window_fn};
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use thalweg_core::batch::BatchBuilder;
use thalweg_core::coder::{Coder, read_varint, take};
use thalweg_core::error::{Domain, Error};
use thalweg_core::graph::{CollectionId, EnvironmentId, SideInput};
use thalweg_core::time::EventTime;
use thalweg_core::window::{Merges, Window};
use thalweg_proto::fn_execution::{ProcessBundleDescriptor, RemoteGrpcPort};
use thalweg_proto::pipeline::{Components, FunctionSpec, PCollection, PTransform, ParDoPayload, WindowingStrategy};

/// The data source of such a descriptor.
pub const SOURCE: &str = "thalweg/source";
/// Its data sink.
pub const SINK: &str = "thalweg/sink/0";

/// A conversation about windows.
#[derive(Clone, Debug)]
pub struct WindowsWire {
    /// What the SDK builds it from.
    pub descriptor: ProcessBundleDescriptor,
    /// Whose worker can answer.
    pub environment: EnvironmentId,
    /// The windows asked about.
    pub from: WindowCoder,
    /// The windows of the answer.
    pub to: WindowCoder,
}

/// How questions and answers look: a number, and bytes.
fn wire() -> WireCoder {
    let element = Coder::Kv(Arc::new(Coder::Bytes), Arc::new(Coder::LengthPrefix));
    WireCoder { element: Arc::new(element), window: WindowCoder::Global }
}

/// The conversation in which windows of a collection are merged.
///
/// # Errors
/// `PIPELINE_INVALID` when the collection's windowing names no environment.
pub fn describe_merge(translation: &Translation, of: CollectionId, endpoints: &Endpoints) -> Result<WindowsWire> {
    let components = translation.components()?;
    let (strategy, window) = strategy(translation, components, of)?;
    let spec = unwrapped(strategy.window_fn.clone().unwrap_or_default());
    let mut ask = Ask::new(components, endpoints, format!("merge-windows-{}", of.0), urn::MERGE_WINDOWS, &spec);
    let coders = &mut ask.made.coders;
    let list = add(coders, proto(coder::ITERABLE, &[&window.0]), "windows");
    let merge = add(coders, proto(coder::KV, &[&window.0, &list]), "merge");
    let merges = add(coders, proto(coder::ITERABLE, &[&merge]), "merges");
    let answer = add(coders, proto(coder::KV, &[&list, &merges]), "merged");
    let environment = translation.collection(of).and_then(|c| c.window_environment);
    let environment = environment
        .ok_or_else(|| invalid(format!("the windowing of {} names no environment", strategy.window_coder_id)))?;
    Ok(WindowsWire { descriptor: ask.between(&list, &answer), environment, from: window.1, to: window.1 })
}

/// The conversation in which windows of `main` are mapped to those of a side input.
///
/// # Errors
/// `PIPELINE_INVALID` when the side input does not say how.
pub fn describe_map(
    translation: &Translation,
    main: CollectionId,
    side: &SideInput,
    endpoints: &Endpoints,
) -> Result<WindowsWire> {
    let components = translation.components()?;
    let (_, from) = strategy(translation, components, main)?;
    let lacking = || invalid(format!("nothing tells the windows of the side input {:?}", side.name));
    let info = translation.transform(side.transform).ok_or_else(lacking)?;
    let par_do: ParDoPayload = payload(&info.payload, &info.name)?;
    let spec = par_do.side_inputs.get(&side.name).and_then(|s| s.window_mapping_fn.clone()).ok_or_else(lacking)?;
    let (_, collection, _) = translation.side(side.transform, &side.name).ok_or_else(lacking)?;
    let (_, to) = strategy(translation, components, collection)?;
    let id = format!("map-windows-{}-{}", side.transform.0, side.name);
    let ask = Ask::new(components, endpoints, id, urn::MAP_WINDOWS, &spec);
    let environment = translation.sdk_of(side.transform).ok_or_else(lacking)?;
    Ok(WindowsWire { descriptor: ask.between(&from.0, &to.0), environment, from: from.1, to: to.1 })
}

/// Python writes its pickled window functions into a `BytesValue`, but reads the pickle bare when it merges: there a
/// wrapped one is read only if no byte of the wrapping happens to be a digit of base 64.
fn unwrapped(mut spec: FunctionSpec) -> FunctionSpec {
    if spec.urn == window_fn::PYTHON_PICKLED
        && let Ok(inner) = Bytes::decode(spec.payload.clone())
        && !inner.is_empty()
    {
        spec.payload = inner;
    }
    spec
}

type Windows = (String, WindowCoder);

/// The windowing strategy of a collection, and its window coder on the wire.
fn strategy<'c>(
    translation: &Translation,
    components: &'c Components,
    of: CollectionId,
) -> Result<(&'c WindowingStrategy, Windows)> {
    let info = translation.collection(of).ok_or_else(|| invalid("a collection of no graph"))?;
    let strategy = components.pcollections.get(&info.id).map(|c| c.windowing_strategy_id.as_str()).unwrap_or_default();
    let strategy = components.windowing_strategies.get(strategy);
    let strategy = strategy.ok_or_else(|| invalid(format!("{} has no windowing strategy", info.id)))?;
    Ok((strategy, (info.window_coder_id.clone(), info.wire.window)))
}

/// A descriptor under way.
struct Ask {
    made: ProcessBundleDescriptor,
    urn: &'static str,
    payload: Bytes,
    endpoints: Endpoints,
}

impl Ask {
    fn new(
        components: &Components,
        endpoints: &Endpoints,
        id: String,
        urn: &'static str,
        function: &FunctionSpec,
    ) -> Self {
        let made = ProcessBundleDescriptor {
            id,
            coders: components.coders.clone(),
            environments: components.environments.clone(),
            state_api_service_descriptor: Some(endpoints.state.clone()),
            ..Default::default()
        };
        Self { made, urn, payload: function.encode_to_vec().into(), endpoints: endpoints.clone() }
    }

    /// Puts the question between a source of `question` values and a sink of `answer` values.
    fn between(mut self, question: &str, answer: &str) -> ProcessBundleDescriptor {
        let coders = &mut self.made.coders;
        let bytes = add(coders, proto(coder::BYTES, &[]), "bytes");
        let global = add(coders, proto(coder::GLOBAL_WINDOW, &[]), "global_window");
        self.made.windowing_strategies.insert("global".to_owned(), global_strategy(&global));
        for (name, value) in [("question", question), ("answer", answer)] {
            let coders = &mut self.made.coders;
            let value = add(coders, proto(coder::LENGTH_PREFIX, &[value]), &format!("{value}_prefixed"));
            let pair = add(coders, proto(coder::KV, &[&bytes, &value]), name);
            let windowed = add(coders, proto(coder::WINDOWED_VALUE, &[&pair, &global]), &format!("{name}_windowed"));
            let collection = PCollection {
                unique_name: name.to_owned(),
                coder_id: pair,
                windowing_strategy_id: "global".to_owned(),
                ..Default::default()
            };
            self.made.pcollections.insert(name.to_owned(), collection);
            let port = RemoteGrpcPort { api_service_descriptor: Some(self.endpoints.data.clone()), coder_id: windowed };
            let (id, port_urn) = if name == "question" { (SOURCE, urn::DATA_SOURCE) } else { (SINK, urn::DATA_SINK) };
            let (from, to) = if name == "question" { (None, Some(name)) } else { (Some(name), None) };
            self.add(id, port_urn, port.encode_to_vec().into(), from, to);
        }
        let payload = self.payload.clone();
        self.add("thalweg/windows", self.urn, payload, Some("question"), Some("answer"));
        self.made
    }

    fn add(&mut self, id: &str, urn: &str, payload: Bytes, from: Option<&str>, to: Option<&str>) {
        let ends = |c: Option<&str>| c.map(|c| ("data".to_owned(), c.to_owned())).into_iter().collect();
        let transform = PTransform {
            unique_name: id.to_owned(),
            spec: Some(FunctionSpec { urn: urn.to_owned(), payload }),
            inputs: ends(from),
            outputs: ends(to),
            ..Default::default()
        };
        self.made.transforms.insert(id.to_owned(), transform);
    }
}

impl WindowsWire {
    /// A data message that asks to merge the windows of each key.
    #[must_use]
    pub fn ask_merge(&self, keys: &[Vec<Window>]) -> Bytes {
        self.ask(keys.iter().map(|windows| {
            let mut list = Vec::new();
            list.extend_from_slice(&(windows.len() as u32).to_be_bytes());
            windows.iter().for_each(|w| self.from.write(w, &mut list));
            list
        }))
    }

    /// A data message that asks to map windows.
    #[must_use]
    pub fn ask_map(&self, windows: &[Window]) -> Bytes {
        self.ask(windows.iter().map(|window| {
            let mut bytes = Vec::new();
            self.from.write(window, &mut bytes);
            bytes
        }))
    }

    fn ask(&self, questions: impl Iterator<Item = Vec<u8>>) -> Bytes {
        let mut batch = BatchBuilder::new();
        for (n, question) in questions.enumerate() {
            batch.push(&(n as u32).to_be_bytes(), &question, EventTime::MIN, &[Window::Global]);
        }
        let batch = batch.finish();
        let mut out = Vec::new();
        wire().encode(&batch, batch.rows(), &mut out);
        Bytes::from(out)
    }

    /// The answers to [`WindowsWire::ask_merge`] in a data message: number of the key, and its merges.
    ///
    /// # Errors
    /// `CODER_MALFORMED` when it holds something else.
    pub fn merged(&self, message: Bytes) -> Result<Vec<(usize, Merges)>> {
        let batch = wire().decode(message)?;
        let mut answers = Vec::new();
        for row in batch.rows() {
            let (_, rest) = list(batch.value(row), |b| self.to.read(b))?; // windows that stay alone
            let (merges, _) = list(rest, |b| {
                let (window, rest) = self.to.read(b)?;
                let (members, rest) = list(rest, |b| self.to.read(b))?;
                Ok(((window, members), rest))
            })?;
            answers.push((number(batch.key(row))?, merges));
        }
        Ok(answers)
    }

    /// The answers to [`WindowsWire::ask_map`] in a data message: number of the window, and the side input's window.
    ///
    /// # Errors
    /// `CODER_MALFORMED` when it holds something else.
    pub fn mapped(&self, message: Bytes) -> Result<Vec<(usize, Window)>> {
        let batch = wire().decode(message)?;
        let mut answers = Vec::new();
        for row in batch.rows() {
            answers.push((number(batch.key(row))?, self.to.read(batch.value(row))?.0));
        }
        Ok(answers)
    }
}

fn number(key: &[u8]) -> Result<usize> {
    let raw: [u8; 4] = key
        .try_into()
        .map_err(|_| Error::new("CODER_MALFORMED", Domain::Guest, "an answer about windows to no question"))?;
    Ok(u32::from_be_bytes(raw) as usize)
}

/// Reads an iterable: a count and elements, or blocks of them.
fn list<'a, T>(bytes: &'a [u8], read: impl Fn(&'a [u8]) -> Result<(T, &'a [u8])>) -> Result<(Vec<T>, &'a [u8])> {
    let (count, mut rest) = take(bytes, 4)?;
    let mut raw = [0; 4];
    raw.copy_from_slice(count);
    let count = i32::from_be_bytes(raw);
    let mut out = Vec::new();
    let mut some = |n: u64, mut rest: &'a [u8]| -> Result<&'a [u8]> {
        for _ in 0..n {
            let (item, after) = read(rest)?;
            out.push(item);
            rest = after;
        }
        Ok(rest)
    };
    if let Ok(n) = u64::try_from(count) {
        rest = some(n, rest)?;
        return Ok((out, rest));
    }
    loop {
        let (n, after) = read_varint(rest)?;
        rest = some(n, after)?;
        if n == 0 {
            return Ok((out, rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk() -> WindowsWire {
        WindowsWire {
            descriptor: ProcessBundleDescriptor::default(),
            environment: EnvironmentId(0),
            from: WindowCoder::Custom,
            to: WindowCoder::Custom,
        }
    }

    fn window(name: &'static str) -> Window {
        Window::Custom { max: EventTime(9), encoded: Bytes::from_static(name.as_bytes()) }
    }

    #[test]
    fn merges_are_read_from_counted_and_blocked_lists() -> Result<()> {
        let one = |w: &Window| {
            let mut bytes = Vec::new();
            WindowCoder::Custom.write(w, &mut bytes);
            bytes
        };
        let (a, b, ab) = (one(&window("a")), one(&window("b")), one(&window("ab")));
        let counted = [&[0, 0, 0, 0, 0, 0, 0, 1][..], &ab, &[0, 0, 0, 2], &a, &b].concat();
        let blocked = [&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1][..], &ab, &[0, 0, 0, 2], &a, &b, &[0]].concat();
        let message = talk().ask([counted, blocked].into_iter());
        let merges = vec![(window("ab"), vec![window("a"), window("b")])];
        assert_eq!(talk().merged(message)?, vec![(0, merges.clone()), (1, merges)]);
        Ok(())
    }

    #[test]
    fn mapped_windows_come_with_their_number() -> Result<()> {
        let windows = [window("x"), window("y")];
        let echoed = talk().mapped(talk().ask_map(&windows))?;
        assert_eq!(echoed, [(0, window("x")), (1, window("y"))]);
        Ok(())
    }
}
