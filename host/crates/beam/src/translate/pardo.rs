//! ParDo: its states, timers and side inputs; what it needs of the runner.

use super::build::Builder;
use super::environment::declaring;
use super::{StateInfo, StateKind};
use crate::error::{Result, invalid, payload, refuse};
use crate::urn::{capability, transform as urn, user_state};
use thalweg_core::graph::UserOp;
use thalweg_core::id::StateId;
use thalweg_core::port::worker::{StateSpec, TimeDomain};
use thalweg_proto::pipeline::{self, PTransform, ParDoPayload, state_spec::Spec, time_domain};

impl Builder {
    pub(super) fn par_do(&mut self, id: &str, transform: &PTransform) -> Result<()> {
        let name = &transform.unique_name;
        let spec = transform.spec.clone().unwrap_or_default();
        let par_do: ParDoPayload = payload(&spec.payload, name)?;
        let function = par_do.do_fn.as_ref().map_or("", |f| f.urn.as_str());
        if transform.environment_id.is_empty() && !function.starts_with(urn::OURS) {
            return Err(refuse(
                "PIPELINE_TRANSFORM",
                format!("{name} runs a {function:?}, but names no environment that has it"),
            )
            .help("the SDK has to give every ParDo an environment"));
        }
        if !par_do.restriction_coder_id.is_empty() {
            return self.splittable(id, transform, &par_do);
        }
        let (user, states) = self.par_do_shape(transform, &par_do)?;
        self.user_with_states(id, transform, name, user, states)
    }

    /// What the engine must know of a ParDo.
    fn par_do_shape(&mut self, transform: &PTransform, par_do: &ParDoPayload) -> Result<(UserOp, Vec<StateInfo>)> {
        let name = &transform.unique_name;
        let (mut infos, mut kept) = (Vec::new(), Vec::new());
        for (local, spec) in &par_do.state_specs {
            let kind = state_kind(spec).ok_or_else(|| {
                refuse(
                    "PIPELINE_STATE",
                    format!("the state {local:?} of {name} is of a kind that Thalweg does not know"),
                )
                .help("use a value, bag, combining, set, map, multimap or ordered list state")
            })?;
            infos.push(StateInfo { name: local.clone(), kind });
            kept.push(format!("{kind:?} of {}", self.kept(spec)));
        }
        let states = infos.iter().zip(kept).map(|(s, kept)| StateSpec {
            name: format!("{name}/{}", s.name),
            id: StateId::derive(name, &format!("state\0{}", s.name)),
            kept,
        });
        let mut timers = Vec::new();
        for (local, family) in &par_do.timer_family_specs {
            let domain = match time_domain::Enum::try_from(family.time_domain) {
                Ok(time_domain::Enum::EventTime) => TimeDomain::Event,
                Ok(time_domain::Enum::ProcessingTime) => TimeDomain::Processing,
                _ => return Err(invalid(format!("the timer {local:?} of {name} is of an unknown time domain"))),
            };
            timers.push((local.clone(), domain));
        }
        let expiry = Some(par_do.on_window_expiration_timer_family_spec.clone()).filter(|family| !family.is_empty());
        if let Some(family) = expiry.as_ref().filter(|family| !par_do.timer_family_specs.contains_key(*family)) {
            return Err(invalid(format!(
                "{name} is to be called when a window expires by a timer {family:?} that it lacks"
            )));
        }
        let user = UserOp {
            keyed: !infos.is_empty() || !timers.is_empty(),
            states: states.collect(),
            timers,
            expiry,
            sorted: par_do.requires_time_sorted_input,
            stable: par_do.requires_stable_input,
            lone_keys: infos.iter().any(|s| s.kind == StateKind::Multimap)
                && self.is_java(&transform.environment_id)?,
            patient: !self.options.streaming && self.is_read_to_its_end(transform, &par_do.side_inputs),
            sides: self.sides(transform, &par_do.side_inputs)?,
            ..UserOp::default()
        };
        Ok((user, infos))
    }

    /// The coders of a state, as their SDK calls them.
    fn kept(&mut self, spec: &pipeline::StateSpec) -> String {
        let coders = match &spec.spec {
            Some(Spec::ReadModifyWriteSpec(s)) => vec![&s.coder_id],
            Some(Spec::BagSpec(s)) => vec![&s.element_coder_id],
            Some(Spec::CombiningSpec(s)) => vec![&s.accumulator_coder_id],
            Some(Spec::MapSpec(s)) => vec![&s.key_coder_id, &s.value_coder_id],
            Some(Spec::MultimapSpec(s)) => vec![&s.key_coder_id, &s.value_coder_id],
            Some(Spec::SetSpec(s)) => vec![&s.element_coder_id],
            Some(Spec::OrderedListSpec(s)) => vec![&s.element_coder_id],
            None => Vec::new(),
        };
        let coders = coders.into_iter().map(|id| self.spelling.of(&self.components.coders, id));
        coders.collect::<Vec<_>>().join(", ")
    }

    /// Whether an environment is of the Java SDK, which up to 2.65 at least asks for maps and sets without their key.
    fn is_java(&self, environment: &str) -> Result<bool> {
        let Some(proto) = self.components.environments.get(environment) else { return Ok(false) };
        let declaring = declaring(proto)?;
        Ok(declaring.is_some_and(|e| e.capabilities.iter().any(|c| c.starts_with(capability::JAVA_SDK))))
    }
}

fn state_kind(spec: &pipeline::StateSpec) -> Option<StateKind> {
    match spec.protocol.as_ref().map_or("", |p| p.urn.as_str()) {
        user_state::BAG => return Some(StateKind::Bag),
        user_state::MULTIMAP => return Some(StateKind::Multimap),
        user_state::ORDERED_LIST => return Some(StateKind::OrderedList),
        "" => {}
        _ => return None,
    }
    // SDKs of before the protocol field
    Some(match spec.spec.as_ref()? {
        Spec::ReadModifyWriteSpec(_) | Spec::BagSpec(_) | Spec::CombiningSpec(_) => StateKind::Bag,
        Spec::MapSpec(_) | Spec::SetSpec(_) | Spec::MultimapSpec(_) => StateKind::Multimap,
        Spec::OrderedListSpec(_) => StateKind::OrderedList,
    })
}
