//! From a pipeline's coders to wire coders, which every side of a stage edge understands, and to the engine's coders.
//!
//! In: the coders of a pipeline, the capabilities of its environments. Out: for each coder asked for, the id of its
//! wire form (unknown parts length-prefixed, added to the pipeline's coders where needed) and the engine's [`Coder`].
//! It does not know which collections are at a stage edge.

use super::{WindowCoder, schema};
use crate::error::refuse;
use crate::urn::coder as urn;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thalweg_core::coder::Coder;
use thalweg_core::error::Result;
use thalweg_proto::pipeline::{self, Environment, FunctionSpec, Schema};

/// Coders of a pipeline by id.
pub type Coders = BTreeMap<String, pipeline::Coder>;

/// What every SDK understands, because no pipeline works without it.
const REQUIRED: [&str; 10] = [
    urn::BYTES,
    urn::KV,
    urn::ITERABLE,
    urn::DOUBLE,
    urn::TIMER,
    urn::LENGTH_PREFIX,
    urn::GLOBAL_WINDOW,
    urn::INTERVAL_WINDOW,
    urn::WINDOWED_VALUE,
    urn::CUSTOM_WINDOW,
];

/// What is used where all environments declare it.
const OPTIONAL: [&str; 6] = [urn::STRING_UTF8, urn::BOOL, urn::VARINT, urn::ROW, urn::SHARDED_KEY, urn::NULLABLE];

/// How deep coders may be nested; deeper ones are taken for a cycle.
const DEPTH_MAX: u32 = 64;

/// How many parts a coder may have, counted as often as it comes by them: whoever reads an element does.
const PARTS_MAX: u32 = 1 << 16;

/// A coder as both sides of a stage edge see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wire {
    /// Id of the coder an SDK has to use.
    pub id: String,
    /// The same for the engine.
    pub coder: Arc<Coder>,
    /// Parts it has, with itself.
    parts: u32,
}

/// Wire coders, each made once.
#[derive(Clone, Debug, Default)]
pub struct CoderTable {
    known: BTreeSet<&'static str>,
    wires: BTreeMap<String, Wire>,
}

/// A proto coder.
#[must_use]
pub fn proto(urn: &str, components: &[&str]) -> pipeline::Coder {
    pipeline::Coder {
        spec: Some(FunctionSpec { urn: urn.to_owned(), ..Default::default() }),
        component_coder_ids: components.iter().map(|c| (*c).to_owned()).collect(),
    }
}

/// The id of `coder`, which is added unless an equal one is there. Cost: O(coders).
pub fn add(coders: &mut Coders, coder: pipeline::Coder, prefix: &str) -> String {
    if let Some((id, _)) = coders.iter().find(|(_, c)| **c == coder) {
        return id.clone();
    }
    let mut id = prefix.to_owned();
    let mut n = 1;
    while coders.contains_key(&id) {
        n += 1;
        id = format!("{prefix}_{n}");
    }
    coders.insert(id.clone(), coder);
    id
}

/// The proto coder of an id.
///
/// # Errors
/// `PIPELINE_CODER` when there is none.
pub fn get<'c>(coders: &'c Coders, id: &str) -> Result<(&'c str, &'c pipeline::Coder)> {
    let coder = coders.get(id).ok_or_else(|| {
        refuse("PIPELINE_CODER", format!("the pipeline names the coder {id:?}, which it does not have"))
    })?;
    Ok((coder.spec.as_ref().map_or("", |s| s.urn.as_str()), coder))
}

impl CoderTable {
    /// A table for workers of `environments`: what one of them does not declare is length-prefixed.
    #[must_use]
    pub fn new<'e>(environments: impl IntoIterator<Item = &'e Environment>) -> Self {
        let mut known: BTreeSet<_> = OPTIONAL.into();
        for environment in environments {
            known.retain(|urn| environment.capabilities.iter().any(|c| c == urn));
        }
        known.extend(REQUIRED);
        Self { known, wires: BTreeMap::new() }
    }

    /// The wire form of a coder. Coders that do not exist yet are added to `coders`.
    ///
    /// # Errors
    /// `PIPELINE_CODER` for a coder that is missing, has the wrong number of components or too many, or contains itself.
    pub fn wire(&mut self, coders: &mut Coders, id: &str) -> Result<Wire> {
        self.wire_at(coders, id, DEPTH_MAX)
    }

    /// The wire form of a coder asked for before.
    #[must_use]
    pub fn found(&self, id: &str) -> Option<&Wire> {
        self.wires.get(id)
    }

    fn wire_at(&mut self, coders: &mut Coders, id: &str, depth: u32) -> Result<Wire> {
        if let Some(wire) = self.wires.get(id) {
            return Ok(wire.clone());
        }
        let depth = depth.checked_sub(1).ok_or_else(|| {
            refuse("PIPELINE_CODER", format!("the coder {id:?} contains itself or is nested too deep"))
        })?;
        let (urn, coder) = get(coders, id)?;
        let (urn, coder) = (urn.to_owned(), coder.clone());
        let wire =
            if self.known.contains(urn.as_str()) { self.known_wire(coders, id, &urn, &coder, depth)? } else { None };
        let wire = wire.unwrap_or_else(|| prefixed(coders, id));
        self.wires.insert(id.to_owned(), wire.clone());
        self.wires.insert(wire.id.clone(), wire.clone()); // a wire coder is its own wire form
        Ok(wire)
    }

    /// The wire form of a coder whose URN is known; `None` if it has to be length-prefixed as a whole nevertheless.
    fn known_wire(
        &mut self,
        coders: &mut Coders,
        id: &str,
        urn: &str,
        coder: &pipeline::Coder,
        depth: u32,
    ) -> Result<Option<Wire>> {
        let as_it_is = |coder: Coder| Ok(Some(Wire { id: id.to_owned(), coder: Arc::new(coder), parts: 1 }));
        match urn {
            urn::BYTES => return as_it_is(Coder::Bytes),
            urn::STRING_UTF8 => return as_it_is(Coder::StringUtf8),
            urn::BOOL => return as_it_is(Coder::Bool),
            urn::VARINT => return as_it_is(Coder::VarInt),
            urn::DOUBLE => return as_it_is(Coder::Double),
            urn::LENGTH_PREFIX => return as_it_is(Coder::LengthPrefix),
            urn::INTERVAL_WINDOW => return as_it_is(Coder::IntervalWindow),
            urn::GLOBAL_WINDOW => return as_it_is(Coder::GlobalWindow),
            urn::ROW => {
                let payload = coder.spec.as_ref().map(|s| s.payload.clone()).unwrap_or_default();
                let fields = Schema::decode(payload).ok().and_then(|s| schema::fields(&s));
                return Ok(fields.map(|f| Wire { id: id.to_owned(), coder: Arc::new(Coder::Row(f.into())), parts: 1 }));
            }
            urn::KV | urn::ITERABLE | urn::NULLABLE | urn::SHARDED_KEY => {}
            // timers and windowed values as elements: their bytes are the SDK's business
            _ => return Ok(None),
        }
        let mut parts = Vec::new();
        for part in &coder.component_coder_ids {
            parts.push(self.wire_at(coders, part, depth)?);
        }
        let engine = match (urn, parts.as_slice()) {
            (urn::KV, [key, value]) => Coder::Kv(Arc::clone(&key.coder), Arc::clone(&value.coder)),
            (urn::ITERABLE, [element]) => Coder::Iterable(Arc::clone(&element.coder)),
            (urn::NULLABLE, [inner]) => Coder::Nullable(Arc::clone(&inner.coder)),
            (urn::SHARDED_KEY, [key]) => Coder::ShardedKey(Arc::clone(&key.coder)),
            _ => {
                let n = parts.len();
                return Err(refuse("PIPELINE_CODER", format!("the coder {id:?} ({urn}) has {n} components")));
            }
        };
        let count = parts.iter().fold(1u32, |count, part| count.saturating_add(part.parts));
        if count > PARTS_MAX {
            let message = format!("the coder {id:?} ({urn}) has more than {PARTS_MAX} parts, counted with theirs");
            return Err(refuse("PIPELINE_CODER", message));
        }
        let wire_ids: Vec<_> = parts.into_iter().map(|p| p.id).collect();
        let id = if wire_ids == coder.component_coder_ids {
            id.to_owned()
        } else {
            let rewritten = pipeline::Coder { spec: coder.spec.clone(), component_coder_ids: wire_ids };
            add(coders, rewritten, &format!("{id}_wire"))
        };
        Ok(Some(Wire { id, coder: Arc::new(engine), parts: count }))
    }

    /// The wire form of a timer coder: its key and a custom window are rewritten. Returns id, key coder and window
    /// coder.
    ///
    /// # Errors
    /// `PIPELINE_CODER` when it is not a timer coder.
    pub fn timer(&mut self, coders: &mut Coders, id: &str) -> Result<(String, Arc<Coder>, WindowCoder)> {
        let (urn, coder) = get(coders, id)?;
        let (urn::TIMER, [key, window]) = (urn, coder.component_coder_ids.as_slice()) else {
            return Err(refuse("PIPELINE_CODER", format!("{id:?} is given for timers, but is no timer coder")));
        };
        let (spec, key, window) = (coder.spec.clone(), key.clone(), window.clone());
        let (key, (window_id, window)) = (self.wire(coders, &key)?, self.window(coders, &window)?);
        let rewritten = pipeline::Coder { spec, component_coder_ids: vec![key.id, window_id] };
        Ok((add(coders, rewritten, &format!("{id}_wire")), key.coder, window))
    }

    /// The wire form of a window coder: an SDK's own one is length-prefixed behind the window's last timestamp.
    ///
    /// # Errors
    /// `PIPELINE_CODER` when it is missing.
    pub fn window(&mut self, coders: &mut Coders, id: &str) -> Result<(String, WindowCoder)> {
        let (urn, _) = get(coders, id)?;
        Ok(match urn {
            urn::GLOBAL_WINDOW => (id.to_owned(), WindowCoder::Global),
            urn::INTERVAL_WINDOW => (id.to_owned(), WindowCoder::Interval),
            urn::CUSTOM_WINDOW => {
                let inner = get(coders, id)?.1.component_coder_ids.first().cloned().unwrap_or_default();
                if get(coders, &inner)?.0 == urn::LENGTH_PREFIX {
                    return Ok((id.to_owned(), WindowCoder::Custom));
                }
                (custom_window(coders, id, &inner), WindowCoder::Custom)
            }
            _ => (custom_window(coders, id, id), WindowCoder::Custom),
        })
    }
}

/// The id of a coder for windows of the coder `inner`: last timestamp, length, bytes.
fn custom_window(coders: &mut Coders, id: &str, inner: &str) -> String {
    let inner = prefixed(coders, inner);
    add(coders, proto(urn::CUSTOM_WINDOW, &[&inner.id]), &format!("{id}_wire"))
}

fn prefixed(coders: &mut Coders, id: &str) -> Wire {
    let id = add(coders, proto(urn::LENGTH_PREFIX, &[id]), &format!("{id}_prefixed"));
    Wire { id, coder: Arc::new(Coder::LengthPrefix), parts: 1 }
}
