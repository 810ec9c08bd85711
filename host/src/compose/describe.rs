//! What is said of a job's states to those who ask from outside: names, kinds and coders, stored with the job.
//!
//! In: a translation, its plan, the components it names. Out: a [`Catalog`]. It does not know who asks.

use super::ComponentStore;
use super::payload::WasmCall;
use super::payload_of;
use crate::query::{Catalog, Cells, Kind, Known, Noted};
use prost::Message as _;
use thalweg_beam::translate::{Role, StateInfo, StateKind, TransformInfo, Translation};
use thalweg_beam::urn::coder as urn;
use thalweg_core::error::Result;
use thalweg_core::graph::{CollectionId, Op, Plan, StageKind};
use thalweg_proto::pipeline::state_spec::Spec;
use thalweg_proto::pipeline::{ParDoPayload, StateSpec};
use thalweg_wasm::describe::{Slot, SlotKind};

/// How a state is used, how its cells are made, coders of its values and of a map's keys.
type Use = (Kind, Cells, Noted, Option<Noted>);

/// The states of all stages of a plan.
pub fn states(translation: &Translation, plan: &Plan, components: &ComponentStore) -> Result<Catalog> {
    let mut all = Vec::new();
    for stage in &plan.stages {
        let StageKind::Worker(worker) = &stage.kind else { continue };
        for id in &worker.transforms {
            let (Some(info), Some(transform)) = (translation.transform(*id), translation.graph.transform(*id)) else {
                continue;
            };
            let Op::User(user) = &transform.op else { continue };
            if user.states.is_empty() {
                continue;
            }
            let key = key(translation, worker.input)?;
            let uses = uses(translation, info, components)?;
            for (i, state) in user.states.iter().enumerate() {
                let (name, (kind, cells, value, map_key)) =
                    uses.get(i).cloned().unwrap_or_else(|| unknown(&state.name));
                let (transform, key, ttl_ms) = (info.origin.clone(), key.clone(), user.ttl_ms);
                all.push(Known { transform, state: name, id: state.id.0, kind, cells, key, value, map_key, ttl_ms });
            }
        }
    }
    Ok(Catalog::new(all))
}

/// A function of the host's own: it knows its values alone.
fn unknown(name: &str) -> (String, Use) {
    (name.to_owned(), (Kind::Value, Cells::Chunks, Noted::default(), None))
}

/// The coder of the keys of a collection.
fn key(translation: &Translation, input: CollectionId) -> Result<Noted> {
    let id = translation.collection(input).map_or("", |collection| collection.coder_id.as_str());
    let pair = Noted::of_pipeline(translation.components()?, id);
    Ok(pair.part(0).filter(|_| pair.urn == urn::KV).cloned().unwrap_or_default())
}

/// The states of a transform, in their order.
fn uses(translation: &Translation, info: &TransformInfo, components: &ComponentStore) -> Result<Vec<(String, Use)>> {
    match info.role {
        Role::Wasm(_) => {
            let call: WasmCall = payload_of::json(&info.payload, &info.name)?;
            let component = components.load(&call)?;
            let slots = &component.function(&call.function)?.slots;
            Ok(slots.iter().map(|slot| (slot.name.clone(), of_slot(slot))).collect())
        }
        Role::Sdk(_) => {
            // what cannot be read was refused when it was translated
            let par_do = ParDoPayload::decode(info.payload.clone()).unwrap_or_default();
            let of = |state: &StateInfo| {
                let spec = par_do.state_specs.get(&state.name)?;
                Some((state.name.clone(), of_spec(translation, state.kind, spec)?))
            };
            Ok(info.states.iter().map(|state| of(state).unwrap_or_else(|| unknown(&state.name))).collect())
        }
        _ => Ok(Vec::new()),
    }
}

fn of_slot(slot: &Slot) -> Use {
    let (kind, cells) = match slot.kind {
        SlotKind::Bag => (Kind::Bag, Cells::Chunks),
        SlotKind::Map => (Kind::Map, Cells::Entries),
        SlotKind::Set => (Kind::Set, Cells::Entries),
        SlotKind::Multimap => (Kind::Multimap, Cells::Entries),
        SlotKind::OrderedList => (Kind::OrderedList, Cells::Entries),
        _ => (Kind::Value, Cells::Chunks),
    };
    (kind, cells, Noted::of_component(&slot.coder), slot.key.as_ref().map(Noted::of_component))
}

fn of_spec(translation: &Translation, stored: StateKind, spec: &StateSpec) -> Option<Use> {
    let components = translation.components().ok()?;
    let coder = |id: &str| Noted::of_pipeline(components, id);
    let cells = match stored {
        StateKind::Bag => Cells::Chunks,
        StateKind::Multimap => Cells::Keyed,
        StateKind::OrderedList => Cells::Numbered,
    };
    let (kind, value, key) = match spec.spec.as_ref()? {
        Spec::ReadModifyWriteSpec(s) => (Kind::Value, &s.coder_id, None),
        Spec::BagSpec(s) => (Kind::Bag, &s.element_coder_id, None),
        Spec::CombiningSpec(s) => (Kind::Combining, &s.accumulator_coder_id, None),
        Spec::SetSpec(s) => (Kind::Set, &s.element_coder_id, None),
        Spec::OrderedListSpec(s) => (Kind::OrderedList, &s.element_coder_id, None),
        Spec::MapSpec(s) => (Kind::Map, &s.value_coder_id, Some(&s.key_coder_id)),
        Spec::MultimapSpec(s) => (Kind::Multimap, &s.value_coder_id, Some(&s.key_coder_id)),
    };
    Some((kind, cells, coder(value), key.map(|id| coder(id))))
}
