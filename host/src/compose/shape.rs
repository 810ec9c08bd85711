//! What native functions and components need of the engine, told to the graph before it is fused: keys, states, timers.

use super::payload::WasmCall;
use super::{Composer, check, combine, payload_of, side};
use crate::native::urn::TABLE_JOIN;
use thalweg_beam::translate::{Role, Translation};
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::Op;
use thalweg_core::id::StateId;
use thalweg_core::port::worker::{StateSpec, TimeDomain};
use thalweg_wasm::describe::{Domain as Clock, Kind, Slot, Timer};

/// Puts keys, states and timers into the graph.
pub fn shape(composer: &Composer, translation: &mut Translation) -> Result<()> {
    for i in 0..translation.transforms.len() {
        let Some(info) = translation.transforms.get(i).cloned() else { continue };
        let mut expiry = None;
        let (keyed, states, timers) = match info.role {
            Role::Native => {
                let shape = composer.registry.shape(&info.urn).ok_or_else(|| {
                    let message = format!("{} is a {:?}, which no function is registered for", info.name, info.urn);
                    Error::user("NATIVE_UNKNOWN", message)
                        .help("check the name, or register the function before the pipeline is run")
                        .in_transform(&info.name)
                })?;
                if info.urn == TABLE_JOIN {
                    check::join(&translation.graph, &info).map_err(|e| e.in_transform(&info.name))?;
                }
                let states: Vec<_> = shape.states.iter().map(|name| (name.clone(), String::new())).collect();
                (shape.keyed, states, shape.timers.clone())
            }
            Role::Wasm(_) => {
                let call: WasmCall = payload_of::json(&info.payload, &info.name)?;
                let component = composer.components.load(&call).map_err(|e| e.in_transform(&info.name))?;
                let function =
                    component.function(&call.function).map_err(|e| Error::from(e).in_transform(&info.name))?;
                side::bind(translation, i, function).map_err(|e| e.in_transform(&info.name))?;
                let Some(bound) = translation.transforms.get(i) else { continue };
                check::check(&translation.graph, bound, &call, function).map_err(|e| e.in_transform(&info.name))?;
                if function.kind == Kind::CombineFn {
                    combine::around(translation, i, function)?;
                    continue;
                }
                let mut timers: Vec<(String, TimeDomain)> = function.timers.iter().map(family).collect();
                if function.on_window_expiration {
                    expiry = Some(EXPIRY.to_owned());
                    timers.push((EXPIRY.to_owned(), TimeDomain::Event));
                }
                (false, function.slots.iter().map(|s| (s.name.clone(), kept(s))).collect(), timers)
            }
            Role::Runner | Role::Source(_) | Role::Sink(_) | Role::Sdk(_) => continue,
        };
        let name = info.name.clone();
        let Some(transform) = translation.graph.transforms.get_mut(i) else { continue };
        let input = transform.inputs.first().copied();
        let Op::User(user) = &mut transform.op else { continue };
        user.keyed = keyed || !states.is_empty() || !timers.is_empty();
        user.states = states.into_iter().map(|(part, kept)| state(&name, part, kept)).collect();
        user.timers = timers;
        user.expiry = expiry;
        if user.keyed && input.and_then(|i| translation.graph.collection(i)).is_none_or(|c| c.coder.kv().is_none()) {
            return Err(Error::user(
                "NATIVE_NOT_KEYED",
                format!("{name} keeps state per key, but its input has no keys"),
            )
            .help("give it pairs of key and value")
            .in_transform(&name));
        }
    }
    Ok(())
}

/// The state of this name of a transform.
pub fn state(transform: &str, name: String, kept: String) -> StateSpec {
    StateSpec { id: StateId::derive(transform, &format!("state\0{name}")), name, kept }
}

/// What the cells of a slot hold: what must be the same in a pipeline that takes them over.
pub fn kept(slot: &Slot) -> String {
    format!("{:?} of {:?} by {:?}", slot.kind, slot.coder, slot.key)
}

/// The family that fires when a window of a key is over; a name that no function gives to a family of its own.
const EXPIRY: &str = "\0window";

fn family(timer: &Timer) -> (String, TimeDomain) {
    let domain = match timer.domain {
        Clock::Event => TimeDomain::Event,
        Clock::Processing => TimeDomain::Processing,
    };
    (timer.name.clone(), domain)
}
